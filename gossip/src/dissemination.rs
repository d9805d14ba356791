//! News: what is passed on, how often, and how much of it fits.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;
use rand::seq::SliceRandom;

use crate::gossip::Gossip;
use crate::member::{Member, State};
use crate::message::Body;
use crate::timers::Timer;

/// Updates considered for one datagram: more than fit.
const CANDIDATES: usize = 24;

/// Members told directly when this node says good-bye. A few suffice to spread it, and more than
/// three must be lost for it to go unheard.
const GOOD_BYES: usize = 8;

/// Names about which there is news, with how often it has been sent. What is sent is what the
/// table says at that time.
#[derive(Debug, Default)]
pub(crate) struct Rumors {
    sends: BTreeMap<String, u32>,
}

impl Rumors {
    /// There is news about a member. Older news about it is forgotten.
    pub(crate) fn add(&mut self, name: &str) {
        self.sends.insert(name.to_owned(), 0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sends.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.sends.clear();
    }

    /// Names of the freshest news, the least sent first.
    fn freshest(&self) -> Vec<String> {
        let mut names: Vec<_> = self.sends.iter().map(|(name, sends)| (*sends, name)).collect();
        names.sort_unstable();
        names.into_iter().take(CANDIDATES).map(|(_, name)| name.clone()).collect()
    }

    /// Notes that news was sent, and forgets it after `sends_max` times.
    fn sent(&mut self, name: &str, sends_max: u32) {
        let Some(sends) = self.sends.get_mut(name) else { return };
        *sends += 1;
        if *sends >= sends_max {
            self.sends.remove(name);
        }
    }
}

/// How often a claim is passed on among so many members.
fn sends_max(multiplier: u32, members: usize) -> u32 {
    multiplier * (members as f64 + 1.0).log10().ceil().max(1.0) as u32
}

impl Gossip {
    /// Sends with as much news as fits. What we hold against the addressee comes first, so that it
    /// can refute.
    pub(crate) fn send_with_news(&mut self, to: SocketAddr, to_id: NodeId, body: Body) {
        let names = self.rumors.freshest();
        let held = self
            .table
            .with_id(to_id)
            .filter(|member| matches!(member.state, State::Suspect | State::Dead))
            .cloned();
        let mut updates: Vec<Member> = held.into_iter().collect();
        let first = updates.first().map(|member| member.name.clone());
        let news = names.iter().filter(|name| Some(*name) != first.as_ref());
        updates.extend(news.filter_map(|name| self.table.get(name).cloned()));
        let names: Vec<String> = updates.iter().map(|member| member.name.clone()).collect();
        let count = self.send(to, to_id, body, updates);
        let sends_max = sends_max(self.config.retransmit_multiplier, self.table.live());
        for name in names.iter().take(count) {
            self.rumors.sent(name, sends_max);
        }
    }

    /// One round of gossip; the next one follows while there is news.
    pub(crate) fn spread(&mut self, now: Moment) {
        let peers = self.random_peers(self.config.gossip_fanout, |_| true);
        if peers.is_empty() {
            self.rumors.clear();
        }
        for (to, id) in peers {
            if !self.rumors.is_empty() {
                self.send_with_news(to, id, Body::Gossip);
            }
        }
        if !self.rumors.is_empty() {
            self.timers.set(Timer::Gossip, now + self.config.gossip_interval);
        }
    }

    /// Tells several members our last word.
    pub(crate) fn say_good_bye(&mut self) {
        let last = self.me().clone();
        for (to, id) in self.random_peers(GOOD_BYES, |_| true) {
            self.send(to, id, Body::Gossip, vec![last.clone()]);
        }
    }

    /// Up to `count` different live members that fit, drawn at random, without ourselves.
    pub(crate) fn random_peers(
        &mut self,
        count: usize,
        fits: impl Fn(&Member) -> bool,
    ) -> Vec<(SocketAddr, NodeId)> {
        let peers = self
            .table
            .iter()
            .filter(|member| member.state.is_live() && member.name != self.name && fits(member));
        let mut peers: Vec<_> = peers.map(|member| (member.peer, member.id)).collect();
        let (drawn, _) = peers.partial_shuffle(&mut self.rng, count);
        drawn.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_sent_a_bounded_number_of_times_least_sent_first() {
        assert_eq!([1, 9, 10, 99, 100].map(|n| sends_max(4, n)), [4, 4, 8, 8, 12]);
        let mut rumors = Rumors::default();
        rumors.add("b");
        rumors.add("a");
        rumors.sent("a", 2);
        assert_eq!(rumors.freshest(), ["b", "a"]);
        rumors.sent("a", 2);
        assert_eq!(rumors.freshest(), ["b"]);
        rumors.sent("b", 2);
        rumors.add("b");
        rumors.sent("b", 2);
        assert!(!rumors.is_empty());
        rumors.sent("b", 2);
        assert!(rumors.is_empty());
    }
}
