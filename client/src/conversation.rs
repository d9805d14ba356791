//! One connection to a node, without the connection: bytes in, bytes out.

use std::collections::VecDeque;

use piccolo_schema::ids::ClusterId;
use piccolo_schema::kv::{
    self, Answer, Entry, Hello, Item, Malformed, Op, PREFACE, PROTOCOL, Reason, Reply, Request,
    RequestBatch, Set, Value,
};
use piccolo_schema::limits::{
    FRAME_BYTES_MAX, HELLO_BYTES_MAX, KEY_BYTES_MAX, META_BYTES_MAX, VALUE_BYTES_MAX,
};

/// Requests that may wait for their answers at once. A node keeps as many of one connection.
pub const UNANSWERED_MAX: usize = 4096;

/// Bytes of requests that may wait for their answers at once, unless a single one is longer. A
/// node keeps as many of one connection.
pub const UNANSWERED_BYTES_MAX: usize = 16 << 20;

/// Bytes of an emptied buffer that stay allocated.
const BUFFER_BYTES_KEPT: usize = 64 << 10;

/// How a conversation begins and how it hands over values.
#[derive(Clone, Default)]
pub struct Greeting {
    /// Of the cluster; empty for none. At most 1 KiB.
    pub password: Vec<u8>,
    /// For people who look at a node's list of clients: visible ASCII, at most 64 bytes.
    pub name: String,
    /// Values above 64 KiB come as [`Event::Piece`]s instead of whole: who passes them on need not
    /// hold them.
    pub pieces: bool,
}

/// A password is not for logs.
impl std::fmt::Debug for Greeting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { password: _, name, pieces } = self;
        f.debug_struct("Greeting")
            .field("name", name)
            .field("pieces", pieces)
            .finish_non_exhaustive()
    }
}

/// What a node has said about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its name.
    pub node: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Bytes of a value at most.
    pub value_bytes_max: usize,
}

/// Something that came from the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// The node takes requests. Comes once, before any answer.
    Welcome,
    /// What became of the oldest unanswered request. With [`Greeting::pieces`] the value of a long
    /// entry is [`Value::Behind`], and pieces follow.
    Answer {
        /// The number that [`Conversation::ask`] gave it.
        id: u64,
        /// What became of it.
        answer: Answer<'a>,
    },
    /// A part of the value of the entry before.
    Piece {
        /// The number of its request.
        id: u64,
        /// The bytes, in order.
        bytes: &'a [u8],
        /// Nothing is missing any more.
        last: bool,
    },
}

/// Why a request cannot be sent on this connection, now or ever. Nothing was sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unasked {
    /// Ask again once something is answered.
    #[error("{requests} requests of {bytes} bytes wait for their answers")]
    Full {
        /// Requests out.
        requests: usize,
        /// Bytes of them.
        bytes: usize,
    },
    /// The caller still owes the bytes of the value before.
    #[error("{bytes} bytes of the value before are not sent yet")]
    Owing {
        /// So many.
        bytes: u64,
    },
    /// The caller's fault.
    #[error("{what} of {bytes} bytes; at most {max} are taken")]
    TooLong {
        /// What.
        what: &'static str,
        /// As given.
        bytes: usize,
        /// As allowed.
        max: usize,
    },
}

/// Why a conversation cannot go on. Close the connection, and ask [`Conversation::lost`].
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The node does not want us.
    #[error("refused: {detail}")]
    Refused {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
    },
    /// The node's fault: bytes that are no frame.
    #[error("the node sent {0}")]
    Malformed(#[from] Malformed),
    /// The node's fault: a frame that does not belong here.
    #[error("the node sent {0}")]
    OutOfPlace(&'static str),
}

/// One connection to a node, without the connection: what is asked becomes bytes to send, bytes
/// that come become answers, in the order asked. Does no I/O.
///
/// ```
/// use piccolo_client::{Conversation, Greeting};
/// use piccolo_schema::kv::{GetKind, Op};
///
/// let mut conversation = Conversation::new(Greeting::default());
/// let id = conversation.ask(b"key", Op::Get(GetKind::Whole)).unwrap();
/// // The preface, the hello and the request: write them to a socket, tell how many went.
/// let bytes = conversation.output().len();
/// conversation.sent(bytes);
/// assert_eq!(conversation.unanswered(), 1);
/// // What comes back goes into `conversation.received(bytes, |event| ...)`.
/// assert_eq!(id, 1);
/// ```
#[derive(Debug)]
pub struct Conversation {
    pieces: bool,
    host: Option<Host>,
    batch: RequestBatch,
    outbox: Vec<u8>,
    /// Bytes of the outbox that are sent.
    outbox_sent: usize,
    /// Bytes taken out of the outbox in all, by sending.
    sent_total: u64,
    /// Bytes of a value that the caller sends itself.
    owing: u64,
    inbox: Vec<u8>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    last_id: u64,
    /// Whose value is coming, and how many bytes of it are missing.
    incoming: Option<(u64, usize)>,
    /// The node has said that it takes nothing more.
    refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: u64,
    bytes: usize,
    /// None of its bytes is among the first so many sent.
    behind: u64,
}

impl Conversation {
    /// Begins with the greeting in the output. Requests may be asked at once.
    pub fn new(greeting: Greeting) -> Self {
        let Greeting { mut password, mut name, pieces } = greeting;
        password.truncate(HELLO_BYTES_MAX / 4);
        name.retain(|c| c.is_ascii_graphic());
        name.truncate(64);
        let mut outbox = PREFACE.to_vec();
        let hello = Hello { protocol: PROTOCOL, features: 0, password: &password, name: &name };
        kv::write_hello(&hello, &mut outbox);
        Self {
            pieces,
            host: None,
            batch: RequestBatch::default(),
            outbox,
            outbox_sent: 0,
            sent_total: 0,
            owing: 0,
            inbox: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            last_id: 0,
            incoming: None,
            refused: false,
        }
    }

    /// What the node has said about itself, once it has.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Requests that wait for their answers.
    pub fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a request of about `bytes` (key and value) may be asked now.
    pub fn has_room(&self, bytes: usize) -> bool {
        let few = self.waiting.len() < UNANSWERED_MAX;
        let small = self.waiting_bytes + bytes <= UNANSWERED_BYTES_MAX;
        self.owing == 0 && (self.waiting.is_empty() || (few && small))
    }

    /// Asks something. The number that comes back with the answer rises by one each time, from 1.
    ///
    /// With [`Value::Behind`] the caller sends the value itself: right behind everything that
    /// [`Self::output`] gives next, telling [`Self::value_sent`], and before it asks anything more.
    ///
    /// # Errors
    ///
    /// Nothing was asked, and why.
    pub fn ask(&mut self, key: &[u8], op: Op<'_>) -> Result<u64, Unasked> {
        let bytes = key.len() + self.check(key, &op)?;
        if self.owing > 0 {
            return Err(Unasked::Owing { bytes: self.owing });
        }
        if !self.has_room(bytes) {
            let (requests, bytes) = (self.waiting.len(), self.waiting_bytes);
            return Err(Unasked::Full { requests, bytes });
        }
        let id = self.last_id + 1;
        let request = Request { id, key, op };
        let behind = self.sent_total + (self.outbox.len() - self.outbox_sent) as u64;
        if let Op::Set(Set { value: Value::Behind(bytes), .. }) = op {
            self.batch.write(&mut self.outbox);
            kv::write_request(&request, &mut self.outbox);
            self.owing = u64::from(bytes);
        } else {
            self.batch.push(&request, &mut self.outbox);
        }
        self.last_id = id;
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting { id, bytes, behind });
        Ok(id)
    }

    /// Bytes of the texts of a request, if it may be sent at all.
    fn check(&self, key: &[u8], op: &Op<'_>) -> Result<usize, Unasked> {
        let value_max = self.host.as_ref().map_or(VALUE_BYTES_MAX, |host| host.value_bytes_max);
        within("a key", key.len(), KEY_BYTES_MAX)?;
        match op {
            Op::Set(set) => {
                within("metadata", set.meta.len(), META_BYTES_MAX)?;
                within("a value", set.value.bytes(), value_max)?;
                Ok(set.value.bytes() + set.meta.len())
            }
            Op::Append(value) => {
                within("a value", value.len(), value_max)?;
                Ok(value.len())
            }
            Op::Scan(scan) => {
                within("a prefix", scan.prefix.len(), KEY_BYTES_MAX)?;
                within("a pattern", scan.pattern.len(), KEY_BYTES_MAX)?;
                Ok(scan.prefix.len() + scan.pattern.len())
            }
            _ => Ok(0),
        }
    }

    /// Bytes to send now. What was asked since the last call becomes one frame, so ask everything
    /// that there is to ask before.
    pub fn output(&mut self) -> &[u8] {
        self.batch.write(&mut self.outbox);
        &self.outbox[self.outbox_sent..]
    }

    /// So many bytes of the output are sent.
    pub fn sent(&mut self, bytes: usize) {
        self.outbox_sent += bytes;
        self.sent_total += bytes as u64;
        assert!(self.outbox_sent <= self.outbox.len(), "more is sent than there was");
        if self.outbox_sent == self.outbox.len() {
            self.outbox_sent = 0;
            self.outbox.clear();
            self.outbox.shrink_to(BUFFER_BYTES_KEPT);
        }
    }

    /// Bytes of a value that the caller has to send itself, once the output is sent.
    pub fn value_owing(&self) -> u64 {
        self.owing
    }

    /// So many bytes of that value are sent.
    pub fn value_sent(&mut self, bytes: u64) {
        assert!(bytes <= self.owing, "more is sent than was announced");
        self.owing -= bytes;
        self.sent_total += bytes;
    }

    /// Takes in bytes that came and hands what they make whole to `take`, in order.
    ///
    /// # Errors
    ///
    /// The conversation is over.
    pub fn received(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        if self.inbox.is_empty() {
            // Most of what comes is whole: it is read where it lies.
            let used = self.consume(bytes, &mut take)?;
            bytes = &bytes[used..];
            self.inbox.extend_from_slice(bytes);
            return Ok(());
        }
        self.inbox.extend_from_slice(bytes);
        let mut inbox = std::mem::take(&mut self.inbox);
        let used = self.consume(&inbox, &mut take)?;
        inbox.drain(..used);
        if inbox.is_empty() {
            inbox.shrink_to(BUFFER_BYTES_KEPT);
        }
        self.inbox = inbox;
        Ok(())
    }

    /// Requests that got no answer, with whether the node may have executed them: those of which
    /// nothing was sent it has not, and a node that hangs up with a word of its own has answered
    /// before that all that it took. For when the connection is gone.
    pub fn lost(&self) -> impl Iterator<Item = (u64, bool)> + '_ {
        let executed = |waiting: &Waiting| !self.refused && self.sent_total > waiting.behind;
        self.waiting.iter().map(move |waiting| (waiting.id, executed(waiting)))
    }

    /// Reads what is whole at the start of `stream` and returns how much that was.
    fn consume(
        &mut self,
        stream: &[u8],
        take: &mut impl FnMut(Event<'_>),
    ) -> Result<usize, Broken> {
        let mut at = 0;
        loop {
            let rest = &stream[at..];
            if let Some((id, missing)) = self.incoming {
                let piece = &rest[..missing.min(rest.len())];
                let last = piece.len() == missing;
                if !piece.is_empty() {
                    take(Event::Piece { id, bytes: piece, last });
                }
                self.incoming = (!last).then_some((id, missing - piece.len()));
                at += piece.len();
                if !last {
                    return Ok(at);
                }
                continue;
            }
            if self.host.is_none() && rest.first() == Some(&b'-') {
                return self.refused_in_resp(rest).map(|()| at);
            }
            let max = if self.host.is_some() { FRAME_BYTES_MAX } else { HELLO_BYTES_MAX };
            let Some(extent) = kv::extent(rest, max)? else { return Ok(at) };
            let (frame, behind) = rest.split_at(extent.frame);
            if extent.behind == 0 || self.pieces {
                self.read_frame(frame, None, take)?;
                at += extent.frame;
            } else if let Some(value) = behind.get(..extent.behind) {
                self.read_frame(frame, Some(value), take)?;
                at += extent.frame + extent.behind;
            } else {
                return Ok(at);
            }
        }
    }

    /// A node that does not take a connection in says so before it knows who comes, in RESP.
    fn refused_in_resp(&mut self, text: &[u8]) -> Result<(), Broken> {
        let end = text.iter().position(|byte| *byte == b'\r' || *byte == b'\n');
        if end.is_none() && text.len() < HELLO_BYTES_MAX {
            return Ok(());
        }
        let line = &text[1..end.unwrap_or(text.len()).max(1)];
        let detail = String::from_utf8_lossy(line.strip_prefix(b"ERR ").unwrap_or(line));
        let reason = match &*detail {
            "this node is leaving" => Reason::Leaving,
            "max number of clients reached" => Reason::Busy,
            _ => Reason::Malformed,
        };
        self.refused = true;
        Err(Broken::Refused { reason, detail: detail.into_owned() })
    }

    fn read_frame(
        &mut self,
        frame: &[u8],
        value: Option<&[u8]>,
        take: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        let mut result = Ok(());
        kv::read(frame, |item| {
            if result.is_ok() {
                result = self.take_item(item, value, take);
            }
        })?;
        result
    }

    fn take_item(
        &mut self,
        item: Item<'_>,
        value: Option<&[u8]>,
        take: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        match item {
            Item::Refuse(refusal) => {
                let (reason, detail) = (refusal.reason, refusal.detail.to_owned());
                self.refused = true;
                Err(Broken::Refused { reason, detail })
            }
            Item::Welcome(welcome) if self.host.is_none() => {
                if !(PROTOCOL.0..=PROTOCOL.1).contains(&welcome.protocol) {
                    return Err(Broken::OutOfPlace("a version of the protocol nobody asked for"));
                }
                self.host = Some(Host {
                    node: welcome.node.to_owned(),
                    cluster: welcome.cluster,
                    value_bytes_max: (welcome.value_bytes_max as usize).min(VALUE_BYTES_MAX),
                });
                take(Event::Welcome);
                Ok(())
            }
            Item::Reply(reply) if self.host.is_some() => self.take_reply(reply, value, take),
            Item::Welcome(_) => Err(Broken::OutOfPlace("a second welcome")),
            Item::Reply(_) => Err(Broken::OutOfPlace("an answer before its welcome")),
            Item::Hello(_) | Item::Request(_) => Err(Broken::OutOfPlace("what only clients say")),
        }
    }

    fn take_reply(
        &mut self,
        reply: Reply<'_>,
        value: Option<&[u8]>,
        take: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        let Reply { id, answer } = reply;
        match self.waiting.pop_front() {
            Some(waiting) if waiting.id == id => self.waiting_bytes -= waiting.bytes,
            Some(waiting) => {
                self.waiting.push_front(waiting);
                return Err(Broken::OutOfPlace("an answer out of order"));
            }
            None => return Err(Broken::OutOfPlace("an answer to nothing")),
        }
        if let Answer::Entry(entry) = &answer
            && let Some(Value::Behind(bytes)) = entry.value
        {
            let Some(value) = value else {
                self.incoming = Some((id, bytes as usize));
                take(Event::Answer { id, answer });
                return Ok(());
            };
            let answer = Answer::Entry(Entry { value: Some(Value::Here(value)), ..*entry });
            take(Event::Answer { id, answer });
            return Ok(());
        }
        take(Event::Answer { id, answer });
        Ok(())
    }
}

fn within(what: &'static str, bytes: usize, max: usize) -> Result<(), Unasked> {
    if bytes > max { Err(Unasked::TooLong { what, bytes, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use piccolo_schema::kv::{Condition, Expiry, GetKind, Refusal, Welcome};
    use proptest::prelude::*;

    fn welcome() -> Vec<u8> {
        let mut stream = Vec::new();
        let cluster = ClusterId(5);
        let welcome =
            Welcome { protocol: 1, features: 0, cluster, node: "a", value_bytes_max: 1 << 20 };
        kv::write_welcome(&welcome, &mut stream);
        stream
    }

    fn entry(id: u64, value: &[u8]) -> Reply<'_> {
        let value_bytes = value.len() as u32;
        let value = Some(Value::Here(value));
        let entry = Entry { version: 1, expires_at_ms: 0, meta: b"", value_bytes, value };
        Reply { id, answer: Answer::Entry(entry) }
    }

    fn opened(pieces: bool) -> Conversation {
        let mut conversation = Conversation::new(Greeting { pieces, ..Greeting::default() });
        let mut events = 0;
        conversation.received(&welcome(), |_| events += 1).unwrap();
        assert_eq!(events, 1);
        conversation
    }

    proptest! {
        /// However the stream is cut, whole values and pieces alike.
        #[test]
        fn answers_come_in_order_however_the_stream_is_cut(
            lengths in prop::collection::vec(prop_oneof![0..50_usize, 65_000..70_000_usize], 1..12),
            cuts in prop::collection::vec(1..40_000_usize, 1..30), pieces: bool,
        ) {
            let mut conversation = opened(pieces);
            let mut stream = Vec::new();
            let value = vec![b'v'; 70_000];
            for length in &lengths {
                let id = conversation.ask(b"k", Op::Get(GetKind::Whole)).unwrap();
                kv::write_reply(&entry(id, &value[..*length]), &mut stream);
            }
            let mut got: Vec<(u64, usize)> = Vec::new();
            let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                rest = later;
                conversation.received(now, |event| match event {
                    Event::Answer { id, answer: Answer::Entry(entry) } => {
                        got.push((id, match entry.value {
                            Some(Value::Here(bytes)) => bytes.len(),
                            _ => 0,
                        }));
                    }
                    Event::Piece { id, bytes, .. } => {
                        assert!(pieces && got.last().unwrap().0 == id);
                        got.last_mut().unwrap().1 += bytes.len();
                    }
                    other => panic!("{other:?}"),
                }).unwrap();
            }
            let expected: Vec<_> = (1..).zip(lengths).collect();
            prop_assert_eq!(got, expected);
            prop_assert_eq!(conversation.unanswered(), 0);
        }

        #[test]
        fn any_bytes_break_it_at_most(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(Conversation::new(Greeting::default()).received(&bytes, |_| ()));
            drop(opened(true).received(&bytes, |_| ()));
        }
    }

    #[test]
    fn requests_are_bounded_in_number_and_bytes() {
        let mut conversation = opened(false);
        for _ in 0..UNANSWERED_MAX {
            conversation.ask(b"k", Op::Increment(1)).unwrap();
        }
        let full = conversation.ask(b"k", Op::Increment(1)).unwrap_err();
        assert!(matches!(full, Unasked::Full { requests: UNANSWERED_MAX, .. }));
        let mut conversation = opened(false);
        let value = vec![0; (1 << 20) - 1];
        while conversation.has_room(value.len()) {
            conversation.ask(b"k", Op::Append(&value)).unwrap();
        }
        assert_eq!(conversation.unanswered(), 16);
        let long = vec![0; (1 << 20) + 1];
        let error = conversation.ask(b"k", Op::Append(&long)).unwrap_err();
        assert_eq!(error.to_string(), "a value of 1048577 bytes; at most 1048576 are taken");
    }

    #[test]
    fn what_was_not_sent_is_known_not_to_be_executed() {
        let mut conversation = opened(false);
        conversation.ask(b"first", Op::Increment(1)).unwrap();
        let bytes = conversation.output().len();
        conversation.sent(bytes - 1);
        conversation.ask(b"second", Op::Increment(1)).unwrap();
        assert_eq!(conversation.lost().collect::<Vec<_>>(), [(1, true), (2, false)]);
        conversation.sent(1);
        assert_eq!(conversation.lost().collect::<Vec<_>>(), [(1, true), (2, false)]);
        assert!(!conversation.output().is_empty());
        conversation.sent(1);
        assert_eq!(conversation.lost().collect::<Vec<_>>(), [(1, true), (2, true)]);
    }

    #[test]
    fn what_stands_behind_the_last_word_of_a_node_is_known_not_to_be_executed() {
        let mut conversation = opened(false);
        for key in [b"first", b"later"] {
            conversation.ask(key, Op::Increment(1)).unwrap();
        }
        let bytes = conversation.output().len();
        conversation.sent(bytes);
        let mut stream = Vec::new();
        let answer = Answer::Written { version: 1, created: true };
        kv::write_reply(&Reply { id: 1, answer }, &mut stream);
        kv::write_refusal(&Refusal { reason: Reason::Leaving, detail: "bye" }, &mut stream);
        assert!(matches!(conversation.received(&stream, |_| ()), Err(Broken::Refused { .. })));
        assert_eq!(conversation.lost().collect::<Vec<_>>(), [(2, false)]);
    }

    #[test]
    fn a_refusal_in_resp_instead_of_a_greeting_is_understood_however_it_is_cut() {
        for (line, wanted, text) in [
            ("-ERR this node is leaving\r\n", Reason::Leaving, "this node is leaving"),
            (
                "-ERR max number of clients reached\r\n",
                Reason::Busy,
                "max number of clients reached",
            ),
            ("-NOAUTH first\r\n", Reason::Malformed, "NOAUTH first"),
        ] {
            for cut in 0..line.len() - 1 {
                let mut conversation = Conversation::new(Greeting::default());
                let (head, rest) = line.as_bytes().split_at(cut);
                conversation.received(head, |_| ()).unwrap();
                let error = conversation.received(rest, |_| ()).unwrap_err();
                let Broken::Refused { reason, detail } = error else { panic!("{error}") };
                assert_eq!((reason, &*detail), (wanted, text), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_value_left_to_the_caller_holds_up_what_follows_it() {
        let mut conversation = opened(false);
        let value = Value::Behind(100_000);
        let (condition, expiry) = (Condition::Always, Expiry::Never);
        let set = Op::Set(Set { value, condition, expiry, meta: b"" });
        conversation.ask(b"k", set).unwrap();
        assert_eq!(conversation.ask(b"k", Op::Topology), Err(Unasked::Owing { bytes: 100_000 }));
        let bytes = conversation.output().len();
        conversation.sent(bytes);
        conversation.value_sent(100_000);
        assert_eq!(conversation.ask(b"k", Op::Topology), Ok(2));
    }

    #[test]
    fn answers_out_of_place_break_the_conversation() {
        let mut stream = Vec::new();
        kv::write_reply(&entry(1, b"v"), &mut stream);
        let mut stranger = Conversation::new(Greeting::default());
        assert!(matches!(stranger.received(&stream, |_| ()), Err(Broken::OutOfPlace(_))));
        assert!(matches!(opened(false).received(&stream, |_| ()), Err(Broken::OutOfPlace(_))));
        let mut conversation = opened(false);
        conversation.ask(b"k", Op::Get(GetKind::Whole)).unwrap();
        conversation.received(&stream, |_| ()).unwrap();
        assert!(matches!(conversation.received(&welcome(), |_| ()), Err(Broken::OutOfPlace(_))));
    }
}
