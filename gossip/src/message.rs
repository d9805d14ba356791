//! What nodes say to each other, as Rust values.

use std::net::SocketAddr;

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;

use crate::member::Member;
use crate::table::RANGES;

/// One datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    /// The sender's cluster, if it has one.
    pub(crate) cluster: ClusterId,
    /// Who sends.
    pub(crate) from: NodeId,
    /// Its name, so that one whose id is superseded can be told.
    pub(crate) from_name: String,
    /// Who is meant, if the sender knows.
    pub(crate) to: NodeId,
    /// Claims; their `since` means nothing.
    pub(crate) updates: Vec<Member>,
    /// What is said.
    pub(crate) body: Body,
}

/// What is said beside the claims.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    /// Are you there?
    Ping(u32),
    /// `by` is there.
    Ack { sequence: u32, by: NodeId },
    /// The ping that you asked for is not answered so far.
    Nack(u32),
    /// Ask another for me.
    PingRequest { sequence: u32, target: NodeId, address: SocketAddr },
    /// May I come in? The first update is the sender.
    Join(Join),
    /// You are in.
    Welcome,
    /// You are not.
    Refuse(Refusal),
    /// Claims only.
    Gossip,
    /// I am another; the first update says who.
    Mismatch,
    /// Do we hold the same?
    Digest(u64),
    /// No: where do we differ? The digest of each range of the table.
    Ranges { digests: Box<[u64; RANGES]>, answer: bool },
    /// A part of the members.
    Table,
    /// Do you hear me, and if it `asks`, do you support me? `sent` is the sender's time.
    Heartbeat { sent: Moment, asks: bool },
    /// You are heard, and supported under this epoch unless it is zero, in answer to the heartbeat
    /// of that time.
    Support { sent: Moment, epoch: u64 },
    /// My cluster, which is not yours, counts you as its member: the first update. How many of it I
    /// hear, myself included; zero if that is less than half.
    Claimed(u32),
}

/// The founding of a cluster, as one of those without a cluster sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Join {
    /// Nodes that make a cluster; 0: takes no part.
    pub(crate) expect: u16,
    /// Answers a join.
    pub(crate) answer: bool,
    /// The sender supports nothing below.
    pub(crate) promised: Ballot,
    /// What it accepted last, and in which ballot.
    pub(crate) accepted: Option<(Ballot, ClusterId)>,
    /// What it proposes in the ballot `promised`, which then is its own.
    pub(crate) proposed: Option<ClusterId>,
    /// The cluster that it wants into, if it has heard of one.
    pub(crate) wanted: ClusterId,
}

/// An attempt of a node to create a cluster. A higher one outdoes a lower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Ballot {
    pub(crate) round: u32,
    pub(crate) node: NodeId,
}

/// Why a newcomer is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// A live node has the name.
    NameTaken(SocketAddr),
    /// The name had this generation before; the newcomer's must be higher.
    Stale(u64),
    /// The versions of the protocol that all members speak; the newcomer speaks none of them.
    Version((u16, u16)),
    /// The cluster has so many members and takes no more for now.
    Full(u32),
}
