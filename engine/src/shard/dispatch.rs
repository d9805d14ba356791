//! Where work goes: to a slot of this shard, to a sibling, or to a peer.

use piccolo_ring::group::Lane;
use piccolo_schema::ids::{NodeId, Slot};
use piccolo_schema::limits::ORDINARY_BYTES_MAX;

use super::Shard;

/// Where the leader of a slot is thought to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Destination {
    /// In this shard.
    Here,
    /// In another shard of this node.
    Sibling(u16),
    /// In another node, by this link.
    Peer(NodeId, Lane),
    /// Nobody is known to lead it.
    Nowhere,
}

impl Destination {
    /// Whether small work may overtake it.
    pub(super) fn is_bulk(self) -> bool {
        matches!(self, Self::Peer(_, Lane::Bulk))
    }
}

impl Shard {
    /// The shard of this node that holds a slot, if this node holds it.
    #[inline]
    pub(super) fn shard_of(&self, slot: Slot) -> u16 {
        // Usual counts of shards are powers of two; the division by others costs 20 cycles.
        if self.shards.is_power_of_two() {
            slot.number() & (self.shards - 1)
        } else {
            slot.number() % self.shards
        }
    }

    /// Where `bytes` of work for `slot` go now.
    pub(super) fn destination(&self, slot: Slot, bytes: usize) -> Destination {
        let shard = self.shard_of(slot);
        let route = self.routes.get(slot);
        if shard == self.index {
            let seat = &self.seats[self.place(slot)];
            if seat.takes() {
                return Destination::Here;
            }
            // What this replica knows may be newer than the routes.
            if let Some(group) = &seat.group
                && (group.era(), group.term()) > (route.era, route.term)
                && group.leader().is_some()
            {
                return Self::to_peer(group.leader(), bytes);
            }
        }
        if !route.leader.is_some() {
            Destination::Nowhere
        } else if route.leader != self.me {
            Self::to_peer(route.leader, bytes)
        } else if shard != self.index {
            Destination::Sibling(shard)
        } else {
            Destination::Nowhere
        }
    }

    fn to_peer(node: NodeId, bytes: usize) -> Destination {
        let lane = if bytes > ORDINARY_BYTES_MAX { Lane::Bulk } else { Lane::Ordinary };
        Destination::Peer(node, lane)
    }
}
