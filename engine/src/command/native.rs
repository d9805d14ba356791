//! What the native protocol asks of one slot: commands that only shards send to each other, since
//! their replies tell more than those of Redis. How they are written is here, too.
//!
//! | command | replies |
//! |---|---|
//! | `N.GET key whole\|head\|BYTES` | version, expiry (0: never), metadata, bytes, value or null |
//! | `N.SET key value condition expiry metadata` | version, whether it is new |
//! | `N.DELETE key condition` | version that was there, 0 |
//! | `N.INCR key by` | number, version |
//! | `N.APPEND key value` | length, version |
//! | `N.EXPIRE key expiry condition` | version, 0 |
//!
//! Each replies an array of these; null for no such key; an integer, the version that is there or
//! 0, if the condition is not met; or an error. A condition is `always`, `absent`, `present` or a
//! version; an expiry `never`, `keep`, `+` and milliseconds, or `@` and a Unix time in
//! milliseconds.

use piccolo_schema::kv::{Condition, Expiry, GetKind, Op, Value};
use piccolo_schema::limits::{KEY_BYTES_MAX, META_BYTES_MAX};
use piccolo_schema::time::UnixMillis;

use super::bad_argument::BadArgument;
use super::{counters, key_at, strings};
use crate::keyspace::{Key, Keyspace};
use crate::resp::{Args, Reply, number};
use crate::store::Entry;

/// What clients ask of one slot, and the command that it becomes.
pub const NAMES: [(&str, &str); 6] = [
    ("get", "n.get"),
    ("set", "n.set"),
    ("delete", "n.delete"),
    ("increment", "n.incr"),
    ("append", "n.append"),
    ("expire", "n.expire"),
];

/// Writes what is asked of the slot of `key` as a command. `value`: what follows the frame, if the
/// value does. Returns the command's name and whether it may write; `None` for what no single slot
/// can do.
pub fn write_command(
    key: &[u8],
    op: &Op<'_>,
    value: &[u8],
    to: &mut Vec<u8>,
) -> Option<(&'static str, bool)> {
    let mut write = |name: &'static str, rest: &[&[u8]]| {
        let mut reply = Reply::new(to, false);
        reply.array(2 + rest.len());
        reply.bulk(name.as_bytes());
        reply.bulk(key);
        for text in rest {
            reply.bulk(text);
        }
        Some((name, name != "n.get"))
    };
    match op {
        Op::Get(GetKind::Whole) => write("n.get", &[b"whole"]),
        Op::Get(GetKind::Head) => write("n.get", &[b"head"]),
        Op::Get(GetKind::UpTo(bytes)) => write("n.get", &[bytes.to_string().as_bytes()]),
        Op::Set(set) => {
            let value = if let Value::Here(value) = set.value { value } else { value };
            let (condition, expiry) = (condition_text(set.condition), expiry_text(set.expiry));
            write("n.set", &[value, condition.as_bytes(), expiry.as_bytes(), set.meta])
        }
        Op::Delete(condition) => write("n.delete", &[condition_text(*condition).as_bytes()]),
        Op::Increment(by) => write("n.incr", &[by.to_string().as_bytes()]),
        Op::Append(value) => write("n.append", &[value]),
        Op::Expire { expiry, condition } => {
            let (condition, expiry) = (condition_text(*condition), expiry_text(*expiry));
            write("n.expire", &[expiry.as_bytes(), condition.as_bytes()])
        }
        Op::Scan(_) | Op::Topology => None,
    }
}

fn condition_text(condition: Condition) -> String {
    match condition {
        Condition::Always => "always".to_owned(),
        Condition::Absent => "absent".to_owned(),
        Condition::Present => "present".to_owned(),
        Condition::Version(version) => version.to_string(),
    }
}

fn expiry_text(expiry: Expiry) -> String {
    match expiry {
        Expiry::Never => "never".to_owned(),
        Expiry::Keep => "keep".to_owned(),
        Expiry::InMs(ms) => format!("+{ms}"),
        Expiry::AtMs(ms) => format!("@{ms}"),
    }
}

fn condition(text: &[u8]) -> Result<Condition, BadArgument> {
    match text {
        b"always" => Ok(Condition::Always),
        b"absent" => Ok(Condition::Absent),
        b"present" => Ok(Condition::Present),
        _ => number::parse_u64(text).map(Condition::Version).ok_or(BadArgument::Syntax),
    }
}

/// When an entry ends that is given this expiry and ended at `old` before.
fn expires(
    text: &[u8],
    old: Option<UnixMillis>,
    now: UnixMillis,
    name: &'static str,
) -> Result<Option<UnixMillis>, BadArgument> {
    let (base, text) = match text {
        b"never" => return Ok(None),
        b"keep" => return Ok(old),
        [b'+', ms @ ..] => (now.0, ms),
        [b'@', ms @ ..] => (0, ms),
        _ => return Err(BadArgument::Syntax),
    };
    let at = number::parse_u64(text).and_then(|ms| ms.checked_add(base));
    let at = at.filter(|at| *at > 0 && i64::try_from(*at).is_ok());
    at.map(|at| Some(UnixMillis(at))).ok_or(BadArgument::ExpireTime(name))
}

fn holds(condition: Condition, entry: Option<&Entry<'_>>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => entry.is_none(),
        Condition::Present => entry.is_some(),
        Condition::Version(version) => entry.is_some_and(|entry| entry.version.packed() == version),
    }
}

pub(super) fn get(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let Some(entry) = keyspace.get(key_at(args, keyspace, 1)) else { return reply.null() };
    let whole = match args.get(2) {
        b"whole" => true,
        b"head" => false,
        bytes => match number::parse_u64(bytes) {
            Some(bytes) => entry.value.len() as u64 <= bytes,
            None => return BadArgument::Syntax.write(reply),
        },
    };
    reply.array(5);
    reply.integer(entry.version.packed() as i64);
    reply.integer(entry.expires.map_or(0, |at| at.0 as i64));
    reply.bulk(entry.meta);
    reply.integer(entry.value.len() as i64);
    if whole { reply.bulk(entry.value) } else { reply.null() }
}

pub(super) fn set(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    if let Err(error) = try_set(args, keyspace, reply) {
        error.write(reply);
    }
}

fn try_set(
    args: &Args<'_>,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), BadArgument> {
    let (key, value, meta) = (checked_key(args, keyspace)?, args.get(2), args.get(5));
    let condition = condition(args.get(3))?;
    if value.len() > keyspace.value_bytes_max() || meta.len() > META_BYTES_MAX {
        return Err(BadArgument::TooLong);
    }
    let now = keyspace.now();
    let old = keyspace.get(key);
    let expires = expires(args.get(4), old.and_then(|entry| entry.expires), now, "set")?;
    if !holds(condition, old.as_ref()) {
        write_unmet(old.as_ref(), reply);
        return Ok(());
    }
    let created = old.is_none();
    if expires.is_some_and(|at| at <= now) {
        keyspace.forget(key);
    } else {
        keyspace.put_meta(key, value, meta, expires);
    }
    write_pair(keyspace.version().packed() as i64, i64::from(created), reply);
    Ok(())
}

pub(super) fn delete(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let (key, condition) = match (checked_key(args, keyspace), condition(args.get(2))) {
        (Ok(key), Ok(condition)) => (key, condition),
        (Err(error), _) | (_, Err(error)) => return error.write(reply),
    };
    let old = keyspace.get(key);
    if !holds(condition, old.as_ref()) {
        return write_unmet(old.as_ref(), reply);
    }
    let Some(old) = old else { return reply.null() };
    let version = old.version.packed() as i64;
    keyspace.remove(key);
    write_pair(version, 0, reply);
}

pub(super) fn incr(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let result = checked_key(args, keyspace).and_then(|key| {
        let by = number::parse_i64(args.get(2)).ok_or(BadArgument::Syntax)?;
        Ok((key, counters::add(key, by, keyspace)?))
    });
    write_number(result, keyspace, reply);
}

pub(super) fn append(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let result = checked_key(args, keyspace)
        .and_then(|key| Ok((key, strings::write_at(key, None, args.get(2), keyspace)?)));
    write_number(result, keyspace, reply);
}

pub(super) fn expire(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    if let Err(error) = try_expire(args, keyspace, reply) {
        error.write(reply);
    }
}

fn try_expire(
    args: &Args<'_>,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), BadArgument> {
    let (key, condition) = (checked_key(args, keyspace)?, condition(args.get(3))?);
    let now = keyspace.now();
    let old = keyspace.get(key);
    let was = old.and_then(|entry| entry.expires);
    let expires = expires(args.get(2), was, now, "expire")?;
    if !holds(condition, old.as_ref()) {
        write_unmet(old.as_ref(), reply);
        return Ok(());
    }
    let Some(old) = old else {
        reply.null();
        return Ok(());
    };
    if expires == was {
        write_pair(old.version.packed() as i64, 0, reply);
        return Ok(());
    }
    if expires.is_some_and(|at| at <= now) {
        keyspace.remove(key);
    } else {
        keyspace.set_expires(key, expires);
    }
    write_pair(keyspace.version().packed() as i64, 0, reply);
    Ok(())
}

/// The key, if it is short enough to be stored: the asker has checked that, but may be no friend.
fn checked_key<'a>(args: &Args<'a>, keyspace: &Keyspace<'_>) -> Result<Key<'a>, BadArgument> {
    let key = key_at(args, keyspace, 1);
    if key.bytes.len() > KEY_BYTES_MAX { Err(BadArgument::TooLong) } else { Ok(key) }
}

fn write_unmet(entry: Option<&Entry<'_>>, reply: &mut Reply<'_>) {
    reply.integer(entry.map_or(0, |entry| entry.version.packed() as i64));
}

fn write_pair(first: i64, second: i64, reply: &mut Reply<'_>) {
    reply.array(2);
    reply.integer(first);
    reply.integer(second);
}

/// Replies a number and the version of the entry that holds it, or what is wrong.
fn write_number(
    result: Result<(Key<'_>, i64), BadArgument>,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
) {
    match result {
        Ok((key, value)) => {
            let version = keyspace.get(key).map_or(0, |entry| entry.version.packed());
            write_pair(value, version as i64, reply);
        }
        Err(error) => error.write(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find_internal;
    use crate::command::spec::Place;
    use crate::resp::parse::{Limits, Parsed, Parser};
    use crate::store::{KeyHasher, SlotTable};
    use piccolo_schema::ids::{ClusterId, Term, Version};
    use piccolo_schema::kv::Set;

    struct Slot {
        table: SlotTable,
        seq: u64,
        now: u64,
    }

    impl Slot {
        fn new() -> Self {
            Self { table: SlotTable::default(), seq: 0, now: 1000 }
        }

        fn run(&mut self, op: Op<'_>) -> String {
            let mut body = Vec::new();
            let (name, _) = write_command(b"k", &op, b"", &mut body).unwrap();
            let mut spans = Vec::new();
            let parsed = Parser::new(Limits::default()).next(&body, 0, &mut spans);
            assert!(matches!(parsed, Ok(Parsed::Command { end, .. }) if end == body.len()));
            let args = Args::new(&body, &spans);
            let command = find_internal(name.as_bytes()).unwrap();
            assert!(command.arity_ok(args.len()));
            let Place::Slot(handler) = command.place else { panic!("a slot") };
            self.seq += 1;
            let version = Version { term: Term(0), seq: self.seq };
            let hasher = KeyHasher::new(ClusterId(1));
            let now = UnixMillis(self.now);
            let mut keyspace = Keyspace::new(&mut self.table, hasher, now, version, None);
            let mut out = Vec::new();
            handler(&args, &mut keyspace, &mut Reply::new(&mut out, false));
            String::from_utf8(out).unwrap().replace("\r\n", " ").trim_end().to_owned()
        }

        fn set(&mut self, value: &str, condition: Condition, expiry: Expiry) -> String {
            let value = Value::Here(value.as_bytes());
            self.run(Op::Set(Set { value, condition, expiry, meta: b"m" }))
        }
    }

    #[test]
    fn a_get_tells_all_of_an_entry_or_its_head() {
        let mut slot = Slot::new();
        assert_eq!(slot.run(Op::Get(GetKind::Whole)), "$-1");
        assert_eq!(slot.set("abc", Condition::Always, Expiry::InMs(500)), "*2 :2 :1");
        assert_eq!(slot.run(Op::Get(GetKind::Whole)), "*5 :2 :1500 $1 m :3 $3 abc");
        assert_eq!(slot.run(Op::Get(GetKind::Head)), "*5 :2 :1500 $1 m :3 $-1");
        assert_eq!(slot.run(Op::Get(GetKind::UpTo(2))), "*5 :2 :1500 $1 m :3 $-1");
        assert_eq!(slot.run(Op::Get(GetKind::UpTo(3))), "*5 :2 :1500 $1 m :3 $3 abc");
        slot.now = 1500;
        assert_eq!(slot.run(Op::Get(GetKind::Whole)), "$-1");
    }

    #[test]
    fn a_set_whose_condition_is_not_met_tells_the_version_there() {
        let mut slot = Slot::new();
        assert_eq!(slot.set("a", Condition::Present, Expiry::Never), ":0");
        assert_eq!(slot.set("a", Condition::Version(1), Expiry::Never), ":0");
        assert_eq!(slot.set("a", Condition::Absent, Expiry::Never), "*2 :3 :1");
        assert_eq!(slot.set("b", Condition::Absent, Expiry::Never), ":3");
        assert_eq!(slot.set("b", Condition::Version(2), Expiry::Never), ":3");
        assert_eq!(slot.set("b", Condition::Version(3), Expiry::Never), "*2 :6 :0");
        assert_eq!(slot.set("c", Condition::Present, Expiry::AtMs(5000)), "*2 :7 :0");
        assert_eq!(slot.set("d", Condition::Always, Expiry::Keep), "*2 :8 :0");
        assert_eq!(slot.run(Op::Get(GetKind::Head)), "*5 :8 :5000 $1 m :1 $-1");
        let error = slot.set("d", Condition::Always, Expiry::InMs(u64::MAX));
        assert_eq!(error, "-ERR invalid expire time in 'set' command");
        // In the past: as if it were written and had ended.
        assert_eq!(slot.set("e", Condition::Always, Expiry::AtMs(1)), "*2 :11 :0");
        assert_eq!(slot.run(Op::Get(GetKind::Whole)), "$-1");
    }

    #[test]
    fn a_delete_tells_what_was_there() {
        let mut slot = Slot::new();
        assert_eq!(slot.run(Op::Delete(Condition::Always)), "$-1");
        assert_eq!(slot.run(Op::Delete(Condition::Version(9))), ":0");
        slot.set("a", Condition::Always, Expiry::Never);
        assert_eq!(slot.run(Op::Delete(Condition::Version(9))), ":3");
        assert_eq!(slot.run(Op::Delete(Condition::Version(3))), "*2 :3 :0");
        assert_eq!(slot.run(Op::Delete(Condition::Present)), ":0");
    }

    #[test]
    fn numbers_come_with_their_version_and_keep_what_lies_beside_the_value() {
        let mut slot = Slot::new();
        assert_eq!(slot.run(Op::Increment(-5)), "*2 :-5 :1");
        assert_eq!(slot.set("7", Condition::Always, Expiry::AtMs(9000)), "*2 :2 :0");
        assert_eq!(slot.run(Op::Increment(3)), "*2 :10 :3");
        assert_eq!(slot.run(Op::Append(b"x")), "*2 :3 :4");
        assert_eq!(slot.run(Op::Append(b"")), "*2 :3 :4");
        assert_eq!(slot.run(Op::Get(GetKind::Whole)), "*5 :4 :9000 $1 m :3 $3 10x");
        let error = slot.run(Op::Increment(1));
        assert_eq!(error, "-ERR value is not an integer or out of range");
    }

    #[test]
    fn an_expiry_changes_nothing_else() {
        let mut slot = Slot::new();
        let expire = |expiry, condition| Op::Expire { expiry, condition };
        assert_eq!(slot.run(expire(Expiry::Never, Condition::Always)), "$-1");
        slot.set("a", Condition::Always, Expiry::Never);
        assert_eq!(slot.run(expire(Expiry::InMs(10), Condition::Version(1))), ":2");
        assert_eq!(slot.run(expire(Expiry::InMs(10), Condition::Version(2))), "*2 :4 :0");
        assert_eq!(slot.run(expire(Expiry::Keep, Condition::Always)), "*2 :4 :0");
        assert_eq!(slot.run(Op::Get(GetKind::Whole)), "*5 :4 :1010 $1 m :1 $1 a");
        assert_eq!(slot.run(expire(Expiry::Never, Condition::Present)), "*2 :7 :0");
        assert_eq!(slot.run(expire(Expiry::AtMs(1), Condition::Present)), "*2 :8 :0");
        assert_eq!(slot.run(Op::Get(GetKind::Whole)), "$-1");
    }
}
