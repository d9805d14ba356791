//! How long a command may still wait.

use std::time::{Duration, Instant};

/// A point in time after which waiting is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// In `patience` from now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a command of a person waits in real time; no node runs this"
    )]
    pub(super) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// What is left; none if it has passed.
    #[expect(clippy::disallowed_methods, reason = "as above")]
    pub(super) fn left(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// Waits before something outside this process is asked again.
#[expect(
    clippy::disallowed_methods,
    reason = "another process cannot be waited for but by asking it again"
)]
pub(super) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
