//! The reactor's side: whom to ask for support, when, and what the answers mean.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use super::{Bond, Bonds, SUPPORT};

/// Time between two heartbeats to the same node: nine may be lost before a lease ends.
const EVERY: Duration = Duration::from_millis(100);

/// Whom this node sends heartbeats to.
///
/// One that does not answer is not asked for its support: where words get through in one direction
/// only, the other side must be free to support another, and this one could not serve anyway.
#[derive(Debug, Default)]
pub(crate) struct Heartbeats {
    bonds: Bonds,
    peers: BTreeMap<NodeId, Peer>,
    next: Moment,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    address: SocketAddr,
    /// When the latest heartbeat was sent that it answered.
    answered: Option<Moment>,
}

/// A heartbeat to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) to: NodeId,
    pub(crate) address: SocketAddr,
    /// For support; else only for an answer.
    pub(crate) asks: bool,
}

impl Heartbeats {
    /// Sends to these from now on. Others are forgotten only if they are gone for good: the epochs
    /// of one that may come back must go on rising.
    pub(crate) fn set_peers(
        &mut self,
        peers: impl Iterator<Item = (NodeId, SocketAddr)>,
        is_gone: impl Fn(NodeId) -> bool,
    ) {
        let before = std::mem::take(&mut self.peers);
        let answered = |node| before.get(&node).and_then(|peer| peer.answered);
        let peers = peers.map(|(node, address)| (node, Peer { address, answered: answered(node) }));
        self.peers = peers.collect();
        self.bonds.0.retain(|node, _| self.peers.contains_key(node) || !is_gone(*node));
        for node in self.peers.keys() {
            self.bonds.0.entry(*node).or_insert_with(|| Arc::new(Bond::new()));
        }
    }

    /// What this node and the others hold of each other.
    pub(crate) fn bonds(&self) -> &Bonds {
        &self.bonds
    }

    /// When the latest heartbeat was sent that this node answered.
    pub(crate) fn answered_at(&self, node: NodeId) -> Option<Moment> {
        self.peers.get(&node)?.answered
    }

    /// When [`Self::due`] next has somebody.
    pub(crate) fn deadline(&self) -> Moment {
        if self.peers.is_empty() { Moment::NEVER } else { self.next }
    }

    /// Heartbeats to be sent now.
    pub(crate) fn due(&mut self, now: Moment) -> Vec<Heartbeat> {
        if now < self.deadline() {
            return Vec::new();
        }
        self.next = now + EVERY;
        let heartbeat = |(to, peer): (&NodeId, &Peer)| {
            let asks = peer.answered.is_some_and(|sent| now.since(sent) < SUPPORT);
            Heartbeat { to: *to, address: peer.address, asks }
        };
        self.peers.iter().map(heartbeat).collect()
    }

    /// A heartbeat has come: if it asks for that, supports its sender from now on, under the epoch
    /// returned. `None`: it is nobody's that counts here, yet or any more.
    pub(crate) fn heard(&self, from: NodeId, asks: bool, now: Moment) -> Option<u64> {
        let bond = self.bonds.get(from).filter(|_| self.peers.contains_key(&from))?;
        Some(if asks { bond.prolong(now) } else { 0 })
    }

    /// An answer has come to a heartbeat of ours. Returns whether the epoch is a new one: what was
    /// acknowledged before has to be confirmed.
    pub(crate) fn answered(&mut self, by: NodeId, sent: Moment, epoch: u64, now: Moment) -> bool {
        // From the future only if it is not our time at all.
        let Some(peer) = self.peers.get_mut(&by).filter(|_| sent <= now) else { return false };
        peer.answered = peer.answered.max(Some(sent));
        let bond = self.bonds.get(by).filter(|_| epoch > 0);
        bond.is_some_and(|bond| bond.learn(epoch, sent) < epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::LEASE;

    fn address() -> SocketAddr {
        ([127, 0, 0, 1], 7380).into()
    }

    fn peers(ids: &[u128]) -> Heartbeats {
        let mut heartbeats = Heartbeats::default();
        set(&mut heartbeats, ids, &[]);
        heartbeats
    }

    fn set(heartbeats: &mut Heartbeats, ids: &[u128], gone: &[u128]) {
        let ids = ids.iter().map(|id| (NodeId(*id), address()));
        heartbeats.set_peers(ids, |node| gone.contains(&node.0));
    }

    #[test]
    fn each_peer_is_asked_ten_times_a_second_whenever_it_is_looked() {
        let mut heartbeats = peers(&[1, 2]);
        let asked: usize =
            (0..2000).map(|millis| heartbeats.due(Moment(millis * 1000)).len()).sum();
        assert_eq!(asked, 2 * 20);
        // After a pause no beats are made up for.
        assert_eq!(heartbeats.due(Moment(60_000_000)).len(), 2);
        assert_eq!(heartbeats.due(Moment(60_000_001)).len(), 0);
        assert_eq!(peers(&[]).deadline(), Moment::NEVER);
    }

    #[test]
    fn the_epochs_of_one_that_may_come_back_go_on() {
        let mut heartbeats = peers(&[1, 2]);
        let node = NodeId(1);
        let bond = Arc::clone(&heartbeats.bonds.0[&node]);
        assert_eq!(heartbeats.heard(node, true, Moment(1000)), Some(1));
        assert!(bond.given.end(1, 2000));
        set(&mut heartbeats, &[2], &[]);
        assert_eq!(heartbeats.heard(node, true, Moment(1000)), None, "it counts no more");
        set(&mut heartbeats, &[1, 2], &[]);
        assert_eq!(heartbeats.heard(node, true, Moment(1000)), Some(2));
        set(&mut heartbeats, &[2], &[1]);
        assert!(heartbeats.bonds().get(node).is_none(), "it never comes back");
    }

    #[test]
    fn a_new_epoch_is_told_once_and_answers_from_the_future_never() {
        let mut heartbeats = peers(&[1]);
        let (node, sent) = (NodeId(1), Moment(1_000_000));
        assert!(heartbeats.answered(node, sent, 3, sent));
        assert!(!heartbeats.answered(node, sent, 3, sent));
        assert!(!heartbeats.answered(node, sent, 2, sent));
        assert!(!heartbeats.answered(node, sent + LEASE, 4, sent));
        assert!(!heartbeats.answered(NodeId(9), sent, 4, sent), "nobody that counts");
        assert_eq!(heartbeats.bonds().get(node).unwrap().counts_until(3), sent + LEASE);
    }

    #[test]
    fn support_is_asked_for_only_of_those_who_answer() {
        let mut heartbeats = peers(&[1]);
        let node = NodeId(1);
        let asks = |heartbeats: &mut Heartbeats, at: Moment| heartbeats.due(at)[0].asks;
        let mut at = Moment(1_000_000);
        assert!(!asks(&mut heartbeats, at), "nothing is known of it");
        assert_eq!(heartbeats.heard(node, false, at), Some(0));
        assert_eq!(heartbeats.bonds().get(node).unwrap().given.get(), (0, 0));
        assert!(!heartbeats.answered(node, at, 0, at), "heard is not supported");
        at = at + EVERY;
        assert!(asks(&mut heartbeats, at));
        at = at + SUPPORT;
        assert!(!asks(&mut heartbeats, at), "it has not answered for a second");
    }
}
