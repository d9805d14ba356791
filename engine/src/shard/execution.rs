//! What becomes of a command that is not on the plain path.

use std::borrow::Cow;

use piccolo_schema::ids::Slot;
use piccolo_schema::link::RequestKind;

use super::Shard;
use super::cluster::CROSS_SLOT;
use super::requests::REQUESTS_BYTES_MAX;
use super::session::{Asked, Pause, Queued, ReplyTo, State, TRANSACTION_BYTES_MAX};
use super::stream::{Role, Stream, StreamKey};
use super::task::{Split, Task};
use crate::command::{self, Command, Merge, Place, SessionCommand};
use crate::resp::Args;

impl Shard {
    pub(super) fn run_session_item(
        &mut self,
        key: StreamKey,
        command: &'static Command,
        args: &Args<'_>,
        slot: Option<(Slot, u64)>,
        body: &[u8],
    ) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return true };
        let Stream { outbox, role: Role::Client(session), .. } = stream else { return true };
        let door = session.door;
        if !session.authenticated && !command.flags.contains(command::spec::Flags::NO_AUTH) {
            self.say(key, |reply| reply.error("NOAUTH Authentication required."));
            return true;
        }
        let crowded = self.requests.bytes() > REQUESTS_BYTES_MAX;
        if !session.has_room(outbox.unsent().len(), crowded) {
            session.pause = Pause::UntilAtMost(session.pending.len() / 2);
            return false;
        }
        if session.transaction.is_some() && !ends_transaction(command) {
            self.queue(key, command, args, slot, body);
            return true;
        }
        let keyed = matches!(command.place, Place::Slot(_) | Place::Split(..));
        if keyed && let Some(text) = self.misplaced_command(door, slot, command, args) {
            self.say(key, |reply| reply.error(&text));
            return true;
        }
        match command.place {
            Place::Session(which) => self.run_session_command(key, which, args),
            // Without a subcommand, only COMMAND comes through.
            Place::Container(_) => self.run_session_command(key, SessionCommand::Command, args),
            Place::Sweep(sweep) => self.run_sweep(key, sweep, args),
            Place::Slot(_) | Place::Split(..) if slot.is_some() => {
                let (slot, _) = slot.unwrap_or_default();
                let (kind, write) = (RequestKind::Command, command.is_write());
                self.ask_in_order(key, slot, (kind, write), Cow::Borrowed(body))
            }
            Place::Split(_, merge) => self.run_split(key, command, merge, args),
            Place::Slot(_) => {
                self.say(key, |reply| {
                    reply.error(CROSS_SLOT);
                });
                true
            }
        }
    }

    /// Queues a command for EXEC, or says why not; EXEC refuses then.
    fn queue(
        &mut self,
        key: StreamKey,
        command: &'static Command,
        args: &Args<'_>,
        slot: Option<(Slot, u64)>,
        body: &[u8],
    ) {
        let Some(session) = self.streams.session(key) else { return };
        let bytes = session.transaction.as_ref().map_or(0, |queued| queued.bytes) + body.len();
        let refusal = match command.place {
            _ if bytes > TRANSACTION_BYTES_MAX => {
                Some("ERR transaction of more than 64 MiB".to_owned())
            }
            _ if command.stands_alone() => {
                Some("ERR Command not allowed inside a transaction".to_owned())
            }
            _ => {
                let door = session.door;
                self.misplaced_command(door, slot, command, args)
            }
        };
        let session = self.streams.session(key);
        let Some(queued) = session.and_then(|session| session.transaction.as_mut()) else { return };
        if let Some(text) = refusal {
            queued.failed = true;
            return self.say(key, |reply| reply.error(&text));
        }
        let slot = slot.map(|(slot, _)| slot);
        queued.bytes = bytes;
        queued.commands.push(Queued { command, slot, body: body.to_vec() });
        self.say(key, |reply| reply.status("QUEUED"));
    }

    /// A command on one slot that may be elsewhere, or behind something that is waited for: false
    /// if it has to wait, so that it overtakes nothing.
    pub(super) fn ask_in_order(
        &mut self,
        key: StreamKey,
        slot: Slot,
        (kind, write): (RequestKind, bool),
        body: Cow<'_, [u8]>,
    ) -> bool {
        let to = self.destination(slot, body.len());
        let asked = Asked { slot, to, fence: self.fences[slot.index()], bytes: body.len() };
        let routes = self.routes.changes();
        let Some(session) = self.streams.session(key) else { return true };
        if session.overtakes(&asked, routes) {
            session.pause = Pause::UntilAnswered;
            return false;
        }
        let resp3 = session.resp3;
        let ticket = self.expect_reply(key, State::Waiting, Some(asked));
        let reply_to = ReplyTo::Session { stream: key, ticket, part: 0 };
        self.ask(slot, kind, (resp3, write), body.into_owned(), reply_to);
        true
    }

    /// A command on several slots. Waits for what was asked before, so that it overtakes nothing.
    fn run_split(
        &mut self,
        key: StreamKey,
        command: &'static Command,
        merge: Merge,
        args: &Args<'_>,
    ) -> bool {
        self.begin_task(key, || Task::Split(Split::new(command, merge, args)))
    }

    /// Begins a task once everything before it is answered; nothing behind it is executed until
    /// it is done.
    pub(super) fn begin_task(&mut self, key: StreamKey, make: impl FnOnce() -> Task) -> bool {
        let Some(session) = self.streams.session(key) else { return true };
        session.pause = Pause::UntilAnswered;
        if !session.pending.is_empty() {
            return false;
        }
        let ticket = self.expect_reply(key, State::Task(Box::new(make())), None);
        self.task_inputs.push_back((key, ticket, None));
        true
    }
}

/// Commands that MULTI does not queue.
fn ends_transaction(command: &Command) -> bool {
    use SessionCommand as C;
    matches!(
        command.place,
        Place::Session(C::Multi | C::Exec | C::Discard | C::Watch | C::Reset | C::Quit)
    )
}
