//! What a native client of one shard is told, through the real codec, from bytes in to bytes out.

#![expect(clippy::unwrap_used, reason = "this is a test all through, its helpers included")]

use std::sync::Arc;

use piccolo_engine::resp::parse::Limits;
use piccolo_engine::shard::{
    Control, Door, Members, NodeView, Shard, ShardConfig, Shared, StreamKey,
};
use piccolo_gossip::State;
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::kv::{
    self, Answer, Condition, Entry, Expiry, Extent, GetKind, Hello, Item, Node, Op, PREFACE,
    PROTOCOL, Reply, Request, RequestBatch, Scan, Set, Topology, Value,
};
use piccolo_schema::limits::{FRAME_BYTES_AIM, FRAME_BYTES_MAX};
use piccolo_schema::time::{Moment, Now, UnixMillis};

const WALL: u64 = 1_700_000_000_000;

struct Client {
    shard: Shard,
    stream: StreamKey,
    last_id: u64,
    closed: bool,
}

/// A native client of a node that has said hello.
fn client() -> Client {
    let mut client = stranger(None, Limits::default());
    assert!(client.greet(b"").starts_with("welcome"));
    client
}

fn stranger(password: Option<&str>, limits: Limits) -> Client {
    let now = Now { moment: Moment(1), wall: UnixMillis(WALL) };
    let shared: Arc<[Shared]> = [Shared::default()].into();
    let config = ShardConfig {
        index: 0,
        shards: 1,
        me: NodeId(1 << 96),
        password: password.map(Into::into),
        limits,
        memory_max: 0,
        shared,
    };
    let mut shard = Shard::new(config, now);
    shard.control(Control::Enter { cluster: ClusterId(7), create: true });
    let stream = shard.accept_client(([127, 0, 0, 1], 1).into(), Door::Client);
    Client { shard, stream, last_id: 0, closed: false }
}

impl Client {
    /// Sends bytes, and returns what comes back within some turns.
    fn exchange(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.shard.received(self.stream, bytes);
        let mut told = Vec::new();
        for _ in 0..300 {
            self.shard.turn();
            let output = self.shard.output(self.stream).to_vec();
            told.extend_from_slice(&output);
            self.closed |= self.shard.sent(self.stream, output.len());
        }
        told
    }

    fn greet(&mut self, password: &[u8]) -> String {
        let mut bytes = PREFACE.to_vec();
        let hello = Hello { protocol: PROTOCOL, features: 0, password, name: "test" };
        kv::write_hello(&hello, &mut bytes);
        self.said(&bytes)
    }

    /// What is said to `bytes`, as text.
    fn said(&mut self, bytes: &[u8]) -> String {
        let told = self.exchange(bytes);
        let mut said = Vec::new();
        each(&told, |item, _| {
            said.push(match item {
                Item::Welcome(welcome) => format!("welcome by {}; ", welcome.node),
                Item::Refuse(refusal) => format!("{:?}: {}; ", refusal.reason, refusal.detail),
                Item::Reply(reply) => format!("{}; ", text(reply)),
                other => panic!("{other:?}"),
            });
        });
        said.concat()
    }

    fn ask(&mut self, key: &str, op: Op<'_>) -> String {
        self.last_id += 1;
        let mut bytes = Vec::new();
        let request = Request { id: self.last_id, key: key.as_bytes(), op };
        kv::write_request(&request, &mut bytes);
        let said = self.said(&bytes);
        let id = format!("{} ", self.last_id);
        said.strip_prefix(&id).and_then(|s| s.strip_suffix("; ")).unwrap().to_owned()
    }

    fn set(&mut self, key: &str, value: &[u8], condition: Condition, expiry: Expiry) -> String {
        let value = Value::Here(value);
        self.ask(key, Op::Set(Set { value, condition, expiry, meta: b"text/plain" }))
    }

    fn put(&mut self, key: &str, value: &[u8]) -> String {
        self.set(key, value, Condition::Always, Expiry::Never)
    }

    fn get(&mut self, key: &str) -> String {
        self.ask(key, Op::Get(GetKind::Whole))
    }
}

/// Number and answer, values that are behind and long ones as their length.
fn text(reply: Reply<'_>) -> String {
    let Reply { id, answer } = reply;
    match answer {
        Answer::Entry(Entry { version, expires_at_ms, meta, value_bytes, value }) => {
            let meta = String::from_utf8_lossy(meta);
            let value = match value {
                Some(Value::Here(value)) if value.len() < 100 => {
                    format!("'{}'", String::from_utf8_lossy(value))
                }
                Some(Value::Here(value)) => format!("{} bytes", value.len()),
                Some(Value::Behind(bytes)) => format!("{bytes} bytes behind"),
                None => "head".to_owned(),
            };
            let ends = if expires_at_ms == 0 { 0 } else { expires_at_ms - WALL };
            format!("{id} entry v{version} ends {ends} {meta} {value_bytes} {value}")
        }
        Answer::Written { version, created } => format!("{id} written v{version} new {created}"),
        Answer::Number { value, version } => format!("{id} number {value} v{version}"),
        Answer::Unmet(version) => format!("{id} unmet v{version}"),
        Answer::Page { cursor, mut keys } => {
            keys.sort_unstable();
            let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
            format!("{id} page {cursor} {}", keys.join(" "))
        }
        Answer::Refused(refusal) => format!("{id} {:?}: {}", refusal.reason, refusal.detail),
        Answer::Topology(Topology { nodes, .. }) if nodes.is_empty() => {
            format!("{id} topology: nobody")
        }
        Answer::Topology(Topology { nodes, leaders }) => {
            let node =
                |node: &Node| format!("{} {} {} {}", node.name, node.client, node.state, node.zone);
            let nodes: Vec<_> = nodes.iter().map(node).collect();
            let leaders =
                leaders.iter().map(|r| format!("{} to {} at {}", r.first, r.last, r.node));
            let leaders: Vec<_> = leaders.collect();
            format!("{id} topology: {}; {}", nodes.join(", "), leaders.join(", "))
        }
        other => format!("{id} {other:?}"),
    }
}

/// Takes a stream apart, each item with what is behind its frame.
fn each(mut stream: &[u8], mut take: impl FnMut(Item<'_>, &[u8])) {
    while !stream.is_empty() {
        let Extent { frame, behind } = kv::extent(stream, FRAME_BYTES_MAX).unwrap().unwrap();
        let (head, rest) = stream.split_at(frame);
        let (raw, rest) = rest.split_at(behind);
        kv::read(head, |item| take(item, raw)).unwrap();
        stream = rest;
    }
}

/// The version that a reply tells.
fn version(reply: &str) -> u64 {
    let word = reply.split(' ').find(|word| word.starts_with('v') && word.len() > 1).unwrap();
    word[1..].parse().unwrap()
}

#[test]
fn an_entry_goes_through_its_life() {
    let mut client = client();
    assert_eq!(client.get("k"), "Absent");
    let v = version(&client.put("k", b"one"));
    assert_eq!(client.get("k"), format!("entry v{v} ends 0 text/plain 3 'one'"));
    let head = format!("entry v{v} ends 0 text/plain 3 head");
    assert_eq!(client.ask("k", Op::Get(GetKind::Head)), head);
    assert_eq!(client.ask("k", Op::Get(GetKind::UpTo(2))), head);
    let v2 = version(&client.ask("k", Op::Append(b"!")));
    let expire = Op::Expire { expiry: Expiry::InMs(5000), condition: Condition::Version(v2) };
    let v3 = version(&client.ask("k", expire));
    assert_eq!(client.ask("k", expire), format!("unmet v{v3}"));
    assert_eq!(client.get("k"), format!("entry v{v3} ends 5000 text/plain 4 'one!'"));
    let deleted = client.ask("k", Op::Delete(Condition::Present));
    assert_eq!(deleted, format!("written v{v3} new false"));
    assert_eq!(client.ask("k", Op::Delete(Condition::Always)), "Absent");
}

#[test]
fn conditions_decide_and_tell_what_is_there() {
    let mut client = client();
    let never = Expiry::Never;
    assert_eq!(client.set("k", b"a", Condition::Present, never), "unmet v0");
    let v = version(&client.set("k", b"a", Condition::Absent, never));
    assert_eq!(client.set("k", b"b", Condition::Absent, never), format!("unmet v{v}"));
    assert_eq!(client.set("k", b"b", Condition::Version(v + 1), never), format!("unmet v{v}"));
    let v2 = version(&client.set("k", b"b", Condition::Version(v), Expiry::AtMs(WALL + 9)));
    assert!(v2 > v);
    let v3 = version(&client.set("k", b"c", Condition::Always, Expiry::Keep));
    assert_eq!(client.get("k"), format!("entry v{v3} ends 9 text/plain 1 'c'"));
}

#[test]
fn numbers_count_and_what_is_none_is_refused() {
    let mut client = client();
    assert!(client.ask("n", Op::Increment(-3)).starts_with("number -3 v"));
    assert!(client.ask("n", Op::Increment(10)).starts_with("number 7 v"));
    assert!(client.ask("n", Op::Append(b"x")).starts_with("number 2 v"));
    let refused = client.ask("n", Op::Increment(1));
    assert_eq!(refused, "WrongType: ERR value is not an integer or out of range");
    client.put("m", i64::MAX.to_string().as_bytes());
    assert!(client.ask("m", Op::Increment(1)).starts_with("TooLarge: "));
    let far = Expiry::InMs(u64::MAX);
    assert!(client.set("m", b"", Condition::Always, far).starts_with("Malformed: "));
}

#[test]
fn a_scan_finds_every_key_of_a_prefix_and_nothing_else() {
    let mut client = client();
    for key in ["a*b:1", "a*b:2", "axb:3", "b"] {
        client.put(key, b"");
    }
    let mut scan = |prefix: &[u8], pattern: &[u8]| {
        let (mut cursor, mut found) = (0, Vec::new());
        loop {
            let page = client.ask("", Op::Scan(Scan { cursor, count: 3, prefix, pattern }));
            let mut words = page.split_whitespace().map(str::to_owned).skip(1);
            cursor = words.next().unwrap().parse().unwrap();
            found.extend(words);
            if cursor == 0 {
                found.sort();
                found.dedup();
                return found.join(" ");
            }
        }
    };
    assert_eq!(scan(b"a*b:", b""), "a*b:1 a*b:2");
    assert_eq!(scan(b"", b"a*b:*"), "a*b:1 a*b:2 axb:3");
    assert_eq!(scan(b"", b""), "a*b:1 a*b:2 axb:3 b");
}

/// Clients refuse a frame above the limit, and would be told the same page for ever.
#[test]
fn a_page_of_long_keys_stays_far_below_the_longest_frame() {
    let mut client = client();
    let long = "x".repeat(60_000);
    let keys: Vec<String> = (0..60)
        .map(|i| if i % 2 == 0 { format!("{{t}}{i:02}{long}") } else { format!("{i:02}{long}") })
        .collect();
    for key in &keys {
        client.put(key, b"");
    }
    let (mut cursor, mut found) = (0, Vec::new());
    loop {
        let scan = Scan { cursor, count: 10_000, prefix: b"", pattern: b"" };
        let mut bytes = Vec::new();
        kv::write_request(&Request { id: 1, key: b"", op: Op::Scan(scan) }, &mut bytes);
        let told = client.exchange(&bytes);
        assert!(told.len() < 3 * FRAME_BYTES_AIM, "{} bytes", told.len());
        each(&told, |item, _| {
            let Item::Reply(Reply { answer: Answer::Page { cursor: next, keys }, .. }) = item
            else {
                panic!("no page")
            };
            cursor = next;
            found.extend(keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()));
        });
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    found.dedup();
    let mut keys = keys;
    keys.sort();
    assert!(found == keys, "{} of {} keys", found.len(), keys.len());
}

/// Else the next write has the version that this one was told, and passes for it.
#[test]
fn a_set_that_has_ended_already_has_a_version_of_its_own() {
    let mut client = client();
    let ended = Expiry::AtMs(1);
    let v = version(&client.set("k", b"a", Condition::Always, ended));
    let v2 = version(&client.set("k", b"b", Condition::Always, ended));
    let v3 = version(&client.put("k", b"c"));
    assert!(v < v2 && v2 < v3, "{v} {v2} {v3}");
    assert_eq!(client.set("k", b"d", Condition::Version(v), ended), format!("unmet v{v3}"));
}

#[test]
fn a_long_value_travels_behind_its_frame_both_ways() {
    let mut client = client();
    let value: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 7) as u8).collect();
    assert!(client.put("long", &value).starts_with("written"));
    let mut bytes = Vec::new();
    kv::write_request(&Request { id: 9, key: b"long", op: Op::Get(GetKind::Whole) }, &mut bytes);
    let told = client.exchange(&bytes);
    let mut got = Vec::new();
    each(&told, |item, raw| {
        assert!(text_of(item).ends_with("text/plain 3000000 3000000 bytes behind"));
        got.extend_from_slice(raw);
    });
    assert!(got == value);
    let up_to = client.ask("long", Op::Get(GetKind::UpTo(1000)));
    assert!(up_to.ends_with("3000000 head"), "{up_to}");
    assert!(client.ask("long", Op::Append(&value)).starts_with("number 6000000 v"));
}

fn text_of(item: Item<'_>) -> String {
    let Item::Reply(reply) = item else { panic!("{item:?} is no reply") };
    text(reply)
}

/// However the bytes are cut on their way, and more at once than may be unanswered.
#[test]
fn a_pipeline_is_answered_in_order() {
    for piece in [1_usize, 777, 1 << 20] {
        let mut client = client();
        let (mut batch, mut bytes) = (RequestBatch::default(), Vec::new());
        let long = vec![b'v'; 70_000];
        let count: u64 = if piece == 1 { 60 } else { 10_000 };
        for id in 0..count {
            let key = format!("key{}", id / 2);
            let value = Value::Here(if id.is_multiple_of(50) { &long } else { key.as_bytes() });
            let (condition, expiry) = (Condition::Always, Expiry::Never);
            let set = Op::Set(Set { value, condition, expiry, meta: b"" });
            let op = if id.is_multiple_of(2) { set } else { Op::Get(GetKind::UpTo(100)) };
            batch.push(&Request { id, key: key.as_bytes(), op }, &mut bytes);
        }
        batch.write(&mut bytes);
        let mut told = Vec::new();
        for part in bytes.chunks(piece) {
            client.shard.received(client.stream, part);
            client.shard.turn();
            let output = client.shard.output(client.stream).to_vec();
            told.extend_from_slice(&output);
            client.shard.sent(client.stream, output.len());
        }
        told.extend(client.exchange(b""));
        let mut ids = 0..count;
        each(&told, |item, _| {
            let (id, text) = (ids.next().unwrap(), text_of(item));
            assert!(text.starts_with(&format!("{id} ")), "{text} where {id} was due");
            if !id.is_multiple_of(2) {
                let long = (id - 1).is_multiple_of(50);
                let end = if long { "70000 head".into() } else { format!("'key{}'", id / 2) };
                assert!(text.ends_with(&end), "{text}");
            }
        });
        assert_eq!(ids.next(), None);
    }
}

#[test]
fn replies_of_one_turn_share_a_frame() {
    let mut client = client();
    let (mut batch, mut bytes) = (RequestBatch::default(), Vec::new());
    for id in 0..500 {
        batch.push(&Request { id, key: b"k", op: Op::Increment(1) }, &mut bytes);
    }
    batch.write(&mut bytes);
    let told = client.exchange(&bytes);
    let extent = kv::extent(&told, FRAME_BYTES_MAX).unwrap().unwrap();
    assert_eq!(extent, Extent { frame: told.len(), behind: 0 });
}

#[test]
fn the_topology_names_the_leaders_as_members_come_and_go() {
    let mut client = client();
    assert_eq!(client.ask("", Op::Topology), "topology: nobody");
    let node = |id, name: &str| NodeView {
        id: NodeId(id),
        name: name.into(),
        client: ([127, 0, 0, 1], 7379).into(),
        cluster_client: ([127, 0, 0, 1], 7382).into(),
        peer: ([127, 0, 0, 1], 7380).into(),
        state: State::Alive,
        zone: "z".into(),
        weight: 100,
        shards: 1,
    };
    let nodes = vec![node(2, "a"), node(1 << 96, "b")];
    let members = Members { nodes, ..Members::default() };
    client.shard.control(Control::Members(Arc::new(members)));
    let told = "topology: a 127.0.0.1:7379 alive z, b 127.0.0.1:7379 alive z; 0 to 16383 at 1";
    assert_eq!(client.ask("", Op::Topology), told);
    assert_eq!(client.ask("", Op::Topology), told);
}

#[test]
fn a_pause_of_all_clients_holds_native_ones() {
    let mut client = client();
    assert!(client.put("a", b"1").starts_with("written"));
    let operator = client.shard.accept_client(([127, 0, 0, 1], 2).into(), Door::Client);
    client.shard.received(operator, b"CLIENT PAUSE 1000 WRITE\r\n");
    client.shard.turn();
    assert!(client.get("a").contains("'1'"), "reads go on");
    let mut bytes = Vec::new();
    let request = Request { id: 100, key: b"a", op: Op::Delete(Condition::Always) };
    kv::write_request(&request, &mut bytes);
    assert_eq!(client.said(&bytes), "");
    let later = Now { moment: Moment(2_000_000_001), wall: UnixMillis(WALL) };
    client.shard.set_now(later);
    assert!(client.said(b"").starts_with("100 "));
}

#[test]
fn who_has_another_password_is_refused_and_cut_off() {
    let mut client = stranger(Some("secret"), Limits::default());
    let said = client.greet(b"secre");
    assert_eq!(said, "Unauthorised: another password is wanted here; ");
    assert!(client.closed);
    let mut client = stranger(Some("secret"), Limits::default());
    assert_eq!(client.greet(b"secret"), "welcome by 00000001; ");
    assert_eq!(client.get("k"), "Absent");
}

/// The native protocol shares the client port; at the cluster port its first byte is no command.
#[test]
fn the_cluster_door_does_not_speak_it() {
    let mut client = stranger(None, Limits::default());
    let address = ([127, 0, 0, 1], 2).into();
    client.stream = client.shard.accept_client(address, Door::Cluster);
    let told = client.exchange(&[&PREFACE[..], b"\r\n"].concat());
    assert!(told.starts_with(b"-ERR unknown command"), "{}", told.escape_ascii());
}

#[test]
fn what_is_not_this_protocol_is_refused_and_cut_off() {
    let mut other = stranger(None, Limits::default());
    assert_eq!(other.said(b"\0PICCOLA"), "Malformed: no preface of this protocol; ");
    assert!(other.closed);
    let mut rude = stranger(None, Limits::default());
    let mut bytes = PREFACE.to_vec();
    kv::write_request(&Request { id: 1, key: b"k", op: Op::Topology }, &mut bytes);
    assert_eq!(rude.said(&bytes), "Malformed: a request before the hello; ");
    assert!(rude.closed);
    let mut long = stranger(None, Limits::default());
    let mut bytes = PREFACE.to_vec();
    bytes.extend([0, 0, 0, 0, 0, 8, 0, 0]);
    let said = long.said(&bytes);
    assert!(said.contains("at most 4096 are taken"), "{said}");
    let mut twice = client();
    let said = twice.greet(b"");
    assert!(said.starts_with("Malformed: ") && twice.closed, "{said}");
    let mut future = stranger(None, Limits::default());
    let mut bytes = PREFACE.to_vec();
    let hello = Hello { protocol: (7, 9), features: 0, password: b"", name: "" };
    kv::write_hello(&hello, &mut bytes);
    let said = future.said(&bytes);
    assert!(said.contains("not 7 to 9") && future.closed, "{said}");
}

/// Else whoever reaches the port makes the node hold a value of the largest size per connection.
#[test]
fn what_a_stranger_announces_behind_a_frame_is_refused_before_it_comes() {
    let mut stranger = stranger(Some("secret"), Limits::default());
    let mut bytes = PREFACE.to_vec();
    let (value, condition, expiry) = (Value::Behind(60 << 20), Condition::Always, Expiry::Never);
    let op = Op::Set(Set { value, condition, expiry, meta: b"" });
    kv::write_request(&Request { id: 1, key: b"k", op }, &mut bytes);
    assert_eq!(stranger.said(&bytes), "Malformed: a request before the hello; ");
    assert!(stranger.closed);
}

/// What comes before a fault is answered, what comes behind is not read.
#[test]
fn a_fault_is_told_behind_the_answers_before_it() {
    let mut client = client();
    let mut bytes = Vec::new();
    kv::write_request(&Request { id: 1, key: b"k", op: Op::Increment(1) }, &mut bytes);
    bytes.extend([0xff; 8]);
    kv::write_request(&Request { id: 2, key: b"k", op: Op::Increment(1) }, &mut bytes);
    let said = client.said(&bytes);
    assert!(said.starts_with("1 number 1 v"), "{said}");
    assert!(said.contains("Malformed: ") && !said.contains("2 number"), "{said}");
    assert!(client.closed);
}

#[test]
fn a_value_above_the_configured_limit_is_refused() {
    let limits = Limits { bulk_bytes_max: 100_000, ..Limits::default() };
    let mut client = stranger(None, limits);
    client.greet(b"");
    assert!(client.put("k", &vec![0; 100_000]).starts_with("written"));
    assert!(client.ask("k", Op::Append(b"1")).starts_with("TooLarge: "));
    let mut bytes = Vec::new();
    let set = Set {
        value: Value::Behind(100_001),
        condition: Condition::Always,
        expiry: Expiry::Never,
        meta: b"",
    };
    kv::write_request(&Request { id: 1, key: b"k", op: Op::Set(set) }, &mut bytes);
    let said = client.said(&bytes);
    assert_eq!(said, "TooLarge: a value of 100001 bytes; at most 100000 are taken; ");
    assert!(client.closed);
}

/// So that it can ask another node at once for what this one did not take.
#[test]
fn a_client_of_a_node_that_leaves_is_told_so_behind_its_answers() {
    let mut client = client();
    let mut bytes = Vec::new();
    kv::write_request(&Request { id: 1, key: b"k", op: Op::Increment(1) }, &mut bytes);
    client.shard.received(client.stream, &bytes);
    client.shard.control(Control::EndClients);
    let mut late = Vec::new();
    kv::write_request(&Request { id: 2, key: b"k", op: Op::Increment(1) }, &mut late);
    let said = client.said(&late);
    assert!(said.starts_with("1 number 1 v") && !said.contains("2 number"), "{said}");
    assert!(said.ends_with("Leaving: this node is leaving; "), "{said}");
    assert!(client.closed);
}
