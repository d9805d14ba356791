//! A frame taken apart.

use std::sync::Arc;

use super::{Challenge, Hello, Item, Outcome, ROUTE_RANGES, Request, RequestKind, Welcome};
use crate::framing;
use crate::ids::{ClusterId, Era, NodeId, Slot, Term, Version};
use crate::limits::VOTERS_MAX;
use crate::peer_capnp as wire;
use crate::slot_message::{Body, Change, ChangeKind, Config, Route, SlotMessage};

/// Why a frame is not one of this protocol. Always the sender's fault: the link is closed.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not Cap'n Proto, or beyond the reader's limits.
    #[error("not a readable message: {0}")]
    Encoding(#[from] capnp::Error),
    /// A variant that this version does not know.
    #[error("a message of an unknown kind ({0})")]
    Kind(u16),
    /// A slot number past the last.
    #[error("slot {0} does not exist")]
    Slot(u16),
    /// A list longer than the protocol allows.
    #[error("{count} entries in a list of at most {max}")]
    TooMany {
        /// As announced.
        count: u32,
        /// As allowed.
        max: usize,
    },
    /// A term, era or number of a change that nobody has counted to.
    #[error("{0} is no number that anybody has counted to")]
    Number(u64),
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    Text(#[from] std::str::Utf8Error),
}

impl From<capnp::NotInSchema> for Malformed {
    fn from(unknown: capnp::NotInSchema) -> Self {
        Self::Kind(unknown.0)
    }
}

/// Takes one whole frame apart and hands every item in it to `take`, in the order said.
///
/// # Errors
///
/// The frame is malformed. Items before the fault have been handed over: close the link.
pub fn read(frame: &[u8], mut take: impl FnMut(Item<'_>)) -> Result<(), Malformed> {
    let message = framing::open(frame)?;
    match message.get_root::<wire::frame::Reader<'_>>()?.which()? {
        wire::frame::Hello(hello) => take(Item::Hello(read_hello(hello?)?)),
        wire::frame::Challenge(challenge) => take(Item::Challenge(read_challenge(challenge?)?)),
        wire::frame::Proof(mac) => take(Item::Proof(read_id(mac?))),
        wire::frame::Welcome(welcome) => take(Item::Welcome(read_welcome(welcome?)?)),
        wire::frame::Refuse(why) => take(Item::Refuse(why?.to_str()?)),
        wire::frame::Batch(batch) => read_batch(batch?, &mut take)?,
    }
    Ok(())
}

fn read_hello(hello: wire::hello::Reader<'_>) -> Result<Hello, Malformed> {
    Ok(Hello {
        cluster: ClusterId(read_id(hello.get_cluster()?)),
        from: NodeId(read_id(hello.get_from()?)),
        to: NodeId(read_id(hello.get_to()?)),
        shard: hello.get_shard(),
        bulk: hello.get_bulk(),
        protocol: (hello.get_protocol_min(), hello.get_protocol_max()),
        features: hello.get_features(),
        nonce: read_id(hello.get_nonce()?),
    })
}

fn read_challenge(challenge: wire::challenge::Reader<'_>) -> Result<Challenge, Malformed> {
    Ok(Challenge { nonce: read_id(challenge.get_nonce()?), mac: read_id(challenge.get_mac()?) })
}

fn read_welcome(welcome: wire::welcome::Reader<'_>) -> Result<Welcome, Malformed> {
    Ok(Welcome {
        from: NodeId(read_id(welcome.get_from()?)),
        protocol: welcome.get_protocol(),
        features: welcome.get_features(),
    })
}

fn read_batch(
    batch: wire::batch::Reader<'_>,
    take: &mut impl FnMut(Item<'_>),
) -> Result<(), Malformed> {
    for route in batch.get_routes()? {
        take(Item::Route(read_route(route)?));
    }
    for message in batch.get_slots()? {
        take(Item::Slot(read_slot_message(message)?));
    }
    for request in batch.get_requests()? {
        take(Item::Request(Request {
            id: request.get_id(),
            slot: read_slot(request.get_slot())?,
            kind: match request.get_kind()? {
                wire::request::Kind::Command => RequestKind::Command,
                wire::request::Kind::Unit => RequestKind::Unit,
                wire::request::Kind::Sweep => RequestKind::Sweep,
            },
            resp3: request.get_resp3(),
            fence: request.get_fence(),
            patience_ms: request.get_patience_ms(),
            body: request.get_body()?,
        }));
    }
    for reply in batch.get_replies()? {
        let outcome = match reply.which()? {
            wire::reply::Done(body) => Outcome::Done(body?),
            wire::reply::Bounced(route) => Outcome::Bounced(read_route(route?)?),
            wire::reply::Unknown(()) => Outcome::Unknown,
        };
        take(Item::Reply(reply.get_id(), outcome));
    }
    let digests = batch.get_route_digests()?;
    if !digests.is_empty() {
        limit(digests.len(), ROUTE_RANGES)?;
        let mut all = Box::new([0; ROUTE_RANGES]);
        all.iter_mut().zip(digests).for_each(|(to, from)| *to = from);
        take(Item::RouteDigests(all));
    }
    Ok(())
}

fn read_slot_message(message: wire::slot_message::Reader<'_>) -> Result<SlotMessage, Malformed> {
    use wire::slot_message as w;
    let body = match message.which()? {
        w::Append(append) => {
            let append = append?;
            let mut changes = Vec::new();
            for change in append.get_changes()? {
                changes.push(read_change(change)?);
            }
            Body::Append {
                prev: read_version(append.get_prev()?)?,
                committed: read_version(append.get_committed()?)?,
                changes,
            }
        }
        w::Ack(ack) => {
            let ack = ack?;
            Body::Ack {
                last: read_version(ack.get_last()?)?,
                member: ack.get_member(),
                epoch: ack.get_epoch(),
                config: ack.get_config(),
            }
        }
        w::Open(open) => {
            let open = open?;
            Body::Open { snapshot: open.get_snapshot(), ring: open.get_ring() }
        }
        w::Piece(piece) => {
            let piece = piece?;
            Body::Piece { snapshot: piece.get_snapshot(), records: Arc::from(piece.get_records()?) }
        }
        w::Close(close) => {
            let close = close?;
            Body::Close {
                snapshot: close.get_snapshot(),
                last: read_version(close.get_last()?)?,
                committed: read_version(close.get_committed()?)?,
                config: read_config(close.get_config()?)?,
            }
        }
        w::Stand(last) => Body::Stand(read_version(last?)?),
        w::Canvass(canvass) => {
            let canvass = canvass?;
            Body::Canvass {
                pre: canvass.get_pre(),
                last: read_version(canvass.get_last()?)?,
                given_up: read_term(canvass.get_given_up())?,
            }
        }
        w::Vote(pre) => Body::Vote { pre },
        w::Dismiss(version) => Body::Dismiss(version),
        w::Inquire(term) => Body::Inquire(read_term(term)?),
        w::Released(term) => Body::Released(read_term(term)?),
    };
    Ok(SlotMessage {
        slot: read_slot(message.get_slot())?,
        era: read_era(message.get_era())?,
        term: read_term(message.get_term())?,
        body,
    })
}

fn read_change(change: wire::change::Reader<'_>) -> Result<Change, Malformed> {
    let kind = match change.which()? {
        wire::change::Empty(()) => ChangeKind::Empty,
        wire::change::Data(records) => ChangeKind::Data(Arc::from(records?)),
        wire::change::Config(config) => ChangeKind::Config(read_config(config?)?),
    };
    Ok(Change { version: read_version(change.get_version()?)?, kind })
}

fn read_config(config: wire::config::Reader<'_>) -> Result<Config, Malformed> {
    let ids = |list: capnp::struct_list::Reader<'_, wire::id::Owned>| {
        // One more of each than settled groups have, since members change one at a time.
        limit(list.len(), VOTERS_MAX + 1)?;
        Ok::<_, Malformed>(list.iter().map(|id| NodeId(read_id(id))).collect())
    };
    Ok(Config {
        version: config.get_version(),
        voters: ids(config.get_voters()?)?,
        learners: ids(config.get_learners()?)?,
    })
}

fn read_route(route: wire::route::Reader<'_>) -> Result<Route, Malformed> {
    Ok(Route {
        slot: read_slot(route.get_slot())?,
        era: read_era(route.get_era())?,
        term: read_term(route.get_term())?,
        leader: NodeId(read_id(route.get_leader()?)),
    })
}

fn read_slot(number: u16) -> Result<Slot, Malformed> {
    Slot::new(number).ok_or(Malformed::Slot(number))
}

/// A term that leaves room for the reigns that may follow: counting on must never overflow.
fn read_term(term: u32) -> Result<Term, Malformed> {
    let room = Term::MAX.0 / 2;
    if term > room { Err(Malformed::Number(u64::from(term))) } else { Ok(Term(term)) }
}

fn read_era(era: u64) -> Result<Era, Malformed> {
    if era > u64::MAX / 2 { Err(Malformed::Number(era)) } else { Ok(Era(era)) }
}

fn read_version(version: wire::version::Reader<'_>) -> Result<Version, Malformed> {
    let seq = version.get_seq();
    if seq >= 1 << 39 {
        return Err(Malformed::Number(seq));
    }
    Ok(Version { term: read_term(version.get_term())?, seq })
}

fn read_id(id: wire::id::Reader<'_>) -> u128 {
    (u128::from(id.get_high()) << 64) | u128::from(id.get_low())
}

fn limit(count: u32, max: usize) -> Result<(), Malformed> {
    if count as usize > max { Err(Malformed::TooMany { count, max }) } else { Ok(()) }
}
