use super::*;
use crate::limits::{FRAME_BYTES_AIM, FRAME_BYTES_MAX, INLINE_BYTES_MAX, VALUE_BYTES_MAX};
use proptest::prelude::*;

/// What was written, with texts of its own.
#[derive(Clone, Debug)]
struct Sent {
    id: u64,
    key: Vec<u8>,
    op: u8,
    text: Vec<u8>,
    meta: Vec<u8>,
    number: u64,
    condition: Condition,
    expiry: Expiry,
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Always),
        Just(Condition::Absent),
        Just(Condition::Present),
        any::<u64>().prop_map(Condition::Version),
    ]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Never),
        Just(Expiry::Keep),
        any::<u64>().prop_map(Expiry::InMs),
        any::<u64>().prop_map(Expiry::AtMs),
    ]
}

/// Mostly short, now and then longer than fits into a frame.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let long = INLINE_BYTES_MAX - 2..INLINE_BYTES_MAX + 200;
    prop_oneof![
        20 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (long, any::<u8>()).prop_map(|(bytes, byte)| vec![byte; bytes]),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let short = || prop::collection::vec(any::<u8>(), 0..20);
    (any::<u64>(), short(), 0..10_u8, text(), short(), any::<u64>(), condition(), expiry())
        .prop_map(|(id, key, op, text, meta, number, condition, expiry)| Sent {
            id,
            key,
            op,
            text,
            meta,
            number,
            condition,
            expiry,
        })
}

impl Sent {
    fn request(&self) -> Request<'_> {
        let Self { condition, expiry, number, .. } = *self;
        let op = match self.op {
            0 => Op::Get(GetKind::Whole),
            1 => Op::Get(GetKind::Head),
            2 => Op::Get(GetKind::UpTo(number as u32)),
            3 => Op::Delete(condition),
            4 => Op::Increment(number as i64),
            5 => Op::Append(&self.text),
            6 => Op::Expire { expiry, condition },
            7 => Op::Scan(Scan {
                cursor: number,
                count: number as u32,
                prefix: &self.meta,
                pattern: &self.key,
            }),
            8 => Op::Topology,
            _ => {
                let value = Value::Here(&self.text);
                Op::Set(Set { value, condition, expiry, meta: &self.meta })
            }
        };
        Request { id: self.id, key: &self.key, op }
    }

    fn reply(&self) -> Reply<'_> {
        let version = self.number;
        let answer = match self.op {
            0 => Answer::Absent,
            1 => Answer::Written { version, created: self.id.is_multiple_of(2) },
            2 => Answer::Number { value: !version as i64, version },
            3 => Answer::Unmet(version),
            4 => Answer::Page { cursor: version, keys: vec![&self.key, &self.meta, &self.text] },
            5 => Answer::Refused(Refusal { reason: Reason::Busy, detail: "too much" }),
            6 => Answer::Unknown("nobody knows"),
            7 => Answer::Topology(topology(version as u16 % 50)),
            _ => Answer::Entry(Entry {
                version,
                expires_at_ms: self.id,
                meta: &self.meta,
                value_bytes: self.text.len() as u32,
                value: (self.op == 8).then_some(Value::Here(&self.text)),
            }),
        };
        Reply { id: self.id, answer }
    }
}

fn topology(ranges: u16) -> Topology {
    let node = Node {
        name: "n".into(),
        client: "127.0.0.1:7379".into(),
        state: "alive".into(),
        zone: String::new(),
        weight: 100,
        shards: 2,
    };
    let leaders = (0..ranges).map(|i| Range { first: i * 9, last: i * 9 + 3, node: i % 2 });
    Topology { nodes: vec![node.clone(), node], leaders: leaders.collect() }
}

/// Takes a stream apart, each value that is behind put back into its place.
fn each(mut stream: &[u8], mut take: impl FnMut(Item<'_>)) -> usize {
    let mut frames = 0;
    while !stream.is_empty() {
        let Extent { frame, behind } = extent(stream, FRAME_BYTES_MAX).unwrap().unwrap();
        let (head, rest) = stream.split_at(frame);
        let (raw, rest) = rest.split_at(behind);
        read(head, |item| take(if behind > 0 { put_back(item, raw) } else { item })).unwrap();
        (stream, frames) = (rest, frames + 1);
    }
    frames
}

fn put_back<'a>(item: Item<'a>, raw: &'a [u8]) -> Item<'a> {
    let behind = Value::Behind(raw.len() as u32);
    match item {
        Item::Request(Request { id, key, op: Op::Set(set) }) => {
            assert_eq!(set.value, behind);
            Item::Request(Request { id, key, op: Op::Set(Set { value: Value::Here(raw), ..set }) })
        }
        Item::Reply(Reply { id, answer: Answer::Entry(entry) }) => {
            assert_eq!(entry.value, Some(behind));
            let value = Some(Value::Here(raw));
            Item::Reply(Reply { id, answer: Answer::Entry(Entry { value, ..entry }) })
        }
        item => panic!("{item:?} has no value"),
    }
}

fn request_stream(all: &[Sent]) -> Vec<u8> {
    let (mut batch, mut stream) = (RequestBatch::default(), Vec::new());
    for sent in all {
        batch.push(&sent.request(), &mut stream);
    }
    batch.write(&mut stream);
    assert!(batch.is_empty());
    stream
}

fn reply_stream(all: &[Sent]) -> Vec<u8> {
    let (mut batch, mut stream) = (ReplyBatch::default(), Vec::new());
    for sent in all {
        batch.push(&sent.reply(), &mut stream);
    }
    batch.write(&mut stream);
    assert!(batch.is_empty());
    stream
}

proptest! {
    #[test]
    fn requests_arrive_as_they_were_pushed(all in prop::collection::vec(sent(), 0..30)) {
        let stream = request_stream(&all);
        let mut expected = all.iter();
        each(&stream, |item| {
            assert_eq!(item, Item::Request(expected.next().unwrap().request()));
        });
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn replies_arrive_as_they_were_pushed(all in prop::collection::vec(sent(), 0..30)) {
        let stream = reply_stream(&all);
        let mut expected = all.iter();
        each(&stream, |item| {
            assert_eq!(item, Item::Reply(expected.next().unwrap().reply()));
        });
        prop_assert!(expected.next().is_none());
    }

    #[test]
    fn a_frame_read_in_parts_gives_every_item_once(
        all in prop::collection::vec(sent(), 1..30), step in 1..5_usize,
    ) {
        let mut all = all;
        all.retain(|sent| sent.text.len() < 100);
        let stream = request_stream(&all);
        let (mut rest, mut ids) = (&stream[..], Vec::new());
        while let Some(Extent { frame, .. }) = extent(rest, FRAME_BYTES_MAX).unwrap() {
            let mut first = Some(0);
            while let Some(at) = first {
                let mut room = step;
                first = read_from(&rest[..frame], at, |item| {
                    let Item::Request(request) = item else { panic!("a request") };
                    let taken = room > 0;
                    if taken {
                        room -= 1;
                        ids.push(request.id);
                    }
                    taken
                }).unwrap();
            }
            rest = &rest[frame..];
        }
        prop_assert_eq!(ids, all.iter().map(|sent| sent.id).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survey(&bytes);
    }

    #[test]
    fn flipped_and_cut_frames_are_read_or_refused(
        all in prop::collection::vec(sent(), 1..6), replies: bool,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut: prop::sample::Index,
    ) {
        let mut all = all;
        for sent in &mut all {
            sent.text.truncate(50);
        }
        let mut stream = if replies { reply_stream(&all) } else { request_stream(&all) };
        for (at, byte) in flips {
            let at = at.index(stream.len());
            stream[at] ^= byte;
        }
        survey(&stream);
        survey(&stream[..cut.index(stream.len())]);
        // Whatever the head says, as one who trusts it less would read it.
        drop(read(&stream, |_| ()));
    }
}

fn survey(stream: &[u8]) {
    if let Ok(Some(extent)) = extent(stream, FRAME_BYTES_MAX) {
        assert!(extent.frame <= stream.len() && extent.behind <= VALUE_BYTES_MAX);
        drop(read(&stream[..extent.frame], |_| ()));
    }
}

#[test]
fn hello_welcome_and_refusal_arrive() {
    let hello = Hello { protocol: PROTOCOL, features: 5, password: b"secret", name: "me" };
    let welcome = Welcome {
        protocol: 1,
        features: 0,
        cluster: ClusterId(7 << 64 | 9),
        node: "n1",
        value_bytes_max: 1 << 20,
    };
    let refusal = Refusal { reason: Reason::Unauthorised, detail: "no" };
    let mut stream = Vec::new();
    write_hello(&hello, &mut stream);
    write_welcome(&welcome, &mut stream);
    write_refusal(&refusal, &mut stream);
    let expected = [Item::Hello(hello), Item::Welcome(welcome), Item::Refuse(refusal)];
    let mut expected = expected.iter();
    assert_eq!(each(&stream, |item| assert_eq!(&item, expected.next().unwrap())), 3);
}

#[test]
fn a_large_turn_is_cut_into_frames() {
    let (mut batch, mut stream) = (RequestBatch::default(), Vec::new());
    let value = vec![b'x'; FRAME_BYTES_AIM / 5];
    for id in 0..100 {
        let set = Set {
            value: Value::Here(&value),
            condition: Condition::Always,
            expiry: Expiry::Never,
            meta: b"",
        };
        batch.push(&Request { id, key: b"k", op: Op::Set(set) }, &mut stream);
        assert!(batch.len() < 6);
    }
    batch.write(&mut stream);
    let mut ids = Vec::new();
    let frames = each(&stream, |item| {
        let Item::Request(request) = item else { panic!("a request") };
        ids.push(request.id);
    });
    assert!((20..35).contains(&frames), "{frames} frames");
    assert!(ids.into_iter().eq(0..100));
}

#[test]
fn small_requests_of_one_turn_share_a_frame() {
    let get = |id| Request { id, key: b"k", op: Op::Get(GetKind::Whole) };
    let (mut batch, mut stream) = (RequestBatch::default(), Vec::new());
    for id in 0..1000 {
        batch.push(&get(id), &mut stream);
    }
    batch.write(&mut stream);
    assert_eq!(each(&stream, |_| ()), 1);
    assert!(stream.len() < 100_000, "{} bytes", stream.len());
}

#[test]
fn a_value_may_be_left_to_the_caller() {
    let set = Set {
        value: Value::Behind(5_000_000),
        condition: Condition::Absent,
        expiry: Expiry::Never,
        meta: b"text/plain",
    };
    let mut stream = Vec::new();
    write_request(&Request { id: 1, key: b"k", op: Op::Set(set) }, &mut stream);
    let found = extent(&stream, FRAME_BYTES_MAX).unwrap().unwrap();
    assert_eq!(found, Extent { frame: stream.len(), behind: 5_000_000 });
    read(&stream, |item| {
        assert_eq!(item, Item::Request(Request { id: 1, key: b"k", op: Op::Set(set) }));
    })
    .unwrap();
}

/// A frame whose list claims many requests of no bytes would cost much for little.
#[test]
fn a_list_that_is_larger_than_its_frame_is_refused() {
    // One segment of two words: a struct of one pointer and a tag for `requests`, then a list of
    // half a million structs without content.
    let mut frame = vec![0; 8];
    frame[4] = 4;
    let words: [u64; 4] = [
        // The root: 1 word of data, 1 pointer.
        1 << 32 | 1 << 48,
        // The union says `requests`.
        3,
        // A list of composites, no words in all.
        1 | 7 << 32,
        // Its tag: 500,000 elements of no size.
        500_000 << 2,
    ];
    for word in words {
        frame.extend(word.to_le_bytes());
    }
    assert!(read(&frame, |_| panic!("nothing is there")).is_err());
    assert!(matches!(extent(&frame, 8), Err(Malformed::FrameTooLong { bytes: 40, max: 8 })));
}

#[test]
fn a_value_behind_among_others_is_malformed() {
    use crate::kv_capnp as wire;
    let mut message = capnp::message::Builder::new_default();
    let frame = message.init_root::<wire::frame::Builder<'_>>();
    let mut list = frame.init_requests(2);
    list.reborrow().get(0).init_set().set_value_behind(70_000);
    let mut stream = Vec::new();
    crate::framing::append(&message, &mut stream);
    assert!(matches!(read(&stream, |_| ()), Err(Malformed::NotAlone)));
}

#[test]
fn what_is_too_long_is_malformed_by_name() {
    let (long, mut stream) = (vec![b'k'; 70 << 10], Vec::new());
    write_request(&Request { id: 1, key: &long, op: Op::Topology }, &mut stream);
    let error = read(&stream, |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "a key of 71680 bytes; at most 65536 are taken");
    let mut stream = Vec::new();
    let entry = Entry {
        version: 1,
        expires_at_ms: 0,
        meta: b"",
        value_bytes: u32::MAX,
        value: Some(Value::Behind(u32::MAX)),
    };
    write_reply(&Reply { id: 1, answer: Answer::Entry(entry) }, &mut stream);
    assert!(matches!(extent(&stream, 1 << 20), Err(Malformed::TooLong { what: "a value", .. })));
}

#[test]
fn leaders_out_of_order_are_malformed() {
    let mut known = topology(2);
    known.leaders.swap(0, 1);
    let mut stream = Vec::new();
    write_reply(&Reply { id: 1, answer: Answer::Topology(known) }, &mut stream);
    assert!(matches!(read(&stream, |_| ()), Err(Malformed::Leaders { first: 0, .. })));
}
