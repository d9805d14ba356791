//! Slots on their way to where they should be.
//!
//! Every leader compares its slot's replicas with those wished for and takes the next single
//! step, a bounded number of slots at a time.

use std::time::Duration;

use piccolo_ring::group::{ANY_RING, Effect, Group, Step};
use piccolo_schema::ids::{Era, NodeId, Slot, Term, Version};
use piccolo_schema::slot_message::Records;
use piccolo_schema::time::Moment;

use super::link::BULK_BYTES_AIM;
use super::{Action, Shard};
use crate::store::record::Record;

/// Slots that a shard moves at once at most. Enough to keep a link full while steps wait for
/// their round trips; few enough that a slot is on the move for milliseconds only.
const MOVES_MAX: usize = 64;

/// Bytes of entries that one turn puts into snapshots at most: about a millisecond of copying.
const TURN_BYTES_MAX: usize = 512 << 10;

/// Bytes of entries in one piece of a snapshot.
const PIECE_BYTES_AIM: usize = 64 << 10;

/// Time after which what may have been lost is said again.
const RESUME: Duration = Duration::from_millis(200);

/// Time for which a slot must have been without a living leader, and nobody have brought it back,
/// before its owner begins it anew with nothing.
const VACANT: Duration = Duration::from_secs(2);

/// The same if the leader is nobody that this node has ever heard of: another life of a member,
/// over before this node came, or a member so new that word of it is still on its way. Longer
/// than the time between two exchanges of all that gossip knows.
const VACANT_STRANGER: Duration = Duration::from_secs(12);

impl Shard {
    /// Looks at every slot anew: wishes or members have changed.
    pub(super) fn review(&mut self) {
        let slots: Vec<Slot> = self.led().map(Group::slot).collect();
        self.wishes = slots.into();
        self.blocked.clear();
        self.recount = true;
    }

    /// Takes the next steps of slots on the move, and begins with others while there is room.
    pub(super) fn tend_moves(&mut self) {
        while self.moves.len() < MOVES_MAX && self.wish.settled {
            let Some(slot) = self.wishes.pop_front() else { break };
            let step = self.step_of(slot).filter(|step| *step != Step::Settled);
            if step.is_none() || self.moves.contains(&slot) {
                continue;
            }
            if step.is_some_and(|step| self.is_blocked(step)) {
                self.blocked.push(slot);
            } else {
                self.moves.push(slot);
            }
        }
        let mut budget = TURN_BYTES_MAX;
        for index in (0..self.moves.len()).rev() {
            let slot = self.moves[index];
            if !self.move_on(slot) {
                self.moves.swap_remove(index);
                self.openings.remove(&slot);
            }
        }
        for index in 0..self.moves.len() {
            // Another one first each turn, so that a large slot does not starve the others.
            let slot = self.moves[(index + self.turns as usize) % self.moves.len()];
            self.send_snapshots(slot, &mut budget);
        }
    }

    /// The step that a slot led here should take.
    fn step_of(&self, slot: Slot) -> Option<Step> {
        let seat = &self.seats[self.place(slot)];
        let group = seat.group.as_ref().filter(|group| group.is_leader())?;
        Some(group.next_step(self.wish.placement.owners(slot)))
    }

    /// Takes steps of one slot until it has to wait for an answer. Returns false if there are no
    /// more, or if the next one has to wait for a node that cannot be reached: that may take long,
    /// and must not hold up slots that move elsewhere.
    fn move_on(&mut self, slot: Slot) -> bool {
        let place = self.place(slot);
        loop {
            let Some(step) = self.step_of(slot) else { return false };
            match step {
                Step::Settled => return false,
                Step::Wait => return true,
                step if self.is_blocked(step) => {
                    self.blocked.push(slot);
                    return false;
                }
                Step::Learn(_) | Step::Promote(_) | Step::Transfer(_) if !self.wish.settled => {
                    return true;
                }
                step => {
                    self.unsettled.insert(slot);
                    self.with_group(place, |group, _, out| group.take_step(step, out));
                }
            }
        }
    }

    /// Whether a step needs a node that cannot be reached now.
    fn is_blocked(&mut self, step: Step) -> bool {
        match step {
            Step::Learn(node) | Step::Promote(node) | Step::Transfer(node) => !self.reachable(node),
            Step::Settled | Step::Wait | Step::Remove(_) => false,
        }
    }

    fn reachable(&mut self, node: NodeId) -> bool {
        self.peer(node).is_some_and(|peer| peer.ordinary.open && peer.bulk.open)
    }

    /// Opens snapshots that are needed and sends what the budget and the links have room for.
    fn send_snapshots(&mut self, slot: Slot, budget: &mut usize) {
        let place = self.place(slot);
        // Who leaves gives its slots to whoever is there, though the others have a place for the
        // dead on their ring.
        let ring = if self.wish.leaving { ANY_RING } else { self.wish.placement.digest() };
        let Some(group) = &self.seats[place].group else { return };
        let lacking: Vec<NodeId> = group.lacking().collect();
        for node in lacking {
            if self.bulk_waiting(node).is_none_or(|bytes| bytes > BULK_BYTES_AIM)
                || self.opened_just_now(slot, node)
            {
                continue;
            }
            self.openings.insert(slot, (node, self.now.moment));
            self.counters.snapshots += 1;
            let number = self.counters.snapshots;
            self.with_group(place, |group, _, out| group.open_snapshot(node, number, ring, out));
        }
        let Some(group) = &self.seats[place].group else { return };
        let open: Vec<_> = group.snapshots().collect();
        for (node, _, cursor) in open {
            let mut from = Some(cursor);
            while let Some(cursor) = from.filter(|_| *budget > 0) {
                if self.bulk_waiting(node).is_none_or(|bytes| bytes > BULK_BYTES_AIM) {
                    break;
                }
                from = self.send_piece(place, node, cursor, budget);
            }
        }
    }

    /// Whether a snapshot for the same node was begun a moment ago: it was refused or lost, and the
    /// next one may be. A ring that the other end does not see yet takes a while to get there.
    fn opened_just_now(&self, slot: Slot, node: NodeId) -> bool {
        self.openings
            .get(&slot)
            .is_some_and(|(to, at)| *to == node && self.now.moment.since(*at) < RESUME)
    }

    fn send_piece(
        &mut self,
        place: usize,
        node: NodeId,
        cursor: u64,
        budget: &mut usize,
    ) -> Option<u64> {
        let mut records = Vec::new();
        let next = self.seats[place].table.walk(&self.hasher, cursor, |_, entry| {
            Record::Put(entry).write(&mut records);
            records.len() < PIECE_BYTES_AIM
        });
        *budget = budget.saturating_sub(records.len() + 64);
        self.counters.snapshot_bytes += records.len() as u64;
        let records = Records::from(records);
        self.with_group(place, |group, _, out| group.send_piece(node, records, next, out));
        next
    }

    /// Says again what may have been lost, and lets go of what cannot go on.
    pub(super) fn tend_unsettled(&mut self) {
        let now = self.now.moment;
        if now.since(self.resumed) < RESUME {
            return;
        }
        self.resumed = now;
        self.wishes.extend(self.blocked.drain(..));
        for slot in std::mem::take(&mut self.unsettled) {
            let place = self.place(slot);
            let leader = self.routes.get(slot).leader;
            let Some(group) = &self.seats[place].group else { continue };
            if group.is_alone() {
                continue;
            }
            self.unsettled.insert(slot);
            let lost = self.lost_majority(group);
            let stray = self.step_of(slot).is_some_and(|step| step != Step::Settled);
            if lost && self.members_majority {
                self.revive(slot);
                continue;
            }
            let wished = self.wish.placement.primary(slot);
            self.with_group(place, |group, support, out| {
                group.resume(support, out);
                if wished == Some(group.leader()) && group.is_leader() {
                    group.call_off(out);
                }
                if leader.is_some() {
                    group.state(leader, support, out);
                }
            });
            if stray && !self.moves.contains(&slot) && !self.wishes.contains(&slot) {
                self.wishes.push_back(slot);
            }
        }
        self.claim_vacant();
        self.actions.extend(self.losses.due(self.index, now).into_iter().map(Action::Warn));
    }

    fn lost_majority(&self, group: &Group) -> bool {
        let voters = &group.config().voters;
        let living = voters.iter().filter(|voter| !self.gone.contains(voter)).count();
        group.config().has_voter(self.me) && living < group.config().majority()
    }

    /// Leads on with what this replica holds, since the others are gone for good.
    fn revive(&mut self, slot: Slot) {
        let place = self.place(slot);
        let heard = (self.routes.get(slot).era, self.routes.get(slot).term);
        self.losses.goes_on(slot, self.seats[place].table.len(), self.now.moment);
        self.with_group(place, |group, _, out| group.revive(heard, out));
    }

    /// Slots that should be led here, and whose leader is gone with the only copy, begin anew.
    fn claim_vacant(&mut self) {
        let now = self.now.moment;
        if !self.members_majority || !self.wish.settled {
            self.vacant_since.clear();
            return;
        }
        let mut lost = Vec::new();
        for place in 0..self.seats.len() {
            let slot = self.slot_at(place);
            let route = self.routes.get(slot);
            // A replica without a vote cannot go on by itself.
            let voteless = |group: &Group| !group.is_leader() && !group.config().has_voter(self.me);
            let mine = self.seats[place].group.as_deref().is_none_or(voteless)
                && self.wish.placement.primary(slot) == Some(self.me);
            let wait = match route.leader {
                leader if !mine || leader == self.me => None,
                leader if self.gone.contains(&leader) => Some(VACANT),
                leader if self.peers.iter().any(|peer| peer.id == leader) => None,
                _ => Some(VACANT_STRANGER),
            };
            let Some(wait) = wait else {
                self.vacant_since.remove(&slot);
                continue;
            };
            let since = *self.vacant_since.entry(slot).or_insert(now);
            if now.since(since) >= wait {
                lost.push(slot);
            }
        }
        for slot in lost {
            self.vacant_since.remove(&slot);
            let place = self.place(slot);
            let whole = |group: &Group| group.last() > Version::ZERO;
            if self.seats[place].group.as_deref().is_some_and(whole) {
                // It had everything when its leader went.
                self.revive(slot);
                continue;
            }
            if self.seats[place].group.is_some() {
                self.run_effect(place, Effect::Drop);
            }
            let route = *self.routes.get(slot);
            // A creator that was never heard of again may lead it in the first era.
            let era = route.era.max(Era::FIRST);
            self.counters.slots_lost += 1;
            self.losses.begins(slot, now);
            self.begin_slot(slot, Some((era, route.term)));
        }
    }

    /// Begins a slot with nothing, as its only voter.
    pub(super) fn begin_slot(&mut self, slot: Slot, before: Option<(Era, Term)>) {
        let place = self.place(slot);
        self.seats[place].group = Some(Box::new(Group::create(self.me, slot, before)));
        self.run_effect(place, Effect::Leads);
        self.run_effect(place, Effect::Serves);
    }

    /// When moves or repetitions next have work.
    pub(super) fn moves_deadline(&self) -> Moment {
        let now = self.now.moment;
        if !self.moves.is_empty() {
            return now + Duration::from_millis(1);
        }
        if !self.wishes.is_empty() && self.wish.settled {
            return now;
        }
        self.resumed + RESUME
    }
}
