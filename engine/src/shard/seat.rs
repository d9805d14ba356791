//! One slot in its shard: entries, replica, and what waits for it.

use std::collections::VecDeque;

use piccolo_ring::group::Group;
use piccolo_schema::ids::{Slot, Version};
use piccolo_schema::link::RequestKind;
use piccolo_schema::time::Moment;

use super::mesh::{Source, Work};
use super::requests::DEADLINE;
use super::session::ReplyTo;
use crate::store::SlotTable;

/// Bytes of work that a slot holds while its lead moves at most; more is refused to the asker.
const HELD_BYTES_MAX: usize = 64 << 20;

/// One slot in its shard. Small, since there are thousands, and what is looked at for every
/// command comes first.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Seat {
    pub(super) table: SlotTable,
    pub(super) group: Option<Box<Group>>,
    /// What only slots on the move have.
    pub(super) moving: Option<Box<Moving>>,
}

/// What waits for a slot on the move.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// A snapshot being built.
    pub(super) aside: SlotTable,
    /// Work that waits until it is known who serves.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Replies that wait for a commit.
    gated: VecDeque<(Version, ReplyTo, Vec<u8>)>,
    /// Per asker, the round of bounces below which its requests are bounced still.
    fences: Vec<Fence>,
}

/// Requests of one asker below a round of bounces are bounced still.
#[derive(Debug)]
struct Fence {
    source: Source,
    round: u32,
    raised: Moment,
}

/// Work that waits.
#[derive(Debug)]
pub(super) struct Held {
    slot: Slot,
    kind: RequestKind,
    resp3: bool,
    fence: u32,
    source: Source,
    until: Moment,
    body: Vec<u8>,
    pub(super) reply_to: ReplyTo,
}

impl Held {
    /// Whether its asker has given it up.
    pub(super) fn is_late(&self, now: Moment) -> bool {
        self.until <= now
    }

    pub(super) fn work(&self) -> Work<'_> {
        let Self { slot, kind, resp3, fence, source, until, ref body, reply_to: _ } = *self;
        Work { slot, kind, resp3, fence, source, until, body }
    }
}

impl Seat {
    /// Whether this is the place to bring work to: it is executed here, or waits here.
    #[inline]
    pub(super) fn takes(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.serves() || group.holds())
    }

    /// The replica, if it serves and nothing needs more care than executing a command.
    #[inline]
    pub(super) fn plain(&mut self) -> Option<(&mut Group, &mut SlotTable)> {
        match (&mut self.group, &self.moving) {
            (Some(group), None) if group.is_alone() => Some((group, &mut self.table)),
            _ => None,
        }
    }

    pub(super) fn moving(&mut self) -> &mut Moving {
        self.moving.get_or_insert_default()
    }

    /// Whether a request has been overtaken by a bounce of its asker's: then it is bounced too.
    /// One that has seen the bounce lifts the fence.
    pub(super) fn fenced(&mut self, source: Source, fence: u32) -> bool {
        let Some(moving) = &mut self.moving else { return false };
        let Some(at) = moving.fences.iter().position(|fence| fence.source == source) else {
            return false;
        };
        let behind = fence < moving.fences[at].round;
        if !behind {
            moving.fences.swap_remove(at);
        }
        behind
    }

    /// Remembers that a request of this asker was bounced.
    pub(super) fn raise_fence(&mut self, source: Source, fence: u32, now: Moment) {
        let fences = &mut self.moving().fences;
        let round = fence.wrapping_add(1);
        match fences.iter_mut().find(|fence| fence.source == source) {
            Some(fence) => (fence.round, fence.raised) = (fence.round.max(round), now),
            None => fences.push(Fence { source, round, raised: now }),
        }
    }

    /// Whether work waits here already: what comes later must wait behind it.
    pub(super) fn has_held(&self) -> bool {
        self.moving.as_ref().is_some_and(|moving| !moving.held.is_empty())
    }

    /// Keeps work until it is known who serves. Returns false if too much waits already.
    pub(super) fn hold(&mut self, work: &Work<'_>, reply_to: ReplyTo) -> bool {
        let moving = self.moving();
        if moving.held_bytes + work.body.len() > HELD_BYTES_MAX {
            return false;
        }
        moving.held_bytes += work.body.len();
        let Work { slot, kind, resp3, fence, source, until, body } = *work;
        let body = body.to_vec();
        moving.held.push_back(Held { slot, kind, resp3, fence, source, until, body, reply_to });
        true
    }

    pub(super) fn take_held(&mut self) -> VecDeque<Held> {
        self.moving.as_mut().map_or_else(VecDeque::new, |moving| {
            moving.held_bytes = 0;
            std::mem::take(&mut moving.held)
        })
    }

    /// Keeps a reply until everything up to `version` is committed.
    pub(super) fn gate(&mut self, version: Version, reply_to: ReplyTo, reply: Vec<u8>) {
        self.moving().gated.push_back((version, reply_to, reply));
    }

    /// The replies that no longer wait.
    pub(super) fn ungate(&mut self, committed: Version) -> Vec<(ReplyTo, Vec<u8>)> {
        let Some(moving) = &mut self.moving else { return Vec::new() };
        let free = moving.gated.iter().take_while(|(version, ..)| *version <= committed).count();
        moving.gated.drain(..free).map(|(_, reply_to, reply)| (reply_to, reply)).collect()
    }

    /// Those whose replies will never be let go.
    pub(super) fn take_gated(&mut self) -> Vec<ReplyTo> {
        let Some(moving) = &mut self.moving else { return Vec::new() };
        moving.gated.drain(..).map(|(_, reply_to, _)| reply_to).collect()
    }

    /// Forgets fences that nothing can be behind any more: what was sent before them has been
    /// given up by its asker.
    pub(super) fn lower_fences(&mut self, now: Moment) {
        if let Some(moving) = &mut self.moving {
            moving.fences.retain(|fence| now.since(fence.raised) < 2 * DEADLINE);
            self.calm();
        }
    }

    /// Drops what only a moving slot has, if nothing of it is in use.
    pub(super) fn calm(&mut self) {
        if let Some(moving) = &self.moving
            && moving.held.is_empty()
            && moving.gated.is_empty()
            && moving.fences.is_empty()
            && moving.aside.is_empty()
        {
            self.moving = None;
        }
    }
}
