//! A frame taken apart.

use capnp::message::Reader;
use capnp::serialize::BufferSegments;

use super::{
    Answer, Condition, Entry, Expiry, GetKind, Hello, Item, Node, Op, Range, Reason, Refusal,
    Reply, Request, Scan, Set, Topology, Value, Welcome,
};
use crate::framing::{self, FramingError};
use crate::ids::{ClusterId, Slot};
use crate::kv_capnp as wire;
use crate::limits::{
    FRAME_ITEMS_MAX, INLINE_BYTES_MAX, KEY_BYTES_MAX, META_BYTES_MAX, NODES_MAX, VALUE_BYTES_MAX,
};

/// Why a stream is not one of this protocol. Always the sender's fault: the connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The head of a frame announces more than is taken.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// A frame longer than may come now.
    #[error("a frame of {bytes} bytes; at most {max} are taken here")]
    FrameTooLong {
        /// As announced.
        bytes: usize,
        /// As allowed.
        max: usize,
    },
    /// Not Cap'n Proto, or beyond the reader's limits.
    #[error("not a readable message: {0}")]
    Encoding(#[from] capnp::Error),
    /// A variant that this version does not know.
    #[error("a message of an unknown kind ({0})")]
    Kind(u16),
    /// Something longer than the protocol allows.
    #[error("{what} of {bytes} bytes; at most {max} are taken")]
    TooLong {
        /// What.
        what: &'static str,
        /// As sent or announced.
        bytes: usize,
        /// As allowed.
        max: usize,
    },
    /// More entries in a list than the protocol allows.
    #[error("{count} {what} in a frame; at most {max} are taken")]
    TooMany {
        /// What.
        what: &'static str,
        /// As announced.
        count: u32,
        /// As allowed.
        max: usize,
    },
    /// A value behind a frame that holds something else, too, or a value in both places.
    #[error("a value behind a frame that does not belong to it alone")]
    NotAlone,
    /// Slots that do not exist or are out of order, or a node that is not listed.
    #[error("leaders of slots {first} to {last} at node {node} make no sense here")]
    Leaders {
        /// First slot.
        first: u16,
        /// Last slot.
        last: u16,
        /// Place of the node.
        node: u16,
    },
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
}

impl From<capnp::NotInSchema> for Malformed {
    fn from(unknown: capnp::NotInSchema) -> Self {
        Self::Kind(unknown.0)
    }
}

/// How far the first frame of a stream reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Bytes of the frame.
    pub frame: usize,
    /// Bytes of the value behind it. They may not be there yet.
    pub behind: usize,
}

/// The extent of the frame at the start of `stream`; `None` while the frame is not whole. Frames
/// of more than `frame_bytes_max` bytes are not waited for.
///
/// # Errors
///
/// The frame is too long, or malformed.
pub fn extent(stream: &[u8], frame_bytes_max: usize) -> Result<Option<Extent>, Malformed> {
    let Some(bytes) = framing::frame_bytes(stream)? else { return Ok(None) };
    if bytes > frame_bytes_max {
        return Err(Malformed::FrameTooLong { bytes, max: frame_bytes_max });
    }
    let Some(frame) = stream.get(..bytes) else { return Ok(None) };
    Ok(Some(Extent { frame: bytes, behind: behind(frame)? }))
}

/// Takes one whole frame apart and hands every item in it to `take`, in order.
///
/// # Errors
///
/// The frame is malformed. Items before the fault have been handed over: close the connection.
pub fn read(frame: &[u8], mut take: impl FnMut(Item<'_>)) -> Result<(), Malformed> {
    read_from(frame, 0, |item| {
        take(item);
        true
    })?;
    Ok(())
}

/// The same from the item at index `first` on, until `take` takes one no more by returning false.
/// Returns the index of that one, `None` if all are taken.
///
/// # Errors
///
/// As [`read()`].
pub fn read_from(
    frame: &[u8],
    first: u32,
    mut take: impl FnMut(Item<'_>) -> bool,
) -> Result<Option<u32>, Malformed> {
    let message = open(frame)?;
    let single = match message.get_root::<wire::frame::Reader<'_>>()?.which()? {
        wire::frame::Hello(hello) => Item::Hello(read_hello(hello?)?),
        wire::frame::Welcome(welcome) => Item::Welcome(read_welcome(welcome?)?),
        wire::frame::Refuse(refusal) => Item::Refuse(read_refusal(refusal?)?),
        wire::frame::Requests(list) => {
            let list = list?;
            count("requests", list.len(), FRAME_ITEMS_MAX)?;
            for i in first..list.len() {
                if !take(Item::Request(read_request(list.get(i), list.len() == 1)?)) {
                    return Ok(Some(i));
                }
            }
            return Ok(None);
        }
        wire::frame::Replies(list) => {
            let list = list?;
            count("replies", list.len(), FRAME_ITEMS_MAX)?;
            for i in first..list.len() {
                if !take(Item::Reply(read_reply(list.get(i), list.len() == 1)?)) {
                    return Ok(Some(i));
                }
            }
            return Ok(None);
        }
    };
    Ok((first == 0 && !take(single)).then_some(0))
}

fn open(frame: &[u8]) -> capnp::Result<Reader<BufferSegments<&[u8]>>> {
    // Twice what an honest frame needs, which is read once: what many pointers share counts as
    // often as it is read.
    framing::open_within(frame, frame.len() / 4 + 64)
}

/// Bytes that follow a frame.
fn behind(frame: &[u8]) -> Result<usize, Malformed> {
    let message = open(frame)?;
    let bytes = match message.get_root::<wire::frame::Reader<'_>>()?.which()? {
        wire::frame::Requests(list) => match list?.try_get(0).map(wire::request::Reader::which) {
            Some(Ok(wire::request::Set(set))) => set?.get_value_behind(),
            _ => 0,
        },
        wire::frame::Replies(list) => match list?.try_get(0).map(wire::reply::Reader::which) {
            Some(Ok(wire::reply::Entry(entry))) => entry?.get_value_behind(),
            _ => 0,
        },
        _ => 0,
    };
    bounded("a value", bytes as usize, VALUE_BYTES_MAX)?;
    Ok(bytes as usize)
}

fn read_hello(hello: wire::hello::Reader<'_>) -> Result<Hello<'_>, Malformed> {
    Ok(Hello {
        protocol: (hello.get_protocol_min(), hello.get_protocol_max()),
        features: hello.get_features(),
        password: hello.get_password()?,
        name: hello.get_name()?.to_str()?,
    })
}

fn read_welcome(welcome: wire::welcome::Reader<'_>) -> Result<Welcome<'_>, Malformed> {
    let id = welcome.get_cluster()?;
    Ok(Welcome {
        protocol: welcome.get_protocol(),
        features: welcome.get_features(),
        cluster: ClusterId(u128::from(id.get_high()) << 64 | u128::from(id.get_low())),
        node: welcome.get_node()?.to_str()?,
        value_bytes_max: welcome.get_value_bytes_max(),
    })
}

fn read_refusal(refusal: wire::refusal::Reader<'_>) -> Result<Refusal<'_>, Malformed> {
    let reason = match refusal.get_reason()? {
        wire::Reason::Malformed => Reason::Malformed,
        wire::Reason::WrongType => Reason::WrongType,
        wire::Reason::TooLarge => Reason::TooLarge,
        wire::Reason::OutOfMemory => Reason::OutOfMemory,
        wire::Reason::NotServed => Reason::NotServed,
        wire::Reason::Busy => Reason::Busy,
        wire::Reason::Unauthorised => Reason::Unauthorised,
        wire::Reason::Leaving => Reason::Leaving,
    };
    Ok(Refusal { reason, detail: refusal.get_detail()?.to_str()? })
}

fn read_request(request: wire::request::Reader<'_>, alone: bool) -> Result<Request<'_>, Malformed> {
    use wire::request as w;
    let key = request.get_key()?;
    bounded("a key", key.len(), KEY_BYTES_MAX)?;
    let op = match request.which()? {
        w::Get(get) => Op::Get(match get?.which()? {
            wire::get::Whole(()) => GetKind::Whole,
            wire::get::Head(()) => GetKind::Head,
            wire::get::UpTo(bytes) => GetKind::UpTo(bytes),
        }),
        w::Set(set) => Op::Set(read_set(set?, alone)?),
        w::Delete(condition) => Op::Delete(read_condition(condition?)?),
        w::Increment(by) => Op::Increment(by),
        w::Append(bytes) => {
            let bytes = bytes?;
            bounded("a value", bytes.len(), VALUE_BYTES_MAX)?;
            Op::Append(bytes)
        }
        w::Expire(expire) => {
            let expire = expire?;
            Op::Expire {
                expiry: read_expiry(expire.get_expiry()?)?,
                condition: read_condition(expire.get_condition()?)?,
            }
        }
        w::Scan(scan) => Op::Scan(read_scan(scan?)?),
        w::Topology(()) => Op::Topology,
    };
    Ok(Request { id: request.get_id(), key, op })
}

fn read_set(set: wire::set::Reader<'_>, alone: bool) -> Result<Set<'_>, Malformed> {
    Ok(Set {
        value: read_value(set.get_value()?, set.get_value_behind(), alone)?,
        condition: read_condition(set.get_condition()?)?,
        expiry: read_expiry(set.get_expiry()?)?,
        meta: read_meta(set.get_meta()?)?,
    })
}

fn read_scan(scan: wire::scan::Reader<'_>) -> Result<Scan<'_>, Malformed> {
    let (prefix, pattern) = (scan.get_prefix()?, scan.get_match()?);
    bounded("a prefix", prefix.len(), KEY_BYTES_MAX)?;
    bounded("a pattern", pattern.len(), KEY_BYTES_MAX)?;
    Ok(Scan { cursor: scan.get_cursor(), count: scan.get_count(), prefix, pattern })
}

fn read_value(here: &[u8], behind: u32, alone: bool) -> Result<Value<'_>, Malformed> {
    if behind == 0 {
        bounded("a value in a frame", here.len(), INLINE_BYTES_MAX)?;
        return Ok(Value::Here(here));
    }
    bounded("a value", behind as usize, VALUE_BYTES_MAX)?;
    if alone && here.is_empty() { Ok(Value::Behind(behind)) } else { Err(Malformed::NotAlone) }
}

fn read_meta(meta: &[u8]) -> Result<&[u8], Malformed> {
    bounded("metadata", meta.len(), META_BYTES_MAX)?;
    Ok(meta)
}

fn read_condition(condition: wire::condition::Reader<'_>) -> Result<Condition, Malformed> {
    Ok(match condition.which()? {
        wire::condition::Always(()) => Condition::Always,
        wire::condition::Absent(()) => Condition::Absent,
        wire::condition::Present(()) => Condition::Present,
        wire::condition::Version(version) => Condition::Version(version),
    })
}

fn read_expiry(expiry: wire::expiry::Reader<'_>) -> Result<Expiry, Malformed> {
    Ok(match expiry.which()? {
        wire::expiry::Never(()) => Expiry::Never,
        wire::expiry::Keep(()) => Expiry::Keep,
        wire::expiry::InMs(ms) => Expiry::InMs(ms),
        wire::expiry::AtMs(ms) => Expiry::AtMs(ms),
    })
}

fn read_reply(reply: wire::reply::Reader<'_>, alone: bool) -> Result<Reply<'_>, Malformed> {
    use wire::reply as w;
    let answer = match reply.which()? {
        w::Entry(entry) => Answer::Entry(read_entry(entry?, alone)?),
        w::Absent(()) => Answer::Absent,
        w::Written(written) => {
            let written = written?;
            Answer::Written { version: written.get_version(), created: written.get_created() }
        }
        w::Number(number) => {
            let number = number?;
            Answer::Number { value: number.get_value(), version: number.get_version() }
        }
        w::Unmet(version) => Answer::Unmet(version),
        w::Page(page) => {
            let page = page?;
            let keys = page.get_keys()?.iter().collect::<capnp::Result<_>>()?;
            Answer::Page { cursor: page.get_cursor(), keys }
        }
        w::Topology(topology) => Answer::Topology(read_topology(topology?)?),
        w::Refused(refusal) => Answer::Refused(read_refusal(refusal?)?),
        w::Unknown(why) => Answer::Unknown(why?.to_str()?),
    };
    Ok(Reply { id: reply.get_id(), answer })
}

fn read_entry(entry: wire::entry::Reader<'_>, alone: bool) -> Result<Entry<'_>, Malformed> {
    let value = if entry.get_head_only() {
        None
    } else {
        Some(read_value(entry.get_value()?, entry.get_value_behind(), alone)?)
    };
    Ok(Entry {
        version: entry.get_version(),
        expires_at_ms: entry.get_expires_at_ms(),
        meta: read_meta(entry.get_meta()?)?,
        value_bytes: entry.get_value_bytes(),
        value,
    })
}

fn read_topology(topology: wire::topology::Reader<'_>) -> Result<Topology, Malformed> {
    let (nodes, leaders) = (topology.get_nodes()?, topology.get_leaders()?);
    count("nodes", nodes.len(), NODES_MAX)?;
    count("ranges", leaders.len(), usize::from(Slot::COUNT))?;
    let mut known = Topology::default();
    for node in nodes {
        known.nodes.push(Node {
            name: node.get_name()?.to_str()?.to_owned(),
            client: node.get_client()?.to_str()?.to_owned(),
            state: node.get_state()?.to_str()?.to_owned(),
            zone: node.get_zone()?.to_str()?.to_owned(),
            weight: node.get_weight(),
            shards: node.get_shards(),
        });
    }
    let mut next = 0;
    for range in leaders {
        let (first, last, node) = (range.get_first(), range.get_last(), range.get_node());
        let listed = usize::from(node) < known.nodes.len();
        if first < next || last < first || last >= Slot::COUNT || !listed {
            return Err(Malformed::Leaders { first, last, node });
        }
        next = last + 1;
        known.leaders.push(Range { first, last, node });
    }
    Ok(known)
}

fn bounded(what: &'static str, bytes: usize, max: usize) -> Result<(), Malformed> {
    if bytes > max { Err(Malformed::TooLong { what, bytes, max }) } else { Ok(()) }
}

fn count(what: &'static str, count: u32, max: usize) -> Result<(), Malformed> {
    if count as usize > max { Err(Malformed::TooMany { what, count, max }) } else { Ok(()) }
}
