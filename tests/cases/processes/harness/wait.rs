//! Waiting for a condition, with a limit. The only place of the cases that reads a clock or sleeps.

use std::thread;
use std::time::{Duration, Instant};

/// Time between two looks at a condition of another process.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Waits until `condition` gives a value, and returns it.
///
/// # Panics
///
/// After `limit`, naming `what` was waited for and the last reason given.
#[track_caller]
pub(crate) fn until<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let watch = Stopwatch::start();
    loop {
        match condition() {
            Ok(value) => return value,
            Err(reason) if watch.passed() > limit => {
                panic!("waited {limit:?} until {what}, in vain: {reason}")
            }
            Err(_) => pause(),
        }
    }
}

/// Measures time from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "real processes live in real time")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn passed(self) -> Duration {
        self.0.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "another process cannot be waited for otherwise")]
fn pause() {
    thread::sleep(LOOK_EVERY);
}

#[test]
fn waiting_ends_with_the_condition() {
    let mut looks = 0;
    let found = until(Duration::from_secs(5), "the third look", || {
        looks += 1;
        if looks == 3 { Ok(looks) } else { Err(format!("look {looks}")) }
    });
    assert_eq!(found, 3);
}

#[test]
#[should_panic(expected = "in vain: never")]
fn waiting_in_vain_names_the_reason() {
    until(Duration::from_millis(1), "nothing", || Err::<(), _>("never".to_owned()));
}
