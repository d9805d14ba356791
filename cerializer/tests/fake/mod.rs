//! A node that is none: it keeps a few keys, and misbehaves on demand. For what a real node does
//! not do when asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use piccolo_schema::ids::ClusterId;
use piccolo_schema::kv::{
    self, Answer, Condition, Entry, GetKind, Item, Node, Op, PREFACE, Range, Reason, Refusal,
    Reply, Topology, Value, Welcome,
};
use piccolo_schema::limits::FRAME_BYTES_MAX;

/// Keys that begin so are not stored but answered this way.
pub(crate) const SILENT: &str = "silent";
pub(crate) const CLOSES: &str = "closes";
pub(crate) const FULL: &str = "full";
pub(crate) const HOMELESS: &str = "homeless";
pub(crate) const UNKNOWN: &str = "unknown";
/// With the front half of a long value alone.
pub(crate) const STALLS: &str = "stalls";
/// Once as not served, then not at all.
pub(crate) const HELD: &str = "held";

const STALLS_BYTES: usize = 100_000;

/// What a fake node keeps.
#[derive(Default, Clone)]
struct Stored {
    value: Vec<u8>,
    meta: Vec<u8>,
    version: u64,
}

type Store = Arc<Mutex<(u64, BTreeMap<Vec<u8>, Stored>)>>;

/// Starts a fake node on a free port of loopback; it lives as long as the process.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let store = Store::default();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let store = Arc::clone(&store);
            std::thread::spawn(move || drop(converse(stream.unwrap(), address, &store)));
        }
    });
    address
}

fn converse(mut stream: TcpStream, address: SocketAddr, store: &Store) -> std::io::Result<()> {
    let mut inbox = vec![0; PREFACE.len()];
    stream.read_exact(&mut inbox)?;
    assert_eq!(inbox, PREFACE);
    inbox.clear();
    loop {
        let Some(extent) = kv::extent(&inbox, FRAME_BYTES_MAX).unwrap() else {
            let mut bytes = [0; 16_384];
            let count = stream.read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            inbox.extend_from_slice(&bytes[..count]);
            continue;
        };
        let whole = extent.frame + extent.behind;
        if inbox.len() < whole {
            let at = inbox.len();
            inbox.resize(whole, 0);
            stream.read_exact(&mut inbox[at..])?;
        }
        let rest = inbox.split_off(whole);
        let mut out = Vec::new();
        let (mut goes_on, mut silent) = (true, false);
        kv::read(&inbox[..extent.frame], |item| {
            silent |= is_silent(&item, store);
            goes_on &= silent || answer(&item, &inbox[extent.frame..], address, store, &mut out);
        })
        .unwrap();
        if !goes_on {
            return Ok(());
        }
        if silent {
            // Answers come in order, so there is none to anything any more.
            std::io::copy(&mut stream, &mut std::io::sink())?;
            return Ok(());
        }
        stream.write_all(&out)?;
        inbox = rest;
    }
}

fn is_silent(item: &Item<'_>, store: &Store) -> bool {
    let Item::Request(request) = item else { return false };
    let refused_before = || store.lock().unwrap().1.contains_key(request.key);
    request.key.starts_with(SILENT.as_bytes())
        || (request.key.starts_with(HELD.as_bytes()) && refused_before())
}

/// Appends the answer to `out`; false closes the connection.
fn answer(
    item: &Item<'_>,
    behind: &[u8],
    address: SocketAddr,
    store: &Store,
    out: &mut Vec<u8>,
) -> bool {
    let request = match item {
        Item::Hello(_) => {
            let (protocol, cluster) = (1, ClusterId(1));
            let value_bytes_max = 64 << 20;
            let welcome = Welcome { protocol, features: 0, cluster, node: "fake", value_bytes_max };
            kv::write_welcome(&welcome, out);
            return true;
        }
        Item::Request(request) => request,
        other => panic!("{other:?}"),
    };
    let key = String::from_utf8_lossy(request.key).into_owned();
    let mut reply = |answer: Answer<'_>| kv::write_reply(&Reply { id: request.id, answer }, out);
    let refused = |reason| Answer::Refused(Refusal { reason, detail: "as the test wants it" });
    match &key {
        key if key.starts_with(CLOSES) => return false,
        key if key.starts_with(FULL) => reply(refused(Reason::OutOfMemory)),
        key if key.starts_with(HOMELESS) => reply(refused(Reason::NotServed)),
        key if key.starts_with(STALLS) => {
            let whole = Stored { value: vec![b'x'; STALLS_BYTES], ..Stored::default() };
            reply(Answer::Entry(entry(GetKind::UpTo(64 << 10), &whole)));
            if matches!(request.op, Op::Get(GetKind::Whole)) {
                out.clear();
                let answer = Answer::Entry(entry(GetKind::Whole, &whole));
                kv::write_reply(&Reply { id: request.id, answer }, out);
                out.truncate(out.len() - STALLS_BYTES / 2);
            }
        }
        key if key.starts_with(HELD) => {
            store.lock().unwrap().1.insert(request.key.to_vec(), Stored::default());
            reply(refused(Reason::NotServed));
        }
        key if key.starts_with(UNKNOWN) => reply(Answer::Unknown("as the test wants it")),
        _ => execute(request, behind, address, store, &mut reply),
    }
    true
}

fn execute(
    request: &kv::Request<'_>,
    behind: &[u8],
    address: SocketAddr,
    store: &Store,
    reply: &mut dyn FnMut(Answer<'_>),
) {
    let mut store = store.lock().unwrap();
    let (last, keys) = &mut *store;
    let there = keys.get(request.key).cloned();
    let version = there.as_ref().map_or(0, |stored| stored.version);
    let met = |condition| match condition {
        Condition::Always => true,
        Condition::Absent => version == 0,
        Condition::Present => version != 0,
        Condition::Version(wanted) => version == wanted,
    };
    match (&request.op, there) {
        (Op::Get(kind), Some(stored)) => reply(Answer::Entry(entry(*kind, &stored))),
        (Op::Delete(condition), _) if !met(*condition) => reply(Answer::Unmet(version)),
        (Op::Get(_) | Op::Delete(_), None) => reply(Answer::Absent),
        (Op::Set(set), _) if !met(set.condition) => reply(Answer::Unmet(version)),
        (Op::Set(set), _) => {
            *last += 1;
            let value = match set.value {
                Value::Here(value) => value,
                Value::Behind(_) => behind,
            };
            let (value, meta) = (value.to_vec(), set.meta.to_vec());
            keys.insert(request.key.to_vec(), Stored { value, meta, version: *last });
            reply(Answer::Written { version: *last, created: version == 0 });
        }
        (Op::Delete(_), Some(_)) => {
            keys.remove(request.key);
            reply(Answer::Written { version, created: false });
        }
        (Op::Scan(scan), _) => {
            let mut keys: Vec<&[u8]> = keys.keys().map(Vec::as_slice).collect();
            keys.retain(|key| key.starts_with(scan.prefix));
            let rest = keys.split_off((scan.cursor as usize).min(keys.len()));
            let page = rest.len().min(scan.count as usize);
            let cursor = if page < rest.len() { scan.cursor + page as u64 } else { 0 };
            reply(Answer::Page { cursor, keys: rest[..page].to_vec() });
        }
        (Op::Topology, _) => {
            let node = Node { name: "fake".into(), client: address.to_string(), ..Node::default() };
            let leaders = vec![Range { first: 0, last: 16_383, node: 0 }];
            reply(Answer::Topology(Topology { nodes: vec![node], leaders }));
        }
        (other, _) => panic!("{other:?}"),
    }
}

fn entry(kind: GetKind, stored: &Stored) -> Entry<'_> {
    let sent = match kind {
        GetKind::Whole => true,
        GetKind::Head => false,
        GetKind::UpTo(bytes) => stored.value.len() <= bytes as usize,
    };
    Entry {
        version: stored.version,
        expires_at_ms: 0,
        meta: &stored.meta,
        value_bytes: stored.value.len() as u32,
        value: sent.then_some(Value::Here(&stored.value)),
    }
}
