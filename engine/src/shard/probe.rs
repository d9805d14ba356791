//! What a checker may look at: slots as they stand, without changing anything.

use piccolo_schema::ids::{Era, NodeId, Slot, Term, Version};
use piccolo_schema::slot_message::Config;

use super::Shard;
use crate::store::record::Record;

/// One replica as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotProbe<'a> {
    /// Compared before the term.
    pub era: Era,
    /// Its term.
    pub term: Term,
    /// The last change that it holds.
    pub last: Version,
    /// The last change that it knows to be committed.
    pub committed: Version,
    /// The latest config that it knows.
    pub config: &'a Config,
    /// Whom it takes for the leader.
    pub leader: NodeId,
    /// Whether it leads, serving or not.
    pub leads: bool,
    /// Whether commands are executed here.
    pub serves: bool,
    /// Entries that it holds.
    pub entries: usize,
}

impl Shard {
    /// The replica of a slot of this shard, if there is one.
    pub fn probe_slot(&self, slot: Slot) -> Option<SlotProbe<'_>> {
        if self.shard_of(slot) != self.index {
            return None;
        }
        let seat = &self.seats[self.place(slot)];
        let group = seat.group.as_deref()?;
        Some(SlotProbe {
            era: group.era(),
            term: group.term(),
            last: group.last(),
            committed: group.committed(),
            config: group.config(),
            leader: group.leader(),
            leads: group.is_leader(),
            serves: group.serves(),
            entries: seat.table.len(),
        })
    }

    /// The slots of this shard.
    pub fn probe_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..self.seats.len()).map(|place| self.slot_at(place))
    }

    /// A hash of everything in a slot of this shard: equal contents have equal hashes, whatever
    /// the order in which they came about.
    pub fn probe_contents(&self, slot: Slot) -> u64 {
        let table = &self.seats[self.place(slot)].table;
        let (mut sum, mut cursor) = (0_u64, Some(0));
        while let Some(from) = cursor {
            cursor = table.walk(&self.hasher, from, |_, entry| {
                let mut bytes = Vec::new();
                Record::Put(entry).write(&mut bytes);
                sum = sum.wrapping_add(self.hasher.hash(&bytes));
                true
            });
        }
        sum
    }

    /// Slots on the move or waiting for their turn to move.
    pub fn probe_moves(&self) -> usize {
        self.moves.len() + self.wishes.len()
    }

    /// Whom the routes name for a slot, of this shard or any other.
    pub fn probe_route(&self, slot: Slot) -> NodeId {
        self.routes.get(slot).leader
    }
}
