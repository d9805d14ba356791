//! Claims about members: what is believed, what is said, what is denied. Every change of the
//! table goes through [`Gossip::mark`].

use std::cmp::Ordering;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use crate::action::{Event, Fatal};
use crate::gossip::Gossip;
use crate::member::{Member, State};
use crate::message::Body;
use crate::timers::Timer;

/// How a claim came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// As news.
    News,
    /// As part of a whole table, which may be old: after a partition each side holds the other
    /// dead, and must not bury it in each other's name.
    Table,
}

impl Gossip {
    /// Believes what outweighs the own knowledge.
    pub(crate) fn merge(
        &mut self,
        now: Moment,
        teller: NodeId,
        claims: Vec<Member>,
        source: Source,
    ) {
        for claim in claims {
            if self.is_farewell_of_a_stranger(teller, &claim) {
                self.trials.end(claim.id);
                self.stats.claims_ignored += 1;
            } else if self.is_us(&claim.name) {
                self.hear_of_us(now, &claim);
            } else {
                self.hear(now, teller, claim, source);
            }
        }
    }

    /// Whether a node says good-bye that is not in: it was let in by another member perhaps, or by
    /// none. Whoever has that name, if anybody, lives on.
    fn is_farewell_of_a_stranger(&self, teller: NodeId, claim: &Member) -> bool {
        claim.state == State::Left
            && claim.id == teller
            && self.table.get(&claim.name).is_some_and(|known| known.id != claim.id)
    }

    fn hear(&mut self, now: Moment, teller: NodeId, mut claim: Member, source: Source) {
        let Some(known) = self.table.get(&claim.name) else {
            return self.meet(now, teller, claim);
        };
        match claim.standing(known) {
            Ordering::Less => return,
            Ordering::Equal => return self.confirm(now, &claim.name, &claim.accusers, teller),
            Ordering::Greater => {}
        }
        let lives = known.id == claim.id && known.state.is_live();
        if source == Source::Table && claim.state == State::Dead && lives {
            return self.doubt(claim);
        }
        let accusers = std::mem::take(&mut claim.accusers);
        self.accuse(&mut claim, &accusers);
        let name = claim.name.clone();
        self.mark(now, claim);
        self.rumors.known_to(&name, teller);
    }

    /// Hears that a member that we hold live is dead to another. That is often as old as a
    /// partition, and then all of one side are dead to the other: we ask the member next, and
    /// tell it, so that it refutes; nobody else hears of it from us.
    fn doubt(&mut self, claim: Member) {
        self.probing.prefer(&claim.name);
        self.send(claim.peer, claim.id, Body::Gossip, vec![claim]);
    }

    /// Takes in a name never heard before. One that left is not taken in: nodes that forget it at
    /// different times would remind each other for ever.
    fn meet(&mut self, now: Moment, teller: NodeId, claim: Member) {
        if claim.state == State::Left && claim.said == State::Left {
            return;
        }
        if !self.table.has_room(self.config.members_max) {
            self.stats.claims_ignored += 1;
            return;
        }
        let name = claim.name.clone();
        self.mark(now, claim);
        self.rumors.known_to(&name, teller);
    }

    /// Hears what others think of us, and denies it where it is wrong.
    fn hear_of_us(&mut self, now: Moment, claim: &Member) {
        let me = self.me();
        if me.said == State::Left {
            return;
        }
        if claim.id == me.id {
            match claim.standing(me) {
                Ordering::Greater if claim.state == State::Left => self.fatal(Fatal::Removed),
                Ordering::Greater => {
                    self.stats.refutations += 1;
                    self.feel_worse(1);
                    self.outbid(now, claim.generation, claim.incarnation);
                }
                // Denied already, but the teller has not heard it.
                Ordering::Less => self.remind(now),
                Ordering::Equal => {}
            }
        } else if claim.life(me) == Ordering::Greater {
            if claim.peer == me.peer {
                // Nobody else can have our address: an earlier life with a faster clock.
                self.outbid(now, claim.generation.saturating_add(1), 0);
            } else {
                self.fatal(Fatal::Superseded { by: claim.peer });
            }
        } else {
            self.remind(now);
        }
    }

    /// Says our last word once more.
    fn remind(&mut self, now: Moment) {
        self.rumors.add(&self.name, self.id);
        self.arm_gossip(now);
    }

    /// Repeats our last word in a claim that outweighs the given one.
    fn outbid(&mut self, now: Moment, generation: u64, incarnation: u32) {
        let mut claim = self.me().clone();
        claim.generation = claim.generation.max(generation);
        claim.incarnation = claim.incarnation.max(incarnation).saturating_add(1);
        self.mark(now, claim);
    }

    /// Says something new about ourselves.
    pub(crate) fn speak(&mut self, now: Moment, said: State) {
        let mut claim = self.me().clone();
        claim.incarnation = claim.incarnation.saturating_add(1);
        (claim.said, claim.state) = (said, said);
        self.mark(now, claim);
    }

    /// Puts what is now believed of a member into the table, tells the caller of the change, and
    /// passes it on. The one place where the table changes.
    pub(crate) fn mark(&mut self, now: Moment, mut claim: Member) {
        if claim.state != State::Suspect {
            claim.accusers.clear();
        }
        let known = self.table.get(&claim.name).cloned();
        let same = known.as_ref().filter(|known| known.id == claim.id);
        claim.since = same.filter(|k| k.state == claim.state).map_or(now, |known| known.since);
        let was = same.map(|known| known.state);
        let changed = same.is_none_or(|k| (k.state, k.said) != (claim.state, claim.said));
        if let Some(State::Suspect | State::Dead) = was
            && claim.state < State::Suspect
        {
            self.stats.suspicions_refuted += 1;
        }
        let superseded = known.filter(|known| known.id != claim.id && known.state.is_live());
        if let Some(old) = superseded {
            let was = Some(old.state);
            let member = Box::new(Member { state: State::Dead, since: now, ..old });
            self.event(Event::Changed { member, was });
        }
        self.table.put(claim.clone());
        self.watch(now, &claim);
        self.rumors.add(&claim.name, claim.id);
        self.arm_gossip(now);
        if changed {
            self.event(Event::Changed { member: Box::new(claim), was });
        }
    }

    /// Starts the rounds of gossip, unless they run or there is no cluster to tell.
    pub(crate) fn arm_gossip(&mut self, now: Moment) {
        if self.cluster.is_some() {
            self.timers.set_at_latest(Timer::Gossip, now + self.config.gossip_interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RemoveError;
    use crate::action::Action;
    use crate::member::tests::{alone, member};
    use proptest::prelude::*;

    /// Claims that honest nodes could make about one name, of two lives.
    fn claims() -> impl Strategy<Value = Vec<Member>> {
        let states = [State::Alive, State::Leaving, State::Suspect, State::Dead];
        let claim = (1..3_u128, 0..4_u32, prop::sample::select(states.to_vec()));
        let claim = claim.prop_map(|(id, incarnation, state)| Member {
            generation: id as u64,
            incarnation,
            state,
            ..member("x", id)
        });
        prop::collection::vec(claim, 1..12)
    }

    fn final_word(claims: Vec<Member>) -> Option<Member> {
        let mut gossip = alone("me");
        for (time, claim) in claims.into_iter().enumerate() {
            gossip.merge(Moment(time as u64), NodeId(9), vec![claim], Source::News);
        }
        gossip.table.get("x").map(|x| Member { since: Moment(0), ..x.clone() })
    }

    proptest! {
        #[test]
        fn news_in_any_order_and_any_number_of_times_ends_in_one_word(
            (claims, shuffled) in claims().prop_flat_map(|claims| {
                let twice = [claims.clone(), claims.clone()].concat();
                (Just(claims), Just(twice).prop_shuffle())
            }),
        ) {
            prop_assert_eq!(final_word(claims), final_word(shuffled));
        }
    }

    #[test]
    fn a_table_buries_nobody_who_lives_but_news_does() {
        let dead = Member { state: State::Dead, ..member("x", 1) };
        for (source, state) in [(Source::Table, State::Alive), (Source::News, State::Dead)] {
            let mut gossip = alone("me");
            gossip.merge(Moment(1), NodeId(9), vec![member("x", 1)], Source::News);
            while gossip.next_action().is_some() {}
            gossip.merge(Moment(2), NodeId(9), vec![dead.clone()], source);
            assert_eq!(gossip.table.get("x").map(|x| x.state), Some(state));
            let told = std::iter::from_fn(|| gossip.next_action());
            let told = told.filter(|action| match action {
                Action::Send { to, .. } => *to == dead.peer,
                _ => false,
            });
            assert_eq!(told.count(), usize::from(source == Source::Table), "it may refute");
        }
    }

    #[test]
    fn each_accuser_counts_once_and_only_so_many() {
        let mut gossip = alone("me");
        gossip.merge(Moment(1), NodeId(9), vec![member("x", 1)], Source::News);
        for (accusers, expected) in
            [(vec![2], 1), (vec![2, 3], 2), (vec![3, 1], 2), (vec![4, 5, 6, 7], 4)]
        {
            let accusers = accusers.into_iter().map(NodeId).collect();
            let claim = Member { state: State::Suspect, accusers, ..member("x", 1) };
            gossip.merge(Moment(2), NodeId(9), vec![claim], Source::News);
            assert_eq!(gossip.table.get("x").map(|x| x.accusers.len()), Some(expected));
        }
    }

    #[test]
    fn who_was_removed_stops_and_is_not_outbid() {
        let mut gossip = alone("me");
        let removed = Member { state: State::Left, ..gossip.me().clone() };
        gossip.merge(Moment(1), NodeId(9), vec![removed], Source::News);
        assert!(
            std::iter::from_fn(|| gossip.next_action())
                .any(|action| action == Action::Event(Event::Fatal(Fatal::Removed)))
        );
        let mut gossip = alone("me");
        gossip.merge(Moment(1), NodeId(9), vec![member("x", 1)], Source::News);
        assert_eq!(gossip.remove(Moment(2), "x"), Err(RemoveError::Live));
        assert_eq!(gossip.remove(Moment(2), "y"), Err(RemoveError::Unknown));
        let dead = Member { state: State::Dead, ..member("x", 1) };
        gossip.merge(Moment(2), NodeId(9), vec![dead], Source::News);
        assert_eq!(gossip.remove(Moment(3), "x"), Ok(()));
        let back = Member { incarnation: 7, ..member("x", 1) };
        gossip.merge(Moment(4), NodeId(9), vec![back], Source::News);
        assert_eq!(gossip.table.get("x").map(|x| x.state), Some(State::Left));
    }

    #[test]
    fn what_is_held_against_us_is_outbid_and_only_then() {
        let mut gossip = alone("me");
        let calm = gossip.me().clone();
        for (state, incarnation, expected) in
            [(State::Alive, 0, 1), (State::Suspect, 1, 2), (State::Dead, 7, 8), (State::Dead, 3, 8)]
        {
            let claim = Member { incarnation, state, ..calm.clone() };
            gossip.merge(Moment(1), NodeId(9), vec![claim], Source::News);
            let me = gossip.me();
            assert_eq!((me.incarnation, me.state, me.said), (expected, calm.state, calm.said));
        }
    }

    #[test]
    fn one_that_left_is_not_learnt_from_others_and_a_full_table_learns_nobody() {
        let mut gossip = alone("me");
        let left = Member { state: State::Left, said: State::Left, ..member("x", 1) };
        gossip.merge(Moment(1), NodeId(9), vec![left], Source::Table);
        assert!(gossip.table.get("x").is_none());
        gossip.config.members_max = 2;
        let claims = vec![member("x", 1), member("y", 2)];
        gossip.merge(Moment(1), NodeId(9), claims, Source::News);
        assert!(gossip.table.get("x").is_some() && gossip.table.get("y").is_none());
        assert_eq!(gossip.stats.claims_ignored, 1);
    }
}
