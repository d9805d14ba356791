//! When sends are due, by the clock alone.

use crate::clock::SECOND;

/// The share that one worker has of a steady rate: every `workers`-th send.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start: u64,
    rate: u64,
    next: u64,
    workers: u64,
}

impl Schedule {
    /// Sends at `rate` per second in all, from `start` in nanoseconds, for worker `worker`.
    pub(crate) fn new(rate: u64, start: u64, worker: u64, workers: u64) -> Self {
        Self { start, rate: rate.max(1), next: worker, workers }
    }

    /// When the next send is due, in nanoseconds.
    pub(crate) fn due(&self) -> u64 {
        // Worked out from the start each time, so that no rounding adds up.
        let after = u128::from(self.next) * u128::from(SECOND) / u128::from(self.rate);
        self.start + after as u64
    }

    /// Goes on to the send behind the next one.
    pub(crate) fn advance(&mut self) {
        self.next += self.workers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dues(mut schedule: Schedule, count: usize) -> Vec<u64> {
        let mut take = || {
            let due = schedule.due();
            schedule.advance();
            due
        };
        (0..count).map(|_| take()).collect()
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_is_kept_in_the_long_run() {
        let dues = dues(Schedule::new(3, 100, 0, 1), 3001);
        assert_eq!(&dues[..4], [100, 333_333_433, 666_666_766, SECOND + 100]);
        assert_eq!(dues[3000], 1000 * SECOND + 100);
    }

    proptest! {
        #[test]
        fn workers_together_send_what_one_would(rate in 1_u64..5_000_000, workers in 1_u64..9) {
            let alone = dues(Schedule::new(rate, 5, 0, 1), 72);
            let share = |worker| dues(Schedule::new(rate, 5, worker, workers), 72);
            let mut together: Vec<u64> = (0..workers).flat_map(share).collect();
            together.sort_unstable();
            prop_assert_eq!(&together[..72], &alone[..]);
        }
    }
}
