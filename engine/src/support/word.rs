//! An epoch and a time in one atomic word, so that whoever prolongs a support and whoever withdraws
//! it never miss each other: `tests/loom` tries every interleaving.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};

/// Bits of the word that hold the time, in milliseconds: 34 years of a process's life.
const UNTIL_BITS: u32 = 40;
const UNTIL_MAX: u64 = (1 << UNTIL_BITS) - 1;

/// The highest epoch. An epoch ends only after a support has lapsed, which takes a second: a pair
/// of nodes that does nothing else gets there in 194 days. It then stays, and so does the support.
const EPOCH_MAX: u64 = (1 << (64 - UNTIL_BITS)) - 1;

/// An epoch, and until when it holds, in milliseconds of the process's own time.
#[derive(Debug)]
pub(super) struct Word(AtomicU64);

impl Word {
    /// Epoch zero, over before anything began.
    #[allow(clippy::new_without_default, reason = "loom's atomics have no constant default")]
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The epoch, and until when it holds.
    pub(super) fn get(&self) -> (u64, u64) {
        unpack(self.0.load(Acquire))
    }

    /// Holds at least until then, and returns the epoch; the first one is 1.
    pub(super) fn prolong(&self, until: u64) -> u64 {
        self.change(|(epoch, held)| Some((epoch.max(1), held.max(until)))).0
    }

    /// Raises the epoch above the given one, if it holds no more at `now`. Returns whether it is
    /// above, by this call or another.
    pub(super) fn end(&self, epoch: u64, now: u64) -> bool {
        let (reached, _) = self.change(|(current, until)| {
            let ends = current <= epoch && until <= now && current < EPOCH_MAX;
            ends.then_some((current + 1, until))
        });
        reached > epoch
    }

    /// Takes in what another said: its epoch, if none higher is known, until then at least.
    /// Returns the epoch that was known before.
    pub(super) fn learn(&self, epoch: u64, until: u64) -> u64 {
        let mut before = 0;
        self.change(|(known, held)| {
            before = known;
            let until = if known == epoch { held.max(until) } else { until };
            (epoch >= known).then_some((epoch.min(EPOCH_MAX), until))
        });
        before
    }

    /// Makes a change against whoever else makes one, and returns what there is then.
    fn change(&self, mut make: impl FnMut((u64, u64)) -> Option<(u64, u64)>) -> (u64, u64) {
        let mut seen = self.0.load(Acquire);
        loop {
            let Some(made) = make(unpack(seen)) else { return unpack(seen) };
            match self.0.compare_exchange_weak(seen, pack(made), AcqRel, Acquire) {
                Ok(_) => return unpack(pack(made)),
                Err(other) => seen = other,
            }
        }
    }
}

const fn pack((epoch, until): (u64, u64)) -> u64 {
    let until = if until > UNTIL_MAX { UNTIL_MAX } else { until };
    epoch << UNTIL_BITS | until
}

const fn unpack(word: u64) -> (u64, u64) {
    (word >> UNTIL_BITS, word & UNTIL_MAX)
}
