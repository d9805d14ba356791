//! Whether the majority of members that a node sees may be acted upon.

use std::time::Duration;

use piccolo_schema::time::Moment;

/// How long a majority must have been seen before it counts, once it was lost. Whoever was cut off
/// holds all others dead, and finds them again one by one: the first of them must not be a reason
/// to begin anew what the others serve. Two halves of 500 know all of each other after 9.8 s at
/// most (`sim membership --partition`).
const SEEN: Duration = Duration::from_secs(10);

/// What is remembered of it.
#[derive(Debug, Default)]
pub(super) struct Majority {
    /// When one that is seen counts again.
    doubted_until: Moment,
}

impl Majority {
    /// Takes in whether one is seen now, and says whether it counts.
    pub(super) fn counts(&mut self, now: Moment, seen: bool) -> bool {
        if !seen {
            self.doubted_until = now + SEEN;
        }
        seen && now >= self.doubted_until
    }

    /// An operator says who is gone for good: what is seen counts at once.
    pub(super) fn trust(&mut self) {
        self.doubted_until = Moment(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulated: `PICCOLO_SEED=18 a_node_cut_off_for_a_minute_converges` lost what a node served
    /// that was dead to another one for two seconds more.
    #[test]
    fn a_majority_found_again_does_not_count_at_once() {
        let mut majority = Majority::default();
        assert!(majority.counts(Moment(0), true), "it was never lost");
        let lost = Moment(0) + Duration::from_mins(1);
        assert!(!majority.counts(lost, false));
        assert!(!majority.counts(lost + Duration::from_millis(9_999), true));
        assert!(majority.counts(lost + SEEN, true));
        assert!(!majority.counts(lost + SEEN, false), "lost once more");
        assert!(!majority.counts(lost + SEEN + Duration::from_secs(9), true));
        majority.trust();
        assert!(majority.counts(lost + SEEN + Duration::from_secs(9), true), "an operator said so");
    }
}
