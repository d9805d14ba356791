//! What the admin listener asks of the reactor.

use std::fmt;

use crossbeam_queue::ArrayQueue;

/// Requests that may wait at most. Each is rare and idempotent: one would do; a few more cover
/// clients that ask again.
pub const REQUESTS_MAX: usize = 16;

/// Something only the reactor can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminRequest {
    /// Hand over every slot, tell the others, and end.
    Leave,
    /// End the life of the dead member of this name for good.
    Remove(String),
}

/// The way from the admin listener to the reactor: bounded, and the reactor is woken for each.
pub struct Requests {
    queue: ArrayQueue<AdminRequest>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Requests {
    /// An empty queue; `wake` makes the reactor look into it.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { queue: ArrayQueue::new(REQUESTS_MAX), wake: Box::new(wake) }
    }

    /// Adds a request and wakes the reactor.
    ///
    /// # Errors
    ///
    /// Gives the request back if [`REQUESTS_MAX`] wait already.
    pub fn push(&self, request: AdminRequest) -> Result<(), AdminRequest> {
        self.queue.push(request)?;
        (self.wake)();
        Ok(())
    }

    /// The oldest request that waits.
    pub fn pop(&self) -> Option<AdminRequest> {
        self.queue.pop()
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}
