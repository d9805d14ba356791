//! Questions to the shards of this node as such: CLIENT LIST, CONFIG SET, SLOWLOG and others.

use crate::resp::{Reply, value};

/// A question to every shard of this node.
#[derive(Debug)]
pub(in crate::shard) struct Shards {
    missing: usize,
    /// Numbers are added and told, or checked to be at least one; texts are joined.
    pub(in crate::shard) form: Form,
    sum: i64,
    text: Vec<u8>,
    /// When, by which number, and what.
    entries: Vec<(i64, i64, Vec<u8>)>,
}

/// What the reply looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::shard) enum Form {
    Text,
    Count,
    /// The latest of all entries of slow logs, at most so many.
    Latest(usize),
    Ok,
    /// OK, or that there was no such client.
    AtLeastOne,
}

impl Shards {
    pub(in crate::shard) fn new(shards: usize, form: Form) -> Self {
        Self { missing: shards, form, sum: 0, text: Vec::new(), entries: Vec::new() }
    }

    pub(super) fn take(&mut self, answer: &[u8]) {
        self.missing -= 1;
        self.sum += value::integer(answer).unwrap_or(0);
        self.text.extend_from_slice(value::bulk(answer).unwrap_or_default());
        for entry in value::array_items(answer).into_iter().flatten() {
            let mut numbers = value::array_items(entry).into_iter().flatten();
            let mut number = || numbers.next().and_then(value::integer).unwrap_or(0);
            let (id, at) = (number(), number());
            self.entries.push((at, id, entry.to_vec()));
        }
        self.entries.sort_unstable_by(|a, b| b.cmp(a));
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
            Form::Ok => reply.ok(),
            Form::Latest(count) => {
                reply.array(self.entries.len().min(count));
                self.entries.iter().take(count).for_each(|(.., entry)| reply.raw(entry));
            }
            Form::AtLeastOne if self.sum > 0 => reply.ok(),
            Form::AtLeastOne => reply.error("ERR No such client"),
        }
    }
}
