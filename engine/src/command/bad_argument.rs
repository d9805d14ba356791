//! What is wrong with the arguments of a command, in the words of Redis.

use crate::resp::{Reply, number};

/// The client's fault, and nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum BadArgument {
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    Integer,
    #[error("ERR value is not a valid float")]
    Float,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    #[error("ERR offset is out of range")]
    Offset,
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    TooLong,
    #[error("ERR no such key")]
    NoSuchKey,
    #[error("ERR source and destination objects are the same")]
    SameKey,
    #[error("ERR DB index is out of range")]
    Database,
    #[error("ERR Invalid condition. Use IFEQ or IFNE: digests of values are not supported")]
    Condition,
    #[error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
         that when switching between policies at runtime LRU and LFU data will take some time to \
         adjust."
    )]
    NoFrequency,
    #[error("ERR idle time not tracked: nothing is evicted here, so no access times are kept.")]
    NoIdleTime,
    /// Of the command named.
    #[error("ERR invalid expire time in '{0}' command")]
    ExpireTime(&'static str),
    #[error("ERR Unsupported option {0}")]
    Option(String),
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    NxWithOthers,
    #[error("ERR GT and LT options at the same time are not compatible")]
    GtWithLt,
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
}

impl BadArgument {
    /// Replies it.
    #[cold]
    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        reply.error(&self.to_string());
    }
}

/// The integer that an argument, or a value, spells.
#[inline]
pub(super) fn integer(text: &[u8]) -> Result<i64, BadArgument> {
    number::parse_i64(text).ok_or(BadArgument::Integer)
}

/// Replies an integer, or what is wrong.
#[inline]
pub(super) fn write_integer(result: Result<i64, BadArgument>, reply: &mut Reply<'_>) {
    match result {
        Ok(value) => reply.integer(value),
        Err(error) => error.write(reply),
    }
}
