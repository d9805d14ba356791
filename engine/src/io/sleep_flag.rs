//! Whether the reader of a queue sleeps, so that a writer wakes it only then.
//!
//! A wake-up is a system call; most of the time the reader is awake and will look again anyway.
//! The reader states that it sleeps and then looks once more; the writer writes and then looks
//! whether the reader sleeps. Both orders are store-then-load, which processors may swap unless
//! both sides are sequentially consistent: with anything weaker a wake-up can be lost. The test
//! `sleep_flag` tries every interleaving with loom.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering::SeqCst, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering::SeqCst, fence};

/// Whether the reader of a queue sleeps, or is about to.
#[derive(Debug)]
pub struct SleepFlag(AtomicBool);

impl SleepFlag {
    /// Awake.
    #[allow(clippy::new_without_default, reason = "loom's atomics have no constant default")]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The reader will sleep unless it finds something when it looks now, after this call.
    pub fn announce(&self) {
        self.0.store(true, SeqCst);
        fence(SeqCst);
    }

    /// The reader is awake and will look.
    pub fn awake(&self) {
        self.0.store(false, SeqCst);
    }

    /// The writer has written: whether it must wake the reader. Of several writers one must.
    pub fn must_wake(&self) -> bool {
        fence(SeqCst);
        self.0.load(SeqCst) && self.0.swap(false, SeqCst)
    }
}
