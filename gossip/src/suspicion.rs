//! Suspicion: the time between silence and death, in which a member may refute. The more members
//! find it silent by themselves, the shorter.

use std::collections::BTreeMap;
use std::time::Duration;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use crate::config::Config;
use crate::gossip::Gossip;
use crate::member::{Member, State};
use crate::message::Body;

/// The suspects by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suspicions {
    running: BTreeMap<String, Suspicion>,
}

#[derive(Clone, Debug)]
struct Suspicion {
    /// What is suspected: a refutation comes with another incarnation.
    id: NodeId,
    incarnation: u32,
    began: Moment,
    /// How long it runs, as many as have accused by now.
    time: Duration,
    /// When the suspect is asked once more; never, if it was.
    ask: Moment,
}

impl Suspicion {
    fn deadline(&self) -> Moment {
        self.began + self.time
    }
}

impl Suspicions {
    pub(crate) fn next(&self) -> Moment {
        let next = self.running.values().map(|running| running.ask.min(running.deadline())).min();
        next.unwrap_or(Moment::NEVER)
    }

    fn take_unasked(&mut self, now: Moment) -> Option<String> {
        let (name, running) = self.running.iter_mut().find(|(_, running)| running.ask <= now)?;
        running.ask = Moment::NEVER;
        Some(name.clone())
    }

    fn take_due(&mut self, now: Moment) -> Option<String> {
        let due = self.running.iter().find(|(_, running)| running.deadline() <= now);
        let name = due.map(|(name, _)| name.clone())?;
        self.running.remove(&name);
        Some(name)
    }

    pub(crate) fn prolong(&mut self, by: Duration) {
        for running in self.running.values_mut() {
            running.began = running.began + by;
            running.ask = running.ask + by;
        }
    }
}

/// How long a suspect has if as many accuse it as ever count: longer in a large cluster, since the
/// news must reach it and come back.
fn time_min(config: &Config, live: usize) -> Duration {
    let spread = (live as f64).log10().max(1.0);
    let time = config.probe_interval.mul_f64(f64::from(config.suspicion_multiplier) * spread);
    time.max(config.suspicion_floor)
}

/// How long a suspect has that so many accuse (source: Lifeguard, LHA-Suspicion):
/// `max - (max - min) * ln(confirmations + 1) / ln(K + 1)`, where the first accuser confirms
/// nothing, and K is no more than the others that could confirm it.
fn time(config: &Config, min: Duration, live: usize, accusers: usize) -> Duration {
    let needed = config.confirmations.min(live.saturating_sub(2));
    let confirmed = accusers.saturating_sub(1).min(needed);
    if needed == 0 {
        return min;
    }
    let share = (confirmed as f64 + 1.0).ln() / (needed as f64 + 1.0).ln();
    min + (min * (config.suspicion_stretch - 1)).mul_f64(1.0 - share)
}

impl Gossip {
    /// Suspects a member that did not answer, or confirms the suspicion of another, and tells the
    /// suspect first.
    pub(crate) fn suspect(&mut self, now: Moment, name: &str, id: NodeId) {
        let Some(member) = self.table.get(name).filter(|member| member.id == id) else { return };
        let to = member.peer;
        match member.state {
            State::Suspect => {
                let ours = [self.id];
                self.confirm(now, name, &ours, self.id);
            }
            State::Dead | State::Left => return,
            State::Joining | State::Alive | State::Leaving => {
                let accusers = vec![self.id];
                let claim = Member { state: State::Suspect, accusers, ..member.clone() };
                self.stats.suspicions_raised += 1;
                self.mark(now, claim);
            }
        }
        self.send_with_news(to, id, Body::Gossip);
    }

    /// Takes in who else found a suspect silent, and passes on what is new of it.
    pub(crate) fn confirm(&mut self, now: Moment, name: &str, accusers: &[NodeId], teller: NodeId) {
        let Some(known) = self.table.get(name) else { return };
        let mut claim = known.clone();
        self.accuse(&mut claim, accusers);
        if claim.accusers.len() == known.accusers.len() {
            return self.rumors.known_to(name, teller);
        }
        self.stats.suspicions_confirmed += 1;
        self.table.put(claim.clone());
        self.watch(now, &claim);
        self.rumors.add(name, teller);
        self.arm_gossip(now);
    }

    /// Adds accusers to a claim, as many as count and each once.
    pub(crate) fn accuse(&self, claim: &mut Member, accusers: &[NodeId]) {
        for accuser in accusers {
            let full = claim.accusers.len() > self.config.confirmations;
            if !full && *accuser != claim.id && !claim.accusers.contains(accuser) {
                claim.accusers.push(*accuser);
            }
        }
    }

    /// Starts, shortens or ends the suspicion of a member as its claim demands.
    pub(crate) fn watch(&mut self, now: Moment, claim: &Member) {
        self.patience.observe(now, claim, self.config.patience_max);
        let running = &mut self.suspicions.running;
        if claim.state != State::Suspect {
            running.remove(&claim.name);
            return;
        }
        let live = self.table.live();
        let min = time_min(&self.config, live).max(self.patience.of(now, &claim.name));
        let time = time(&self.config, min, live, claim.accusers.len());
        let (id, incarnation) = (claim.id, claim.incarnation);
        let same = running.get_mut(&claim.name);
        if let Some(same) = same.filter(|s| (s.id, s.incarnation) == (id, incarnation)) {
            same.time = time;
            return;
        }
        let ask = now + min / 2;
        let suspicion = Suspicion { id, incarnation, began: now, time, ask };
        running.insert(claim.name.clone(), suspicion);
    }

    /// Declares dead who has not refuted in time. Whoever would do so asks the suspect itself
    /// first, at half of the shortest time: chance may have kept the refutation from just this
    /// node.
    pub(crate) fn bury(&mut self, now: Moment) {
        while let Some(name) = self.suspicions.take_unasked(now) {
            if let Some(suspect) = self.table.get(&name) {
                self.ping(now, suspect.peer, suspect.id);
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
        let millis = |live| time_min(&config, live).as_millis();
        assert_eq!([1, 10, 100, 1000].map(millis), [3000, 3000, 3000, 4500]);
    }

    #[test]
    fn a_suspect_has_the_less_time_the_more_accuse_it() {
        let config = Config::default();
        let min = config.suspicion_floor;
        let seconds = |accusers| time(&config, min, 10, accusers).as_secs_f64();
        assert_eq!((seconds(0), seconds(1), seconds(4), seconds(9)), (18.0, 18.0, 3.0, 3.0));
        assert!(seconds(1) > seconds(2) && seconds(2) > seconds(3) && seconds(3) > seconds(4));
        // Of two nodes nobody can confirm what the other one finds.
        assert_eq!(time(&config, min, 2, 1), min);
        assert_eq!(time(&config, min, 3, 2), min);
    }
}
