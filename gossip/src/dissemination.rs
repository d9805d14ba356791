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

/// Datagrams that say good-bye. As many members are told, or few of them several times, so that
/// all of these must be lost for it to go unheard.
const GOOD_BYES: usize = 8;

/// Members about whom there is news. What is sent is what the table says at that time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rumors {
    /// By how often they were sent, and name: the least sent goes first.
    queue: BTreeMap<(u32, String), Rumor>,
    /// How often each was sent, by name.
    sends: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, Default)]
struct Rumor {
    /// Who need not be told: they told us, or were told. Each is told once before anybody is told
    /// twice, so that in a small cluster chance leaves nobody out.
    told: Vec<NodeId>,
}

impl Rumor {
    fn is_news_for(&self, id: NodeId) -> bool {
        !self.told.contains(&id)
    }
}

impl Rumors {
    /// There is news about a member, which `teller` knows. Older news about it is forgotten.
    pub(crate) fn add(&mut self, name: &str, teller: NodeId) {
        if let Some(sends) = self.sends.insert(name.to_owned(), 0) {
            self.queue.remove(&(sends, name.to_owned()));
        }
        self.queue.insert((0, name.to_owned()), Rumor { told: vec![teller] });
    }

    fn clear(&mut self) {
        self.queue.clear();
        self.sends.clear();
    }

    /// One more knows the news about a member.
    pub(crate) fn known_to(&mut self, name: &str, id: NodeId) {
        let Some(sends) = self.sends.get(name) else { return };
        if let Some(rumor) = self.queue.get_mut(&(*sends, name.to_owned()))
            && rumor.told.len() < TOLD_MAX
            && rumor.is_news_for(id)
        {
            rumor.told.push(id);
        }
    }

    fn is_news_for(&self, id: NodeId) -> bool {
        self.queue.values().any(|rumor| rumor.is_news_for(id))
    }

    /// Names of what is news to somebody, the least sent first.
    fn news_for(&self, id: NodeId) -> Vec<String> {
        let news = self.queue.iter().filter(|(_, rumor)| rumor.is_news_for(id));
        news.take(CANDIDATES).map(|((_, name), _)| name.clone()).collect()
    }

    /// Notes that somebody was told, and ends what was sent `sends_max` times.
    fn sent(&mut self, name: &str, to: NodeId, sends_max: u32) {
        self.known_to(name, to);
        let Some(sends) = self.sends.get_mut(name) else { return };
        let Some(rumor) = self.queue.remove(&(*sends, name.to_owned())) else { return };
        *sends += 1;
        if *sends >= sends_max {
            self.sends.remove(name);
        } else {
            self.queue.insert((*sends, name.to_owned()), rumor);
        }
    }

    /// Everybody has been told once: what has sends left is told again, in case it was lost.
    fn begin_again(&mut self) {
        for rumor in self.queue.values_mut() {
            rumor.told.clear();
        }
    }
}

/// Members remembered as told, per rumor; beyond it some may be told twice.
const TOLD_MAX: usize = 64;

/// How often a claim is passed on among so many members.
fn sends_max(multiplier: u32, members: usize) -> u32 {
    multiplier * (members as f64 + 1.0).log10().ceil().max(1.0) as u32
}

impl Gossip {
    /// Sends with as much news as fits. What we hold against the addressee comes first, so that it
    /// can refute.
    pub(crate) fn send_with_news(&mut self, to: SocketAddr, to_id: NodeId, body: Body) {
        self.send_about(to, to_id, body, to_id);
    }

    /// The same, with what we hold against somebody else first.
    pub(crate) fn send_about(&mut self, to: SocketAddr, to_id: NodeId, body: Body, about: NodeId) {
        let held = self.table.with_id(about);
        let held = held.filter(|m| matches!(m.state, State::Suspect | State::Dead));
        let mut updates: Vec<Member> = held.cloned().into_iter().collect();
        let extra = updates.len();
        let mut names = self.rumors.news_for(to_id);
        names.retain(|name| updates.first().is_none_or(|held| held.name != *name));
        updates.extend(names.iter().filter_map(|name| self.table.get(name).cloned()));
        let count = self.send(to, to_id, body, updates);
        let sends_max = sends_max(self.config.retransmit_multiplier, self.table.live());
        for name in names.iter().take(count.saturating_sub(extra)) {
            self.rumors.sent(name, to_id, sends_max);
        }
    }

    /// One round of gossip; the next one follows while there is news.
    pub(crate) fn spread(&mut self, now: Moment) {
        let mut peers = self.peers_without_news();
        if peers.is_empty() {
            self.rumors.begin_again();
            peers = self.peers_without_news();
        }
        if peers.is_empty() {
            // There is nobody to tell. Whoever comes gets the whole table.
            self.rumors.clear();
        }
        let (drawn, _) = peers.partial_shuffle(&mut self.rng, self.config.gossip_fanout);
        for (to, id) in drawn.iter().copied() {
            self.send_with_news(to, id, Body::Gossip);
        }
        if !self.rumors.queue.is_empty() {
            self.timers.set(Timer::Gossip, now + self.config.gossip_interval);
        }
    }

    fn peers_without_news(&self) -> Vec<(SocketAddr, NodeId)> {
        let peers = self.table.iter().filter(|member| {
            member.state.is_live() && member.id != self.id && self.rumors.is_news_for(member.id)
        });
        peers.map(|member| (member.peer, member.id)).collect()
    }

    /// Tells several members our last word.
    pub(crate) fn say_good_bye(&mut self) {
        let last = self.me().clone();
        let told = self.random_peers(GOOD_BYES, |_| true);
        for (to, id) in told.iter().cycle().take(told.len().max(GOOD_BYES)).copied() {
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
            .filter(|member| member.state.is_live() && member.id != self.id && fits(member));
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
        let (a, b, c) = (NodeId(1), NodeId(2), NodeId(3));
        let mut rumors = Rumors::default();
        rumors.add("x", a);
        rumors.add("y", a);
        assert!(!rumors.is_news_for(a) && rumors.is_news_for(b));
        rumors.sent("x", b, 2);
        assert_eq!(
            (rumors.news_for(b), rumors.news_for(c)),
            (vec!["y".into()], ["y", "x"].map(String::from).to_vec())
        );
        rumors.sent("x", c, 2);
        rumors.sent("y", b, 3);
        rumors.known_to("y", c);
        assert!(!rumors.is_news_for(b) && !rumors.is_news_for(c));
        rumors.begin_again();
        assert_eq!(rumors.news_for(c), ["y"]);
    }
}
