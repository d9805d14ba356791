//! The only place of loadgen that reads a clock.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some fixed moment of this machine; it never goes back.
pub(crate) fn now() -> u64 {
    read(ClockId::Monotonic)
}

/// Nanoseconds of CPU that the calling thread has used so far.
pub(crate) fn thread_cpu() -> u64 {
    read(ClockId::ThreadCPUTime)
}

/// Nanoseconds of CPU that the process has used so far.
pub(crate) fn process_cpu() -> u64 {
    read(ClockId::ProcessCPUTime)
}

/// Nanoseconds since 1970, for names and seeds that no other run has.
pub(crate) fn wall() -> u64 {
    read(ClockId::Realtime)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Nanoseconds of a millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;
