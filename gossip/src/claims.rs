//! Claims about members: what is believed, what is said, what is denied. Every change of the
//! table goes through [`Gossip::mark`].

use std::cmp::Ordering;

use piccolo_schema::time::Moment;

use crate::action::{Event, Fatal};
use crate::gossip::Gossip;
use crate::member::{Member, State};
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
    pub(crate) fn merge(&mut self, now: Moment, claims: Vec<Member>, source: Source) {
        for claim in claims {
            if self.is_us(&claim.name) {
                self.hear_of_us(now, &claim);
            } else {
                self.hear(now, claim, source);
            }
        }
    }

    fn hear(&mut self, now: Moment, mut claim: Member, source: Source) {
        let Some(known) = self.table.get(&claim.name) else {
            return self.meet(now, claim);
        };
        if claim.standing(known) != Ordering::Greater
            || (known.id == claim.id && known.state == State::Left)
        {
            return;
        }
        let lives = known.id == claim.id && known.state.is_live();
        if source == Source::Table && claim.state == State::Dead && lives {
            claim.state = State::Suspect;
            if claim.standing(known) != Ordering::Greater {
                return;
            }
        }
        self.mark(now, claim);
    }

    /// Takes in a name never heard before. One that left is not taken in: nodes that forget it at
    /// different times would remind each other for ever.
    fn meet(&mut self, now: Moment, claim: Member) {
        if claim.state == State::Left {
            return;
        }
        if self.table.len() >= self.config.members_max {
            self.stats.claims_ignored += 1;
            return;
        }
        self.mark(now, claim);
    }

    /// Hears what others think of us, and denies it where it is wrong.
    fn hear_of_us(&mut self, now: Moment, claim: &Member) {
        let me = self.me();
        if me.said == State::Left {
            return;
        }
        if claim.id == me.id {
            if claim.standing(me) == Ordering::Greater {
                self.stats.refutations += 1;
                self.outbid(now, claim.generation, claim.incarnation);
            }
        } else if claim.life(me) == Ordering::Greater {
            if claim.peer == me.peer {
                // Nobody else can have our address: an earlier life with a faster clock.
                self.outbid(now, claim.generation.saturating_add(1), 0);
            } else {
                self.fatal(Fatal::NameTaken { by: claim.peer });
            }
        } else {
            self.rumors.add(&self.name);
            self.arm_gossip(now);
        }
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
            let member = Member { state: State::Dead, since: now, ..old };
            self.event(Event::Changed { member, was });
        }
        self.table.put(claim.clone());
        self.watch(now, &claim);
        self.rumors.add(&claim.name);
        self.arm_gossip(now);
        if changed {
            self.event(Event::Changed { member: claim, was });
        }
    }

    /// Starts the rounds of gossip, unless they run or there is no cluster to tell.
    pub(crate) fn arm_gossip(&mut self, now: Moment) {
        if self.cluster.is_some() {
            self.timers.set_at_latest(Timer::Gossip, now + self.config.gossip_interval);
        }
    }
}
