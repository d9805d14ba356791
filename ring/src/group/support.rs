//! Whom this node supports: what makes leases safe, as far as a group has to ask for it.

use piccolo_schema::ids::NodeId;

/// Whom this node supports as a leader, for all slots together.
///
/// A node that leads counts on us for as long as our answers to its heartbeats carry the epoch
/// under which we acknowledged its changes. So a vote against it needs the epoch raised first,
/// which can be done only once the support has lapsed.
pub trait Support {
    /// The epoch under which `node` is supported, or was before that lapsed.
    fn epoch(&self, node: NodeId) -> u64;

    /// Whether nothing that `node` may have been told makes it count on us any more.
    fn has_lapsed(&self, node: NodeId) -> bool;

    /// Raises the epoch of `node` if its support has lapsed. Whether it had.
    fn withdraw(&self, node: NodeId) -> bool;
}

/// Support that never lapses: for groups of one settled voter, which never vote but on a transfer.
#[derive(Clone, Copy, Default, Debug)]
pub struct Unbroken;

impl Support for Unbroken {
    fn epoch(&self, _: NodeId) -> u64 {
        1
    }

    fn has_lapsed(&self, _: NodeId) -> bool {
        false
    }

    fn withdraw(&self, _: NodeId) -> bool {
        false
    }
}
