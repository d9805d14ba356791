//! Frames put together.

use capnp::message::{Builder, HeapAllocator};

use super::{
    Answer, Condition, Entry, Expiry, GetKind, Hello, Op, Reason, Refusal, Reply, Request, Set,
    Topology, Value, Welcome,
};
use crate::framing;
use crate::kv_capnp as wire;
use crate::limits::INLINE_BYTES_MAX;

/// Bytes of a request or reply beside its texts, roughly.
pub(super) const HEAD_BYTES: usize = 160;

/// Appends one request as a frame of its own. A value too long for a frame follows it; one that
/// is said to be [`Value::Behind`] must be sent by the caller, next on this stream.
pub fn write_request(request: &Request<'_>, stream: &mut Vec<u8>) {
    let (behind, raw) = match request.op {
        Op::Set(set) => split(set.value),
        _ => (0, &[][..]),
    };
    let mut message = message(request_bytes(request) - raw.len());
    let frame = message.init_root::<wire::frame::Builder<'_>>();
    put_request(frame.init_requests(1).get(0), request, behind);
    framing::append(&message, stream);
    stream.extend_from_slice(raw);
}

/// Appends one reply as a frame of its own; values as in [`write_request`].
pub fn write_reply(reply: &Reply<'_>, stream: &mut Vec<u8>) {
    let (behind, raw) = match &reply.answer {
        Answer::Entry(Entry { value: Some(value), .. }) => split(*value),
        _ => (0, &[][..]),
    };
    let mut message = message(reply_bytes(reply) - raw.len());
    let frame = message.init_root::<wire::frame::Builder<'_>>();
    put_reply(frame.init_replies(1).get(0), reply, behind);
    framing::append(&message, stream);
    stream.extend_from_slice(raw);
}

/// Appends the first frame of a client, which follows [`PREFACE`](super::PREFACE).
pub fn write_hello(hello: &Hello<'_>, stream: &mut Vec<u8>) {
    let mut message = Builder::new_default();
    let mut to = message.init_root::<wire::frame::Builder<'_>>().init_hello();
    to.set_protocol_min(hello.protocol.0);
    to.set_protocol_max(hello.protocol.1);
    to.set_features(hello.features);
    to.set_password(hello.password);
    to.set_name(hello.name);
    framing::append(&message, stream);
}

/// Appends the first frame of a node.
pub fn write_welcome(welcome: &Welcome<'_>, stream: &mut Vec<u8>) {
    let mut message = Builder::new_default();
    let mut to = message.init_root::<wire::frame::Builder<'_>>().init_welcome();
    to.set_protocol(welcome.protocol);
    to.set_features(welcome.features);
    to.set_node(welcome.node);
    to.set_value_bytes_max(welcome.value_bytes_max);
    let mut id = to.init_cluster();
    id.set_high((welcome.cluster.0 >> 64) as u64);
    id.set_low(welcome.cluster.0 as u64);
    framing::append(&message, stream);
}

/// Appends the last frame of a node: why it closes the connection.
pub fn write_refusal(refusal: &Refusal<'_>, stream: &mut Vec<u8>) {
    let mut message = Builder::new_default();
    put_refusal(message.init_root::<wire::frame::Builder<'_>>().init_refuse(), refusal);
    framing::append(&message, stream);
}

/// How many bytes go behind the frame, and those of them that are at hand.
fn split(value: Value<'_>) -> (u32, &[u8]) {
    match value {
        Value::Here(bytes) if bytes.len() > INLINE_BYTES_MAX => (bytes.len() as u32, bytes),
        Value::Here(_) => (0, &[]),
        Value::Behind(bytes) => (bytes, &[]),
    }
}

pub(super) fn message(bytes: usize) -> Builder<HeapAllocator> {
    let words = (bytes / 8 + 32) as u32;
    Builder::new(HeapAllocator::new().first_segment_words(words))
}

pub(super) fn request_bytes(request: &Request<'_>) -> usize {
    let here = |value: Value<'_>| if let Value::Here(bytes) = value { bytes.len() } else { 0 };
    HEAD_BYTES
        + request.key.len()
        + match request.op {
            Op::Set(set) => here(set.value) + set.meta.len(),
            Op::Append(value) => value.len(),
            Op::Scan(scan) => scan.prefix.len() + scan.pattern.len(),
            _ => 0,
        }
}

pub(super) fn reply_bytes(reply: &Reply<'_>) -> usize {
    HEAD_BYTES
        + match &reply.answer {
            Answer::Entry(Entry { value: Some(Value::Here(bytes)), meta, .. }) => {
                bytes.len() + meta.len()
            }
            Answer::Entry(entry) => entry.meta.len(),
            Answer::Page { keys, .. } => keys.iter().map(|key| key.len() + 16).sum(),
            Answer::Topology(topology) => 256 * topology.nodes.len() + 8 * topology.leaders.len(),
            Answer::Refused(refusal) => refusal.detail.len(),
            Answer::Unknown(why) => why.len(),
            _ => 0,
        }
}

/// `behind`: so much of the value goes behind the frame, all or nothing.
pub(super) fn put_request(mut to: wire::request::Builder<'_>, request: &Request<'_>, behind: u32) {
    to.set_id(request.id);
    if !request.key.is_empty() {
        to.set_key(request.key);
    }
    match request.op {
        Op::Get(kind) => {
            let mut get = to.init_get();
            match kind {
                GetKind::Whole => get.set_whole(()),
                GetKind::Head => get.set_head(()),
                GetKind::UpTo(bytes) => get.set_up_to(bytes),
            }
        }
        Op::Set(set) => put_set(to.init_set(), &set, behind),
        Op::Delete(condition) => put_condition(to.init_delete(), condition),
        Op::Increment(by) => to.set_increment(by),
        Op::Append(value) => to.set_append(value),
        Op::Expire { expiry, condition } => {
            let mut expire = to.init_expire();
            put_expiry(expire.reborrow().init_expiry(), expiry);
            put_condition(expire.init_condition(), condition);
        }
        Op::Scan(scan) => {
            let mut to = to.init_scan();
            to.set_cursor(scan.cursor);
            to.set_count(scan.count);
            to.set_prefix(scan.prefix);
            to.set_match(scan.pattern);
        }
        Op::Topology => to.set_topology(()),
    }
}

fn put_set(mut to: wire::set::Builder<'_>, set: &Set<'_>, behind: u32) {
    match set.value {
        Value::Here(value) if behind == 0 => to.set_value(value),
        _ => to.set_value_behind(behind),
    }
    // What is not set is read as its default, and takes no room.
    if set.condition != Condition::Always {
        put_condition(to.reborrow().init_condition(), set.condition);
    }
    if set.expiry != Expiry::Never {
        put_expiry(to.reborrow().init_expiry(), set.expiry);
    }
    if !set.meta.is_empty() {
        to.set_meta(set.meta);
    }
}

fn put_condition(mut to: wire::condition::Builder<'_>, condition: Condition) {
    match condition {
        Condition::Always => to.set_always(()),
        Condition::Absent => to.set_absent(()),
        Condition::Present => to.set_present(()),
        Condition::Version(version) => to.set_version(version),
    }
}

fn put_expiry(mut to: wire::expiry::Builder<'_>, expiry: Expiry) {
    match expiry {
        Expiry::Never => to.set_never(()),
        Expiry::Keep => to.set_keep(()),
        Expiry::InMs(ms) => to.set_in_ms(ms),
        Expiry::AtMs(ms) => to.set_at_ms(ms),
    }
}

pub(super) fn put_reply(mut to: wire::reply::Builder<'_>, reply: &Reply<'_>, behind: u32) {
    to.set_id(reply.id);
    match &reply.answer {
        Answer::Entry(entry) => put_entry(to.init_entry(), entry, behind),
        Answer::Absent => to.set_absent(()),
        Answer::Written { version, created } => {
            let mut written = to.init_written();
            written.set_version(*version);
            written.set_created(*created);
        }
        Answer::Number { value, version } => {
            let mut number = to.init_number();
            number.set_value(*value);
            number.set_version(*version);
        }
        Answer::Unmet(version) => to.set_unmet(*version),
        Answer::Page { cursor, keys } => {
            let mut page = to.init_page();
            page.set_cursor(*cursor);
            let mut list = page.init_keys(keys.len() as u32);
            for (i, key) in keys.iter().enumerate() {
                list.set(i as u32, key);
            }
        }
        Answer::Topology(topology) => put_topology(to.init_topology(), topology),
        Answer::Refused(refusal) => put_refusal(to.init_refused(), refusal),
        Answer::Unknown(why) => to.set_unknown(*why),
    }
}

fn put_entry(mut to: wire::entry::Builder<'_>, entry: &Entry<'_>, behind: u32) {
    to.set_version(entry.version);
    to.set_expires_at_ms(entry.expires_at_ms);
    to.set_value_bytes(entry.value_bytes);
    if !entry.meta.is_empty() {
        to.set_meta(entry.meta);
    }
    match entry.value {
        None => to.set_head_only(true),
        Some(Value::Here(value)) if behind == 0 => to.set_value(value),
        Some(_) => to.set_value_behind(behind),
    }
}

fn put_topology(mut to: wire::topology::Builder<'_>, topology: &Topology) {
    let mut nodes = to.reborrow().init_nodes(topology.nodes.len() as u32);
    for (i, node) in topology.nodes.iter().enumerate() {
        let mut to = nodes.reborrow().get(i as u32);
        to.set_name(&node.name[..]);
        to.set_client(&node.client[..]);
        to.set_state(&node.state[..]);
        to.set_zone(&node.zone[..]);
        to.set_weight(node.weight);
        to.set_shards(node.shards);
    }
    let mut leaders = to.init_leaders(topology.leaders.len() as u32);
    for (i, range) in topology.leaders.iter().enumerate() {
        let mut to = leaders.reborrow().get(i as u32);
        to.set_first(range.first);
        to.set_last(range.last);
        to.set_node(range.node);
    }
}

fn put_refusal(mut to: wire::refusal::Builder<'_>, refusal: &Refusal<'_>) {
    to.set_reason(match refusal.reason {
        Reason::Malformed => wire::Reason::Malformed,
        Reason::WrongType => wire::Reason::WrongType,
        Reason::TooLarge => wire::Reason::TooLarge,
        Reason::OutOfMemory => wire::Reason::OutOfMemory,
        Reason::NotServed => wire::Reason::NotServed,
        Reason::Busy => wire::Reason::Busy,
        Reason::Unauthorised => wire::Reason::Unauthorised,
        Reason::Leaving => wire::Reason::Leaving,
    });
    to.set_detail(refusal.detail);
}
