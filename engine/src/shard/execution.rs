//! What becomes of a command that is not on the plain path.

use piccolo_schema::ids::Slot;
use piccolo_schema::link::RequestKind;

use super::Shard;
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
        if !session.authenticated && !command.flags.contains(command::spec::Flags::NO_AUTH) {
            self.say(key, |reply| reply.error("NOAUTH Authentication required."));
            return true;
        }
        if !session.has_room(outbox.unsent().len()) {
            session.pause = Pause::UntilAtMost(session.pending.len() / 2);
            return false;
        }
        if let Some(transaction) = &mut session.transaction
            && !ends_transaction(command)
        {
            if transaction.bytes + body.len() > TRANSACTION_BYTES_MAX {
                transaction.failed = true;
                self.say(key, |reply| reply.error("ERR transaction of more than 64 MiB"));
                return true;
            }
            let about_connection = matches!(
                command.place,
                Place::Session(
                    SessionCommand::Client | SessionCommand::Hello | SessionCommand::Auth
                )
            );
            if about_connection {
                transaction.failed = true;
                let text = "ERR Command not allowed inside a transaction";
                self.say(key, |reply| reply.error(text));
                return true;
            }
            transaction.bytes += body.len();
            transaction.commands.push(Queued { command, body: body.to_vec() });
            self.say(key, |reply| reply.status("QUEUED"));
            return true;
        }
        match command.place {
            Place::Session(which) => self.run_session_command(key, which, args),
            Place::Sweep(sweep) => self.run_sweep(key, sweep, args),
            Place::Slot(_) | Place::Split(..) if slot.is_some() => {
                let (slot, _) = slot.unwrap_or_default();
                self.run_keyed(key, command, slot, body)
            }
            Place::Split(_, merge) => self.run_split(key, command, merge, args),
            Place::Slot(_) => {
                self.say(key, |reply| {
                    reply.error("CROSSSLOT Keys in request don't hash to the same slot");
                });
                true
            }
        }
    }

    /// A command on one slot that may be elsewhere, or behind something that is waited for.
    fn run_keyed(
        &mut self,
        key: StreamKey,
        command: &'static Command,
        slot: Slot,
        body: &[u8],
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
        let write = command.is_write();
        self.ask(slot, RequestKind::Command, (resp3, write), body.to_vec(), reply_to);
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
