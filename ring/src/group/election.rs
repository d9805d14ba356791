//! Who leads next: asking before, standing, voting.

use piccolo_schema::ids::{NodeId, Term, Version};
use piccolo_schema::slot_message::Body;

use super::support::Acknowledged;
use super::{Effect, Group, Lane, Role, Support};

#[cfg(test)]
mod tests;

/// No term that anybody gave up: terms begin with one.
const NOT_GIVEN_UP: Term = Term(0);

/// A replica that stands, or asks whether it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidacy {
    /// It only asks whether it would win: the term is still the one before.
    pre: bool,
    /// Who has said yes, itself included.
    votes: Vec<NodeId>,
    /// Who gave the lead up for this candidate, in which term.
    given_up: GivenUp,
}

/// Nobody and [`NOT_GIVEN_UP`] unless a leader gave its term up for the candidate.
type GivenUp = (NodeId, Term);

impl Group {
    /// Stands for the lead: the leader is gone, or never came. First the others are asked whether
    /// they would vote for it, so that one that cannot win disturbs nobody; asked again it begins
    /// anew. Only a voter stands.
    ///
    /// When to call it is for the caller, who knows time: once the leader's support has lapsed, the
    /// first replica in the order of placement first, and again after a while that varies.
    pub fn stand(&mut self, support: &dyn Support, out: &mut Vec<Effect>) {
        if self.is_leader() || !self.config.has_voter(self.me) {
            return;
        }
        let given_up = match &self.role {
            Role::Candidate(candidacy) => candidacy.given_up,
            Role::Follower { .. } | Role::Leader(_) => (NodeId::NONE, NOT_GIVEN_UP),
        };
        if self.is_for_vote(self.me, given_up.1, |leader, epoch| support.has_lapsed(leader, epoch))
        {
            self.canvass(true, given_up, support, out);
        } else {
            self.inquire(out);
        }
    }

    /// Asks the others for their votes.
    fn canvass(
        &mut self,
        pre: bool,
        given_up: GivenUp,
        support: &dyn Support,
        out: &mut Vec<Effect>,
    ) {
        let mut votes = vec![self.me];
        // Who gave the term up has voted in the one after it.
        votes.extend((self.term == given_up.1.next()).then_some(given_up.0));
        self.drop_aside(out);
        self.role = Role::Candidate(Candidacy { pre, votes, given_up });
        let asked = self.config.voters.iter().copied().filter(|voter| *voter != self.me);
        for voter in asked.collect::<Vec<_>>() {
            let body = Body::Canvass { pre, last: self.last, given_up: given_up.1 };
            self.send(voter, Lane::Ordinary, body, out);
        }
        self.count_votes(support, out);
    }

    /// What a majority of the voters of the latest config makes possible.
    fn count_votes(&mut self, support: &dyn Support, out: &mut Vec<Effect>) {
        let Role::Candidate(Candidacy { pre, votes, given_up }) = &self.role else { return };
        let (pre, given_up) = (*pre, *given_up);
        let count = self.config.voters.iter().filter(|voter| votes.contains(voter)).count();
        if count < self.config.majority() {
            return;
        }
        if !pre {
            return self.reign(given_up.0, out);
        }
        // Its own vote is one against the leader before, too.
        if self.is_for_vote(self.me, given_up.1, |leader, epoch| support.withdraw(leader, epoch)) {
            self.follow(self.term.next(), NodeId::NONE, out);
            self.voted = self.me;
            self.canvass(false, given_up, support, out);
        }
    }

    /// Whether nothing that this replica acknowledged speaks against a vote for `candidate`:
    /// nobody may count on it as a supporter of the leader before.
    fn is_for_vote(
        &self,
        candidate: NodeId,
        given_up: Term,
        lapsed: impl Fn(NodeId, u64) -> bool,
    ) -> bool {
        let Some(Acknowledged { leader, term, epoch }) = self.acknowledged else { return true };
        leader == candidate || term == given_up || lapsed(leader, epoch)
    }

    pub(super) fn receive_canvass(
        &mut self,
        from: NodeId,
        (pre, last, given_up): (bool, Version, Term),
        support: &dyn Support,
        out: &mut Vec<Effect>,
    ) {
        // A leader stays one; its next word tells the candidate.
        if self.is_leader() {
            return self.place(from, out);
        }
        let lapsed = |leader, epoch| {
            if pre { support.has_lapsed(leader, epoch) } else { support.withdraw(leader, epoch) }
        };
        let free = pre || !self.voted.is_some() || self.voted == from;
        // One that holds nothing yet may be the second life of a voter that held more.
        if !free || self.last == Version::ZERO || last < self.last {
            return self.answer(from, support, out);
        }
        if !self.is_for_vote(from, given_up, lapsed) {
            self.inquire(out);
            return self.answer(from, support, out);
        }
        if !pre {
            self.follow(self.term, NodeId::NONE, out);
            self.voted = from;
        }
        self.send(from, Lane::Ordinary, Body::Vote { pre }, out);
    }

    pub(super) fn receive_vote(
        &mut self,
        from: NodeId,
        pre: bool,
        support: &dyn Support,
        out: &mut Vec<Effect>,
    ) {
        let Role::Candidate(candidacy) = &mut self.role else { return };
        if candidacy.pre == pre && !candidacy.votes.contains(&from) {
            candidacy.votes.push(from);
            self.count_votes(support, out);
        }
    }

    /// The leader of `given_up` gives its lead to this replica: that is its vote in the next term.
    pub(super) fn receive_stand(
        &mut self,
        from: NodeId,
        given_up: Term,
        last: Version,
        support: &dyn Support,
        out: &mut Vec<Effect>,
    ) {
        let able = self.config.has_voter(self.me) && self.last == last && !self.is_leader();
        // It may have voted in a term that came to nothing; then the old leader stands anew.
        if able && self.term == given_up && self.is_for_vote(self.me, given_up, |_, _| false) {
            self.follow(given_up.next(), NodeId::NONE, out);
            self.voted = self.me;
            self.canvass(false, (from, given_up), support, out);
        }
    }
}
