//! The two kinds of time. Pure code is told both; only the node's clock reads them.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point of a node's own time, which never goes back: microseconds since some start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than every other.
    pub const NEVER: Self = Self(u64::MAX);

    /// Time passed since `earlier`; zero if that is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Wall time in milliseconds since 1970: what expiry is stated in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UnixMillis(pub u64);

/// Both kinds of time, read together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Now {
    /// The node's own time.
    pub moment: Moment,
    /// Wall time.
    pub wall: UnixMillis,
}
