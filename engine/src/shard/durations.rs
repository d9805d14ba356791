//! How long commands took, in buckets: counted by their shard, read by anybody.

use std::array::from_fn;

use super::counters::Gauge;

/// Upper bounds of the buckets in microseconds, each included; behind the last is one without a
/// bound. Commands take microseconds here, and 5 s is how long an answer is waited for at most.
pub const BOUNDS_MICROSECONDS: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000, 5_000_000,
];

/// Buckets, the one without a bound included.
const BUCKETS: usize = BOUNDS_MICROSECONDS.len() + 1;

/// Which way a command went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// Executed by the shard that has the connection.
    Local,
    /// By another shard of the node.
    Sibling,
    /// By another node.
    Forwarded,
    /// By several slots or shards: its reply was put together.
    Gathered,
}

impl Path {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Local, Self::Sibling, Self::Forwarded, Self::Gathered];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Sibling => "sibling",
            Self::Forwarded => "forwarded",
            Self::Gathered => "gathered",
        }
    }
}

/// Durations of commands that went one way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Durations {
    counts: [u64; BUCKETS],
    microseconds: u64,
}

impl Durations {
    /// Adds `commands` that took so many microseconds each.
    #[inline]
    pub(super) fn add(&mut self, took: u64, commands: u64) {
        // From below: nearly all are short.
        let bucket = BOUNDS_MICROSECONDS.iter().position(|bound| took <= *bound);
        self.counts[bucket.unwrap_or(BUCKETS - 1)] += commands;
        self.microseconds += took * commands;
    }
}

/// The same as others see it.
#[derive(Debug, Default)]
pub struct SharedDurations {
    counts: [Gauge; BUCKETS],
    microseconds: Gauge,
}

impl SharedDurations {
    /// Commands in each bucket by itself, the one without a bound last.
    pub fn counts(&self) -> [u64; BUCKETS] {
        from_fn(|bucket| self.counts[bucket].get())
    }

    /// Microseconds of all of them together.
    pub fn microseconds(&self) -> u64 {
        self.microseconds.get()
    }

    pub(super) fn publish(&self, durations: &Durations) {
        for (gauge, count) in self.counts.iter().zip(durations.counts) {
            gauge.set(count);
        }
        self.microseconds.set(durations.microseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_first_bucket_that_includes_it() {
        let mut durations = Durations::default();
        for (microseconds, commands) in [(0, 1), (10, 1), (11, 5), (5_000_000, 1), (5_000_001, 2)] {
            durations.add(microseconds, commands);
        }
        let shared = SharedDurations::default();
        shared.publish(&durations);
        let counts = shared.counts();
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (2, 5, 1, 2));
        assert_eq!(counts.iter().sum::<u64>(), 10);
        assert_eq!(shared.microseconds(), 10 + 55 + 5_000_000 + 10_000_002);
    }
}
