//! The whole table: compared by one digest, then by the digests of its ranges, and sent where
//! those differ. Repairs what news missed.

use std::net::SocketAddr;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;
use rand::RngExt;

use crate::config::Config;
use crate::gossip::Gossip;
use crate::member::{Member, State};
use crate::message::Body;
use crate::table::{RANGES, range};
use crate::timers::Timer;

/// Members tried in one datagram: more than fit.
const PART_MAX: usize = 24;

impl Gossip {
    /// Compares tables with one random member.
    pub(crate) fn compare(&mut self, now: Moment) {
        let Config { exchange_interval, exchange_retry, .. } = self.config;
        let settled = self.is_settled();
        let next = self.about(if settled { exchange_interval } else { exchange_retry });
        self.timers.set(Timer::Exchange, now + next);
        let partner = self.random_peers(1, |member| member.state != State::Suspect);
        for (to, id) in partner {
            self.send_digest(to, id);
        }
    }

    /// Whether the table has stood still between two comparisons since this node came in. Before,
    /// others come in with it, and some of what is said of them is missed.
    fn is_settled(&mut self) -> bool {
        let digest = self.table.digest();
        self.unsettled = self.unsettled.filter(|compared| *compared != digest).map(|_| digest);
        self.unsettled.is_none()
    }

    pub(crate) fn send_digest(&mut self, to: SocketAddr, id: NodeId) {
        let digest = self.table.digest();
        self.send_with_news(to, id, Body::Digest(digest));
    }

    /// Answers one who holds another table with the digests of our ranges.
    pub(crate) fn compared(&mut self, from: (SocketAddr, NodeId), digest: u64) {
        if digest != self.table.digest() {
            self.send_ranges(from, false);
        }
    }

    fn send_ranges(&mut self, (to, id): (SocketAddr, NodeId), answer: bool) {
        let digests = Box::new(*self.table.digests());
        self.send(to, id, Body::Ranges { digests, answer }, Vec::new());
    }

    /// Sends what we hold where ranges differ, and asks for what the other holds there.
    pub(crate) fn compared_ranges(
        &mut self,
        now: Moment,
        from: (SocketAddr, NodeId),
        digests: &[u64; RANGES],
        answer: bool,
    ) {
        let ours = self.table.digests();
        let differ: Vec<bool> = ours.iter().zip(digests).map(|(ours, its)| ours != its).collect();
        if !differ.contains(&true) {
            return;
        }
        let wanted = |member: &Member| differ[range(&member.name)];
        let part: Vec<Member> = self.table.iter().filter(|m| wanted(m)).cloned().collect();
        if !answer {
            // Before our members, so that it tells what it held before them.
            self.send_ranges(from, true);
        }
        self.send_members(from, &Body::Table, part);
        let soon = self.about(self.config.exchange_retry);
        self.timers.set_at_latest(Timer::Exchange, now + soon);
    }

    /// Sends the whole table to a newcomer, ourselves first.
    pub(crate) fn send_table(&mut self, to: (SocketAddr, NodeId), body: &Body) {
        let members = self.table.iter().filter(|m| !self.is_us(&m.name)).cloned().collect();
        self.send(to.0, to.1, body.clone(), vec![self.me().clone()]);
        self.send_members(to, body, members);
    }

    /// Sends members in parts, from a random place on, so that what is too long for one time gets
    /// through in several.
    fn send_members(
        &mut self,
        (to, id): (SocketAddr, NodeId),
        body: &Body,
        mut members: Vec<Member>,
    ) {
        if !members.is_empty() {
            let start = self.rng.random_range(0..members.len());
            members.rotate_left(start);
        }
        let mut rest = members.as_slice();
        for _ in 0..self.config.exchange_datagrams_max {
            if rest.is_empty() {
                return;
            }
            let part = rest[..rest.len().min(PART_MAX)].to_vec();
            let sent = self.send(to, id, body.clone(), part);
            if sent == 0 {
                return;
            }
            rest = &rest[sent..];
        }
    }
}
