//! What a client can ask, and what it is told.

use piccolo_schema::kv::{Answer, Condition, Expiry, GetKind, Op, Scan, Set, Topology, Value};

use crate::error::Error;

/// Something to ask, for [`Client::batch`](crate::Client::batch).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) op: Op<'a>,
}

impl<'a> Call<'a> {
    /// Reads an entry. Told [`Outcome::Entry`] or [`Outcome::Absent`].
    pub fn get(key: &'a [u8]) -> Self {
        Self { key, op: Op::Get(GetKind::Whole) }
    }

    /// Reads everything of an entry but its value.
    pub fn head(key: &'a [u8]) -> Self {
        Self { key, op: Op::Get(GetKind::Head) }
    }

    /// Writes a value. Told [`Outcome::Written`] or [`Outcome::Unmet`].
    pub fn set(key: &'a [u8], value: &'a [u8], how: SetHow<'a>) -> Self {
        let SetHow { condition, expiry, meta } = how;
        Self { key, op: Op::Set(Set { value: Value::Here(value), condition, expiry, meta }) }
    }

    /// Deletes an entry. Told [`Outcome::Written`] with the version that was there,
    /// [`Outcome::Absent`] or [`Outcome::Unmet`].
    pub fn delete(key: &'a [u8], condition: Condition) -> Self {
        Self { key, op: Op::Delete(condition) }
    }

    /// Adds to an integer, a missing one being 0. Told [`Outcome::Number`].
    pub fn increment(key: &'a [u8], by: i64) -> Self {
        Self { key, op: Op::Increment(by) }
    }

    /// Adds bytes at the end of a value. Told [`Outcome::Number`], the length.
    pub fn append(key: &'a [u8], bytes: &'a [u8]) -> Self {
        Self { key, op: Op::Append(bytes) }
    }

    /// Sets when an entry ends. Told [`Outcome::Written`], [`Outcome::Absent`] or
    /// [`Outcome::Unmet`].
    pub fn expire(key: &'a [u8], expiry: Expiry, condition: Condition) -> Self {
        Self { key, op: Op::Expire { expiry, condition } }
    }

    /// Asks for about `count` keys that begin with `prefix`, from a cursor on. Told
    /// [`Outcome::Page`].
    pub fn scan(cursor: u64, count: u32, prefix: &'a [u8]) -> Self {
        Self { key: b"", op: Op::Scan(Scan { cursor, count, prefix, pattern: b"" }) }
    }

    pub(crate) fn topology() -> Self {
        Self { key: b"", op: Op::Topology }
    }

    /// Whether it is about one key.
    pub(crate) fn is_keyed(&self) -> bool {
        !matches!(self.op, Op::Scan(_) | Op::Topology)
    }

    /// Whether it may change something.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.op, Op::Get(_) | Op::Scan(_) | Op::Topology)
    }

    /// Bytes of key and value.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len()
            + match self.op {
                Op::Set(set) => set.value.bytes(),
                Op::Append(bytes) => bytes.len(),
                _ => 0,
            }
    }
}

/// How a value is written. By default: whatever is there, for ever, without metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetHow<'a> {
    /// What must hold.
    pub condition: Condition,
    /// When the entry ends.
    pub expiry: Expiry,
    /// Kept beside the value, at most 255 bytes. Who speaks RESP does not see it.
    pub meta: &'a [u8],
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
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
    /// It is done.
    Number {
        /// The number, or the length.
        value: i64,
        /// Of what is written.
        version: u64,
    },
    /// The condition is not met. Which version is there; 0 for none.
    Unmet(u64),
    /// Some keys.
    Page(Page),
    /// Who is there and who leads what.
    Topology(Topology),
}

/// An entry as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Changes with every write to the key: a token for [`Condition::Version`].
    pub version: u64,
    /// Unix time in milliseconds, if the entry ends.
    pub expires_at_ms: Option<u64>,
    /// Kept beside the value.
    pub meta: Vec<u8>,
    /// Bytes of the value, whether it was asked for or not.
    pub value_bytes: usize,
    /// The value; empty if only the head was asked for.
    pub value: Vec<u8>,
}

/// Some keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// To go on from; 0: this was the last.
    pub cursor: u64,
    /// In no order; one may come twice, in this page or the next.
    pub keys: Vec<Vec<u8>>,
}

impl Outcome {
    /// The outcome that an answer tells, or why there is none.
    pub(crate) fn of(answer: Answer<'_>) -> Result<Self, Error> {
        Ok(match answer {
            Answer::Entry(entry) => Self::Entry(Entry {
                version: entry.version,
                expires_at_ms: (entry.expires_at_ms > 0).then_some(entry.expires_at_ms),
                meta: entry.meta.to_vec(),
                value_bytes: entry.value_bytes as usize,
                value: match entry.value {
                    Some(Value::Here(value)) => value.to_vec(),
                    Some(Value::Behind(_)) | None => Vec::new(),
                },
            }),
            Answer::Absent => Self::Absent,
            Answer::Written { version, created } => Self::Written { version, created },
            Answer::Number { value, version } => Self::Number { value, version },
            Answer::Unmet(version) => Self::Unmet(version),
            Answer::Page { cursor, keys } => {
                Self::Page(Page { cursor, keys: keys.into_iter().map(<[u8]>::to_vec).collect() })
            }
            Answer::Topology(topology) => Self::Topology(topology),
            Answer::Refused(refusal) => {
                let (reason, detail) = (refusal.reason, refusal.detail.to_owned());
                return Err(Error::Refused { reason, detail });
            }
            Answer::Unknown(why) => return Err(Error::Unknown { detail: why.to_owned() }),
        })
    }
}
