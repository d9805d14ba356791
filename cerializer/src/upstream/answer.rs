//! What a node says, and what goes wrong on the way to it.

use bytes::Bytes;
use piccolo_schema::kv::{self, Reason, Topology, Value};

/// What became of a request, as [`kv::Answer`], owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// What is stored.
    Entry(Entry),
    /// There is no such key.
    Absent,
    /// It is done.
    Written {
        /// Of what is written; for a delete, of what was there.
        version: u64,
        /// There was no such key before.
        created: bool,
    },
    /// The condition is not met by what is there; `None` for no key.
    Unmet(Option<u64>),
    /// Some keys.
    Page {
        /// To go on from; 0: this was the last.
        cursor: u64,
        /// In no order.
        keys: Vec<Vec<u8>>,
    },
    /// Who is there and who leads what.
    Topology(Topology),
    /// Nothing was changed.
    Refused {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
    },
    /// Whether the write was executed cannot be told, and why.
    Unknown(String),
}

/// An entry without a value behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Changes with every write.
    pub version: u64,
    /// Unix time in milliseconds; 0 for never.
    pub expires_at_ms: u64,
    /// Kept beside the value.
    pub meta: Bytes,
    /// Bytes of the value, whether it was sent or not.
    pub value_bytes: u32,
    /// The value, if it was sent in the frame.
    pub value: Option<Bytes>,
}

impl Answer {
    /// Copies `answer` out of its frame. `None` for what is no answer to anything asked here.
    pub fn of(answer: &kv::Answer<'_>) -> Option<Self> {
        Some(match answer {
            kv::Answer::Entry(entry) => Self::Entry(Entry {
                version: entry.version,
                expires_at_ms: entry.expires_at_ms,
                meta: Bytes::copy_from_slice(entry.meta),
                value_bytes: entry.value_bytes,
                value: match entry.value {
                    Some(Value::Here(bytes)) => Some(Bytes::copy_from_slice(bytes)),
                    Some(Value::Behind(_)) | None => None,
                },
            }),
            kv::Answer::Absent => Self::Absent,
            &kv::Answer::Written { version, created } => Self::Written { version, created },
            &kv::Answer::Unmet(version) => Self::Unmet((version != 0).then_some(version)),
            kv::Answer::Page { cursor, keys } => {
                let keys = keys.iter().map(|key| key.to_vec()).collect();
                Self::Page { cursor: *cursor, keys }
            }
            kv::Answer::Topology(topology) => Self::Topology(topology.clone()),
            kv::Answer::Refused(refusal) => {
                Self::Refused { reason: refusal.reason, detail: refusal.detail.to_owned() }
            }
            kv::Answer::Unknown(why) => Self::Unknown((*why).to_owned()),
            kv::Answer::Number { .. } => return None,
        })
    }
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// No connection to the node. Nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The node refuses the connection. Nothing was executed.
    #[error("the node refuses: {detail} ({reason:?})")]
    Refused {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
    },
    /// The connection broke.
    #[error("the connection broke: {why}")]
    Lost {
        /// Whether the request had been sent, so that it may have been executed.
        sent: bool,
        /// What was seen.
        why: String,
    },
    /// The node did not answer in time; the request had been sent.
    #[error("no answer in time")]
    Timeout,
    /// Longer than the node takes. Nothing was sent.
    #[error("{what} of {bytes} bytes: at most {max} are taken")]
    TooLong {
        /// What.
        what: &'static str,
        /// As given.
        bytes: usize,
        /// As allowed.
        max: usize,
    },
    /// Too much waits for the node. Nothing was sent.
    #[error("{waiting} requests wait for the node")]
    Full {
        /// How many.
        waiting: usize,
    },
}

impl Failure {
    /// Words for metrics, in the order of [`Failure::KINDS`].
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Refused { .. } => "refused",
            Self::Lost { .. } => "lost",
            Self::Timeout => "timeout",
            Self::TooLong { .. } => "too-long",
            Self::Full { .. } => "full",
        }
    }

    /// What was seen, to be told within another failure.
    pub fn why(&self) -> String {
        match self {
            Self::Lost { why, .. } => why.clone(),
            other => other.to_string(),
        }
    }

    /// Every word of [`Failure::kind`].
    pub const KINDS: [&'static str; 6] =
        ["connect", "refused", "lost", "timeout", "too-long", "full"];

    /// Whether the request may have been executed.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Lost { sent: true, .. } | Self::Timeout)
    }
}
