//! The node's clock: the only place where time is read, and where chance comes from outside.

use std::time::Duration;

use piccolo_schema::time::{Moment, Now, UnixMillis};
use rand::TryRng as _;
use rand::rngs::SysRng;
use rustix::time::{ClockId, clock_gettime};

/// Reads both kinds of time. The node's own time goes on while the machine sleeps
/// (CLOCK_BOOTTIME): a lease must end even if its holder slept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Duration,
}

impl Clock {
    /// A clock that is at zero now.
    pub(super) fn start() -> Self {
        // One second in, so that the first timers are not due before they exist.
        Self { start: read(ClockId::Boottime).saturating_sub(Duration::from_secs(1)) }
    }

    /// Now, both ways.
    pub(super) fn now(self) -> Now {
        let moment = read(ClockId::Boottime).saturating_sub(self.start).as_micros() as u64;
        let wall = read(ClockId::Realtime).as_millis() as u64;
        Now { moment: Moment(moment), wall: UnixMillis(wall) }
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32)
}

/// 128 bits that nobody can guess, from the system; never zero.
pub(super) fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    if let Err(error) = SysRng.try_fill_bytes(&mut bytes) {
        panic!("the system has no random numbers: {error}");
    }
    u128::from_le_bytes(bytes).max(1)
}
