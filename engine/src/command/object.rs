//! OBJECT and MEMORY USAGE: what is known of an entry beside its value.

use super::bad_argument::{BadArgument, integer};
use super::key_at;
use crate::keyspace::Keyspace;
use crate::resp::{Args, Reply, number};

/// Bytes of the longest value that Redis embeds in its object (source: redis, object.c).
const EMBEDDED_BYTES_MAX: usize = 44;

/// OBJECT ENCODING: what Redis would make of this value if SET wrote it. Redis itself says `raw`
/// for a value that APPEND or SETRANGE has touched; that is not kept here.
pub(super) fn encoding(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    match keyspace.get(key_at(args, keyspace, 2)) {
        Some(entry) if number::parse_i64(entry.value).is_some() => reply.bulk(b"int"),
        Some(entry) if entry.value.len() <= EMBEDDED_BYTES_MAX => reply.bulk(b"embstr"),
        Some(_) => reply.bulk(b"raw"),
        None => reply.null(),
    }
}

/// OBJECT REFCOUNT: no value is shared.
pub(super) fn refcount(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    match keyspace.get(key_at(args, keyspace, 2)) {
        Some(_) => reply.integer(1),
        None => reply.null(),
    }
}

/// OBJECT FREQ
pub(super) fn freq(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    refuse(&BadArgument::NoFrequency, args, keyspace, reply);
}

/// OBJECT IDLETIME
pub(super) fn idletime(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    refuse(&BadArgument::NoIdleTime, args, keyspace, reply);
}

/// MEMORY USAGE key [SAMPLES count]: bytes of the entry as `used_memory` counts them, without the
/// 8 bytes or so of its place in the table.
pub(super) fn memory_usage(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    if let Err(error) = samples(args) {
        return error.write(reply);
    }
    match keyspace.entry_bytes(key_at(args, keyspace, 2)) {
        Some(bytes) => reply.integer(bytes as i64),
        None => reply.null(),
    }
}

/// A string is not sampled, but the words are checked like those of Redis.
fn samples(args: &Args<'_>) -> Result<(), BadArgument> {
    let mut index = 3;
    while index < args.len() {
        if !args.get(index).eq_ignore_ascii_case(b"samples") || index + 1 == args.len() {
            return Err(BadArgument::Syntax);
        }
        if integer(args.get(index + 1))? < 0 {
            return Err(BadArgument::Syntax);
        }
        index += 2;
    }
    Ok(())
}

/// A key that is not there comes before what is not known of any.
fn refuse(why: &BadArgument, args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    match keyspace.get(key_at(args, keyspace, 2)) {
        Some(_) => why.write(reply),
        None => reply.null(),
    }
}
