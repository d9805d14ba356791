//! Cases over many seeds, each of which can be replayed alone.

use std::ops::Range;

/// Prints the line that replays a seed if the thread is panicking when it is dropped.
struct ReplayLine {
    name: &'static str,
    seed: u64,
}

impl Drop for ReplayLine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed } = self;
            #[expect(clippy::print_stderr, reason = "the line that replays a failed case")]
            {
                eprintln!("replay: PICCOLO_SEED={seed} cargo test -p piccolo-gossip {name}");
            }
        }
    }
}

/// Runs a case once per seed; only with the seed that `PICCOLO_SEED` names, or with as many seeds
/// as `PICCOLO_SEEDS` says.
pub(crate) fn for_seeds(name: &'static str, seeds: Range<u64>, mut case: impl FnMut(u64)) {
    let seeds = match (number("PICCOLO_SEED"), number("PICCOLO_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => 0..count,
        (None, None) => seeds,
    };
    for seed in seeds {
        let _line = ReplayLine { name, seed };
        case(seed);
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is {value}, not a number")))
}
