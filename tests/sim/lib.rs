//! The simulator: a whole cluster in one thread, under virtual time.
//!
//! It drives the real gossip, ring, node and shard code. One seed decides sizes, delays, loss,
//! where byte streams are cut, and every fault, so that a failure can be replayed exactly.
#![forbid(unsafe_code)]

pub mod checkers;
pub mod client;
pub mod cluster;
pub mod faults;
pub mod history;
pub mod membership;
pub mod network;
pub mod reply;
pub mod timeline;
pub mod traffic;
mod turns;
pub mod world;

use std::ops::Range;

/// Runs `case` for every seed of the range. `PICCOLO_SEED=7` runs that seed alone,
/// `PICCOLO_SEEDS=1000` runs so many from the start of the range. Says whether all of the range
/// were run: what is to be seen in some seed may be missing in fewer.
pub fn for_seeds(name: &str, range: Range<u64>, mut case: impl FnMut(u64)) -> bool {
    let whole = range.clone();
    let number = |variable| -> Option<u64> { std::env::var(variable).ok()?.parse().ok() };
    let range = match (number("PICCOLO_SEED"), number("PICCOLO_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => range.start..range.start + count,
        (None, None) => range,
    };
    for seed in range.clone() {
        let mut replay = Replay { name, seed, passed: false };
        case(seed);
        replay.passed = true;
    }
    range.start <= whole.start && range.end >= whole.end
}

/// Says how to repeat a case, if it panics.
struct Replay<'a> {
    name: &'a str,
    seed: u64,
    passed: bool,
}

impl Drop for Replay<'_> {
    #[expect(clippy::print_stderr, reason = "this is what a person looks for after a failure")]
    fn drop(&mut self) {
        let Self { name, seed, passed } = self;
        if !*passed {
            eprintln!("replay: PICCOLO_SEED={seed} cargo test -p piccolo-tests {name}");
        }
    }
}
