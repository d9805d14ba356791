//! Local health: how much this node should doubt itself before it doubts others.

use std::time::Duration;

use crate::gossip::Gossip;

/// A count of recent signs that this node, not the others, is slow (source: Lifeguard, LHA-Probe).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Health {
    /// 0: well. At most [`Config::health_max`](crate::Config::health_max).
    score: u32,
}

impl Health {
    pub(crate) const fn score(self) -> u32 {
        self.score
    }
}

impl Gossip {
    /// As many signs that this node is slow: a probe that failed with nobody to say that he was
    /// asked, a helper that did not even say "no answer", a suspicion of ourselves that we had to
    /// refute, a pause.
    pub(crate) fn feel_worse(&mut self, signs: u32) {
        self.health.score = (self.health.score + signs).min(self.config.health_max);
    }

    /// A probe was answered.
    pub(crate) fn feel_better(&mut self) {
        self.health.score = self.health.score.saturating_sub(1);
    }

    /// A time of the probe, longer the slower this node is.
    pub(crate) fn stretched(&self, time: Duration) -> Duration {
        time * (1 + self.health.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::tests::alone;

    #[test]
    fn times_stretch_up_to_the_limit_and_shrink_with_each_success() {
        let mut gossip = alone("me");
        let second = Duration::from_secs(1);
        assert_eq!(gossip.stretched(second), second);
        gossip.feel_worse(3);
        assert_eq!(gossip.stretched(second), 4 * second);
        gossip.feel_worse(100);
        assert_eq!(gossip.stretched(second), 9 * second);
        for _ in 0..20 {
            gossip.feel_better();
        }
        assert_eq!(gossip.stretched(second), second);
    }
}
