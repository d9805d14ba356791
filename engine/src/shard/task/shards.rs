//! Questions to the shards of this node as such: CLIENT LIST and CLIENT KILL.

use crate::resp::{Reply, value};

/// A question to every shard of this node.
#[derive(Debug)]
pub(in crate::shard) struct Shards {
    missing: usize,
    /// Numbers are added and told, or checked to be at least one; texts are joined.
    pub(in crate::shard) form: Form,
    sum: i64,
    text: Vec<u8>,
}

/// What the reply looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) enum Form {
    Text,
    Count,
    /// OK, or that there was no such client.
    AtLeastOne,
}

impl Shards {
    pub(in crate::shard) fn new(shards: usize, form: Form) -> Self {
        Self { missing: shards, form, sum: 0, text: Vec::new() }
    }

    pub(super) fn take(&mut self, answer: &[u8]) {
        self.missing -= 1;
        self.sum += value::integer(answer).unwrap_or(0);
        self.text.extend_from_slice(value::bulk(answer).unwrap_or_default());
    }

    pub(super) fn done(&self) -> bool {
        self.missing == 0
    }

    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        match self.form {
            Form::Text => match std::str::from_utf8(&self.text) {
                Ok(text) => reply.verbatim(*b"txt", text),
                Err(_) => reply.bulk(&self.text),
            },
            Form::Count => reply.integer(self.sum),
            Form::AtLeastOne if self.sum > 0 => reply.ok(),
            Form::AtLeastOne => reply.error("ERR No such client"),
        }
    }
}
