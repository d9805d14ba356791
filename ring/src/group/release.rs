//! Releases: a leader that lives but leads no more frees those who supported it.
//!
//! Whoever acknowledged a leader votes for nobody else while that leader may count on it, which is
//! as long as its node is supported. That may be for ever: the node lives, leads other slots, and
//! may not even hold this one any more. So it is asked, and says so.

use piccolo_schema::ids::{Era, NodeId, Term};
use piccolo_schema::slot_message::{Body, SlotMessage};

use super::support::Acknowledged;
use super::{Effect, Group, Lane};

impl Group {
    /// Asks whoever stands in the way of a vote whether it leads still.
    pub(super) fn inquire(&self, out: &mut Vec<Effect>) {
        if let Some(Acknowledged { leader, term, .. }) = self.acknowledged {
            self.send(leader, Lane::Ordinary, Body::Inquire(term), out);
        }
    }

    /// Somebody acknowledged this replica as the leader of `term`, and would vote. One that leads
    /// in a later term does not lead in that one.
    pub(super) fn receive_inquiry(&self, from: NodeId, term: Term, out: &mut Vec<Effect>) {
        if self.term > term || (self.term == term && !self.is_leader()) {
            self.send(from, Lane::Ordinary, Body::Released(term), out);
        }
    }

    /// `from` does not lead in `term` any more, nor in any before.
    pub(super) fn receive_release(&mut self, from: NodeId, term: Term) {
        self.acknowledged
            .take_if(|acknowledged| acknowledged.leader == from && acknowledged.term <= term);
    }

    /// What a message tells by its term alone: who speaks in a later one leads no more in that in
    /// which it was acknowledged.
    pub(super) fn heard_in(&mut self, from: NodeId, era: Era, term: Term) {
        if era == self.era && term > Term(0) {
            self.receive_release(from, Term(term.0 - 1));
        }
    }
}

/// The answer to an inquiry of a node that holds no replica any more. What it led, it led before
/// it dropped it, which was in the era and term given.
pub(super) fn released(
    message: &SlotMessage,
    from: NodeId,
    dropped: Option<(Era, Term)>,
) -> Option<Box<Effect>> {
    let SlotMessage { slot, era, ref body, .. } = *message;
    let (dropped_in, last_term) = dropped?;
    match *body {
        Body::Inquire(term) if (era, term) <= (dropped_in, last_term) => {
            let message = SlotMessage { slot, era, term, body: Body::Released(term) };
            Some(Box::new(Effect::Send { to: from, lane: Lane::Ordinary, message }))
        }
        _ => None,
    }
}
