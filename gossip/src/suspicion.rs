//! Suspicion: the time between silence and death, in which a member may refute.

use std::collections::BTreeMap;
use std::time::Duration;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use crate::config::Config;
use crate::gossip::Gossip;
use crate::member::{Member, State};
use crate::message::Body;

/// The suspects by name, with when each is declared dead.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    running: BTreeMap<String, Suspicion>,
}

#[derive(Debug)]
struct Suspicion {
    /// What is suspected: a refutation comes with another incarnation.
    id: NodeId,
    incarnation: u32,
    /// When the suspect is asked once more; never, if it was.
    ask: Moment,
    /// When it is believed.
    deadline: Moment,
}

impl Suspicions {
    pub(crate) fn next(&self) -> Moment {
        let next = self.running.values().map(|running| running.ask.min(running.deadline)).min();
        next.unwrap_or(Moment::NEVER)
    }

    fn take_unasked(&mut self, now: Moment) -> Option<String> {
        let (name, running) = self.running.iter_mut().find(|(_, running)| running.ask <= now)?;
        running.ask = Moment::NEVER;
        Some(name.clone())
    }

    fn take_due(&mut self, now: Moment) -> Option<String> {
        let due = self.running.iter().find(|(_, running)| running.deadline <= now);
        let name = due.map(|(name, _)| name.clone())?;
        self.running.remove(&name);
        Some(name)
    }

    pub(crate) fn prolong(&mut self, by: Duration) {
        for running in self.running.values_mut() {
            running.ask = running.ask + by;
            running.deadline = running.deadline + by;
        }
    }
}

/// How long a suspect has for its refutation: longer among more members, since the news must
/// reach it and come back.
fn timeout(config: &Config, members: usize) -> Duration {
    let spread = (members as f64).log10().max(1.0);
    config.probe_interval.mul_f64(f64::from(config.suspicion_multiplier) * spread)
}

impl Gossip {
    /// Suspects a member that did not answer, and tells it so first.
    pub(crate) fn suspect(&mut self, now: Moment, name: &str, id: NodeId) {
        let Some(member) = self.table.get(name) else { return };
        if member.id != id || member.state >= State::Suspect {
            return;
        }
        let claim = Member { state: State::Suspect, ..member.clone() };
        let to = claim.peer;
        self.stats.suspicions_raised += 1;
        self.mark(now, claim);
        self.send_with_news(to, id, Body::Gossip);
    }

    /// Starts, keeps or ends the suspicion of a member as its new claim demands.
    pub(crate) fn watch(&mut self, now: Moment, claim: &Member) {
        let running = &mut self.suspicions.running;
        if claim.state != State::Suspect {
            running.remove(&claim.name);
            return;
        }
        let (id, incarnation) = (claim.id, claim.incarnation);
        if running.get(&claim.name).is_some_and(|s| (s.id, s.incarnation) == (id, incarnation)) {
            return;
        }
        let timeout = timeout(&self.config, self.table.live());
        let (ask, deadline) = (now + timeout / 2, now + timeout);
        running.insert(claim.name.clone(), Suspicion { id, incarnation, ask, deadline });
    }

    /// Declares dead who has not refuted in time. Whoever would do so asks the suspect itself
    /// first, at half time: chance may have kept the refutation from just this node.
    pub(crate) fn bury(&mut self, now: Moment) {
        while let Some(name) = self.suspicions.take_unasked(now) {
            if let Some(suspect) = self.table.get(&name) {
                self.ping(suspect.peer, suspect.id);
            }
        }
        while let Some(name) = self.suspicions.take_due(now) {
            let Some(member) = self.table.get(&name) else { continue };
            let claim = Member { state: State::Dead, ..member.clone() };
            self.stats.deaths += 1;
            self.mark(now, claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspect_has_longer_in_a_larger_cluster() {
        let config = Config::default();
        assert_eq!(timeout(&config, 1), Duration::from_secs(2));
        assert_eq!(timeout(&config, 10), Duration::from_secs(2));
        assert_eq!(timeout(&config, 100), Duration::from_secs(4));
    }
}
