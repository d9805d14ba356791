//! Pings made for others, and the word that nothing was heard.

use std::collections::VecDeque;
use std::net::SocketAddr;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use crate::gossip::Gossip;
use crate::message::Body;
use crate::timers::Timer;

/// Pings made for others whose answer is still waited for, at most; the oldest is given up.
pub(crate) const RELAYS_MAX: usize = 256;

/// Who asked, and under which number.
pub(crate) type Asker = (SocketAddr, NodeId, u32);

/// Pings made for others, the oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Relays {
    waiting: VecDeque<Relay>,
}

#[derive(Clone, Debug)]
struct Relay {
    sequence: u32,
    target: NodeId,
    asker: Asker,
    /// When the asker is told that nothing was heard; never, if it was.
    nack: Moment,
}

impl Relays {
    pub(crate) const fn new() -> Self {
        Self { waiting: VecDeque::new() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether an answer from `by` is waited for.
    pub(crate) fn expect(&self, sequence: u32, by: NodeId) -> bool {
        self.waiting.iter().any(|relay| (relay.sequence, relay.target) == (sequence, by))
    }

    /// Whom to tell that `by` answered.
    pub(crate) fn answered(&mut self, sequence: u32, by: NodeId) -> Option<Asker> {
        let found = self.waiting.iter().position(|r| (r.sequence, r.target) == (sequence, by))?;
        self.waiting.remove(found).map(|relay| relay.asker)
    }

    fn add(&mut self, relay: Relay) {
        if self.waiting.len() >= RELAYS_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(relay);
    }

    /// Who is to be told now that nothing was heard.
    fn take_unheard(&mut self, now: Moment) -> Option<Asker> {
        let relay = self.waiting.iter_mut().find(|relay| relay.nack <= now)?;
        relay.nack = Moment::NEVER;
        Some(relay.asker)
    }

    fn next(&self) -> Moment {
        self.waiting.iter().map(|relay| relay.nack).min().unwrap_or(Moment::NEVER)
    }
}

impl Gossip {
    /// Pings for another.
    pub(crate) fn relay(&mut self, now: Moment, asker: Asker, target: NodeId, address: SocketAddr) {
        let sequence = self.probing.number();
        // Early enough to arrive before the asker gives up (source: memberlist, 80 %).
        let nack = now + self.config.probe_timeout * 4 / 5;
        self.probing.relays.add(Relay { sequence, target, asker, nack });
        self.timers.set_at_latest(Timer::Nack, nack);
        self.send_with_news(address, target, Body::Ping(sequence));
    }

    /// Tells those whose ping was not answered yet.
    pub(crate) fn tell_unheard(&mut self, now: Moment) {
        while let Some((to, id, sequence)) = self.probing.relays.take_unheard(now) {
            self.send_with_news(to, id, Body::Nack(sequence));
        }
        self.timers.set(Timer::Nack, self.probing.relays.next());
    }
}
