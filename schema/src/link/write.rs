//! Frames put together.

use std::ops::Range;

use capnp::message::{Builder, HeapAllocator};

use super::{Challenge, Hello, Outcome, ROUTE_RANGES, Request, RequestKind, Welcome};
use crate::framing;
use crate::ids::{Slot, Version};
use crate::limits::FRAME_BYTES_AIM;
use crate::peer_capnp as wire;
use crate::slot_message::{Body, Change, ChangeKind, Config, Route, SlotMessage};

/// What one turn of a shard has to say on one link, gathered until it is written as a frame.
#[derive(Debug, Default)]
pub struct Batch {
    arena: Vec<u8>,
    requests: Vec<RequestHead>,
    replies: Vec<(u64, OutcomeHead)>,
    slots: Vec<SlotMessage>,
    slot_bytes: usize,
    routes: Vec<Route>,
    digests: Option<Box<[u64; ROUTE_RANGES]>>,
}

#[derive(Debug)]
struct RequestHead {
    id: u64,
    slot: Slot,
    kind: RequestKind,
    resp3: bool,
    fence: u32,
    patience_ms: u16,
    body: Range<usize>,
}

#[derive(Debug)]
enum OutcomeHead {
    Done(Range<usize>),
    Bounced(Route),
    Unknown,
}

impl OutcomeHead {
    fn bytes(&self) -> usize {
        64 + match self {
            Self::Done(body) => body.len(),
            Self::Bounced(_) | Self::Unknown => 0,
        }
    }
}

/// How much of each list has been written.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    routes: usize,
    slots: usize,
    requests: usize,
    replies: usize,
    digests: usize,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
            && self.replies.is_empty()
            && self.slots.is_empty()
            && self.routes.is_empty()
            && self.digests.is_none()
    }

    /// Bytes gathered, roughly: what a writer compares with `FRAME_BYTES_AIM`.
    pub fn bytes(&self) -> usize {
        self.arena.len()
            + self.slot_bytes
            + 64 * (self.requests.len() + self.replies.len())
            + 40 * self.routes.len()
    }

    /// Adds a request; its body is copied.
    pub fn push_request(&mut self, request: &Request<'_>) {
        let body = self.keep(request.body);
        let Request { id, slot, kind, resp3, fence, patience_ms, body: _ } = *request;
        self.requests.push(RequestHead { id, slot, kind, resp3, fence, patience_ms, body });
    }

    /// Adds a reply; its body is copied.
    pub fn push_reply(&mut self, id: u64, outcome: &Outcome<'_>) {
        let head = match outcome {
            Outcome::Done(body) => OutcomeHead::Done(self.keep(body)),
            Outcome::Bounced(route) => OutcomeHead::Bounced(*route),
            Outcome::Unknown => OutcomeHead::Unknown,
        };
        self.replies.push((id, head));
    }

    /// Adds a message to a replica.
    pub fn push_slot(&mut self, message: SlotMessage) {
        self.slot_bytes += slot_bytes(&message);
        self.slots.push(message);
    }

    /// Adds a route.
    pub fn push_route(&mut self, route: Route) {
        self.routes.push(route);
    }

    /// States digests of the sender's routes.
    pub fn set_route_digests(&mut self, digests: [u64; ROUTE_RANGES]) {
        self.digests = Some(Box::new(digests));
    }

    /// Appends everything gathered to `stream` and starts anew: as one frame, or as several where
    /// it is more than [`FRAME_BYTES_AIM`]. Writes nothing if there is nothing.
    pub fn write(&mut self, stream: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        let mut from = Cut::default();
        while let Some(to) = self.cut(&from) {
            self.write_frame(&from, &to, stream);
            from = to;
        }
        self.clear();
    }

    /// Where a frame that begins at `from` ends; `None` if nothing is left.
    fn cut(&self, from: &Cut) -> Option<Cut> {
        let mut to = *from;
        let mut bytes = 0;
        let mut take = |next: &mut usize, sizes: &mut dyn Iterator<Item = usize>| {
            for size in sizes {
                if bytes > 0 && bytes + size > FRAME_BYTES_AIM {
                    return;
                }
                bytes += size;
                *next += 1;
            }
        };
        take(&mut to.routes, &mut self.routes[from.routes..].iter().map(|_| 40));
        take(&mut to.slots, &mut self.slots[from.slots..].iter().map(slot_bytes));
        take(
            &mut to.requests,
            &mut self.requests[from.requests..].iter().map(|head| 64 + head.body.len()),
        );
        take(
            &mut to.replies,
            &mut self.replies[from.replies..].iter().map(|(_, head)| head.bytes()),
        );
        take(&mut to.digests, &mut self.digests.iter().skip(from.digests).map(|_| 600));
        (bytes > 0).then_some(to)
    }

    fn write_frame(&self, from: &Cut, to: &Cut, stream: &mut Vec<u8>) {
        let words = (self.bytes().min(FRAME_BYTES_AIM) / 8 + 32).min(1 << 20);
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(words as u32));
        let frame = message.init_root::<wire::frame::Builder<'_>>();
        let mut batch = frame.init_batch();
        self.write_requests(&self.requests[from.requests..to.requests], &mut batch);
        self.write_replies(&self.replies[from.replies..to.replies], &mut batch);
        let messages = &self.slots[from.slots..to.slots];
        let mut slots = batch.reborrow().init_slots(messages.len() as u32);
        for (i, slot_message) in messages.iter().enumerate() {
            write_slot_message(slots.reborrow().get(i as u32), slot_message);
        }
        let known = &self.routes[from.routes..to.routes];
        let mut routes = batch.reborrow().init_routes(known.len() as u32);
        for (i, route) in known.iter().enumerate() {
            write_route(routes.reborrow().get(i as u32), route);
        }
        if let Some(digests) = self.digests.as_ref().filter(|_| from.digests < to.digests) {
            let mut list = batch.reborrow().init_route_digests(ROUTE_RANGES as u32);
            for (i, digest) in digests.iter().enumerate() {
                list.set(i as u32, *digest);
            }
        }
        framing::append(&message, stream);
    }

    fn write_requests(&self, heads: &[RequestHead], batch: &mut wire::batch::Builder<'_>) {
        let mut list = batch.reborrow().init_requests(heads.len() as u32);
        for (i, head) in heads.iter().enumerate() {
            let mut request = list.reborrow().get(i as u32);
            request.set_id(head.id);
            request.set_slot(head.slot.number());
            request.set_kind(match head.kind {
                RequestKind::Command => wire::request::Kind::Command,
                RequestKind::Unit => wire::request::Kind::Unit,
                RequestKind::Sweep => wire::request::Kind::Sweep,
            });
            request.set_resp3(head.resp3);
            request.set_fence(head.fence);
            request.set_patience_ms(head.patience_ms);
            request.set_body(&self.arena[head.body.clone()]);
        }
    }

    fn write_replies(&self, heads: &[(u64, OutcomeHead)], batch: &mut wire::batch::Builder<'_>) {
        let mut list = batch.reborrow().init_replies(heads.len() as u32);
        for (i, (id, head)) in heads.iter().enumerate() {
            let mut reply = list.reborrow().get(i as u32);
            reply.set_id(*id);
            match head {
                OutcomeHead::Done(body) => reply.set_done(&self.arena[body.clone()]),
                OutcomeHead::Bounced(route) => write_route(reply.init_bounced(), route),
                OutcomeHead::Unknown => reply.set_unknown(()),
            }
        }
    }

    fn keep(&mut self, body: &[u8]) -> Range<usize> {
        let start = self.arena.len();
        self.arena.extend_from_slice(body);
        start..self.arena.len()
    }

    fn clear(&mut self) {
        self.arena.clear();
        self.requests.clear();
        self.replies.clear();
        self.slots.clear();
        self.slot_bytes = 0;
        self.routes.clear();
        self.digests = None;
        // One huge value must not be paid for ever after.
        self.arena.shrink_to(4 * FRAME_BYTES_AIM);
    }
}

fn slot_bytes(message: &SlotMessage) -> usize {
    64 + match &message.body {
        Body::Append { changes, .. } => changes.iter().map(change_bytes).sum(),
        Body::Piece { records, .. } => records.len(),
        _ => 64,
    }
}

fn change_bytes(change: &Change) -> usize {
    64 + match &change.kind {
        ChangeKind::Data(records) => records.len(),
        ChangeKind::Empty | ChangeKind::Config(_) => 64,
    }
}

/// Appends the first frame from the one who connects.
pub fn write_hello(hello: &Hello, stream: &mut Vec<u8>) {
    let mut message = Builder::new_default();
    let mut to = message.init_root::<wire::frame::Builder<'_>>().init_hello();
    write_id(to.reborrow().init_cluster(), hello.cluster.0);
    write_id(to.reborrow().init_from(), hello.from.0);
    write_id(to.reborrow().init_to(), hello.to.0);
    to.set_shard(hello.shard);
    to.set_bulk(hello.bulk);
    to.set_protocol_min(hello.protocol.0);
    to.set_protocol_max(hello.protocol.1);
    to.set_features(hello.features);
    write_id(to.init_nonce(), hello.nonce);
    framing::append(&message, stream);
}

/// Appends the first frame back where the cluster has a key.
pub fn write_challenge(challenge: &Challenge, stream: &mut Vec<u8>) {
    let mut message = Builder::new_default();
    let mut to = message.init_root::<wire::frame::Builder<'_>>().init_challenge();
    write_id(to.reborrow().init_nonce(), challenge.nonce);
    write_id(to.init_mac(), challenge.mac);
    framing::append(&message, stream);
}

/// Appends the answer to a challenge.
pub fn write_proof(mac: u128, stream: &mut Vec<u8>) {
    let mut message = Builder::new_default();
    write_id(message.init_root::<wire::frame::Builder<'_>>().init_proof(), mac);
    framing::append(&message, stream);
}

/// Appends the frame with which a link is open.
pub fn write_welcome(welcome: &Welcome, stream: &mut Vec<u8>) {
    let mut message = Builder::new_default();
    let mut to = message.init_root::<wire::frame::Builder<'_>>().init_welcome();
    write_id(to.reborrow().init_from(), welcome.from.0);
    to.set_protocol(welcome.protocol);
    to.set_features(welcome.features);
    framing::append(&message, stream);
}

/// Appends a refusal, the last frame of a link that never came about.
pub fn write_refusal(why: &str, stream: &mut Vec<u8>) {
    let mut message = Builder::new_default();
    message.init_root::<wire::frame::Builder<'_>>().set_refuse(why);
    framing::append(&message, stream);
}

fn write_slot_message(mut to: wire::slot_message::Builder<'_>, message: &SlotMessage) {
    to.set_slot(message.slot.number());
    to.set_term(message.term.0);
    to.set_era(message.era.0);
    match &message.body {
        Body::Append { prev, committed, changes } => {
            let mut append = to.init_append();
            write_version(append.reborrow().init_prev(), *prev);
            write_version(append.reborrow().init_committed(), *committed);
            let mut list = append.init_changes(changes.len() as u32);
            for (i, change) in changes.iter().enumerate() {
                write_change(list.reborrow().get(i as u32), change);
            }
        }
        Body::Ack { last, member, epoch, config } => {
            let mut ack = to.init_ack();
            ack.set_config(*config);
            ack.set_member(*member);
            ack.set_epoch(*epoch);
            write_version(ack.init_last(), *last);
        }
        Body::Open { snapshot, ring } => {
            let mut open = to.init_open();
            open.set_snapshot(*snapshot);
            open.set_ring(*ring);
        }
        Body::Piece { snapshot, records } => {
            let mut piece = to.init_piece();
            piece.set_snapshot(*snapshot);
            piece.set_records(records);
        }
        Body::Close { snapshot, last, committed, config } => {
            let mut close = to.init_close();
            close.set_snapshot(*snapshot);
            write_version(close.reborrow().init_last(), *last);
            write_version(close.reborrow().init_committed(), *committed);
            write_config(close.init_config(), config);
        }
        Body::Stand(last) => write_version(to.init_stand(), *last),
        Body::Canvass { pre, last, given_up } => {
            let mut canvass = to.init_canvass();
            canvass.set_pre(*pre);
            canvass.set_given_up(given_up.0);
            write_version(canvass.init_last(), *last);
        }
        Body::Vote { pre } => to.set_vote(*pre),
        Body::Dismiss(version) => to.set_dismiss(*version),
        Body::Inquire(term) => to.set_inquire(term.0),
        Body::Released(term) => to.set_released(term.0),
    }
}

fn write_change(mut to: wire::change::Builder<'_>, change: &Change) {
    write_version(to.reborrow().init_version(), change.version);
    match &change.kind {
        ChangeKind::Empty => to.set_empty(()),
        ChangeKind::Data(records) => to.set_data(records),
        ChangeKind::Config(config) => write_config(to.init_config(), config),
    }
}

fn write_config(mut to: wire::config::Builder<'_>, config: &Config) {
    to.set_version(config.version);
    let mut voters = to.reborrow().init_voters(config.voters.len() as u32);
    for (i, voter) in config.voters.iter().enumerate() {
        write_id(voters.reborrow().get(i as u32), voter.0);
    }
    let mut learners = to.init_learners(config.learners.len() as u32);
    for (i, learner) in config.learners.iter().enumerate() {
        write_id(learners.reborrow().get(i as u32), learner.0);
    }
}

fn write_route(mut to: wire::route::Builder<'_>, route: &Route) {
    to.set_slot(route.slot.number());
    to.set_term(route.term.0);
    to.set_era(route.era.0);
    write_id(to.init_leader(), route.leader.0);
}

fn write_version(mut to: wire::version::Builder<'_>, version: Version) {
    to.set_term(version.term.0);
    to.set_seq(version.seq);
}

fn write_id(mut to: wire::id::Builder<'_>, id: u128) {
    to.set_high((id >> 64) as u64);
    to.set_low(id as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::frame_bytes;
    use crate::limits::BODY_BYTES_MAX;
    use crate::link::{Item, read};

    /// Whatever is gathered in one turn, each frame stays within what the other end takes, and
    /// everything arrives once, in the order gathered.
    #[test]
    fn a_large_turn_is_written_as_several_frames() {
        let mut batch = Batch::default();
        let large = vec![b'x'; FRAME_BYTES_AIM * 3 / 5];
        for id in 0..20 {
            let (kind, slot) = (RequestKind::Command, Slot::default());
            let body = if id % 3 == 0 { &large[..] } else { b"small" };
            let (resp3, fence, patience_ms) = (false, 0, 5000);
            batch.push_request(&Request { id, slot, kind, resp3, fence, patience_ms, body });
            batch.push_reply(id, &Outcome::Done(body));
        }
        batch.set_route_digests([7; ROUTE_RANGES]);
        let mut stream = Vec::new();
        batch.write(&mut stream);
        assert!(batch.is_empty());
        let (mut at, mut frames) = (0, 0);
        let (mut requests, mut replies, mut digests) = (Vec::new(), Vec::new(), 0);
        while at < stream.len() {
            let bytes = frame_bytes(&stream[at..]).unwrap().unwrap();
            assert!(bytes < FRAME_BYTES_AIM + 4096);
            read(&stream[at..at + bytes], |item| match item {
                Item::Request(request) => requests.push((request.id, request.body.len())),
                Item::Reply(id, Outcome::Done(body)) => replies.push((id, body.len())),
                Item::RouteDigests(_) => digests += 1,
                _ => panic!("nothing else was said"),
            })
            .unwrap();
            (at, frames) = (at + bytes, frames + 1);
        }
        let sizes = (0..20).map(|id| (id, if id % 3 == 0 { large.len() } else { 5 }));
        assert_eq!((&requests, digests), (&sizes.collect(), 1));
        assert_eq!(replies, requests);
        assert!(frames > 5, "{frames} frames");
    }

    /// What opens a link arrives as it was said.
    #[test]
    fn a_handshake_arrives_as_said() {
        let hello = Hello {
            cluster: crate::ids::ClusterId(1 << 100),
            from: crate::ids::NodeId(2),
            to: crate::ids::NodeId(3),
            shard: 4,
            bulk: true,
            protocol: (5, 6),
            features: 7,
            nonce: 8 << 90,
        };
        let challenge = Challenge { nonce: 9 << 64, mac: u128::MAX };
        let mut stream = Vec::new();
        write_hello(&hello, &mut stream);
        write_challenge(&challenge, &mut stream);
        write_proof(10, &mut stream);
        let mut said = Vec::new();
        while !stream.is_empty() {
            let rest = stream.split_off(frame_bytes(&stream).unwrap().unwrap());
            read(&stream, |item| said.push(format!("{item:?}"))).unwrap();
            stream = rest;
        }
        assert_eq!(
            said,
            [
                format!("{:?}", Item::Hello(hello)),
                format!("{:?}", Item::Challenge(challenge)),
                format!("{:?}", Item::Proof(10)),
            ]
        );
    }

    /// The longest request and the longest reply each make a frame that the other end takes.
    #[test]
    fn the_longest_bodies_fit_into_frames() {
        let body = &vec![0; BODY_BYTES_MAX][..];
        let (kind, slot) = (RequestKind::Unit, Slot::default());
        let (id, resp3, fence, patience_ms) = (1, false, 0, 5000);
        let mut batch = Batch::default();
        batch.push_request(&Request { id, slot, kind, resp3, fence, patience_ms, body });
        batch.push_reply(2, &Outcome::Done(body));
        let mut stream = Vec::new();
        batch.write(&mut stream);
        let first = frame_bytes(&stream).unwrap().unwrap();
        assert_eq!(frame_bytes(&stream[first..]), Ok(Some(stream.len() - first)));
    }

    /// A peer that claims a term at the end of counting is refused before anybody counts on.
    #[test]
    fn a_term_without_room_above_is_malformed() {
        let mut route = Route {
            slot: Slot::default(),
            era: crate::ids::Era::FIRST,
            term: crate::ids::Term(5),
            leader: crate::ids::NodeId(1),
        };
        let refused = |route: Route| {
            let (mut batch, mut stream) = (Batch::default(), Vec::new());
            batch.push_route(route);
            batch.write(&mut stream);
            read(&stream, |_| ()).is_err()
        };
        assert!(!refused(route));
        route.term = crate::ids::Term::MAX;
        assert!(refused(route));
        (route.term, route.era) = (crate::ids::Term(5), crate::ids::Era(u64::MAX));
        assert!(refused(route));
    }
}
