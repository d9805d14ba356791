//! The frames of a link between two nodes, as Rust values.
//!
//! A link is opened by one shard of one node. It carries that shard's requests, slot messages and
//! routes; back come only the replies to its requests. [`Batch`] gathers what one turn of a shard
//! has to say, [`read()`] takes a frame apart without copying bodies.

mod read;
mod write;

pub use read::{Malformed, read};
pub use write::{Batch, write_challenge, write_hello, write_proof, write_refusal, write_welcome};

use crate::ids::{ClusterId, NodeId, Slot};
use crate::slot_message::{Route, SlotMessage};

/// Ranges of slots over which routes are compared.
pub const ROUTE_RANGES: usize = 64;

/// First frame from the one who connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Of both.
    pub cluster: ClusterId,
    /// Who connects.
    pub from: NodeId,
    /// Who is meant to live here; a mismatch is refused.
    pub to: NodeId,
    /// Shard of the one who connects.
    pub shard: u16,
    /// Whether large bodies and snapshots travel here.
    pub bulk: bool,
    /// Oldest and newest version of the protocol that the sender speaks.
    pub protocol: (u16, u16),
    /// One bit per optional feature.
    pub features: u64,
    /// A number that the sender uses once; zero if it has no key.
    pub nonce: u128,
}

/// Asks the one who connects to prove that it has the cluster's key, and proves as much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// A number that the sender uses once.
    pub nonce: u128,
    /// A MAC over the hello and this number.
    pub mac: u128,
}

/// First frame back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// Who lives here.
    pub from: NodeId,
    /// The version of the protocol to speak.
    pub protocol: u16,
    /// Features that both have.
    pub features: u64,
}

/// What kind of work a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    /// One command of a client.
    Command,
    /// Several commands of one slot, executed as one change.
    Unit,
    /// A question to the slot as a whole.
    Sweep,
}

/// Work for the leader of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The asker's number for it; comes back in the reply.
    pub id: u64,
    /// Where the work is.
    pub slot: Slot,
    /// What kind it is.
    pub kind: RequestKind,
    /// Whether the reply is to be written in RESP3.
    pub resp3: bool,
    /// Rounds of bounces that the asker had seen for this slot. One who bounced a request goes on
    /// bouncing those of the same round, so that none overtakes it.
    pub fence: u32,
    /// Milliseconds that the asker will still wait when it sends this. Work that waits longer is
    /// not executed: its client has been told that its fate is unknown.
    pub patience_ms: u16,
    /// Whole commands in RESP.
    pub body: &'a [u8],
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<'a> {
    /// Executed; the reply in RESP.
    Done(&'a [u8]),
    /// Not executed: the one asked does not lead the slot. What it knows of who does.
    Bounced(Route),
    /// Whether it was executed cannot be told.
    Unknown,
}

/// One thing said on a link.
#[derive(Debug)]
pub enum Item<'a> {
    /// First frame from the one who connects.
    Hello(Hello),
    /// First frame back where the cluster has a key.
    Challenge(Challenge),
    /// The answer to that: a MAC over both.
    Proof(u128),
    /// First frame back, or second.
    Welcome(Welcome),
    /// Instead of a welcome: why not.
    Refuse(&'a str),
    /// Work to do.
    Request(Request<'a>),
    /// What became of a request of ours.
    Reply(u64, Outcome<'a>),
    /// For the replica of a slot.
    Slot(SlotMessage),
    /// Who leads a slot.
    Route(Route),
    /// Digests of the sender's routes, one per range.
    RouteDigests(Box<[u64; ROUTE_RANGES]>),
}
