//! The frames of the native protocol, between a client and a node, as Rust values.
//!
//! The client sends [`PREFACE`] and a [`Hello`], the node a [`Welcome`] or a [`Refusal`]; then
//! requests go one way and replies the other, in the same order. [`RequestBatch`] and
//! [`ReplyBatch`] gather what one turn has to say, [`extent`] finds the first frame of a stream,
//! [`read()`] takes it apart without copying anything.
//!
//! A value longer than [`INLINE_BYTES_MAX`] travels raw behind its frame, which then holds this
//! one request or reply alone. Who reads learns from [`extent`] how many bytes follow a frame, so
//! that it can pass them on in pieces; who writes may leave them to its caller with
//! [`Value::Behind`].
//!
//! [`INLINE_BYTES_MAX`]: crate::limits::INLINE_BYTES_MAX

mod batch;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use batch::{ReplyBatch, RequestBatch};
pub use read::{Extent, Malformed, extent, read, read_from};
pub use write::{write_hello, write_refusal, write_reply, write_request, write_welcome};

use crate::ids::ClusterId;

/// What a native client sends first. No client of Redis begins with a zero byte.
pub const PREFACE: [u8; 8] = *b"\0PICCOLO";

/// Oldest and newest version of the native protocol that this build speaks.
pub const PROTOCOL: (u16, u16) = (1, 1);

/// First frame of the client, behind the preface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    /// Oldest and newest version of the protocol that the client speaks.
    pub protocol: (u16, u16),
    /// One bit per optional feature; none is defined yet.
    pub features: u64,
    /// Empty for none.
    pub password: &'a [u8],
    /// For people who look at the list of clients; may be empty.
    pub name: &'a str,
}

/// First frame of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome<'a> {
    /// The version of the protocol to speak.
    pub protocol: u16,
    /// Features that both have.
    pub features: u64,
    /// The cluster that the node belongs to.
    pub cluster: ClusterId,
    /// Name of the node.
    pub node: &'a str,
    /// Bytes of a value at most, as configured.
    pub value_bytes_max: u32,
}

/// One thing asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The client's number for it; comes back in the reply.
    pub id: u64,
    /// Empty for a scan and a topology.
    pub key: &'a [u8],
    /// What is to be done.
    pub op: Op<'a>,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// Answered by an entry or absent.
    Get(GetKind),
    /// Answered by written or unmet.
    Set(Set<'a>),
    /// Answered by written, absent or unmet.
    Delete(Condition),
    /// Adds to an integer, a missing one being 0. Answered by a number.
    Increment(i64),
    /// Adds bytes at the end. Answered by a number, the length.
    Append(&'a [u8]),
    /// Sets when the entry ends. Answered by written, absent or unmet.
    Expire {
        /// When.
        expiry: Expiry,
        /// Only if.
        condition: Condition,
    },
    /// Answered by a page.
    Scan(Scan<'a>),
    /// Answered by a topology.
    Topology,
}

/// How much of an entry is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GetKind {
    /// All of it.
    Whole,
    /// Everything but the value.
    Head,
    /// All of it if the value has at most so many bytes, else everything but the value.
    UpTo(u32),
}

/// A value to be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Set<'a> {
    /// What is stored.
    pub value: Value<'a>,
    /// Only if.
    pub condition: Condition,
    /// When the entry ends.
    pub expiry: Expiry,
    /// Kept beside the value, at most [`META_BYTES_MAX`](crate::limits::META_BYTES_MAX) bytes.
    pub meta: &'a [u8],
}

/// A value, or where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// These bytes.
    Here(&'a [u8]),
    /// So many bytes that follow the frame. To be written with [`write_request`] or
    /// [`write_reply`], not in a batch, and to be followed by the bytes.
    Behind(u32),
}

impl Value<'_> {
    /// Bytes of the value.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::Behind(bytes) => *bytes as usize,
        }
    }
}

/// What must hold for a write to be executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no such key.
    Absent,
    /// There is such a key.
    Present,
    /// The entry has this version.
    Version(u64),
}

/// When an entry ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Expiry {
    /// It does not.
    #[default]
    Never,
    /// As it was.
    Keep,
    /// So many milliseconds after the leader has executed this.
    InMs(u64),
    /// At this Unix time in milliseconds.
    AtMs(u64),
}

/// Which keys are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scan<'a> {
    /// Of the page before; 0 for the first.
    pub cursor: u64,
    /// About so many keys; 0 leaves it to the node.
    pub count: u32,
    /// Keys that begin so.
    pub prefix: &'a [u8],
    /// Keys that match this glob pattern; empty for none. Instead of a prefix.
    pub pattern: &'a [u8],
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply<'a> {
    /// The client's number for it.
    pub id: u64,
    /// What became of it.
    pub answer: Answer<'a>,
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    /// What is stored.
    Entry(Entry<'a>),
    /// There is no such key.
    Absent,
    /// It is done.
    Written {
        /// Of what is written; for a delete, of what was there.
        version: u64,
        /// There was no such key before.
        created: bool,
    },
    /// It is done.
    Number {
        /// The number after an increment, the length after an append.
        value: i64,
        /// Of what is written.
        version: u64,
    },
    /// The condition is not met. Which version is there; 0 for none.
    Unmet(u64),
    /// Some keys.
    Page {
        /// To go on from; 0: this was the last.
        cursor: u64,
        /// In no order; one may come twice.
        keys: Vec<&'a [u8]>,
    },
    /// Who is there and who leads what.
    Topology(Topology),
    /// Nothing was changed.
    Refused(Refusal<'a>),
    /// Whether the write was executed cannot be told, and why.
    Unknown(&'a str),
}

/// An entry as it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Changes with every write to the key.
    pub version: u64,
    /// Unix time in milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// Kept beside the value.
    pub meta: &'a [u8],
    /// Bytes of the value, whether it is sent or not.
    pub value_bytes: u32,
    /// The value, if it is sent.
    pub value: Option<Value<'a>>,
}

/// Who is there and who leads what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    /// In no order.
    pub nodes: Vec<Node>,
    /// In order of slots, none twice. Slots that nobody is known to lead are in none.
    pub leaders: Vec<Range>,
}

/// A node, as clients know it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address for clients, as it advertises it.
    pub client: String,
    /// `alive`, `suspect`, ...
    pub state: String,
    /// As configured; may be empty.
    pub zone: String,
    /// As configured.
    pub weight: u16,
    /// Shards of it.
    pub shards: u16,
}

/// Neighbouring slots that one node leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first slot.
    pub first: u16,
    /// The last slot, not below the first.
    pub last: u16,
    /// Place of the leader among the nodes.
    pub node: u16,
}

/// Why something was not done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal<'a> {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub detail: &'a str,
}

/// Why something was not done, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Not this protocol, or arguments out of range. The client's fault.
    Malformed,
    /// Increment of what is no number. The client's fault.
    WrongType,
    /// A value, key or number that is too large. The client's fault.
    TooLarge,
    /// The cluster is full.
    OutOfMemory,
    /// Nobody is known to lead the slot; try again.
    NotServed,
    /// Too much waits; try again.
    Busy,
    /// Another password. The client's fault.
    Unauthorised,
    /// The node takes no new connections; go to another.
    Leaving,
}

/// One thing in a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item<'a> {
    /// First frame of the client.
    Hello(Hello<'a>),
    /// First frame of the node.
    Welcome(Welcome<'a>),
    /// The last frame of the node: the connection closes.
    Refuse(Refusal<'a>),
    /// Something asked.
    Request(Request<'a>),
    /// What became of something asked.
    Reply(Reply<'a>),
}
