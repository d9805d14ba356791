//! The blocking client against nodes that misbehave in ways that real ones seldom do.

#![expect(clippy::unwrap_used, reason = "this is a test all through, its helpers included")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use piccolo_client::kv::{
    self, Answer, Entry, Item, Node, Op, PREFACE, Range, Reason, Refusal, Reply, Topology, Value,
    Welcome,
};
use piccolo_client::{Call, Client, Error, Options, Outcome, SetHow};
use piccolo_schema::ids::ClusterId;

/// What a node does with a request: an answer, or nothing and the end of the connection.
type Act = fn(&Op<'_>) -> Option<Answer<'static>>;

/// A node whose connections each act as the next of `acts` says, the last one for ever.
fn node(acts: Vec<Act>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut acts = acts.into_iter();
        let mut act = acts.next().unwrap();
        for stream in listener.incoming() {
            let now = act;
            act = acts.next().unwrap_or(act);
            thread::spawn(move || converse(stream.unwrap(), now));
        }
    });
    address
}

fn converse(mut stream: TcpStream, act: Act) {
    let mut inbox = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut greeted = false;
    loop {
        let Ok(bytes @ 1..) = stream.read(&mut buffer) else { return };
        inbox.extend_from_slice(&buffer[..bytes]);
        if !greeted && inbox.len() >= PREFACE.len() {
            assert_eq!(inbox.drain(..PREFACE.len()).as_slice(), PREFACE);
            greeted = true;
        }
        let mut out = Vec::new();
        let mut over = false;
        while let Some(extent) = kv::extent(&inbox, 1 << 20).unwrap() {
            if inbox.len() < extent.frame + extent.behind {
                break;
            }
            kv::read(&inbox[..extent.frame], |item| match item {
                Item::Hello(_) => kv::write_welcome(&welcome(), &mut out),
                Item::Request(request) => match act(&request.op) {
                    Some(answer) if !over => {
                        kv::write_reply(&Reply { id: request.id, answer }, &mut out);
                    }
                    _ => over = true,
                },
                other => panic!("{other:?}"),
            })
            .unwrap();
            inbox.drain(..extent.frame + extent.behind);
        }
        if stream.write_all(&out).is_err() || over {
            return;
        }
    }
}

fn welcome() -> Welcome<'static> {
    let cluster = ClusterId(1);
    Welcome { protocol: 1, features: 0, cluster, node: "n", value_bytes_max: 1 << 20 }
}

fn entry(value: &'static [u8]) -> Answer<'static> {
    let value_bytes = value.len() as u32;
    let value = Some(Value::Here(value));
    Answer::Entry(Entry { version: 1, expires_at_ms: 0, meta: b"", value_bytes, value })
}

#[expect(clippy::unnecessary_wraps, reason = "it is an `Act`")]
fn good(op: &Op<'_>) -> Option<Answer<'static>> {
    Some(match op {
        Op::Topology => Answer::Topology(Topology::default()),
        Op::Get(_) => entry(b"good"),
        _ => Answer::Written { version: 7, created: true },
    })
}

/// Answers nothing but who is there.
fn silent(op: &Op<'_>) -> Option<Answer<'static>> {
    matches!(op, Op::Topology).then(|| Answer::Topology(Topology::default()))
}

fn options() -> Options {
    Options { timeout: Duration::from_secs(5), ..Options::default() }
}

#[test]
fn a_read_is_tried_again_on_a_new_connection() {
    let mut client = Client::connect(&[node(vec![silent, good])], options()).unwrap();
    assert_eq!(client.get(b"k").unwrap().unwrap().value, b"good");
}

#[test]
fn a_write_that_got_no_answer_is_unknown_and_not_repeated() {
    let mut client = Client::connect(&[node(vec![silent, good])], options()).unwrap();
    let results =
        client.batch(&[Call::get(b"a"), Call::set(b"b", b"", SetHow::default()), Call::get(b"c")]);
    assert!(matches!(results[1], Err(Error::Unknown { .. })), "{results:?}");
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert_eq!(client.set(b"b", b""), Ok(7));
}

#[test]
fn a_node_that_nobody_reaches_is_said_to_be() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = Client::connect(&[&closed], options()).unwrap_err();
    assert!(matches!(&error, Error::Unreachable { detail } if detail.contains(&closed)), "{error}");
    let mut client = Client::connect(&[closed, node(vec![good])], options()).unwrap();
    assert_eq!(client.set(b"k", b"v"), Ok(7));
}

/// What a node says to who connects as it leaves, before it knows which protocol that is.
fn leaving() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.read_exact(&mut [0; 1]).unwrap();
            stream.write_all(b"-ERR this node is leaving\r\n").unwrap();
            // Until the client hangs up: else what it has sent would reset the connection.
            while stream.read(&mut [0; 4096]).is_ok_and(|bytes| bytes > 0) {}
        }
    });
    address
}

#[test]
fn a_node_that_leaves_is_said_to_and_another_is_asked() {
    let leaving = leaving();
    let error = Client::connect(&[&leaving], options()).unwrap_err();
    let detail = "this node is leaving".to_owned();
    assert_eq!(error, Error::Refused { reason: Reason::Leaving, detail });
    let mut client = Client::connect(&[leaving, node(vec![good])], options()).unwrap();
    assert_eq!(client.set(b"k", b"v"), Ok(7));
}

/// A node that hangs up once it has told who is there; says so when it has.
fn hangs_up() -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut inbox = Vec::new();
        stream.read_exact(&mut [0; PREFACE.len()]).unwrap();
        let mut over = false;
        while !over {
            let mut out = Vec::new();
            let mut buffer = [0; 4096];
            let bytes = stream.read(&mut buffer).unwrap();
            inbox.extend_from_slice(&buffer[..bytes]);
            while let Some(extent) = kv::extent(&inbox, 1 << 20).unwrap() {
                kv::read(&inbox[..extent.frame], |item| match item {
                    Item::Hello(_) => kv::write_welcome(&welcome(), &mut out),
                    Item::Request(request) => {
                        let answer = Answer::Topology(Topology::default());
                        kv::write_reply(&Reply { id: request.id, answer }, &mut out);
                        over = true;
                    }
                    other => panic!("{other:?}"),
                })
                .unwrap();
                inbox.drain(..extent.frame);
            }
            stream.write_all(&out).unwrap();
        }
        drop(stream);
        tell.send(()).unwrap();
    });
    (address, told)
}

#[test]
fn the_first_write_after_a_node_has_hung_up_goes_to_another_one() {
    let (gone, told) = hangs_up();
    let mut client = Client::connect(&[gone, node(vec![good])], options()).unwrap();
    told.recv().unwrap();
    assert_eq!(client.set(b"k", b"v"), Ok(7));
}

#[test]
fn what_follows_a_write_of_unknown_fate_on_its_key_does_not_overtake_it() {
    let mut client = Client::connect(&[node(vec![silent, good])], options()).unwrap();
    let set = |key| Call::set(key, b"", SetHow::default());
    // More than a link has under way: the rest was certainly not sent, and would be tried again.
    let mut calls = vec![set(b"a"); 1200];
    calls.push(set(b"b"));
    let results = client.batch(&calls);
    assert!(matches!(results[0], Err(Error::Unknown { .. })), "{:?}", results[0]);
    assert!(matches!(results[1199], Err(Error::Unreachable { .. })), "{:?}", results[1199]);
    assert!(results[1200].is_ok(), "{:?}", results[1200]);
}

#[test]
fn refusals_come_with_their_reason() {
    let act: Act = |op| match op {
        Op::Increment(_) => {
            Some(Answer::Refused(Refusal { reason: Reason::WrongType, detail: "no number" }))
        }
        other => good(other),
    };
    let mut client = Client::connect(&[node(vec![act])], options()).unwrap();
    let error = client.increment(b"k", 1).unwrap_err();
    let detail = "no number".to_owned();
    assert_eq!(error, Error::Refused { reason: Reason::WrongType, detail });
    let long = vec![0; (1 << 20) + 1];
    assert!(matches!(client.set(b"k", &long), Err(Error::TooLong { bytes: 1_048_577, .. })));
}

#[test]
fn calls_go_to_whom_the_topology_names_and_elsewhere_if_that_one_is_gone() {
    // The first node leads nothing, and names one that is not there; calls come back to it.
    let act: Act = |op| match op {
        Op::Topology => {
            let node = Node { client: "127.0.0.1:1".into(), ..Node::default() };
            let leaders = vec![Range { first: 0, last: 16_383, node: 0 }];
            Some(Answer::Topology(Topology { nodes: vec![node], leaders }))
        }
        other => good(other),
    };
    let mut client = Client::connect(&[node(vec![act])], options()).unwrap();
    assert_eq!(client.ring().owner(b"k").unwrap().client, "127.0.0.1:1");
    let keys: Vec<String> = (0..5000).map(|i| i.to_string()).collect();
    let calls: Vec<_> = keys.iter().map(|key| Call::get(key.as_bytes())).collect();
    for result in client.batch(&calls) {
        assert!(matches!(result, Ok(Outcome::Entry(entry)) if entry.value == b"good"));
    }
}
