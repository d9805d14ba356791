//! Piccolo's native protocol, by the client's own conversation.

use piccolo_client::kv::{self, Condition, Expiry, GetKind, Op, Reason, Set, Value};
use piccolo_client::{Broken, Conversation, Event, Greeting};

use super::{Answer, Ask, Fault, Protocol, Request, Setup};

/// One connection that speaks Cap'n Proto. What is asked in one turn travels in one frame.
#[derive(Debug)]
pub(crate) struct Native {
    greeting: Greeting,
    conversation: Conversation,
    /// Why the last request could not be asked; the connection is of no use then.
    unasked: Option<String>,
}

impl Protocol for Native {
    fn new(setup: &Setup) -> Self {
        let password = setup.password.clone().unwrap_or_default().into_bytes();
        let greeting = Greeting { password, name: "loadgen".to_owned(), pieces: false };
        let conversation = Conversation::new(greeting.clone());
        Self { greeting, conversation, unasked: None }
    }

    /// A conversation that is new has its greeting in front already.
    fn greet(&mut self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, request: &Request<'_>, _out: &mut Vec<u8>) {
        let op = match request.ask {
            Ask::Get => Op::Get(GetKind::Whole),
            Ask::Increment => Op::Increment(1),
            Ask::Delete => Op::Delete(Condition::Always),
            Ask::Set { value, ttl } => {
                let in_ms = Expiry::InMs(u64::from(ttl) * 1000);
                let expiry = if ttl == 0 { Expiry::Never } else { in_ms };
                let (value, condition) = (Value::Here(value), Condition::Always);
                Op::Set(Set { value, condition, expiry, meta: b"" })
            }
        };
        if let Err(error) = self.conversation.ask(request.key, op) {
            self.unasked = Some(format!("{error}; lower -P or --value-size"));
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let bytes = self.conversation.output();
        out.extend_from_slice(bytes);
        let count = bytes.len();
        self.conversation.sent(count);
    }

    fn reset(&mut self) {
        self.conversation = Conversation::new(self.greeting.clone());
    }

    fn decode<S: FnMut(Answer<'_>)>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Fault> {
        if let Some(error) = self.unasked.take() {
            return Err(Fault::Malformed(error));
        }
        let done = self.conversation.received(input, |event| {
            if let Event::Answer { answer, .. } = event {
                sink(answer_of(&answer));
            }
        });
        match done {
            Ok(()) => Ok(input.len()),
            Err(Broken::Refused { reason: Reason::Leaving, .. }) => Err(Fault::Leaving),
            Err(Broken::Refused { reason: Reason::Busy, detail }) => Err(Fault::Full(detail)),
            Err(Broken::Refused { detail, .. }) => Err(Fault::Greeting(detail)),
            Err(other) => Err(Fault::Malformed(other.to_string())),
        }
    }
}

fn answer_of<'a>(answer: &kv::Answer<'a>) -> Answer<'a> {
    match answer {
        kv::Answer::Entry(entry) => match entry.value {
            Some(Value::Here(value)) => Answer::Value(value),
            _ => Answer::Refused(b"an entry without its value"),
        },
        kv::Answer::Absent => Answer::Absent,
        kv::Answer::Written { .. } | kv::Answer::Number { .. } => Answer::Done,
        kv::Answer::Refused(refusal) => Answer::Refused(refusal.detail.as_bytes()),
        kv::Answer::Unknown(why) => Answer::Unknown(why.as_bytes()),
        kv::Answer::Unmet(_) | kv::Answer::Page { .. } | kv::Answer::Topology(_) => {
            Answer::Refused(b"an answer to another request")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use piccolo_client::kv::{Entry, Item, PREFACE, Refusal, Reply, Welcome};
    use piccolo_schema::ids::ClusterId;
    use proptest::prelude::*;

    fn welcome() -> Vec<u8> {
        let mut stream = Vec::new();
        let (cluster, node) = (ClusterId(5), "a");
        let welcome = Welcome { protocol: 1, features: 0, cluster, node, value_bytes_max: 1 << 20 };
        kv::write_welcome(&welcome, &mut stream);
        stream
    }

    /// A connection that has asked `count` gets, and what a node sends back.
    fn asked(count: u64) -> (Native, Vec<u8>) {
        let mut native = Native::new(&Setup::default());
        let mut stream = welcome();
        for id in 1..=count {
            native.encode(&Request { key: b"k", ask: Ask::Get }, &mut Vec::new());
            let long = vec![b'x'; 100_000];
            let answer = match id % 4 {
                0 => kv::Answer::Absent,
                1 => kv::Answer::Entry(entry(b"value")),
                2 => kv::Answer::Unknown("gone"),
                _ => kv::Answer::Entry(entry(&long)),
            };
            kv::write_reply(&Reply { id, answer }, &mut stream);
        }
        native.finish(&mut Vec::new());
        (native, stream)
    }

    fn entry(value: &[u8]) -> Entry<'_> {
        let value_bytes = value.len() as u32;
        let value = Some(Value::Here(value));
        Entry { version: 1, expires_at_ms: 0, meta: b"", value_bytes, value }
    }

    fn answers(native: &mut Native, pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        for piece in pieces {
            let taken = native.decode(piece, &mut |answer| found.push(format!("{answer:?}")));
            assert_eq!(taken, Ok(piece.len()));
        }
        found
    }

    #[test]
    fn what_is_asked_in_one_turn_is_one_frame_behind_the_greeting() {
        let mut native = Native::new(&Setup::default());
        let mut out = Vec::new();
        native.greet(&mut out);
        native.encode(&Request { key: b"a", ask: Ask::Set { value: b"v", ttl: 9 } }, &mut out);
        native.encode(&Request { key: b"a", ask: Ask::Get }, &mut out);
        assert!(out.is_empty());
        native.finish(&mut out);
        let mut rest = out.strip_prefix(&PREFACE[..]).unwrap();
        let mut frames = Vec::new();
        while let Some(extent) = kv::extent(rest, 1 << 16).unwrap() {
            let mut items = Vec::new();
            kv::read(&rest[..extent.frame], |item| items.push(matches!(item, Item::Request(_))))
                .unwrap();
            frames.push(items);
            rest = &rest[extent.frame..];
        }
        assert_eq!(frames, [vec![false], vec![true, true]]);
        native.reset();
        out.clear();
        native.finish(&mut out);
        assert!(out.starts_with(&PREFACE), "a new connection is greeted again");
    }

    #[test]
    fn who_leaves_is_told_from_who_refuses() {
        for (reason, fault) in [
            (Reason::Leaving, Fault::Leaving),
            (Reason::Unauthorised, Fault::Greeting("no".to_owned())),
        ] {
            let mut stream = Vec::new();
            kv::write_refusal(&Refusal { reason, detail: "no" }, &mut stream);
            let (mut native, _) = asked(0);
            assert_eq!(native.decode(&stream, &mut |_| ()), Err(fault));
        }
    }

    #[test]
    fn a_node_that_takes_nobody_in_ends_no_verify() {
        for line in ["-ERR this node is leaving\r\n", "-ERR max number of clients reached\r\n"] {
            let mut native = Native::new(&Setup::default());
            let fault = native.decode(line.as_bytes(), &mut |_| ()).unwrap_err();
            assert!(!fault.for_good(), "{fault}");
        }
        let mut native = Native::new(&Setup::default());
        let fault = native.decode(b"-ERR unknown command\r\n", &mut |_| ()).unwrap_err();
        assert!(fault.for_good(), "{fault}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_cut_of_the_stream_gives_the_same_replies(
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        ) {
            let (mut native, stream) = asked(8);
            let whole = answers(&mut native, &[&stream]);
            prop_assert_eq!(whole.len(), 8);
            let mut cuts: Vec<usize> = cuts.iter().map(|at| at.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|two| &stream[two[0]..two[1]]).collect();
            prop_assert_eq!(answers(&mut asked(8).0, &pieces), whole);
        }
    }
}
