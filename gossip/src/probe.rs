//! Probes: is it there? Directly, then through others.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;
use rand::seq::SliceRandom;

use crate::gossip::Gossip;
use crate::member::State;
use crate::message::Body;
use crate::relay::Relays;
use crate::timers::Timer;

/// Pings outside the round whose answer is still waited for, at most; the oldest is given up.
pub(crate) const ASKED_MAX: usize = 256;

/// Who is probed now, who next, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Probing {
    /// Who is still to be probed in this round, the next one last.
    round: Vec<String>,
    /// Who is probed before the rest of the round.
    urgent: BTreeSet<String>,
    current: Option<Probe>,
    pub(crate) relays: Relays,
    asked: VecDeque<Asked>,
    sequence: u32,
}

#[derive(Clone, Debug)]
struct Probe {
    sequence: u32,
    name: String,
    id: NodeId,
    to: SocketAddr,
    began: Moment,
    answered: bool,
    /// Others that were asked, and how many of them said that they heard nothing either.
    helpers: u32,
    nacks: u32,
}

/// A ping outside the round.
#[derive(Clone, Debug)]
struct Asked {
    sequence: u32,
    /// Who is meant, if that is known.
    to: NodeId,
    began: Moment,
}

impl Asked {
    fn is_answered(&self, sequence: u32, by: NodeId) -> bool {
        self.sequence == sequence && (self.to == by || !self.to.is_some())
    }
}

impl Probing {
    /// `sequence` is where the numbers begin: drawn, so that answers to an earlier life do not
    /// match.
    pub(crate) const fn new(sequence: u32) -> Self {
        Self {
            round: Vec::new(),
            urgent: BTreeSet::new(),
            current: None,
            relays: Relays::new(),
            asked: VecDeque::new(),
            sequence,
        }
    }

    #[cfg(test)]
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Whether an answer from `by` is waited for.
    pub(crate) fn expects(&self, sequence: u32, by: NodeId) -> bool {
        self.current.as_ref().is_some_and(|probe| (probe.sequence, probe.id) == (sequence, by))
            || self.relays.expect(sequence, by)
            || self.asked.iter().any(|asked| asked.is_answered(sequence, by))
    }

    /// Whether word is waited for that a helper heard nothing.
    pub(crate) fn expects_nack(&self, sequence: u32) -> bool {
        self.current.as_ref().is_some_and(|probe| {
            probe.sequence == sequence && !probe.answered && probe.nacks < probe.helpers
        })
    }

    /// A helper heard nothing either.
    pub(crate) fn nacked(&mut self) {
        if let Some(probe) = &mut self.current {
            probe.nacks += 1;
        }
    }

    /// Probes a member before the rest of the round.
    pub(crate) fn prefer(&mut self, name: &str) {
        self.urgent.insert(name.to_owned());
    }

    /// A number for a ping outside the round, whose answer is waited for.
    fn ask(&mut self, now: Moment, to: NodeId) -> u32 {
        let sequence = self.number();
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked { sequence, to, began: now });
        sequence
    }
}

impl Gossip {
    /// Ends the probe under way and starts the next.
    pub(crate) fn probe(&mut self, now: Moment) {
        if let Some(probe) = self.probing.current.take()
            && !probe.answered
        {
            self.stats.probes_failed += 1;
            // Helpers that say they heard nothing show that it is not us. Those that do not even
            // say that speak against ourselves.
            let asked = probe.helpers > 0;
            self.feel_worse(if asked { probe.helpers - probe.nacks } else { 1 });
            self.suspect(now, &probe.name, probe.id);
        }
        self.timers.set(Timer::Probe, now + self.stretched(self.config.probe_interval));
        self.contest(now);
        let Some((name, id, to)) = self.next_target() else { return };
        let sequence = self.probing.number();
        let probe =
            Probe { sequence, name, id, to, began: now, answered: false, helpers: 0, nacks: 0 };
        self.probing.current = Some(probe);
        self.stats.probes += 1;
        self.timers.set(Timer::ProbeTimeout, now + self.stretched(self.config.probe_timeout));
        self.send_with_news(to, id, Body::Ping(sequence));
    }

    /// The urgent ones, then the next of the round; a new round is in a new random order.
    fn next_target(&mut self) -> Option<(String, NodeId, SocketAddr)> {
        while let Some(name) = self.probing.urgent.pop_first() {
            if let Some((id, to)) = self.target(&name) {
                return Some((name, id, to));
            }
        }
        for fresh in [false, true] {
            if fresh {
                let live = self.table.iter().filter(|member| member.state.is_live());
                self.probing.round = live.map(|member| member.name.clone()).collect();
                self.probing.round.shuffle(&mut self.rng);
            }
            while let Some(name) = self.probing.round.pop() {
                if let Some((id, to)) = self.target(&name) {
                    return Some((name, id, to));
                }
            }
        }
        None
    }

    /// Where another live member is.
    fn target(&self, name: &str) -> Option<(NodeId, SocketAddr)> {
        let member = self.table.get(name)?;
        (member.state.is_live() && !self.is_us(name)).then_some((member.id, member.peer))
    }

    /// Asks others to probe the silent one, and once more ourselves.
    pub(crate) fn probe_indirectly(&mut self) {
        let Some(probe) = &self.probing.current else { return };
        if probe.answered {
            return;
        }
        let (sequence, target, address) = (probe.sequence, probe.id, probe.to);
        self.send_with_news(address, target, Body::Ping(sequence));
        let helpers = self.ask_helpers(sequence, target, address);
        if let Some(probe) = &mut self.probing.current {
            probe.helpers = helpers;
        }
    }

    /// Asks a few others to ping somebody for us, and says how many.
    fn ask_helpers(&mut self, sequence: u32, target: NodeId, address: SocketAddr) -> u32 {
        let helpers = self.random_peers(self.config.indirect_probes, |member| {
            member.id != target && member.state != State::Suspect
        });
        let count = helpers.len() as u32;
        for (to, id) in helpers {
            // Whether they hold it suspect, too, decides how long it has.
            let request = Body::PingRequest { sequence, target, address };
            self.send_about(to, id, request, target);
        }
        count
    }

    /// Pings outside the round.
    pub(crate) fn ping(&mut self, now: Moment, to: SocketAddr, to_id: NodeId) {
        let sequence = self.probing.ask(now, to_id);
        self.send_with_news(to, to_id, Body::Ping(sequence));
    }

    /// Pings outside the round, directly and through others at once.
    pub(crate) fn ping_hard(&mut self, now: Moment, to: SocketAddr, to_id: NodeId) {
        let sequence = self.probing.ask(now, to_id);
        self.send_with_news(to, to_id, Body::Ping(sequence));
        self.ask_helpers(sequence, to_id, to);
    }

    /// Takes in that `by` answered.
    ///
    /// # Errors
    ///
    /// Nobody waits for that answer.
    pub(crate) fn acknowledged(
        &mut self,
        now: Moment,
        from: SocketAddr,
        sequence: u32,
        by: NodeId,
    ) {
        if let Some(probe) = &mut self.probing.current
            && (probe.sequence, probe.id) == (sequence, by)
        {
            let (first, direct) = (!probe.answered, from == probe.to);
            probe.answered = true;
            let began = probe.began;
            if first {
                self.feel_better();
            }
            if first && direct {
                self.stats.probe_times.count(now.since(began));
            }
            self.conclude_trials(by, began);
            return;
        }
        if let Some((to, id, sequence)) = self.probing.relays.answered(sequence, by) {
            self.send_with_news(to, id, Body::Ack { sequence, by });
            return;
        }
        let asked = self.probing.asked.iter().position(|asked| asked.is_answered(sequence, by));
        if let Some(asked) = asked.and_then(|index| self.probing.asked.remove(index)) {
            self.conclude_trials(by, asked.began);
        }
    }

    /// Lets nobody pay for our own pause: the probe under way counts for nothing, and suspects
    /// get the lost time back.
    pub(crate) fn forgive(&mut self, late: Duration) {
        self.stats.pauses += 1;
        self.feel_worse(1);
        self.suspicions.prolong(late);
        if let Some(probe) = self.probing.current.take() {
            self.probing.prefer(&probe.name);
        }
    }
}
