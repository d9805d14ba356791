//! One connection of a native client: frames in, answers out, in order.

use std::borrow::Cow;
use std::collections::VecDeque;

use piccolo_schema::framing;
use piccolo_schema::ids::Slot;
use piccolo_schema::key_slot::slot_of;
use piccolo_schema::kv::{
    self, Answer, Extent, Hello, Item, Malformed, Op, PREFACE, PROTOCOL, Reason, Refusal, Reply,
    ReplyBatch, Request, Value, Welcome,
};
use piccolo_schema::limits::{
    FRAME_BYTES_AIM, FRAME_BYTES_MAX, HELLO_BYTES_MAX, KEY_BYTES_MAX, NAME_BYTES_MAX,
};
use piccolo_schema::link::RequestKind;

use super::answer::{Form, answer};
use crate::command::{self, native::write_command};
use crate::resp::Reply as RespReply;
use crate::shard::calls::{CallResult, NATIVE_SCAN, NATIVE_TOPOLOGY, OTHER};
use crate::shard::requests::REQUESTS_BYTES_MAX;
use crate::shard::serve::{self, SCRATCH_BYTES_KEPT};
use crate::shard::session::{OUTPUT_BYTES_MAX, Pause, State};
use crate::shard::stream::{Inbox, Role, Stream, StreamKey};
use crate::shard::{Shard, clients};

/// Requests of one connection in one turn at most, so that others get theirs.
const TURN_REQUESTS: usize = 1024;

const BEFORE_HELLO: &str = "a request before the hello";

/// What a session of a native client has beside that of any other.
#[derive(Debug, Default)]
pub(in crate::shard) struct Native {
    counted: bool,
    preface: bool,
    greeted: bool,
    /// Of the frame at the start of the inbox, if it is whole.
    extent: Option<Extent>,
    /// Requests of that frame that have been taken.
    taken: u32,
    /// Number and form of every pending reply.
    asked: VecDeque<(u64, Owed)>,
    batch: ReplyBatch,
    /// What is said last, once everything before it is answered.
    last_words: Vec<u8>,
    /// In the shard's list of connections with answers to write.
    listed: bool,
}

/// What a pending reply is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owed {
    /// The reply of an internal command.
    Answer(Form),
    /// A frame.
    Frame,
}

/// Why a connection is closed: the client's fault.
#[derive(Debug)]
struct Fault {
    reason: Reason,
    detail: String,
}

impl Fault {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<Malformed> for Fault {
    fn from(error: Malformed) -> Self {
        Self::new(Reason::Malformed, error.to_string())
    }
}

impl Native {
    /// Whether everything that is known has been written.
    pub(in crate::shard) fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.last_words.is_empty()
    }
}

/// How reading a connection ended for now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// More bytes, or answers, have to come first.
    Waits,
    /// Others get their turn first.
    Yields,
}

impl Shard {
    /// Takes what came in from a native client.
    pub(in crate::shard) fn run_native(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Stream { inbox, outbox, role: Role::Client(session), closing, .. } = stream else {
            return;
        };
        if let Some(native) = &mut session.native
            && !std::mem::replace(&mut native.counted, true)
        {
            self.counters.turned_native(inbox.len());
        }
        if *closing || !session.resumes() || outbox.unsent().len() > OUTPUT_BYTES_MAX {
            return;
        }
        session.active = self.now.moment;
        // Taken out for as long as requests point into it.
        let mut inbox = std::mem::take(inbox);
        let result = self.read_frames(key, &mut inbox);
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.inbox = inbox;
        self.slowlog.saw(key);
        match result {
            Ok(Stop::Waits) => {}
            Ok(Stop::Yields) => self.streams.mark_ready(key),
            Err(fault) => self.end_native(key, &fault),
        }
        // The other side may have ended, and is to be closed once all is read.
        self.streams.mark_dirty(key);
    }

    fn read_frames(&mut self, key: StreamKey, inbox: &mut Inbox) -> Result<Stop, Fault> {
        let mut room = TURN_REQUESTS;
        loop {
            let Some(native) = self.native(key) else { return Ok(Stop::Waits) };
            if !native.preface {
                let head = &inbox.unread()[..inbox.len().min(PREFACE.len())];
                if !PREFACE.starts_with(head) {
                    return Err(Fault::new(Reason::Malformed, "no preface of this protocol"));
                }
                if head.len() < PREFACE.len() {
                    return Ok(Stop::Waits);
                }
                native.preface = true;
                inbox.consume(PREFACE.len());
            }
            let Some(Extent { frame, behind }) = self.whole_frame(key, inbox)? else {
                return Ok(Stop::Waits);
            };
            let Some(native) = self.native(key) else { return Ok(Stop::Waits) };
            let first = native.taken;
            let (head, value) = inbox.unread()[..frame + behind].split_at(frame);
            let mut fault = None;
            let rest = kv::read_from(head, first, |item| {
                if room == 0 {
                    return false;
                }
                room -= 1;
                match self.take_native(key, &item, value) {
                    Ok(taken) => taken,
                    Err(error) => {
                        fault = Some(error);
                        false
                    }
                }
            })?;
            if let Some(fault) = fault {
                return Err(fault);
            }
            let Some(native) = self.native(key) else { return Ok(Stop::Waits) };
            if let Some(next) = rest {
                native.taken = next;
                return Ok(if room == 0 { Stop::Yields } else { Stop::Waits });
            }
            (native.taken, native.extent) = (0, None);
            inbox.consume(frame + behind);
        }
    }

    /// The extent of the frame at the start of the inbox, once it is there with the value behind
    /// it.
    fn whole_frame(&mut self, key: StreamKey, inbox: &mut Inbox) -> Result<Option<Extent>, Fault> {
        let value_max = self.limits.bulk_bytes_max;
        let Some(native) = self.native(key) else { return Ok(None) };
        if native.extent.is_none() {
            let most = value_max + KEY_BYTES_MAX + FRAME_BYTES_AIM;
            let max = if native.greeted { most.min(FRAME_BYTES_MAX) } else { HELLO_BYTES_MAX };
            native.extent = kv::extent(inbox.unread(), max)?;
        }
        let Some(extent) = native.extent else {
            if let Ok(Some(bytes)) = framing::frame_bytes(inbox.unread()) {
                inbox.expect(bytes);
            }
            return Ok(None);
        };
        if !native.greeted && extent.behind > 0 {
            // A stranger is not waited for: a hello has nothing behind it.
            return Err(Fault::new(Reason::Malformed, BEFORE_HELLO));
        }
        if extent.behind > value_max {
            let detail =
                format!("a value of {} bytes; at most {value_max} are taken", extent.behind);
            return Err(Fault::new(Reason::TooLarge, detail));
        }
        let bytes = extent.frame + extent.behind;
        if inbox.len() < bytes {
            inbox.expect(bytes);
            return Ok(None);
        }
        Ok(Some(extent))
    }

    /// Takes one thing said; false if it has to wait, and is read again.
    fn take_native(
        &mut self,
        key: StreamKey,
        item: &Item<'_>,
        value: &[u8],
    ) -> Result<bool, Fault> {
        let Some(native) = self.native(key) else { return Ok(false) };
        match item {
            Item::Hello(hello) if !native.greeted => self.greet_native(key, hello).map(|()| true),
            Item::Request(request) if native.greeted => Ok(self.take_request(key, request, value)),
            Item::Request(_) => Err(Fault::new(Reason::Malformed, BEFORE_HELLO)),
            Item::Hello(_) => Err(Fault::new(Reason::Malformed, "a second hello")),
            Item::Welcome(_) | Item::Refuse(_) | Item::Reply(_) => {
                Err(Fault::new(Reason::Malformed, "what only nodes say"))
            }
        }
    }

    fn greet_native(&mut self, key: StreamKey, hello: &Hello<'_>) -> Result<(), Fault> {
        let (oldest, newest) = hello.protocol;
        if oldest > PROTOCOL.1 || newest < PROTOCOL.0 {
            let detail = format!(
                "versions {} to {} of the protocol are spoken here, not {oldest} to {newest}",
                PROTOCOL.0, PROTOCOL.1
            );
            return Err(Fault::new(Reason::Malformed, detail));
        }
        if self.password.is_some() && !self.grants(b"default", hello.password) {
            return Err(Fault::new(Reason::Unauthorised, "another password is wanted here"));
        }
        if hello.name.len() > NAME_BYTES_MAX || !clients::is_name(hello.name.as_bytes()) {
            let detail =
                format!("a client's name has at most {NAME_BYTES_MAX} bytes, all visible ASCII");
            return Err(Fault::new(Reason::Malformed, detail));
        }
        let name = self.topology.node(self.me).map(|node| node.name.clone());
        let name = name.unwrap_or_else(|| self.me.to_string());
        let welcome = Welcome {
            protocol: newest.min(PROTOCOL.1),
            features: 0,
            cluster: self.cluster,
            node: &name,
            value_bytes_max: self.limits.bulk_bytes_max as u32,
        };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let Stream { outbox, role: Role::Client(session), .. } = stream else { return Ok(()) };
        session.authenticated = true;
        session.name = hello.name.as_bytes().to_vec();
        if let Some(native) = &mut session.native {
            native.greeted = true;
        }
        kv::write_welcome(&welcome, &mut outbox.bytes);
        Ok(())
    }

    /// Sends a request on its way; false if it has to wait.
    fn take_request(&mut self, key: StreamKey, request: &Request<'_>, value: &[u8]) -> bool {
        let crowded = self.requests.bytes() > REQUESTS_BYTES_MAX;
        let paused = self.client_pause;
        let Some(stream) = self.streams.get_mut(key) else { return false };
        let Stream { outbox, role: Role::Client(session), .. } = stream else { return false };
        let unsent = outbox.unsent().len();
        if session.pause != Pause::No || unsent > OUTPUT_BYTES_MAX {
            return false;
        }
        if paused.is_some_and(|paused| paused.holds_back_request(is_write(&request.op), session)) {
            return false;
        }
        if !session.has_room(unsent, crowded) {
            session.pause = Pause::UntilAtMost(session.pending.len() / 2);
            return false;
        }
        let taken = match request.op {
            Op::Scan(scan) => {
                session.calling = Some(NATIVE_SCAN);
                self.take_scan(key, request.id, &scan)
            }
            Op::Topology => {
                session.calling = Some(NATIVE_TOPOLOGY);
                let topology = self.topology.native(&self.routes);
                self.say_frame(key, request.id, Answer::Topology(topology));
                true
            }
            Op::Get(_) => self.take_keyed(key, request, value, Form::Entry),
            Op::Increment(_) | Op::Append(_) => self.take_keyed(key, request, value, Form::Number),
            Op::Set(_) | Op::Delete(_) | Op::Expire { .. } => {
                self.take_keyed(key, request, value, Form::Written)
            }
        };
        self.counters.commands += u64::from(taken);
        taken
    }

    fn take_keyed(
        &mut self,
        key: StreamKey,
        request: &Request<'_>,
        value: &[u8],
        form: Form,
    ) -> bool {
        if let Op::Set(set) = request.op
            && let Value::Here(here) = set.value
            && here.len() > self.limits.bulk_bytes_max
        {
            let max = self.limits.bulk_bytes_max;
            let Some(session) = self.streams.session(key) else { return false };
            session.calling = Some(number_of("n.set"));
            let detail = format!("a value of {} bytes; at most {max} are taken", here.len());
            let refusal = Refusal { reason: Reason::TooLarge, detail: &detail };
            self.say_frame(key, request.id, Answer::Refused(refusal));
            return true;
        }
        let mut body = Vec::new();
        let Some((name, write)) = write_command(request.key, &request.op, value, &mut body) else {
            return true;
        };
        let (slot, kind) = (slot_of(request.key), RequestKind::Sweep);
        let Some(session) = self.streams.session(key) else { return false };
        (session.last_command, session.calling) = (name, Some(number_of(name)));
        if session.pending.is_empty() && self.run_plain(key, request.id, form, slot, &body) {
            return true;
        }
        // The reply may come at once, and is to find its number.
        self.owe(key, request.id, Owed::Answer(form));
        let asked = self.ask_in_order(key, slot, (kind, write), Cow::Owned(body));
        if !asked && let Some(native) = self.native(key) {
            native.asked.pop_back();
        }
        asked
    }

    /// Executes a request before which nothing is waited for, if its slot is led here, alone.
    fn run_plain(&mut self, key: StreamKey, id: u64, form: Form, slot: Slot, body: &[u8]) -> bool {
        if self.shard_of(slot) != self.index {
            return false;
        }
        let place = self.place(slot);
        if self.seats[place].plain().is_none() {
            return false;
        }
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        let full = self.is_full();
        self.change(place, |keyspace| {
            let reply = &mut RespReply::new(&mut reply, false);
            serve::run(RequestKind::Sweep, body, full, keyspace, reply);
        });
        if let Some(stream) = self.streams.get_mut(key)
            && let Stream { outbox, role: Role::Client(session), .. } = stream
            && let Some(native) = &mut session.native
        {
            let number = session.calling.take().unwrap_or(OTHER);
            self.counters.calls.count(number, CallResult::of(&reply));
            let said = Reply { id, answer: answer(form, &reply) };
            native.batch.push(&said, &mut outbox.bytes);
            self.list_native(key);
        }
        reply.clear();
        reply.shrink_to(SCRATCH_BYTES_KEPT);
        self.scratch = reply;
        true
    }

    pub(super) fn owe(&mut self, key: StreamKey, id: u64, owed: Owed) {
        if let Some(native) = self.native(key) {
            native.asked.push_back((id, owed));
        }
    }

    /// Gives an answer that is known now, in its place.
    fn say_frame(&mut self, key: StreamKey, id: u64, answer: Answer<'_>) {
        let refused = matches!(answer, Answer::Refused(_));
        let result = if refused { CallResult::Error } else { CallResult::Ok };
        let number = self.streams.session(key).and_then(|session| session.calling.take());
        self.counters.calls.count(number.unwrap_or(OTHER), result);
        let mut frame = Vec::new();
        kv::write_reply(&Reply { id, answer }, &mut frame);
        self.owe(key, id, Owed::Frame);
        let ticket = self.expect_reply(key, State::Waiting, None);
        self.resolve(key, ticket, 0, &frame);
    }

    /// Takes leave of a native client, once all that it has asked so far is answered; false if this
    /// is none, or none that was greeted.
    pub(in crate::shard) fn dismiss_native(&mut self, key: StreamKey) -> bool {
        if !self.native(key).is_some_and(|native| native.greeted) {
            return false;
        }
        self.run_native(key);
        self.end_native(key, &Fault::new(Reason::Leaving, "this node is leaving"));
        true
    }

    /// Says why nothing more is taken, once everything before is answered, and hangs up.
    fn end_native(&mut self, key: StreamKey, fault: &Fault) {
        if let Some(native) = self.native(key) {
            let refusal = Refusal { reason: fault.reason, detail: &fault.detail };
            kv::write_refusal(&refusal, &mut native.last_words);
        }
        self.list_native(key);
        self.close_after_replies(key);
    }

    /// Gathers the replies that are next and known; they are written at the end of the turn.
    pub(in crate::shard) fn release_native(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Stream { outbox, role: Role::Client(session), .. } = stream else { return };
        let Some(mut native) = session.native.take() else { return };
        while let Some((bytes, _)) = session.pop_ready() {
            match native.asked.pop_front() {
                Some((id, Owed::Answer(form))) => {
                    let reply = Reply { id, answer: answer(form, &bytes) };
                    native.batch.push(&reply, &mut outbox.bytes);
                }
                Some((_, Owed::Frame)) => {
                    native.batch.write(&mut outbox.bytes);
                    outbox.bytes.extend_from_slice(&bytes);
                }
                None => debug_assert!(false, "a reply that nobody asked for"),
            }
        }
        session.native = Some(native);
        self.list_native(key);
    }

    fn list_native(&mut self, key: StreamKey) {
        if let Some(native) = self.native(key)
            && !std::mem::replace(&mut native.listed, true)
        {
            self.natives_to_write.push(key);
        }
    }

    /// Writes what the turn has gathered, one frame per connection.
    pub(in crate::shard) fn write_natives(&mut self) {
        for key in std::mem::take(&mut self.natives_to_write) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            let Stream { outbox, role: Role::Client(session), .. } = stream else { continue };
            let answered = session.pending.is_empty();
            let Some(native) = &mut session.native else { continue };
            native.listed = false;
            native.batch.write(&mut outbox.bytes);
            if answered {
                outbox.bytes.append(&mut native.last_words);
            }
            self.streams.mark_dirty(key);
        }
    }

    fn native(&mut self, key: StreamKey) -> Option<&mut Native> {
        self.streams.session(key)?.native.as_deref_mut()
    }
}

/// The number that calls of an internal command are counted by.
fn number_of(name: &str) -> u8 {
    command::find_internal(name.as_bytes()).map_or(OTHER, |found| found.number)
}

/// Whether a request may change keys.
fn is_write(op: &Op<'_>) -> bool {
    !matches!(op, Op::Get(_) | Op::Scan(_) | Op::Topology)
}
