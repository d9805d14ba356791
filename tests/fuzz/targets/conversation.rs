//! What a hostile node says to a native client, cut at any byte: the same comes out, and nothing
//! panics.
//!
//! An input is a byte for the cut, one for what was asked and how, and what the node sends. Half of
//! the inputs begin behind a true welcome, since few random ones would get that far.
#![no_main]

use libfuzzer_sys::fuzz_target;
use piccolo_client::{Conversation, Greeting};
use piccolo_schema::ids::ClusterId;
use piccolo_schema::kv::{
    Condition, Expiry, GetKind, Op, Scan, Set, Value, Welcome, write_welcome,
};

/// Events of one input at most, beyond one for each of its bytes.
const EVENTS_EXTRA: usize = 16;

const WELCOME: Welcome<'static> = Welcome {
    protocol: 1,
    features: 0,
    cluster: ClusterId(1),
    node: "node",
    value_bytes_max: 64 << 20,
};

fuzz_target!(|bytes: &[u8]| {
    let [cut, how, said @ ..] = bytes else { return };
    let whole = heard(said, said.len(), *how);
    // Pieces are cut where the stream is; everything else is not.
    if !in_pieces(*how) {
        let step = usize::from(*cut).max(1);
        assert_eq!(whole, heard(said, step, *how), "cut every {step} bytes");
    }
});

fn is_welcomed(how: u8) -> bool {
    how & 1 == 0
}

fn in_pieces(how: u8) -> bool {
    how & 2 != 0
}

/// What the client makes of what is said, so many bytes at a time, and how it ends.
fn heard(said: &[u8], step: usize, how: u8) -> (Vec<String>, Option<String>) {
    let name = "fuzz".to_owned();
    let greeting = Greeting { password: Vec::new(), name, pieces: in_pieces(how) };
    let mut conversation = Conversation::new(greeting);
    if is_welcomed(how) {
        let mut stream = Vec::new();
        write_welcome(&WELCOME, &mut stream);
        conversation.received(&stream, |_| ()).expect("a true welcome");
    }
    ask(&mut conversation);
    let mut events = Vec::new();
    for part in said.chunks(step.max(1)) {
        let taken = conversation.received(part, |event| events.push(format!("{event:?}")));
        if let Err(broken) = taken {
            return (events, Some(broken.to_string()));
        }
        assert!(events.len() <= said.len() + EVENTS_EXTRA, "{} events", events.len());
    }
    (events, None)
}

/// One request of each kind, so that answers of each kind are awaited.
fn ask(conversation: &mut Conversation) {
    let (condition, expiry) = (Condition::Always, Expiry::Never);
    let set = Set { value: Value::Here(b"value"), meta: b"", condition, expiry };
    let scan = Scan { cursor: 0, count: 10, prefix: b"", pattern: b"" };
    let ops = [
        Op::Get(GetKind::Whole),
        Op::Get(GetKind::UpTo(8)),
        Op::Set(set),
        Op::Delete(Condition::Always),
        Op::Scan(scan),
        Op::Topology,
    ];
    for op in ops {
        let key: &[u8] = if matches!(op, Op::Scan(_) | Op::Topology) { b"" } else { b"key" };
        drop(conversation.ask(key, op));
        let bytes = conversation.output().len();
        conversation.sent(bytes);
    }
}
