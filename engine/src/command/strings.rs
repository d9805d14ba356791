//! Commands that read and write the string under one key.

use piccolo_schema::time::UnixMillis;

use super::bad_argument::{BadArgument, integer, write_integer};
use super::key_at;
use super::options::{self, Condition, Expiry, Options, Unit};
use crate::keyspace::{Key, Keyspace};
use crate::resp::{Args, Reply};

pub(super) fn get(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_value(keyspace, key_at(args, keyspace, 1), reply);
}

pub(super) fn set(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    if args.len() == 3 {
        keyspace.put(key, args.get(2), None);
        return reply.ok();
    }
    match Options::of_set(args, keyspace.now()) {
        Ok(options) => set_with(key, args.get(2), &options, keyspace, reply),
        Err(error) => error.write(reply),
    }
}

pub(super) fn setnx(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    let missing = keyspace.get(key).is_none();
    if missing {
        keyspace.put(key, args.get(2), None);
    }
    reply.integer(i64::from(missing));
}

pub(super) fn setex(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    set_for(Unit::Seconds, "setex", args, keyspace, reply);
}

pub(super) fn psetex(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    set_for(Unit::Millis, "psetex", args, keyspace, reply);
}

pub(super) fn getset(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let options = Options { condition: Condition::Always, get: true, expiry: Expiry::Unsaid };
    set_with(key_at(args, keyspace, 1), args.get(2), &options, keyspace, reply);
}

pub(super) fn getdel(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    write_value(keyspace, key, reply);
    keyspace.remove(key);
}

pub(super) fn getex(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    let judge = match options::of_getex(args) {
        Ok(judge) => judge,
        Err(error) => return error.write(reply),
    };
    let now = keyspace.now();
    let Some(entry) = keyspace.get(key) else { return reply.null() };
    let expiry = match judge(now) {
        Ok(expiry) => expiry,
        Err(error) => return error.write(reply),
    };
    reply.bulk(entry.value);
    let had_expiry = entry.expires.is_some();
    match expiry {
        Expiry::At(at) if at <= now => {
            keyspace.remove(key);
        }
        Expiry::At(at) => {
            keyspace.set_expires(key, Some(at));
        }
        Expiry::Never if had_expiry => {
            keyspace.set_expires(key, None);
        }
        Expiry::Never | Expiry::Unsaid | Expiry::Keep => {}
    }
}

/// `DELEX key [IFEQ value | IFNE value]`. The conditions on digests (XXH3) are refused.
pub(super) fn delex(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    let condition = match args.len() {
        2 => Condition::Always,
        4 if args.get(2).eq_ignore_ascii_case(b"ifeq") => Condition::Equals(args.get(3)),
        4 if args.get(2).eq_ignore_ascii_case(b"ifne") => Condition::Differs(args.get(3)),
        4 => return BadArgument::Condition.write(reply),
        _ => return BadArgument::Arity("delex").write(reply),
    };
    reply.integer(i64::from(remove_if(condition, key, keyspace)));
}

/// `DELIFEQ key value`
pub(super) fn delifeq(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    reply.integer(i64::from(remove_if(Condition::Equals(args.get(2)), key, keyspace)));
}

pub(super) fn strlen(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let entry = keyspace.get(key_at(args, keyspace, 1));
    reply.integer(entry.map_or(0, |entry| entry.value.len() as i64));
}

pub(super) fn append(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let (key, more) = (key_at(args, keyspace, 1), args.get(2));
    write_integer(write_at(key, None, more, keyspace), reply);
}

pub(super) fn setrange(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let (key, patch) = (key_at(args, keyspace, 1), args.get(3));
    let result = integer(args.get(2))
        .and_then(|offset| usize::try_from(offset).map_err(|_| BadArgument::Offset))
        .and_then(|offset| write_at(key, Some(offset), patch, keyspace));
    write_integer(result, reply);
}

pub(super) fn getrange(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    let (start, end) = match (integer(args.get(2)), integer(args.get(3))) {
        (Ok(start), Ok(end)) => (start, end),
        (Err(error), _) | (_, Err(error)) => return error.write(reply),
    };
    let value = keyspace.get(key).map_or(&b""[..], |entry| entry.value);
    reply.bulk(range(value, start, end));
}

/// The old name of GETRANGE.
pub(super) fn substr(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    getrange(args, keyspace, reply);
}

#[inline]
fn write_value(keyspace: &mut Keyspace<'_>, key: Key<'_>, reply: &mut Reply<'_>) {
    match keyspace.get(key) {
        Some(entry) => reply.bulk(entry.value),
        None => reply.null(),
    }
}

/// Returns whether there was an entry for which the condition held.
fn remove_if(condition: Condition<'_>, key: Key<'_>, keyspace: &mut Keyspace<'_>) -> bool {
    let holds = condition.holds(keyspace.get(key).map(|entry| entry.value));
    holds && keyspace.remove(key)
}

fn set_with(
    key: Key<'_>,
    value: &[u8],
    options: &Options<'_>,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
) {
    let old = keyspace.get(key);
    let holds = options.condition.holds(old.map(|entry| entry.value));
    match old {
        Some(old) if options.get => reply.bulk(old.value),
        None if options.get => reply.null(),
        _ if holds => reply.ok(),
        _ => reply.null(),
    }
    if holds {
        let expires = match options.expiry {
            Expiry::At(at) => Some(at),
            Expiry::Keep => old.and_then(|entry| entry.expires),
            Expiry::Unsaid | Expiry::Never => None,
        };
        put_unless_over(key, value, expires, keyspace);
    }
}

fn set_for(
    unit: Unit,
    name: &'static str,
    args: &Args<'_>,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
) {
    let key = key_at(args, keyspace, 1);
    match options::deadline(args.get(2), unit, keyspace.now(), name) {
        Ok(at) => {
            put_unless_over(key, args.get(3), Some(at), keyspace);
            reply.ok();
        }
        Err(error) => error.write(reply),
    }
}

/// Writes an entry, or deletes the one there if the new one would have ended already.
fn put_unless_over(
    key: Key<'_>,
    value: &[u8],
    expires: Option<UnixMillis>,
    keyspace: &mut Keyspace<'_>,
) {
    if expires.is_some_and(|at| at <= keyspace.now()) {
        keyspace.remove(key);
    } else {
        keyspace.put(key, value, expires);
    }
}

/// Writes `patch` at `offset` of the value, or at its end, over what is there, with zeros in any
/// gap, and returns the length then. An empty patch at an offset changes nothing.
pub(super) fn write_at(
    key: Key<'_>,
    offset: Option<usize>,
    patch: &[u8],
    keyspace: &mut Keyspace<'_>,
) -> Result<i64, BadArgument> {
    let bytes_max = keyspace.value_bytes_max();
    let old = keyspace.get(key);
    let old_bytes = old.map_or(0, |entry| entry.value.len());
    if patch.is_empty() && (offset.is_some() || old.is_some()) {
        return Ok(old_bytes as i64);
    }
    let start = offset.unwrap_or(old_bytes);
    let end = start.checked_add(patch.len()).filter(|end| *end <= bytes_max);
    let end = end.ok_or(BadArgument::TooLong)?;
    let expires = old.and_then(|entry| entry.expires);
    let mut value = Vec::with_capacity(end.max(old_bytes));
    value.extend_from_slice(old.map_or(&b""[..], |entry| entry.value));
    value.resize(end.max(old_bytes), 0);
    value[start..end].copy_from_slice(patch);
    keyspace.put_value(key, &value, expires);
    Ok(value.len() as i64)
}

/// The bytes from `start` to `end`, both included, negative ones counted from the end.
fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let bytes = value.len() as i64;
    let from_start = |index: i64| if index < 0 { (bytes + index).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(bytes - 1));
    if start > end { b"" } else { &value[start as usize..=end as usize] }
}
