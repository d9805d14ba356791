//! The leader gives its slot to another voter.
//!
//! It holds new work until everything appended is committed and the target has it, then tells the
//! target to stand. That message is its vote in the next term, so it never serves again in this
//! one. The target leads as soon as that vote and its own are a majority.

use piccolo_schema::ids::{NodeId, Term};
use piccolo_schema::slot_message::Body;

use super::progress::Stage;
use super::{Effect, Group, Lane, Role, Support};

/// A transfer that has been decided on but not yet stood for.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    /// It was waiting already when [`Group::resume`] was last called.
    pub(super) overdue: bool,
}

/// A term that this replica gave up. It waits for the one who leads next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resigned {
    to: NodeId,
    term: Term,
    /// The stand has been said again once.
    overdue: bool,
}

impl Group {
    /// Begins to give the slot to `to`, a voter: from now on this leader does not serve.
    pub(super) fn begin_transfer(&mut self, to: NodeId, out: &mut Vec<Effect>) {
        debug_assert!(self.serves() && self.config.has_voter(to) && to != self.me);
        if let Role::Leader(reign) = &mut self.role {
            reign.transfer = Some(Transfer { to, overdue: false });
            self.alone = false;
        }
        self.stand_if_due(out);
    }

    /// Calls a transfer off that has not been stood for. Returns whether there was one; the slot
    /// serves on then.
    pub fn call_off(&mut self, out: &mut Vec<Effect>) -> bool {
        let Role::Leader(reign) = &mut self.role else { return false };
        let off = reign.transfer.take().is_some();
        if off && self.serves() {
            out.push(Effect::Serves);
        }
        off
    }

    /// Tells the target to stand once it holds everything and everything is committed.
    pub(super) fn stand_if_due(&mut self, out: &mut Vec<Effect>) {
        let Role::Leader(reign) = &mut self.role else { return };
        let Some(Transfer { to, .. }) = reign.transfer else { return };
        let ready = reign
            .find(to)
            .is_some_and(|target| target.stage == Stage::Follows && target.acked == self.last);
        if !ready || self.committed != self.last || self.config_at > self.committed {
            return;
        }
        let given_up = self.term;
        self.follow(given_up.next(), NodeId::NONE, out);
        self.voted = to;
        self.resigned = Some(Resigned { to, term: given_up, overdue: false });
        self.send_as(given_up, to, Lane::Ordinary, Body::Stand(self.last), out);
    }

    /// Calls a transfer off whose target has not acknowledged everything within a whole round of
    /// [`Self::resume`]: what is held here need not wait for a node that may be gone.
    pub(super) fn call_off_overdue(&mut self, out: &mut Vec<Effect>) {
        let Role::Leader(reign) = &mut self.role else { return };
        let Some(transfer) = &mut reign.transfer else { return };
        if std::mem::replace(&mut transfer.overdue, true) {
            self.call_off(out);
        }
    }

    /// Says the stand again to whom this replica gave its term, since the link may have been lost.
    /// Later it stands itself, since the target may be gone: nobody else led since, so whoever is
    /// behind the reads of this one's last term is behind itself.
    pub(super) fn repeat_stand(&mut self, support: &dyn Support, out: &mut Vec<Effect>) {
        let Some(Resigned { to, term, overdue }) = &mut self.resigned else { return };
        let (to, given_up, late) = (*to, *term, std::mem::replace(overdue, true));
        if late || self.term != given_up.next() {
            return self.stand(support, out);
        }
        self.send_as(given_up, to, Lane::Ordinary, Body::Stand(self.last), out);
    }
}
