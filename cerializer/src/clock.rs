//! Time: one coarse reading that everybody shares, and the wall clock for what expires.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often the coarse reading is renewed: what time limits are off by.
pub const TICK: Duration = Duration::from_millis(100);

/// A coarse clock, read for next to nothing. Whoever runs the runtime calls [`Clock::tick`].
#[derive(Clone, Debug)]
pub struct Clock {
    millis: Rc<Cell<u64>>,
}

impl Clock {
    /// A clock that has just ticked.
    pub fn start() -> Self {
        Self { millis: Rc::new(Cell::new(read(ClockId::Monotonic).as_millis() as u64)) }
    }

    /// Renews the reading.
    pub fn tick(&self) {
        self.millis.set(read(ClockId::Monotonic).as_millis() as u64);
    }

    /// Milliseconds since some start, as of the last tick.
    pub fn millis(&self) -> u64 {
        self.millis.get()
    }

    /// Whether `limit` has passed since the reading `from`.
    pub fn passed(&self, from: u64, limit: Duration) -> bool {
        u128::from(self.millis().saturating_sub(from)) >= limit.as_millis()
    }
}

/// Time since some start, exactly: for how long a request took.
pub fn stopwatch() -> Duration {
    read(ClockId::Monotonic)
}

/// Milliseconds since 1970.
pub fn wall_ms() -> u64 {
    read(ClockId::Realtime).as_millis() as u64
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32)
}
