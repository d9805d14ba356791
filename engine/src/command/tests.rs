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
            Ok(Place::Session(SessionCommand::Help)) => help::write(&args, &mut reply),
            Ok(_) => docs::command(&args, &mut reply),
            Err(refuse) => reply.error(&refuse.to_string()),
        }
        assert_eq!(value::skip(&out), Ok(Some(out.len())), "{line}");
        String::from_utf8_lossy(&out).replace("\r\n", " ").trim_end().to_owned()
    }

    fn keyspace<R>(&mut self, run: impl FnOnce(&mut Keyspace<'_>) -> R) -> R {
        self.version = self.version.next();
        let (hasher, changes) = (KeyHasher::new(ClusterId(7)), Some(&mut self.changes));
        run(&mut Keyspace::new(&mut self.table, hasher, self.now, self.version, changes))
    }

    /// Writes `k` with metadata, runs the line, and returns the metadata then.
    fn meta_after(&mut self, line: &str) -> String {
        let meta = b"text/html";
        self.keyspace(|keyspace| {
            keyspace.put_meta(keyspace.key(b"k"), b"5", meta, Some(UnixMillis(2_000_000)));
        });
        assert!(!self.run(line).starts_with('-'), "{line}");
        self.keyspace(|keyspace| {
            let entry = keyspace.get(keyspace.key(b"k")).unwrap();
            String::from_utf8(entry.meta.to_vec()).unwrap()
        })
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

#[test]
fn a_changed_value_keeps_its_metadata_and_followers_are_told() {
    for line in [
        "APPEND k more",
        "SETRANGE k 3 more",
        "SETRANGE k 0 6",
        "INCR k",
        "DECR k",
        "INCRBY k 100",
        "DECRBY k 7",
        "INCRBYFLOAT k 0.5",
        "EXPIRE k 100",
        "PEXPIREAT k 3000000",
        "PERSIST k",
        "GETEX k PERSIST",
        "GETEX k EX 9",
        "GETEX k",
        "GET k",
        "TOUCH k",
        "SET k v NX",
        "SETNX k v",
        "SET k v IFEQ other",
    ] {
        let mut slot = slot();
        assert_eq!(slot.meta_after(line), "text/html", "{line}");
        let (mut rest, mut told) = (&slot.changes.records[..], Vec::new());
        while let Some((record::Record::Put(entry), behind)) = record::read(rest).unwrap() {
            (told, rest) = (entry.meta.to_vec(), behind);
        }
        assert_eq!((&told[..], rest.len()), (&b"text/html"[..], 0), "{line}");
    }
}

#[test]
fn a_new_value_has_no_metadata() {
    for line in [
        "SET k v",
        "SET k 5",
        "SET k v KEEPTTL",
        "SET k v XX GET",
        "SET k v IFEQ 5",
        "SETEX k 9 v",
        "PSETEX k 9 v",
        "GETSET k v",
        "MSET k v",
    ] {
        assert_eq!(slot().meta_after(line), "", "{line}");
    }
    let mut slot = slot();
    slot.meta_after("DEL other");
    slot.now = UnixMillis(2_000_000);
    slot.run("APPEND k v");
    let meta =
        slot.keyspace(|keyspace| keyspace.get(keyspace.key(b"k")).map(|entry| entry.meta.len()));
    assert_eq!(meta, Some(0), "of one that has ended");
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
        "RENAME x k",
        "COPY k k",
        "COPY k x DB 7",
        "DELEX k IFDEQ v",
        "MSETNX x 1 y",
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
fn many_keys_are_set_only_if_none_is_there() {
    slot().all(&[
        ("MSETNX a 1 b 2", ":1"),
        ("MSETNX b 3 c 4", ":0"),
        ("MGET a b c", "*3 $1 1 $1 2 $-1"),
        ("MSETNX c 4 c 5", ":1"),
        ("GET c", "$1 5"),
        ("MSETNX d", "-ERR wrong number of arguments for 'msetnx' command"),
        ("MSETNX d 1 e", "-ERR wrong number of arguments for 'msetnx' command"),
    ]);
}

#[test]
fn what_a_key_holds_is_renamed_with_its_expiry() {
    let mut slot = slot();
    slot.all(&[
        ("RENAME a b", "-ERR no such key"),
        ("RENAMENX a b", "-ERR no such key"),
        ("SET a one PX 500", "+OK"),
        ("SET b two", "+OK"),
        ("RENAMENX a b", ":0"),
        ("RENAME a b", "+OK"),
        ("GET a", "$-1"),
        ("GET b", "$3 one"),
        ("PTTL b", ":500"),
        ("RENAME b b", "+OK"),
        ("RENAMENX b b", ":0"),
        ("RENAMENX b c", ":1"),
        ("MGET b c", "*2 $-1 $3 one"),
        ("SLOT.COUNT", ":1"),
    ]);
    slot.now.0 += 500;
    slot.all(&[("RENAME c d", "-ERR no such key"), ("SLOT.COUNT", ":0")]);
}

#[test]
fn what_is_renamed_or_copied_keeps_its_metadata() {
    for line in ["RENAME k l", "RENAMENX k l", "COPY k l"] {
        let mut slot = slot();
        slot.keyspace(|keyspace| keyspace.put_meta(keyspace.key(b"k"), b"v", b"meta", None));
        assert!(!slot.run(line).starts_with('-'), "{line}");
        slot.keyspace(|keyspace| {
            let entry = keyspace.get(keyspace.key(b"l")).unwrap();
            assert_eq!((entry.value, entry.meta), (&b"v"[..], &b"meta"[..]), "{line}");
        });
    }
}

/// Followers hear of both keys.
#[test]
fn a_renamed_key_is_a_deletion_and_an_entry() {
    let mut slot = slot();
    slot.run("SET a v");
    slot.changes = Changes::default();
    slot.run("RENAME a b");
    let (record, rest) = record::read(&slot.changes.records).unwrap().unwrap();
    assert_eq!(record, record::Record::Delete(b"a"));
    let (record, rest) = record::read(rest).unwrap().unwrap();
    assert!(matches!(record, record::Record::Put(entry) if entry.key == b"b"), "{record:?}");
    assert!(rest.is_empty());
}

#[test]
fn a_copy_leaves_what_it_copies() {
    slot().all(&[
        ("COPY a b", ":0"),
        ("SET a one PX 500", "+OK"),
        ("COPY a b", ":1"),
        ("PTTL b", ":500"),
        ("SET b two", "+OK"),
        ("COPY a b", ":0"),
        ("COPY a b REPLACE DB 0", ":1"),
        ("MGET a b", "*2 $3 one $3 one"),
        ("COPY a a", "-ERR source and destination objects are the same"),
        ("COPY a b DB 1", "-ERR DB index is out of range"),
        ("COPY a b DB x", "-ERR value is not an integer or out of range"),
        ("COPY a b DB", "-ERR syntax error"),
        ("COPY a b OVER", "-ERR syntax error"),
    ]);
}

#[test]
fn a_key_is_deleted_if_its_value_is_the_one_stated() {
    let condition = "-ERR Invalid condition. Use IFEQ or IFNE: digests of values are not supported";
    slot().all(&[
        ("DELIFEQ k v", ":0"),
        ("DELEX k", ":0"),
        ("DELEX k IFNE v", ":0"),
        ("SET k v", "+OK"),
        ("DELIFEQ k w", ":0"),
        ("DELEX k IFEQ w", ":0"),
        ("DELEX k ifne v", ":0"),
        ("DELEX k IFDEQ 0123456789abcdef", condition),
        ("DELEX k NX v", condition),
        ("DELEX k IFEQ", "-ERR wrong number of arguments for 'delex' command"),
        ("DELEX k IFEQ v w", "-ERR wrong number of arguments for 'delex' command"),
        ("DELIFEQ k v", ":1"),
        ("SET k v", "+OK"),
        ("DELEX k IFEQ v", ":1"),
        ("SET k v", "+OK"),
        ("DELEX k IFNE w", ":1"),
        ("SET k v", "+OK"),
        ("DELEX k", ":1"),
        ("SLOT.COUNT", ":0"),
    ]);
}

#[test]
fn an_object_tells_what_is_known_of_it() {
    let mut slot = slot();
    let no_idle =
        "-ERR idle time not tracked: nothing is evicted here, so no access times are kept.";
    let (embedded, raw) = ("x".repeat(44), "x".repeat(45));
    slot.all(&[
        ("OBJECT ENCODING k", "$-1"),
        ("OBJECT IDLETIME k", "$-1"),
        ("MEMORY USAGE k", "$-1"),
        ("SET k 12345678901234567890", "+OK"),
        ("OBJECT ENCODING k", "$6 embstr"),
        ("SET k -5", "+OK"),
        ("object encoding k", "$3 int"),
        ("OBJECT REFCOUNT k", ":1"),
        ("OBJECT IDLETIME k", no_idle),
        // 2 bytes of lengths, 2 of hash, 8 of version, then key and value.
        ("MEMORY USAGE k", ":15"),
        ("MEMORY USAGE k SAMPLES 0", ":15"),
        ("EXPIRE k 100", ":1"),
        ("MEMORY USAGE k", ":23"),
        ("MEMORY USAGE k SAMPLES", "-ERR syntax error"),
        ("MEMORY USAGE k SAMPLES -1", "-ERR syntax error"),
        ("OBJECT FOO k", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
        ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
        ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
    ]);
    assert!(slot.run("OBJECT FREQ k").starts_with("-ERR An LFU maxmemory policy is not selected"));
    for (value, encoding) in [(embedded, "$6 embstr"), (raw, "$3 raw")] {
        slot.run(&format!("SET k {value}"));
        assert_eq!(slot.run("OBJECT ENCODING k"), encoding);
    }
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
        ("COMMAND INFO foo", "*1 $-1"),
        ("COMMAND GETKEYS OBJECT ENCODING k", "*1 $1 k"),
        ("COMMAND GETKEYS OBJECT FOO k", "-ERR Invalid command specified"),
        ("COMMAND GETKEYS MSETNX a 1 b 2", "*2 $1 a $1 b"),
        ("COMMAND GETKEYS RENAME a b", "*2 $1 a $1 b"),
        ("COMMAND LIST FILTERBY PATTERN getd*", "*1 $6 getdel"),
        ("COMMAND LIST FILTERBY PATTERN *usage", "*1 $12 memory|usage"),
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
    let help = slot().run("MEMORY HELP");
    assert!(help.starts_with("*5 +MEMORY <subcommand>"), "{help}");
    let every = slot().run("COMMAND");
    assert!(
        every.starts_with(&format!("*{} *10 $3 get :2 *2 +readonly +fast :1 :1 :1 ", all().len()))
    );
}
