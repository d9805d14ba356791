//! Each command over one slot with a clock that stands still until told.

use piccolo_schema::ids::{ClusterId, Version};
use piccolo_schema::time::UnixMillis;

use super::*;
use crate::keyspace::Changes;
use crate::resp::{Limits, Parsed, Parser, Reply, value};
use crate::store::{KeyHasher, SlotTable, record};

struct Slot {
    table: SlotTable,
    now: UnixMillis,
    version: Version,
    changes: Changes,
    cleared: Vec<SlotTable>,
    value_bytes_max: usize,
}

fn slot() -> Slot {
    Slot {
        table: SlotTable::new(),
        now: UnixMillis(1_000_000),
        version: Version::unpacked(1 << 40),
        changes: Changes::default(),
        cleared: Vec::new(),
        value_bytes_max: 100,
    }
}

impl Slot {
    /// Executes a line and returns the reply with line ends as spaces.
    fn run(&mut self, line: &str) -> String {
        let (mut bytes, mut spans) = (format!("{line}\n").into_bytes(), Vec::new());
        let mut parser = Parser::new(Limits::default());
        if let Ok(Parsed::Rewritten { command, .. }) = parser.next(&bytes, 0, &mut spans) {
            bytes = command;
            parser.next(&bytes, 0, &mut spans).unwrap();
        }
        let args = Args::new(&bytes, &spans);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, false);
        let found = find_internal(args.get(0)).map_or_else(|| resolve(&args), Ok);
        match found.map(|command| command.place) {
            Ok(Place::Slot(handler) | Place::Split(handler, _)) => {
                let hasher = KeyHasher::new(ClusterId(7));
                let changes = Some(&mut self.changes);
                self.version = self.version.next();
                let mut keyspace =
                    Keyspace::new(&mut self.table, hasher, self.now, self.version, changes)
                        .with_value_bytes_max(self.value_bytes_max);
                handler(&args, &mut keyspace, &mut reply);
                self.cleared.extend(keyspace.take_cleared());
            }
            Ok(_) => docs::command(&args, &mut reply),
            Err(refuse) => reply.error(&refuse.to_string()),
        }
        assert_eq!(value::skip(&out), Ok(Some(out.len())), "{line}");
        String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_owned()
    }

    fn all(&mut self, script: &[(&str, &str)]) {
        for (line, reply) in script {
            assert_eq!(self.run(line), *reply, "{line}");
        }
    }
}

#[test]
fn conditions_of_set_compare_the_value() {
    slot().all(&[
        ("SET k v IFEQ v", "$-1"),
        ("GET k", "$-1"),
        ("SET k one IFNE v", "+OK"),
        ("SET k two IFEQ one", "+OK"),
        ("SET k three IFEQ one", "$-1"),
        ("SET k three IFNE two", "$-1"),
        ("SET k three IFEQ one GET", "$3 two"),
        ("SET k three IFEQ two GET", "$3 two"),
        ("GET k", "$5 three"),
        ("SET k v IFEQ", "-ERR syntax error"),
        ("SET k v NX IFEQ three", "-ERR syntax error"),
        ("SET k v IFEQ three XX", "-ERR syntax error"),
        ("SET k v IFEQ a IFNE b", "-ERR syntax error"),
        ("SET k v IFEQ three KEEPTTL PX 5", "-ERR syntax error"),
        ("SET new v XX", "$-1"),
        ("SET k v NX", "$-1"),
        ("SET k v NX GET", "$5 three"),
    ]);
}

#[test]
fn relative_times_count_from_now() {
    let mut slot = slot();
    slot.all(&[
        ("SET k v EX 10", "+OK"),
        ("PTTL k", ":10000"),
        ("PEXPIRETIME k", ":1010000"),
        ("EXPIRETIME k", ":1010"),
        ("PEXPIRE k 2500", ":1"),
        ("TTL k", ":3"),
        ("SET k w KEEPTTL", "+OK"),
        ("PTTL k", ":2500"),
        ("APPEND k w", ":2"),
        ("GETEX k PX 700", "$2 ww"),
        ("PTTL k", ":700"),
        ("EXPIRE k 1 LT", ":0"),
        ("EXPIRE k 1 GT", ":1"),
        ("PERSIST k", ":1"),
        ("PERSIST k", ":0"),
        ("TTL k", ":-1"),
        ("EXPIRE k 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
        ("PSETEX k 500 v", "+OK"),
        ("SETEX k 0 v", "-ERR invalid expire time in 'setex' command"),
    ]);
    slot.now.0 += 499;
    slot.all(&[("TTL k", ":0"), ("PTTL k", ":1"), ("EXISTS k", ":1")]);
    slot.now.0 += 1;
    slot.all(&[("SLOT.COUNT", ":1"), ("GET k", "$-1"), ("TTL k", ":-2"), ("SLOT.COUNT", ":0")]);
}

/// Followers and snapshots are told the deletion, since they never expire anything themselves.
#[test]
fn what_is_found_expired_is_deleted_by_a_change() {
    let mut slot = slot();
    slot.run("SET k v PX 5");
    slot.now.0 += 5;
    slot.changes = Changes::default();
    slot.run("EXISTS k");
    let (record, rest) = record::read(&slot.changes.records).unwrap().unwrap();
    assert_eq!((record, rest.len()), (record::Record::Delete(b"k"), 0));
}

#[test]
fn a_write_that_has_ended_already_deletes() {
    slot().all(&[
        ("SET k v", "+OK"),
        ("SET k v PXAT 1", "+OK"),
        ("SLOT.COUNT", ":0"),
        ("SET k v", "+OK"),
        ("GETEX k EXAT 1", "$1 v"),
        ("SLOT.COUNT", ":0"),
        ("SET k v", "+OK"),
        ("EXPIRE k -1", ":1"),
        ("SLOT.COUNT", ":0"),
    ]);
}

#[test]
fn a_value_grows_to_the_limit_and_no_further() {
    slot().all(&[
        ("SETRANGE k 99 x", ":100"),
        ("APPEND k x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SETRANGE k 100 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        (
            "SETRANGE k 9223372036854775807 x",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("SETRANGE k 99 y", ":100"),
        ("STRLEN k", ":100"),
        ("GETRANGE k -1 -1", "$1 y"),
    ]);
}

/// Whatever a command replies as an error, it changed nothing.
#[test]
fn refused_commands_change_nothing() {
    let mut slot = slot();
    slot.run("SET k v");
    slot.changes = Changes::default();
    for line in [
        "INCR k",
        "INCRBYFLOAT k 1",
        "INCRBY k x",
        "DECRBY k -9223372036854775808",
        "SETRANGE k -1 x",
        "GETRANGE k a b",
        "SET k v EX 0",
        "SET k v FOO",
        "GETEX k EX 0",
        "EXPIRE k x",
        "EXPIRE k 1 NX XX",
        "EXPIRE k 1 FOO",
        "MSET k v x",
        "SLOT.SCAN x 1",
        "EXPECT k x",
    ] {
        let reply = slot.run(line);
        assert!(reply.starts_with("-ERR "), "{line}: {reply}");
        assert!(slot.changes.records.is_empty(), "{line}");
    }
}

#[test]
fn many_keys_are_answered_in_order() {
    slot().all(&[
        ("MSET a 1 b 2 a 3", "+OK"),
        ("MGET a c b a", "*4 $1 3 $-1 $1 2 $1 3"),
        ("EXISTS a a c", ":2"),
        ("TOUCH a b c", ":2"),
        ("DEL a a c", ":1"),
        ("UNLINK b", ":1"),
        ("SLOT.COUNT", ":0"),
    ]);
}

#[test]
fn one_key_goes_through_its_life() {
    slot().all(&[
        ("TYPE k", "+none"),
        ("SETNX k 5", ":1"),
        ("SETNX k 6", ":0"),
        ("INCR k", ":6"),
        ("DECR k", ":5"),
        ("INCRBY k 10", ":15"),
        ("DECRBY k 20", ":-5"),
        ("INCRBYFLOAT k 0.25", "$5 -4.75"),
        ("INCR k", "-ERR value is not an integer or out of range"),
        ("GETSET k abcdef", "$5 -4.75"),
        ("SUBSTR k 1 2", "$2 bc"),
        ("SETRANGE k 1 XY", ":6"),
        ("TYPE k", "+string"),
        ("GETDEL k", "$6 aXYdef"),
        ("GETDEL k", "$-1"),
        ("GETSET k v", "$-1"),
        ("EXPIREAT k 2000", ":1"),
        ("PEXPIREAT k 2000001", ":1"),
        ("TTL k", ":1000"),
    ]);
}

#[test]
fn a_version_is_expected_until_the_key_changes() {
    let mut slot = slot();
    slot.all(&[("VERSION k", ":0"), ("EXPECT k 0", ":1"), ("SET k v", "+OK")]);
    let version = slot.run("VERSION k");
    assert_eq!(version, format!(":{}", slot.version.packed() - 1));
    let expect = format!("EXPECT k {}", &version[1..]);
    slot.all(&[(&expect, ":1"), ("EXPECT k 0", ":0"), ("EXPIRE k 100", ":1"), (&expect, ":0")]);
}

/// The keys found by scanning from the start in steps of `count`, and the number of steps.
fn scan(slot: &mut Slot, count: usize, filter: &str) -> (Vec<String>, usize) {
    let (mut keys, mut cursor, mut steps) = (Vec::new(), "0".to_owned(), 0);
    loop {
        steps += 1;
        let reply = slot.run(&format!("SLOT.SCAN {cursor} {count} {filter}"));
        let words: Vec<_> = reply.split(' ').collect();
        let (next, rest) = if words[1] == "$-1" { (None, 3) } else { (Some(words[2]), 4) };
        keys.extend(words[rest..].iter().skip(1).step_by(2).map(|key| (*key).to_owned()));
        match next {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    keys.sort();
    (keys, steps)
}

#[test]
fn a_scan_in_steps_finds_every_live_key_once() {
    let mut slot = slot();
    let mut names: Vec<_> = (0..50).map(|n| format!("key:{n:02}")).collect();
    for name in &names {
        slot.run(&format!("SET {name} v"));
    }
    slot.run("SET ended v PX 1");
    slot.now.0 += 1;
    for count in [1, 7, 1000] {
        let (keys, steps) = scan(&mut slot, count, "");
        assert_eq!(keys, names);
        assert!(steps >= 51 / count, "{steps} steps of {count}");
    }
    assert_eq!(scan(&mut slot, 10, "TYPE list").0, [""; 0]);
    names.retain(|name| name.starts_with("key:1"));
    assert_eq!(scan(&mut slot, 10, "MATCH key:1* TYPE STRING").0, names);
    assert_eq!(slot.run("SLOT.KEYS key:07"), "*1 $6 key:07");
}

#[test]
fn random_keys_are_live_and_differ() {
    let mut slot = slot();
    slot.all(&[("SLOT.RANDOM 5", "$-1"), ("SET ended v PX 1", "+OK")]);
    slot.now.0 += 1;
    slot.all(&[("SLOT.RANDOM 5", "$-1"), ("MSET a 1 b 2 c 3", "+OK")]);
    let mut seen: Vec<_> =
        (0..100).map(|n: u64| slot.run(&format!("SLOT.RANDOM {}", n << 57))).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["$1 a", "$1 b", "$1 c"]);
    let first = slot.run("SLOT.RANDOM 0");
    slot.all(&[("SLOT.RANDOM 18446744073709551615", &first)]);
}

#[test]
fn a_cleared_slot_hands_over_what_it_held() {
    let mut slot = slot();
    slot.all(&[("MSET a 1 b 2", "+OK"), ("SLOT.CLEAR", "+OK"), ("SLOT.COUNT", ":0")]);
    slot.all(&[("SLOT.CLEAR", "+OK")]);
    let kept: Vec<_> = slot.cleared.iter().map(SlotTable::len).collect();
    assert_eq!(kept, [2]);
}

#[test]
fn command_tells_what_the_registry_knows() {
    let count = format!(":{}", all().len());
    slot().all(&[
        ("COMMAND COUNT", &count),
        ("COMMAND COUNT 1", "-ERR wrong number of arguments for 'command|count' command"),
        ("COMMAND GETKEYS MSET a 1 b 2", "*2 $1 a $1 b"),
        ("COMMAND GETKEYS PING", "-ERR The command has no key arguments"),
        ("COMMAND GETKEYS foo", "-ERR Invalid command specified"),
        ("COMMAND GETKEYS GET", "-ERR Invalid number of arguments specified for command"),
        ("COMMAND INFO foo", "*1 *-1"),
        ("COMMAND LIST FILTERBY PATTERN getd*", "*1 $6 getdel"),
        (
            "COMMAND LIST FILTERBY ACLCAT transaction",
            "*5 $5 multi $4 exec $7 discard $5 watch $7 unwatch",
        ),
        ("COMMAND LIST FILTERBY x", "-ERR syntax error"),
        ("COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
        (
            "COMMAND DOCS get foo",
            "*2 $3 get *6 $7 summary $22 Get the value of a key $5 since $5 1.0.0 \
             $5 group $6 string",
        ),
    ]);
    let every = slot().run("COMMAND");
    assert!(
        every.starts_with(&format!("*{} *10 $3 get :2 *2 +readonly +fast :1 :1 :1 ", all().len()))
    );
}
