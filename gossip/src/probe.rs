//! Probes: is it there? Directly, then through others.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;
use rand::seq::SliceRandom;

use crate::gossip::Gossip;
use crate::member::State;
use crate::message::Body;
use crate::reject::Reject;
use crate::timers::Timer;

/// Pings made for others whose answer is still waited for, at most; the oldest is given up.
const RELAYS_MAX: usize = 256;

/// Pings outside the round whose answer is still waited for, at most; the oldest is given up.
const ASKED_MAX: usize = 128;

/// Who is probed now, who next, and for whom.
#[derive(Debug)]
pub(crate) struct Probing {
    /// Who is still to be probed in this round, the next one last.
    round: Vec<String>,
    current: Option<Probe>,
    relays: VecDeque<Relay>,
    asked: VecDeque<u32>,
    sequence: u32,
}

#[derive(Debug)]
struct Probe {
    sequence: u32,
    name: String,
    id: NodeId,
    to: SocketAddr,
    began: Moment,
    answered: bool,
}

/// A ping made for another.
#[derive(Debug)]
struct Relay {
    sequence: u32,
    target: NodeId,
    /// Whom to tell, and under which number it asked.
    asker: (SocketAddr, NodeId, u32),
}

impl Probing {
    /// `sequence` is where the numbers begin: drawn, so that answers to an earlier life do not
    /// match.
    pub(crate) const fn new(sequence: u32) -> Self {
        Self {
            round: Vec::new(),
            current: None,
            relays: VecDeque::new(),
            asked: VecDeque::new(),
            sequence,
        }
    }

    fn number(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Whether an answer from `by` is waited for.
    pub(crate) fn expects(&self, sequence: u32, by: NodeId) -> bool {
        self.current.as_ref().is_some_and(|probe| (probe.sequence, probe.id) == (sequence, by))
            || self.relays.iter().any(|relay| (relay.sequence, relay.target) == (sequence, by))
            || self.asked.contains(&sequence)
    }

    /// Probes a member before the rest of the round.
    pub(crate) fn prefer(&mut self, name: &str) {
        if self.round.last().is_none_or(|next| next != name) {
            self.round.retain(|waiting| waiting != name);
            self.round.push(name.to_owned());
        }
    }
}

impl Gossip {
    /// Ends the probe under way and starts the next.
    pub(crate) fn probe(&mut self, now: Moment) {
        if let Some(probe) = self.probing.current.take()
            && !probe.answered
        {
            self.stats.probes_failed += 1;
            self.suspect(now, &probe.name, probe.id);
        }
        self.timers.set(Timer::Probe, now + self.config.probe_interval);
        let Some((name, id, to)) = self.next_target() else { return };
        let sequence = self.probing.number();
        self.probing.current = Some(Probe { sequence, name, id, to, began: now, answered: false });
        self.stats.probes += 1;
        self.timers.set(Timer::ProbeTimeout, now + self.config.probe_timeout);
        self.send_with_news(to, id, Body::Ping(sequence));
    }

    /// The next of the round; a new round is in a new random order.
    fn next_target(&mut self) -> Option<(String, NodeId, SocketAddr)> {
        for fresh in [false, true] {
            if fresh {
                let live = self.table.iter().filter(|member| member.state.is_live());
                self.probing.round = live.map(|member| member.name.clone()).collect();
                self.probing.round.shuffle(&mut self.rng);
            }
            while let Some(name) = self.probing.round.pop() {
                if let Some(member) = self.table.get(&name)
                    && member.state.is_live()
                    && !self.is_us(&name)
                {
                    return Some((name, member.id, member.peer));
                }
            }
        }
        None
    }

    /// Asks others to probe the silent one, and once more ourselves.
    pub(crate) fn probe_indirectly(&mut self) {
        let Some(probe) = &self.probing.current else { return };
        if probe.answered {
            return;
        }
        let (sequence, target, address) = (probe.sequence, probe.id, probe.to);
        self.send_with_news(address, target, Body::Ping(sequence));
        let helpers = self.random_peers(self.config.indirect_probes, |member| {
            member.id != target && member.state != State::Suspect
        });
        for (to, id) in helpers {
            self.send_with_news(to, id, Body::PingRequest { sequence, target, address });
        }
    }

    /// Pings outside the round.
    pub(crate) fn ping(&mut self, to: SocketAddr, to_id: NodeId) {
        let sequence = self.probing.number();
        if self.probing.asked.len() >= ASKED_MAX {
            self.probing.asked.pop_front();
        }
        self.probing.asked.push_back(sequence);
        self.send_with_news(to, to_id, Body::Ping(sequence));
    }

    /// Pings for another.
    pub(crate) fn relay(
        &mut self,
        asker: (SocketAddr, NodeId, u32),
        target: NodeId,
        address: SocketAddr,
    ) {
        let sequence = self.probing.number();
        if self.probing.relays.len() >= RELAYS_MAX {
            self.probing.relays.pop_front();
        }
        self.probing.relays.push_back(Relay { sequence, target, asker });
        self.send_with_news(address, target, Body::Ping(sequence));
    }

    /// Takes in that `by` answered.
    ///
    /// # Errors
    ///
    /// Nobody waits for that answer.
    pub(crate) fn acknowledged(
        &mut self,
        from: SocketAddr,
        sequence: u32,
        by: NodeId,
    ) -> Result<(), Reject> {
        if let Some(probe) = &mut self.probing.current
            && (probe.sequence, probe.id) == (sequence, by)
        {
            probe.answered = true;
            let began = probe.began;
            self.conclude_trials(by, began);
            return Ok(());
        }
        let relays = &mut self.probing.relays;
        let relay = relays.iter().position(|r| (r.sequence, r.target) == (sequence, by));
        if let Some(relay) = relay.and_then(|index| relays.remove(index)) {
            let (to, id, sequence) = relay.asker;
            self.send_with_news(to, id, Body::Ack { sequence, by });
            return Ok(());
        }
        let asked = self.probing.asked.iter().position(|asked| *asked == sequence);
        let found = asked.and_then(|index| self.probing.asked.remove(index));
        found.map(|_| ()).ok_or(Reject::Unsolicited { from })
    }

    /// Lets nobody pay for our own pause: the probe under way counts for nothing, and suspects
    /// get the lost time back.
    pub(crate) fn forgive(&mut self, late: Duration) {
        self.stats.pauses += 1;
        self.suspicions.prolong(late);
        if let Some(probe) = self.probing.current.take() {
            self.probing.prefer(&probe.name);
        }
    }
}
