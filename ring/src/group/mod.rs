//! Who DOES own a slot: one replica of its group, as a state machine.
//!
//! A slot is a small replicated state machine: one leader, an ordered sequence of changes, a list
//! of voters, and only its own majority can move it. This is Raft's safety argument with the log
//! replaced by the state itself: a follower that misses something is sent it from the backlog or,
//! if that does not reach, gets the slot again as a snapshot.
//!
//! The group never sees a key. The caller holds the entries, tells the group of each change
//! ([`Group::append`]) and carries out its [`Effect`]s in order. There is no clock in here: what
//! is due is asked for by [`Group::resume`].
//!
//! Elections ask before they stand; a vote waits until nobody counts on the voter any more
//! ([`Support`]), which makes leases safe. A [`Group`] whose majority is gone for good is brought
//! back by [`Group::revive`].

mod backlog;
mod effect;
mod election;
mod follower;
mod leader;
mod progress;
mod release;
mod step;
mod support;
mod transfer;

#[cfg(test)]
mod tests;

pub use effect::{Effect, Lane};
pub use progress::Stage;
pub use step::Step;
pub use support::Support;
#[cfg(test)]
pub(crate) use support::Unbroken;

use election::Candidacy;
use leader::Reign;
use piccolo_schema::ids::{Era, NodeId, Slot, Term, Version};
use piccolo_schema::slot_message::{Body, Change, ChangeKind, Config, Route, SlotMessage};
use progress::Standing;
use support::Acknowledged;
use transfer::Resigned;

/// In place of a ring's digest: a snapshot of a node that leaves, which goes to whoever is there
/// and begins whatever ring the other end sees.
pub const ANY_RING: u64 = 0;

/// How far the term rises when a slot comes back in a new era without asking a majority: more
/// reigns than anybody unreachable can have begun meanwhile, so that versions never repeat.
const REVIVAL_TERMS: u32 = 256;

/// The answer of one who holds no replica.
const NOT_HELD: Body = Body::Ack { last: Version::ZERO, member: false, epoch: 0, config: 0 };

/// One replica of one slot.
#[derive(Debug)]
pub struct Group {
    me: NodeId,
    slot: Slot,
    era: Era,
    term: Term,
    /// Whom this replica voted for in `term`.
    voted: NodeId,
    /// The leader that this replica last acknowledged a change to. Kept whatever terms are heard of
    /// since: that leader may still count on this replica.
    acknowledged: Option<Acknowledged>,
    /// Led until it gave its term up, and knows nobody who leads since.
    resigned: Option<Resigned>,
    last: Version,
    committed: Version,
    /// The latest config known, committed or not.
    config: Config,
    /// The change that made it.
    config_at: Version,
    role: Role,
    /// Leads, serves, alone: a change needs nobody else. Kept apart because every command asks.
    alone: bool,
}

#[derive(Debug)]
enum Role {
    /// Follows `leader`, which is nobody while unknown. `aside` is the snapshot being built.
    Follower {
        leader: NodeId,
        aside: Option<u64>,
    },
    Candidate(Candidacy),
    Leader(Box<Reign>),
}

impl Group {
    /// The first replica of a slot: leads it alone and serves at once. `before` is the highest
    /// era and term heard of in this slot.
    pub fn create(me: NodeId, slot: Slot, before: Option<(Era, Term)>) -> Self {
        let (era, term) = match before {
            None => (Era::FIRST, Term(1)),
            Some((era, term)) => (era.next(me), Term(term.0 + REVIVAL_TERMS)),
        };
        let config = Config { version: 1, voters: vec![me], learners: Vec::new() };
        let mut group = Self::blank(me, slot, era, term);
        group.config = config;
        group.reign(NodeId::NONE, &mut Vec::new());
        group
    }

    /// A replica that holds nothing yet: the answer to [`Body::Open`] of a leader where there was
    /// none. Whatever it knew in an earlier life it may have voted for that leader, and it does not
    /// vote before the snapshot is whole.
    fn learn(me: NodeId, leader: NodeId, slot: Slot, era: Era, term: Term) -> Self {
        Self { voted: leader, ..Self::blank(me, slot, era, term) }
    }

    fn blank(me: NodeId, slot: Slot, era: Era, term: Term) -> Self {
        Self {
            me,
            slot,
            era,
            term,
            voted: NodeId::NONE,
            acknowledged: None,
            resigned: None,
            last: Version::ZERO,
            committed: Version::ZERO,
            config: Config::default(),
            config_at: Version::ZERO,
            role: Role::Follower { leader: NodeId::NONE, aside: None },
            alone: false,
        }
    }

    /// The slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// The era, compared before the term.
    pub fn era(&self) -> Era {
        self.era
    }

    /// The term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The last change that this replica holds.
    pub fn last(&self) -> Version {
        self.last
    }

    /// The last change known to be held by a majority.
    pub fn committed(&self) -> Version {
        self.committed
    }

    /// The latest config known.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether this replica leads, serves, and needs nobody else for a change.
    #[inline]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// Whether this replica leads the slot, serving or not.
    pub fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether commands may be executed here now: it leads, has committed a change of its own
    /// term, and is not giving the slot away.
    pub fn serves(&self) -> bool {
        match &self.role {
            Role::Leader(reign) => reign.transfer.is_none() && self.committed.term == self.term,
            Role::Follower { .. } | Role::Candidate(_) => false,
        }
    }

    /// Whether commands are to wait here: this replica is about to serve, or about to learn who
    /// does.
    pub fn holds(&self) -> bool {
        match &self.role {
            Role::Leader(_) => !self.serves(),
            Role::Candidate(_) => true,
            Role::Follower { leader, .. } => !leader.is_some() && self.voted.is_some(),
        }
    }

    /// Who leads, as far as this replica knows.
    pub fn leader(&self) -> NodeId {
        match &self.role {
            Role::Leader(_) => self.me,
            Role::Candidate(_) => NodeId::NONE,
            Role::Follower { leader, .. } => *leader,
        }
    }

    /// The route that this replica can vouch for.
    pub fn route(&self) -> Route {
        Route { slot: self.slot, era: self.era, term: self.term, leader: self.leader() }
    }

    /// The version that the next change gets.
    #[inline]
    pub fn next_version(&self) -> Version {
        Version { term: self.term, seq: self.last_seq() + 1 }
    }

    #[inline]
    fn last_seq(&self) -> u64 {
        if self.last.term == self.term { self.last.seq } else { 0 }
    }

    /// Counts a change that the caller made while [`Self::is_alone`].
    #[inline]
    pub fn advance_alone(&mut self, version: Version) {
        debug_assert!(self.alone && version > self.last);
        self.last = version;
        self.committed = version;
    }

    /// Takes in a message of another replica. `ring` is the digest of this node's ring: a
    /// snapshot begins only if both ends see the same; `support` is this node's. A message that
    /// this replica cannot use leaves it unchanged but for the term.
    pub fn receive(
        &mut self,
        from: NodeId,
        message: SlotMessage,
        ring: u64,
        support: &dyn Support,
        out: &mut Vec<Effect>,
    ) {
        let SlotMessage { era, term, body, .. } = message;
        self.heard_in(from, era, term);
        // Who would vote disturbs nobody who leads, whatever term it has heard of.
        match body {
            Body::Inquire(term) if era == self.era => {
                return self.receive_inquiry(from, term, out);
            }
            Body::Released(term) if era == self.era => return self.receive_release(from, term),
            _ => {}
        }
        if (era, term) < (self.era, self.term) {
            return self.receive_old(from, &body, support, out);
        }
        if era > self.era {
            self.enter(era, term, out);
        } else if term > self.term && !matches!(body, Body::Dismiss(_)) {
            if self.is_leader() {
                out.push(Effect::Deposed);
            }
            self.follow(term, NodeId::NONE, out);
        }
        match body {
            Body::Append { prev, committed, changes } => {
                self.receive_append(from, prev, committed, changes, out);
                self.answer(from, support, out);
            }
            Body::Ack { last, member, epoch, config } => {
                self.receive_ack(from, member.then_some(Standing { last, epoch, config }), out);
            }
            Body::Open { snapshot, ring: theirs } => {
                let agreed = theirs == ring || theirs == ANY_RING;
                if !self.receive_open(from, snapshot, agreed, out) {
                    self.send(from, Lane::Ordinary, NOT_HELD, out);
                }
            }
            Body::Piece { snapshot, records } => {
                if self.builds(snapshot) {
                    out.push(Effect::AddAside(records));
                }
            }
            Body::Close { snapshot, last, committed, config } => {
                if self.builds(snapshot) {
                    self.receive_close(last, committed, config, out);
                    self.answer(from, support, out);
                }
            }
            Body::Stand(last) => self.receive_stand(from, term, last, support, out),
            Body::Canvass { pre, last, given_up } => {
                self.receive_canvass(from, (pre, last, given_up), support, out);
            }
            Body::Vote { pre } => self.receive_vote(from, pre, support, out),
            Body::Inquire(_) | Body::Released(_) => {}
            Body::Dismiss(version) => {
                if version >= self.config.version && !self.is_leader() {
                    out.push(Effect::Drop);
                }
            }
        }
    }

    /// Something said in a reign that is over: whoever leads by it is told so. What a leader of
    /// this reign needs to hear is an answer's content, so answers are not answered.
    fn receive_old(
        &mut self,
        from: NodeId,
        body: &Body,
        support: &dyn Support,
        out: &mut Vec<Effect>,
    ) {
        match body {
            Body::Append { .. } | Body::Open { .. } | Body::Close { .. } => {
                self.answer(from, support, out);
            }
            // Somebody who missed the change of reign asks where he stands, or wants to lead.
            Body::Ack { member: true, .. } | Body::Canvass { .. } if self.is_leader() => {
                self.place(from, out);
            }
            // A stand may be said twice; a new leader has answered by its first append.
            Body::Stand(_) | Body::Canvass { .. } if !self.is_leader() => {
                self.answer(from, support, out);
            }
            _ => {}
        }
    }

    /// A higher era: whatever this replica held is void, and it starts anew.
    fn enter(&mut self, era: Era, term: Term, out: &mut Vec<Effect>) {
        if self.is_leader() {
            out.push(Effect::Deposed);
        }
        out.push(Effect::Void);
        *self = Self::blank(self.me, self.slot, era, term);
    }

    fn follow(&mut self, term: Term, leader: NodeId, out: &mut Vec<Effect>) {
        debug_assert!(term >= self.term);
        self.drop_aside(out);
        if term > self.term {
            self.voted = NodeId::NONE;
        }
        self.term = term;
        self.alone = false;
        self.role = Role::Follower { leader, aside: None };
    }

    /// States where this replica stands.
    fn answer(&mut self, to: NodeId, support: &dyn Support, out: &mut Vec<Effect>) {
        let epoch = support.epoch(to);
        if let Some(acknowledged) = &mut self.acknowledged
            && acknowledged.leader == to
        {
            acknowledged.epoch = acknowledged.epoch.max(epoch);
        }
        let config = self.config.version;
        let body = Body::Ack { last: self.last, member: true, epoch, config };
        self.send(to, Lane::Ordinary, body, out);
    }

    /// States where this follower stands to `leader`, whom routes name: a link is new, or a
    /// while has passed without a word. A leader that has it in no config dismisses it.
    pub fn state(&mut self, leader: NodeId, support: &dyn Support, out: &mut Vec<Effect>) {
        if !self.is_leader() && leader != self.me {
            self.answer(leader, support, out);
        }
    }

    fn send(&self, to: NodeId, lane: Lane, body: Body, out: &mut Vec<Effect>) {
        self.send_as(self.term, to, lane, body, out);
    }

    fn send_as(&self, term: Term, to: NodeId, lane: Lane, body: Body, out: &mut Vec<Effect>) {
        let message = SlotMessage { slot: self.slot, era: self.era, term, body };
        out.push(Effect::Send { to, lane, message });
    }

    /// Leads again after the majority is gone, with what this replica holds, in a new era in
    /// which it is the only voter. Whatever a vanished voter alone held is lost: the caller says
    /// so loudly. `heard` is the highest era and term heard of in this slot.
    pub fn revive(&mut self, heard: (Era, Term), out: &mut Vec<Effect>) {
        let (era, term) = heard.max((self.era, self.term));
        self.era = era.next(self.me);
        self.term = Term(term.0.max(self.term.0) + REVIVAL_TERMS);
        let version = self.config.version + 1;
        self.config = Config { version, voters: vec![self.me], learners: Vec::new() };
        self.config_at = Version::ZERO;
        self.reign(NodeId::NONE, out);
    }

    /// Becomes leader of the current term. `stood_for` is who gave it up, known to hold what this
    /// replica holds.
    fn reign(&mut self, stood_for: NodeId, out: &mut Vec<Effect>) {
        self.drop_aside(out);
        self.voted = self.me;
        self.acknowledged = None;
        self.resigned = None;
        let others = self.config.voters.iter().chain(&self.config.learners);
        let others: Vec<NodeId> = others.copied().filter(|node| *node != self.me).collect();
        self.role = Role::Leader(Box::new(Reign::new(&others, stood_for, self.last)));
        out.push(Effect::Leads);
        self.append_change(ChangeKind::Empty, None, out);
        for node in others {
            if node != stood_for {
                self.ask(node, out);
            }
        }
    }

    fn append_change(
        &mut self,
        kind: ChangeKind,
        behind: leader::Behind<'_>,
        out: &mut Vec<Effect>,
    ) {
        let change = Change { version: self.next_version(), kind };
        self.spread(change, behind, out);
    }
}

impl Group {
    /// What a node without a replica makes of a message: a fresh replica that takes it in, or
    /// the answer to the sender, if any. `before` is the era and term of the replica that this node
    /// had when it was dropped, if it had one: what it forgot with it, it must not undo. Who leads
    /// by less is told so, and begins nothing here.
    ///
    /// # Errors
    ///
    /// The message is none that begins a replica; the effect, if any, is the answer.
    pub fn answer_unheld(
        me: NodeId,
        from: NodeId,
        message: &SlotMessage,
        before: Option<(Era, Term)>,
    ) -> Result<Self, Option<Box<Effect>>> {
        let SlotMessage { slot, ref body, .. } = *message;
        let said = (message.era, message.term);
        let (era, term) = before.map_or(said, |before| before.max(said));
        match body {
            Body::Open { .. } if said == (era, term) => Ok(Self::learn(me, from, slot, era, term)),
            Body::Append { .. } | Body::Open { .. } | Body::Close { .. } => {
                let message = SlotMessage { slot, era, term, body: NOT_HELD };
                Err(Some(Box::new(Effect::Send { to: from, lane: Lane::Ordinary, message })))
            }
            _ => Err(release::released(message, from, before)),
        }
    }
}
