//! Commands about when an entry ends.

use piccolo_schema::time::UnixMillis;

use super::bad_argument::{BadArgument, integer, write_integer};
use super::key_at;
use super::options::Unit;
use crate::keyspace::{Key, Keyspace};
use crate::resp::{Args, Reply};

/// Replied for an entry that never ends.
const NEVER: i64 = -1;

/// Replied for a key that holds nothing.
const MISSING: i64 = -2;

pub(super) fn expire(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_integer(set_expiry(Unit::Seconds, "expire", args, keyspace), reply);
}

pub(super) fn pexpire(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_integer(set_expiry(Unit::Millis, "pexpire", args, keyspace), reply);
}

pub(super) fn expireat(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_integer(set_expiry(Unit::UnixSeconds, "expireat", args, keyspace), reply);
}

pub(super) fn pexpireat(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_integer(set_expiry(Unit::UnixMillis, "pexpireat", args, keyspace), reply);
}

pub(super) fn ttl(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let now = keyspace.now();
    write_expiry(args, keyspace, reply, |at| to_seconds(at.0.saturating_sub(now.0)));
}

pub(super) fn pttl(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let now = keyspace.now();
    write_expiry(args, keyspace, reply, |at| at.0.saturating_sub(now.0) as i64);
}

pub(super) fn expiretime(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_expiry(args, keyspace, reply, |at| to_seconds(at.0));
}

pub(super) fn pexpiretime(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_expiry(args, keyspace, reply, |at| at.0 as i64);
}

pub(super) fn persist(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    let ends = keyspace.get(key).is_some_and(|entry| entry.expires.is_some());
    if ends {
        keyspace.set_expires(key, None);
    }
    reply.integer(i64::from(ends));
}

/// Under which conditions an expiry is set.
#[derive(Clone, Copy, Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: &Args<'_>) -> Result<Self, BadArgument> {
        let mut given = Self::default();
        for word in args.iter().skip(3) {
            let flag = match word.to_ascii_lowercase().as_slice() {
                b"nx" => &mut given.nx,
                b"xx" => &mut given.xx,
                b"gt" => &mut given.gt,
                b"lt" => &mut given.lt,
                _ => return Err(BadArgument::Option(String::from_utf8_lossy(word).into_owned())),
            };
            *flag = true;
        }
        if given.nx && (given.xx || given.gt || given.lt) {
            return Err(BadArgument::NxWithOthers);
        }
        if given.gt && given.lt {
            return Err(BadArgument::GtWithLt);
        }
        Ok(given)
    }

    /// Whether they hold for an entry that ends at `old`, if ever, and shall end at `new`.
    fn hold(self, old: Option<i64>, new: i64) -> bool {
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

fn set_expiry(
    unit: Unit,
    name: &'static str,
    args: &Args<'_>,
    keyspace: &mut Keyspace<'_>,
) -> Result<i64, BadArgument> {
    let key = key_at(args, keyspace, 1);
    let conditions = Conditions::parse(args)?;
    let number = integer(args.get(2))?;
    let now = keyspace.now().0 as i64;
    let factor = if matches!(unit, Unit::Seconds | Unit::UnixSeconds) { 1000 } else { 1 };
    let base = if matches!(unit, Unit::Seconds | Unit::Millis) { now } else { 0 };
    let at = number
        .checked_mul(factor)
        .and_then(|millis| millis.checked_add(base))
        .ok_or(BadArgument::ExpireTime(name))?;
    Ok(i64::from(end_at(key, at, conditions, keyspace)))
}

/// Makes the entry end at `at`, at once if that is over. Returns whether there is one for which
/// the conditions hold.
fn end_at(key: Key<'_>, at: i64, conditions: Conditions, keyspace: &mut Keyspace<'_>) -> bool {
    let now = keyspace.now();
    let Some(entry) = keyspace.get(key) else { return false };
    if !conditions.hold(entry.expires.map(|at| at.0 as i64), at) {
        return false;
    }
    match u64::try_from(at) {
        Ok(at) if at > now.0 => keyspace.set_expires(key, Some(UnixMillis(at))),
        _ => keyspace.remove(key),
    }
}

fn write_expiry(
    args: &Args<'_>,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
    as_number: impl FnOnce(UnixMillis) -> i64,
) {
    let key = key_at(args, keyspace, 1);
    reply.integer(match keyspace.get(key) {
        None => MISSING,
        Some(entry) => entry.expires.map_or(NEVER, as_number),
    });
}

/// To the nearest second, like Redis.
fn to_seconds(millis: u64) -> i64 {
    (millis.saturating_add(500) / 1000) as i64
}
