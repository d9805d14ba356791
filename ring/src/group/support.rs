//! Whom this node supports: what makes leases safe, as far as a group has to ask for it.

use piccolo_schema::ids::{NodeId, Term};

/// Whom this node supports as a leader, for all slots together.
///
/// A node that leads counts on us in a slot while our answers to its heartbeats carry the epoch
/// under which we last acknowledged its changes there. So a vote against it needs a higher epoch
/// than that one, and the epoch rises only once the support has lapsed.
pub trait Support {
    /// The epoch under which `node` is supported, or was before that lapsed. Never falls.
    fn epoch(&self, node: NodeId) -> u64;

    /// Whether nothing that `node` may have been told makes it count on what was acknowledged under
    /// `epoch`, or would if the support were withdrawn now.
    fn has_lapsed(&self, node: NodeId, epoch: u64) -> bool;

    /// Raises the epoch of `node` above the given one, unless it is above already, or the support
    /// has not lapsed. Whether it is above now.
    fn withdraw(&self, node: NodeId, epoch: u64) -> bool;
}

/// Whom a replica acknowledged last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Acknowledged {
    pub(super) leader: NodeId,
    pub(super) term: Term,
    /// The highest epoch that it was told under which it is supported in this slot.
    pub(super) epoch: u64,
}

/// Support that never lapses.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unbroken;

#[cfg(test)]
impl Support for Unbroken {
    fn epoch(&self, _: NodeId) -> u64 {
        1
    }

    fn has_lapsed(&self, _: NodeId, _: u64) -> bool {
        false
    }

    fn withdraw(&self, _: NodeId, _: u64) -> bool {
        false
    }
}
