//! Who supports whom as a leader: what leases are made of.
//!
//! Each pair of nodes has a bond on either side. The reactor alone speaks: it asks the others for
//! their support ten times a second, prolongs theirs before it answers, and notes their answers.
//! The shards look: whether a leader may serve by what others said, and whether a vote against one
//! has to wait, or ends the epoch of its support first.

mod heartbeats;
mod word;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use piccolo_ring::group::Support;
use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

pub(crate) use heartbeats::{Heartbeat, Heartbeats};
use word::Word;

/// How long a support lasts after the heartbeat that asked for it has come.
pub const SUPPORT: Duration = Duration::from_secs(1);

/// How long whoever is supported counts on it after it sent that heartbeat: less a tenth, so that
/// clocks may drift apart by as much.
pub const LEASE: Duration = Duration::from_millis(900);

/// What this node and another hold of each other.
#[derive(Debug)]
pub struct Bond {
    /// This node supports the other.
    given: Word,
    /// The other supports this node.
    taken: Word,
}

impl Bond {
    fn new() -> Self {
        Self { given: Word::new(), taken: Word::new() }
    }

    /// Supports the other from now on, and returns under which epoch.
    fn prolong(&self, now: Moment) -> u64 {
        // Rounded up: it must last as long as the other may count on it.
        self.given.prolong((now + SUPPORT).0.div_ceil(1000))
    }

    /// The other supports this node: it said so to a heartbeat sent then. Returns the epoch of
    /// before.
    fn learn(&self, epoch: u64, sent: Moment) -> u64 {
        self.taken.learn(epoch, (sent + LEASE).0 / 1000)
    }

    /// Until when this node may count on what the other acknowledged under `epoch`.
    pub fn counts_until(&self, epoch: u64) -> Moment {
        match self.taken.get() {
            (current, until) if current == epoch && epoch > 0 => Moment(until * 1000),
            _ => Moment(0),
        }
    }
}

/// The bonds of a node, by the other end.
#[derive(Clone, Debug, Default)]
pub struct Bonds(BTreeMap<NodeId, Arc<Bond>>);

/// Bonds change by themselves: equal are those to the same nodes.
impl PartialEq for Bonds {
    fn eq(&self, other: &Self) -> bool {
        self.0.keys().eq(other.0.keys())
    }
}

impl Eq for Bonds {}

impl Bonds {
    /// The one to this node.
    pub fn get(&self, node: NodeId) -> Option<&Bond> {
        self.0.get(&node).map(Arc::as_ref)
    }

    /// How many others support this node.
    pub(crate) fn supporters(&self, now: Moment) -> usize {
        let supports = |bond: &&Arc<Bond>| bond.taken.get().1 > now.0 / 1000;
        self.0.values().filter(supports).count()
    }

    /// As groups ask for it at this time.
    pub fn at(&self, now: Moment) -> BondsAt<'_> {
        BondsAt { bonds: self, now }
    }
}

/// What bonds say at some time.
#[derive(Clone, Copy, Debug)]
pub struct BondsAt<'a> {
    bonds: &'a Bonds,
    now: Moment,
}

/// Whom this node never supported has nothing to count on, under whatever epoch.
impl Support for BondsAt<'_> {
    fn epoch(&self, node: NodeId) -> u64 {
        self.bonds.get(node).map_or(0, |bond| bond.given.get().0)
    }

    fn has_lapsed(&self, node: NodeId, epoch: u64) -> bool {
        self.bonds.get(node).is_none_or(|bond| {
            let (current, until) = bond.given.get();
            current > epoch || until <= self.now.0 / 1000
        })
    }

    fn withdraw(&self, node: NodeId, epoch: u64) -> bool {
        self.bonds.get(node).is_none_or(|bond| bond.given.end(epoch, self.now.0 / 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: NodeId = NodeId(2);

    fn bonds() -> Bonds {
        Bonds(BTreeMap::from([(OTHER, Arc::new(Bond::new()))]))
    }

    /// Whoever counts on a support stops before it can be withdrawn, whatever the rounding.
    #[test]
    fn nobody_counts_on_what_may_be_withdrawn() {
        for micros in [0, 1, 999, 1000, 1001, 123_456_789] {
            let (ours, theirs) = (bonds(), bonds());
            let sent = Moment(micros);
            let epoch = ours.get(OTHER).unwrap().prolong(sent);
            theirs.get(OTHER).unwrap().learn(epoch, sent);
            let until = theirs.get(OTHER).unwrap().counts_until(epoch);
            assert!(until > Moment(0) && until <= sent + LEASE);
            assert!(!ours.at(sent + SUPPORT - Duration::from_micros(1)).withdraw(OTHER, epoch));
            let later = sent + SUPPORT + Duration::from_millis(1);
            assert!(ours.at(later).has_lapsed(OTHER, epoch));
            assert!(ours.at(later).withdraw(OTHER, epoch));
            assert_eq!(ours.at(later).epoch(OTHER), epoch + 1);
        }
    }

    /// The epoch rises once in a lapse, however many slots vote; and what was acknowledged under
    /// the one before may be voted against while the support goes on under the next.
    #[test]
    fn an_epoch_ends_once_in_a_lapse() {
        let bonds = bonds();
        let bond = bonds.get(OTHER).unwrap();
        let start = Moment(5_000_000);
        let later = start + 2 * SUPPORT;
        let epoch = bond.prolong(start);
        assert!((0..3).all(|_| bonds.at(later).withdraw(OTHER, epoch)));
        assert_eq!(bond.prolong(later), epoch + 1);
        assert!(bonds.at(later).withdraw(OTHER, epoch));
        assert!(!bonds.at(later).withdraw(OTHER, epoch + 1));
        assert_eq!(bonds.at(later).epoch(OTHER), epoch + 1);
    }

    /// An answer that was overtaken by one of a later epoch says nothing any more.
    #[test]
    fn only_the_latest_epoch_counts() {
        let bond = Bond::new();
        let at = Moment(1_000_000);
        assert_eq!(bond.counts_until(0), Moment(0), "nobody ever said so");
        assert_eq!((bond.learn(1, at), bond.learn(2, at)), (0, 1));
        assert_eq!(bond.learn(1, at + LEASE), 2);
        assert_eq!((bond.counts_until(1), bond.counts_until(2)), (Moment(0), at + LEASE));
        bond.learn(2, at - LEASE);
        assert_eq!(bond.counts_until(2), at + LEASE, "an older answer takes nothing away");
    }

    #[test]
    fn strangers_count_on_nothing() {
        let bonds = Bonds::default();
        let at = bonds.at(Moment(1));
        assert_eq!(at.epoch(OTHER), 0);
        assert!(at.has_lapsed(OTHER, 7) && at.withdraw(OTHER, 7));
    }
}
