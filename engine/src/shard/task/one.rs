//! A question to one slot as a whole.

use piccolo_schema::ids::Slot;
use piccolo_schema::link::RequestKind;

use super::{Ask, command, is_error};
use crate::resp::{Reply, value};

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) enum Question {
    /// How many keys it has.
    Count,
    /// The names of at most so many of its keys.
    Keys(usize),
}

/// A question to one slot.
#[derive(Debug)]
pub(in crate::shard) struct One {
    question: Question,
    ask: Option<Ask>,
    done: bool,
    answer: Vec<u8>,
}

impl One {
    /// `here`: this node leads the slot; others hold no keys that it could tell.
    pub(in crate::shard) fn new(slot: Slot, question: Question, here: bool) -> Self {
        let body = match question {
            Question::Count => command(&[b"SLOT.COUNT"]),
            Question::Keys(count) => {
                command(&[b"SLOT.SCAN", b"0", count.max(1).to_string().as_bytes()])
            }
        };
        let ask = Ask { part: 0, slot, kind: RequestKind::Sweep, write: false, body };
        let answer = Vec::new();
        Self { question, ask: here.then_some(ask), done: !here, answer }
    }

    pub(super) fn poll(&mut self) -> Vec<Ask> {
        self.ask.take().into_iter().collect()
    }

    pub(super) fn take(&mut self, answer: &[u8]) {
        (self.answer, self.done) = (answer.to_vec(), true);
    }

    pub(super) fn done(&self) -> bool {
        self.done
    }

    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        if is_error(&self.answer) {
            return reply.raw(&self.answer);
        }
        match self.question {
            Question::Count => reply.integer(value::integer(&self.answer).unwrap_or(0)),
            Question::Keys(count) => {
                let parts = value::array_items(&self.answer).into_iter().flatten().nth(1);
                let keys = parts.and_then(value::array_items).into_iter().flatten();
                let keys: Vec<&[u8]> = keys.take(count).collect();
                reply.array(keys.len());
                for key in keys {
                    reply.raw(key);
                }
            }
        }
    }
}
