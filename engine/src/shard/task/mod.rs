//! Replies put together from the answers of several slots.
//!
//! A task never waits by itself: it is asked what to ask next ([`Task::poll`]), told each answer
//! ([`Task::take`]), and writes its reply once it is done.

mod exec;
mod one;
mod shards;
mod split;
mod sweep;
mod watch;

pub(super) use exec::{Exec, Local, split_queued, with_args};
pub(super) use one::{One, Question};
pub(super) use shards::{Form, Shards};
pub(super) use split::Split;
pub(super) use sweep::{Slots, Sweep, SweepKind};
pub(super) use watch::Watch;

use piccolo_schema::ids::Slot;
use piccolo_schema::link::RequestKind;

use crate::resp::Reply;

/// Something to ask of a slot.
#[derive(Debug)]
pub(super) struct Ask {
    /// The task's own number for it; comes back with the answer.
    pub(super) part: u32,
    pub(super) slot: Slot,
    pub(super) kind: RequestKind,
    pub(super) write: bool,
    pub(super) body: Vec<u8>,
}

/// A reply in the making.
#[derive(Debug)]
pub(super) enum Task {
    Split(Split),
    Sweep(Sweep),
    Exec(Exec),
    Watch(Watch),
    Shards(Shards),
    One(One),
}

impl Task {
    /// What to ask now. Empty while answers are out.
    pub(super) fn poll(&mut self) -> Vec<Ask> {
        match self {
            Self::Split(split) => split.poll(),
            Self::Sweep(sweep) => sweep.poll(),
            Self::Exec(exec) => exec.poll(),
            Self::Watch(watch) => watch.poll(),
            Self::Shards(_) => Vec::new(),
            Self::One(one) => one.poll(),
        }
    }

    /// Takes in an answer.
    pub(super) fn take(&mut self, part: u32, answer: &[u8]) {
        match self {
            Self::Split(split) => split.take(part, answer),
            Self::Sweep(sweep) => sweep.take(part, answer),
            Self::Exec(exec) => exec.take(part, answer),
            Self::Watch(watch) => watch.take(part, answer),
            Self::Shards(shards) => shards.take(answer),
            Self::One(one) => one.take(answer),
        }
    }

    /// Whether the reply is known.
    pub(super) fn done(&self) -> bool {
        match self {
            Self::Split(split) => split.done(),
            Self::Sweep(sweep) => sweep.done(),
            Self::Exec(exec) => exec.done(),
            Self::Watch(watch) => watch.done(),
            Self::Shards(shards) => shards.done(),
            Self::One(one) => one.done(),
        }
    }

    /// Writes the reply; the task must be done.
    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Self::Split(split) => split.write(reply),
            Self::Sweep(sweep) => sweep.write(reply),
            Self::Exec(exec) => exec.write(reply),
            Self::Watch(watch) => watch.write(reply),
            Self::Shards(shards) => shards.write(reply),
            Self::One(one) => one.write(reply),
        }
    }
}

/// Writes a command in RESP.
pub(super) fn write_command<'a>(to: &mut Vec<u8>, args: impl ExactSizeIterator<Item = &'a [u8]>) {
    let mut reply = Reply::new(to, false);
    reply.array(args.len());
    args.for_each(|arg| reply.bulk(arg));
}

/// A command in RESP.
pub(super) fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    write_command(&mut body, args.iter().copied());
    body
}

/// Whether an answer is an error.
pub(super) fn is_error(answer: &[u8]) -> bool {
    answer.first() == Some(&b'-')
}
