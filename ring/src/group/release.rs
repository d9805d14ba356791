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

#[cfg(test)]
mod tests {
    use piccolo_schema::ids::{Slot, Version};
    use piccolo_schema::slot_message::Config;

    use super::*;
    use crate::group::Unbroken;

    const ME: NodeId = NodeId(1);
    const OLD: NodeId = NodeId(2);
    const NEXT: NodeId = NodeId(3);

    fn take(group: &mut Group, from: NodeId, term: u32, body: Body) -> Vec<(NodeId, Body)> {
        let mut out = Vec::new();
        let message =
            SlotMessage { slot: Slot::default(), era: Era::FIRST, term: Term(term), body };
        group.receive(from, message, 0, &Unbroken, &mut out);
        sent(out)
    }

    fn sent(effects: Vec<Effect>) -> Vec<(NodeId, Body)> {
        let sent = effects.into_iter().filter_map(|effect| match effect {
            Effect::Send { to, message, .. } => Some((to, message.body)),
            _ => None,
        });
        sent.collect()
    }

    const LAST: Version = Version { term: Term(4), seq: 1 };

    /// A voter that acknowledged `OLD` in term 4.
    fn voter() -> Group {
        let mut group = Group::learn(ME, OLD, Slot::default(), Era::FIRST, Term(4));
        take(&mut group, OLD, 4, Body::Open { snapshot: 1, ring: 0 });
        let config = Config { version: 1, voters: vec![ME, OLD, NEXT], learners: Vec::new() };
        take(&mut group, OLD, 4, Body::Close { snapshot: 1, last: LAST, committed: LAST, config });
        group
    }

    fn canvass(group: &mut Group) -> Vec<(NodeId, Body)> {
        let ask = Body::Canvass { pre: false, last: LAST, given_up: Term(0) };
        take(group, NEXT, 6, ask)
    }

    /// Its node lives, so that its support never lapses; a vote waits until it has said that it
    /// does not lead any more.
    #[test]
    fn a_leader_that_lives_on_does_not_bind_its_voters_for_ever() {
        let mut group = voter();
        let answers = canvass(&mut group);
        assert!(answers.contains(&(OLD, Body::Inquire(Term(4)))), "{answers:?}");
        assert!(!answers.contains(&(NEXT, Body::Vote { pre: false })), "{answers:?}");
        take(&mut group, NEXT, 6, Body::Released(Term(4)));
        take(&mut group, OLD, 4, Body::Released(Term(3)));
        assert!(!canvass(&mut group).contains(&(NEXT, Body::Vote { pre: false })));
        take(&mut group, OLD, 4, Body::Released(Term(4)));
        assert!(canvass(&mut group).contains(&(NEXT, Body::Vote { pre: false })));
    }

    /// Whatever it says in a later term says so, too.
    #[test]
    fn a_word_in_a_later_term_is_a_release() {
        let mut group = voter();
        take(&mut group, OLD, 5, Body::Ack { last: LAST, member: true, epoch: 1, config: 0 });
        assert!(canvass(&mut group).contains(&(NEXT, Body::Vote { pre: false })));
    }

    /// Who leads says nothing, who led before or holds nothing any more releases.
    #[test]
    fn only_who_does_not_lead_releases() {
        let mut leader = Group::create(OLD, Slot::default(), None);
        let term = leader.term();
        let ask = |group: &mut Group, term: Term| take(group, ME, 9, Body::Inquire(term)).pop();
        assert_eq!(ask(&mut leader, term), None);
        assert_eq!(leader.term(), term, "nor is it disturbed");
        assert_eq!(ask(&mut leader, Term(0)), Some((ME, Body::Released(Term(0)))));
        assert_eq!(ask(&mut voter(), Term(4)), Some((ME, Body::Released(Term(4)))));
        assert_eq!(ask(&mut voter(), Term(5)), None, "it may lead in it yet");
        let inquiry = |term| SlotMessage {
            slot: Slot::default(),
            era: Era::FIRST,
            term: Term(9),
            body: Body::Inquire(Term(term)),
        };
        let dropped = Some((Era::FIRST, Term(6)));
        for (term, releases) in [(4, true), (6, true), (7, false)] {
            let answer = Group::answer_unheld(OLD, ME, &inquiry(term), dropped).unwrap_err();
            let answer = sent(answer.into_iter().map(|effect| *effect).collect());
            let expected = releases.then_some((ME, Body::Released(Term(term))));
            assert_eq!(answer.into_iter().next(), expected, "{term}");
        }
        assert!(Group::answer_unheld(OLD, ME, &inquiry(4), None).unwrap_err().is_none());
    }
}
