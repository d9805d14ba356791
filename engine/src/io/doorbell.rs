//! Wakes a thread that waits in its Poll, and only then.

use std::io;
use std::sync::Arc;

use mio::{Registry, Token, Waker};

use super::sleep_flag::SleepFlag;

/// The token of every thread's doorbell.
pub(super) const BELL: Token = Token(usize::MAX);

/// Wakes a thread that waits in its Poll.
#[derive(Debug)]
pub(super) struct Doorbell {
    flag: SleepFlag,
    waker: Waker,
}

impl Doorbell {
    pub(super) fn new(registry: &Registry) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { flag: SleepFlag::new(), waker: Waker::new(registry, BELL)? }))
    }

    /// To be called after something was written for the thread.
    pub(super) fn ring(&self) {
        if self.flag.must_wake()
            && let Err(error) = self.waker.wake()
        {
            // An eventfd of our own; if it fails, this thread cannot be reached any more.
            panic!("a thread cannot be woken: {error}");
        }
    }

    /// The thread will wait unless it finds something after this call.
    pub(super) fn announce_sleep(&self) {
        self.flag.announce();
    }

    /// The thread is awake.
    pub(super) fn awake(&self) {
        self.flag.awake();
    }
}
