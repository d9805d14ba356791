//! What the shards of a node say to each other: one batch per shard and turn.

use std::ops::Range;

use piccolo_schema::ids::{NodeId, Slot};
use piccolo_schema::link::{Outcome, RequestKind};
use piccolo_schema::slot_message::{Route, SlotMessage};
use piccolo_schema::time::Moment;

use super::stream::StreamKey;

/// Where an answer goes in the shard that asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// To a request of its own, by its number.
    Own(u64),
    /// Through one of its links, to a request of that peer.
    Link(StreamKey, u64),
}

/// Who asked, for as long as nodes live: bounces are counted apart for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    /// Which node.
    pub node: NodeId,
    /// Which of its shards.
    pub shard: u16,
}

/// Work for the shard that holds a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Work<'a> {
    /// Where the work is.
    pub slot: Slot,
    /// What kind it is.
    pub kind: RequestKind,
    /// How the reply is to be written.
    pub resp3: bool,
    /// Rounds of bounces that the asker had seen for the slot.
    pub fence: u32,
    /// Who asked.
    pub source: Source,
    /// When the asker gives it up, in this node's time: no use in executing it later.
    pub until: Moment,
    /// Whole commands in RESP.
    pub body: &'a [u8],
}

#[derive(Debug)]
struct WorkHead {
    address: Address,
    slot: Slot,
    kind: RequestKind,
    resp3: bool,
    fence: u32,
    source: Source,
    until: Moment,
    body: Range<usize>,
}

#[derive(Debug)]
enum OutcomeHead {
    Done(Range<usize>),
    Bounced(Route),
    Unknown,
}

/// What one shard says to another in one turn. Bodies lie one behind the other in one piece of
/// memory, which travels with the batch.
#[derive(Debug, Default)]
pub struct MeshBatch {
    arena: Vec<u8>,
    work: Vec<WorkHead>,
    answers: Vec<(Address, OutcomeHead)>,
    pub(super) slots: Vec<(NodeId, SlotMessage)>,
    pub(super) routes: Vec<Route>,
    pub(super) errands: Vec<(Address, Errand)>,
}

/// A question to a shard as such.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Errand {
    /// Lines of CLIENT LIST for its connections: all, or those of these ids.
    ListClients(Option<Vec<u64>>),
    /// End the connections that match; how many did.
    KillClients(super::clients::Filter),
    /// Let the commands of its clients wait, all or those that write.
    PauseClients {
        /// Until when, in this node's time.
        until: Moment,
        /// Whether commands that only read wait, too.
        all: bool,
    },
    /// End that.
    UnpauseClients,
    /// Change settings.
    Change(Vec<super::Setting>),
    /// INFO counts from these.
    CountFrom(super::info::Counts),
    /// At most so many of the latest entries of its slow log.
    Slowlog(usize),
    /// The number of entries of its slow log.
    SlowlogLength,
    /// Forget its slow log.
    SlowlogReset,
}

impl MeshBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.work.is_empty()
            && self.answers.is_empty()
            && self.slots.is_empty()
            && self.routes.is_empty()
            && self.errands.is_empty()
    }

    pub(super) fn push_work(&mut self, address: Address, work: &Work<'_>) {
        let body = self.keep(work.body);
        let Work { slot, kind, resp3, fence, source, until, body: _ } = *work;
        self.work.push(WorkHead { address, slot, kind, resp3, fence, source, until, body });
    }

    pub(super) fn push_answer(&mut self, address: Address, outcome: &Outcome<'_>) {
        let head = match outcome {
            Outcome::Done(body) => OutcomeHead::Done(self.keep(body)),
            Outcome::Bounced(route) => OutcomeHead::Bounced(*route),
            Outcome::Unknown => OutcomeHead::Unknown,
        };
        self.answers.push((address, head));
    }

    pub(super) fn work(&self) -> impl Iterator<Item = (Address, Work<'_>)> {
        self.work.iter().map(|head| {
            let WorkHead { address, slot, kind, resp3, fence, source, until, ref body } = *head;
            let body = &self.arena[body.clone()];
            (address, Work { slot, kind, resp3, fence, source, until, body })
        })
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = (Address, Outcome<'_>)> {
        self.answers.iter().map(|(address, head)| {
            let outcome = match head {
                OutcomeHead::Done(body) => Outcome::Done(&self.arena[body.clone()]),
                OutcomeHead::Bounced(route) => Outcome::Bounced(*route),
                OutcomeHead::Unknown => Outcome::Unknown,
            };
            (*address, outcome)
        })
    }

    fn keep(&mut self, body: &[u8]) -> Range<usize> {
        let start = self.arena.len();
        self.arena.extend_from_slice(body);
        start..self.arena.len()
    }
}
