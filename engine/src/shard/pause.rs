//! CLIENT PAUSE: the commands of this node's clients wait for a while.

use piccolo_schema::time::Moment;

use super::Shard;
use super::session::{Pause, Session};
use super::stream::{Role, StreamKey};
use crate::command::{Command, Place, SessionCommand};

/// Milliseconds that clients may be paused for: an hour, so that a slip of the finger ends.
pub(super) const PAUSE_MILLIS_MAX: u64 = 3_600_000;

/// What waits, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClientPause {
    until: Moment,
    /// Every command, not only those that write.
    all: bool,
}

impl ClientPause {
    pub(super) fn until(self) -> Moment {
        self.until
    }

    /// Whether a command of a client waits; if it is the `first` that is not executed, all
    /// behind it wait with it. What is no command is refused at once.
    pub(super) fn holds_back<E>(
        self,
        command: &Result<&'static Command, E>,
        session: &mut Session,
        first: bool,
    ) -> bool {
        let waits = command.as_ref().is_ok_and(|command| self.covers(command, session));
        if waits && first {
            session.pause = Pause::ByOperator;
        }
        waits
    }

    /// The same for a request of a native client.
    pub(super) fn holds_back_request(self, write: bool, session: &mut Session) -> bool {
        let waits = self.all || write;
        if waits {
            session.pause = Pause::ByOperator;
        }
        waits
    }

    fn covers(self, command: &Command, session: &Session) -> bool {
        let exec = matches!(command.place, Place::Session(SessionCommand::Exec));
        let queued = session.transaction.as_ref();
        self.all
            || command.is_write()
            || exec && queued.is_some_and(|t| t.commands.iter().any(|one| one.command.is_write()))
    }
}

impl Shard {
    /// Clients wait until then; a pause under way gets no shorter and no weaker by it.
    pub(super) fn pause_clients(&mut self, until: Moment, all: bool) {
        let new = ClientPause { until, all };
        self.client_pause =
            Some(self.client_pause.map_or(new, |old| ClientPause {
                until: old.until.max(until),
                all: old.all || all,
            }));
    }

    /// What waited for the end of the pause goes on.
    pub(super) fn unpause_clients(&mut self) {
        if self.client_pause.take().is_none() {
            return;
        }
        let waits = |role: &Role| matches!(role, Role::Client(s) if s.pause == Pause::ByOperator);
        let keys: Vec<StreamKey> = self
            .streams
            .iter()
            .filter(|stream| waits(&stream.role))
            .map(|stream| stream.key)
            .collect();
        for key in keys {
            if let Some(session) = self.streams.session(key) {
                session.pause = Pause::No;
            }
            self.streams.mark_dirty(key);
            self.streams.mark_ready(key);
        }
    }

    /// Ends a pause that is over.
    #[inline]
    pub(super) fn tend_pause(&mut self) {
        if self.client_pause.is_some_and(|pause| pause.until <= self.now.moment) {
            self.unpause_clients();
        }
    }
}
