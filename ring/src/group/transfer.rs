//! The leader gives its slot to another voter.
//!
//! It holds new work until everything appended is committed and the target has it, then tells the
//! target to stand. That message is its vote in the next term, so it never serves again in this
//! one. The target leads as soon as that vote and its own are a majority.

use piccolo_schema::ids::{NodeId, Term, Version};
use piccolo_schema::slot_message::Body;

use super::progress::Stage;
use super::{Effect, Group, Lane, Role};

/// A transfer that has been decided on but not yet stood for.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    /// It was waiting already when [`Group::resume`] was last called.
    pub(super) overdue: bool,
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

    /// Whether this replica has given its term up to another and not yet heard of the next one.
    fn gave_up(&self) -> bool {
        !self.is_leader()
            && !self.leader().is_some()
            && self.voted.is_some()
            && self.voted != self.me
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

    /// Says the stand again to whom this replica gave its term: the link may have been lost.
    pub(super) fn repeat_stand(&self, out: &mut Vec<Effect>) {
        if self.gave_up() {
            let given_up = Term(self.term.0 - 1);
            let body = Body::Stand(self.last);
            self.send_as(given_up, self.voted, Lane::Ordinary, body, out);
        }
    }

    pub(super) fn receive_stand(&mut self, from: NodeId, last: Version, out: &mut Vec<Effect>) {
        if self.is_leader() {
            return;
        }
        let majority = self.config.majority() <= 2;
        let able = self.config.has_voter(self.me) && self.config.has_voter(from);
        if able && majority && self.last == last {
            self.follow(self.term.next(), NodeId::NONE, out);
            return self.reign(from, out);
        }
        // Both votes of the term given up are spent; this one's in the term after goes back.
        self.follow(self.term.next().next(), NodeId::NONE, out);
        self.voted = from;
        self.send(from, Lane::Ordinary, Body::Yield(self.last), out);
    }

    /// The target cannot lead and votes for this replica in the term of its message.
    pub(super) fn receive_yield(&mut self, from: NodeId, last: Version, out: &mut Vec<Effect>) {
        let free = !self.voted.is_some() || self.voted == self.me;
        let majority = self.config.majority() <= 2 && self.config.has_voter(from);
        if !self.is_leader() && free && majority && self.last >= last {
            self.reign(from, out);
        }
    }
}
