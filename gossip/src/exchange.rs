//! The whole table: compared by digest, sent where it differs. Repairs what news missed.

use std::net::SocketAddr;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;
use rand::RngExt;

use crate::gossip::Gossip;
use crate::member::{Member, State};
use crate::message::Body;
use crate::timers::Timer;

impl Gossip {
    /// Compares tables with one random member.
    pub(crate) fn compare(&mut self, now: Moment) {
        let next = self.about(self.config.exchange_interval);
        self.timers.set(Timer::Exchange, now + next);
        let partner = self.random_peers(1, |member| member.state != State::Suspect);
        for (to, id) in partner {
            self.send_digest(to, id, false);
        }
    }

    pub(crate) fn send_digest(&mut self, to: SocketAddr, id: NodeId, answer: bool) {
        let digest = self.table.digest();
        self.send_with_news(to, id, Body::Sync { digest, answer });
    }

    /// Sends our table to one who holds another, and asks for its.
    pub(crate) fn compared(
        &mut self,
        now: Moment,
        from: (SocketAddr, NodeId),
        digest: u64,
        answer: bool,
    ) {
        if digest == self.table.digest() {
            return;
        }
        self.send_table(from, &Body::Table);
        if !answer {
            self.send_digest(from.0, from.1, true);
        }
        let soon = self.about(self.config.exchange_retry);
        self.timers.set_at_latest(Timer::Exchange, now + soon);
    }

    /// Sends the table in parts: ourselves first, the rest from a random place on, so that a
    /// table too long for one time gets through in several.
    pub(crate) fn send_table(&mut self, (to, id): (SocketAddr, NodeId), body: &Body) {
        let mut rest: Vec<Member> =
            self.table.iter().filter(|member| member.name != self.name).cloned().collect();
        if !rest.is_empty() {
            let start = self.rng.random_range(0..rest.len());
            rest.rotate_left(start);
        }
        rest.insert(0, self.me().clone());
        for _ in 0..self.config.exchange_datagrams_max {
            let part: Vec<Member> = rest.iter().take(PART_MAX).cloned().collect();
            let sent = self.send(to, id, body.clone(), part);
            if sent == 0 || sent == rest.len() {
                return;
            }
            rest.drain(..sent);
        }
    }
}

/// Members tried in one datagram: more than fit.
const PART_MAX: usize = 24;
