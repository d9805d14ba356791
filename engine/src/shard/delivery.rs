//! Replies on their way to clients: in order, put together from answers where they are several.

use piccolo_schema::time::Moment;

use super::Shard;
use super::calls::CallResult;
use super::dispatch::Destination;
use super::durations::Path;
use super::session::{Asked, Pause, Pending, ReplyMode, ReplyTo, State};
use super::stream::{Role, Stream, StreamKey};
use super::task::{self, Task};
use crate::resp::Reply;

impl Shard {
    /// Takes a place in the order of a connection's replies.
    pub(super) fn expect_reply(
        &mut self,
        key: StreamKey,
        state: State,
        asked: Option<Asked>,
    ) -> u64 {
        let routes = self.routes.changes();
        let Some(session) = self.streams.session(key) else { return 0 };
        if session.pending.is_empty() {
            session.routes_seen = routes;
        }
        let mute = session.reply_mode != ReplyMode::On;
        let ticket = session.push(state, asked, mute);
        if let Some(number) = session.calling.take()
            && let Some(pending) = session.pending.back_mut()
        {
            pending.called = Some((number, self.now.moment));
            self.counters.asked += 1;
        }
        ticket
    }

    /// Counts a command whose reply has become known.
    fn count_answered(&mut self, answered: Answered, result: CallResult) {
        let Answered { called: Some((number, at)), path } = answered else { return };
        self.counters.calls.count(number, result);
        let took = self.now.moment.since(at).as_micros() as u64;
        self.counters.durations[path as usize].add(took, 1);
    }

    /// Gives a reply that is known now, in its place.
    pub(super) fn say(&mut self, key: StreamKey, write: impl FnOnce(&mut Reply<'_>)) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Stream { outbox, role: Role::Client(session), .. } = stream else { return };
        if session.pending.is_empty() && session.reply_mode == ReplyMode::On {
            let start = outbox.bytes.len();
            write(&mut Reply::new(&mut outbox.bytes, session.resp3));
            session.said = CallResult::of(&outbox.bytes[start..]);
        } else {
            let mut bytes = Vec::new();
            write(&mut Reply::new(&mut bytes, session.resp3));
            session.said = CallResult::of(&bytes);
            if session.reply_mode != ReplyMode::On {
                return;
            }
            session.push_ready(&bytes);
        }
        self.streams.mark_dirty(key);
    }

    /// Takes in the answer to a command of one of this shard's clients.
    pub(super) fn resolve(&mut self, key: StreamKey, ticket: u64, part: u32, answer: &[u8]) {
        let Some(session) = self.streams.session(key) else { return };
        let Some(pending) = session.pending(ticket) else { return };
        match &mut pending.state {
            State::Waiting => {
                let answered = Answered::of(pending);
                session.make_ready(ticket, answer.to_vec());
                self.count_answered(answered, CallResult::of(answer));
                self.release(key);
            }
            State::Task(_) => {
                self.task_inputs.push_back((key, ticket, Some((part, answer.to_vec()))));
            }
            State::Ready(_) => {}
        }
    }

    /// Moves what can be told now to the client; whatever waited for it goes on.
    fn release(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Stream { outbox, role: Role::Client(session), .. } = stream else { return };
        if session.native.is_some() {
            self.release_native(key);
        } else {
            session.release(&mut outbox.bytes);
        }
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Stream { role: Role::Client(session), inbox, .. } = stream else { return };
        let goes_on = session.pause != Pause::No && session.resumes() && inbox.len() > 0;
        self.streams.mark_dirty(key);
        if goes_on {
            self.streams.mark_ready(key);
        }
    }

    /// Feeds answers to tasks and asks what they want next, until none has anything to do.
    pub(super) fn run_tasks(&mut self) {
        while let Some((key, ticket, input)) = self.task_inputs.pop_front() {
            let Some(session) = self.streams.session(key) else { continue };
            let resp3 = session.resp3;
            let Some(pending) = session.pending(ticket) else { continue };
            let State::Task(task) = &mut pending.state else { continue };
            if let Some((part, answer)) = input {
                task.take(part, &answer);
            }
            let asks = task.poll();
            if task.done() {
                self.finish_task(key, ticket);
                continue;
            }
            for task::Ask { part, slot, kind, write, body } in asks {
                let reply_to = ReplyTo::Session { stream: key, ticket, part };
                self.ask(slot, kind, (resp3, write), body, reply_to);
            }
        }
    }

    fn finish_task(&mut self, key: StreamKey, ticket: u64) {
        let Some(session) = self.streams.session(key) else { return };
        let resp3 = session.resp3;
        let Some(pending) = session.pending(ticket) else { return };
        let State::Task(task) = &mut pending.state else { return };
        let mut bytes = Vec::new();
        task.write(&mut Reply::new(&mut bytes, resp3));
        let watched = match &mut **task {
            Task::Watch(watch) if watch.error.is_none() => std::mem::take(&mut watch.keys),
            _ => Vec::new(),
        };
        let answered = Answered::of(pending);
        let result = CallResult::of(&bytes);
        session.make_ready(ticket, bytes);
        session.watched.extend(watched);
        self.count_answered(answered, result);
        self.release(key);
    }
}

/// What is counted of a reply that has become known.
#[derive(Clone, Copy)]
struct Answered {
    called: Option<(u8, Moment)>,
    path: Path,
}

impl Answered {
    fn of(pending: &mut Pending) -> Self {
        let path = match pending.asked.map(|asked| asked.to) {
            Some(Destination::Sibling(_)) => Path::Sibling,
            Some(Destination::Peer(..)) => Path::Forwarded,
            Some(Destination::Here | Destination::Nowhere) => Path::Local,
            None => Path::Gathered,
        };
        Self { called: pending.called.take(), path }
    }
}
