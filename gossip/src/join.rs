//! How a node comes in, and who lets it.

use std::cmp::Ordering;
use std::net::SocketAddr;

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;
use rand::seq::SliceRandom;

use crate::action::{Event, Fatal};
use crate::claims::Source;
use crate::gossip::{Gossip, Phase};
use crate::member::{Member, State};
use crate::message::{Body, Refusal};
use crate::reject::Reject;
use crate::timers::Timer;

/// Seeds and founders asked in one attempt to join, at most.
const ASKED_AT_ONCE: usize = 24;

/// Founders named in a join, at most: so that those who share one seed find each other.
const INTRODUCED_MAX: usize = 8;

/// How often a second node asks within its waiting time.
const ASKS_PER_WAIT: u32 = 5;

impl Gossip {
    /// `--create`: asks the seeds whether there is a cluster, or creates one.
    pub(crate) fn ask(&mut self, now: Moment) {
        let Phase::Asking { until } = self.phase else { return };
        let until = until.unwrap_or(now + self.config.create_wait);
        if self.seeds.is_empty() || now >= until {
            return self.enter(now, self.own_cluster);
        }
        self.phase = Phase::Asking { until: Some(until) };
        for seed in self.seeds.clone() {
            self.ping(now, seed, NodeId::NONE);
        }
        let next = now + self.config.create_wait / ASKS_PER_WAIT;
        self.timers.set(Timer::Ask, next.min(until));
    }

    /// `--join`: asks the seeds and whoever else is looking for a cluster; for ever.
    pub(crate) fn seek(&mut self, now: Moment) {
        let Phase::Seeking { since } = self.phase else { return };
        self.want_seeds();
        self.drop_silent(now);
        self.found_step(now);
        if self.cluster.is_some() {
            return;
        }
        self.send_joins(now);
        let hurry = now.since(since) < self.config.create_wait;
        let wait = self.config.create_wait / ASKS_PER_WAIT;
        let next = if hurry { wait } else { self.config.join_retry };
        let next = self.about(next);
        self.timers.set(Timer::Join, now + next);
    }

    /// Asks everybody who may know of a cluster.
    pub(crate) fn send_joins(&mut self, now: Moment) {
        let mut addresses: Vec<_> = self.seeds.clone();
        addresses.extend(self.founding.addresses());
        addresses.sort_unstable();
        addresses.dedup();
        let wanted = self.wanted(now);
        if let Some(choice) = self.chosen(now) {
            addresses.retain(|address| *address != choice.by);
            self.send_join(choice.by, choice.id, wanted);
        }
        let (drawn, _) = addresses.partial_shuffle(&mut self.rng, ASKED_AT_ONCE);
        for to in drawn.iter().copied() {
            self.send_join(to, NodeId::NONE, wanted);
        }
    }

    /// Asks to come into a cluster, or, of whoever that may be, for what it knows of one.
    pub(crate) fn send_join(&mut self, to: SocketAddr, to_id: NodeId, wanted: ClusterId) {
        let join = self.founding.join(self.expect, false, wanted);
        let updates = self.introduction();
        self.send(to, to_id, Body::Join(join), updates);
    }

    /// Ourselves, and a few founders that we have found.
    pub(crate) fn introduction(&mut self) -> Vec<Member> {
        let mut founders: Vec<Member> = self.founding.claims().collect();
        let (drawn, _) = founders.partial_shuffle(&mut self.rng, INTRODUCED_MAX);
        let mut updates = vec![self.me().clone()];
        updates.extend(drawn.iter().cloned());
        updates
    }

    /// Lets a newcomer in, refuses it, or puts the one who has its name to the test.
    pub(crate) fn admit(
        &mut self,
        now: Moment,
        from: SocketAddr,
        claim: Member,
    ) -> Result<(), Reject> {
        let id = claim.id;
        if self.is_us(&claim.name) {
            self.refuse(from, id, Refusal::NameTaken(self.peer));
            return Ok(());
        }
        let versions = self.versions();
        if common(versions, claim.protocol).is_none() {
            self.refuse(from, id, Refusal::Version(versions));
            return Ok(());
        }
        let known = self.table.get(&claim.name);
        let members_max = self.config.members_max;
        if known.is_none() && !self.table.has_room(members_max) {
            self.refuse(from, id, Refusal::Full(u32::try_from(members_max).unwrap_or(u32::MAX)));
            return Err(Reject::Full { members_max });
        }
        match known.filter(|known| known.id != id) {
            Some(known) if known.state.is_live() && known.peer != claim.peer => {
                let incumbent = known.id;
                self.put_to_test(now, incumbent, claim, from);
                return Ok(());
            }
            Some(known) if claim.life(known) != Ordering::Greater => {
                let generation = known.generation;
                self.refuse(from, id, Refusal::Stale(generation));
                return Ok(());
            }
            Some(_) | None => {}
        }
        self.trials.end(id);
        self.merge(now, id, vec![claim], Source::News);
        self.send_table((from, id), &Body::Welcome);
        Ok(())
    }

    pub(crate) fn refuse(&mut self, to: SocketAddr, id: NodeId, why: Refusal) {
        self.send(to, id, Body::Refuse(why), Vec::new());
    }

    /// Takes in that a cluster let us in.
    pub(crate) fn welcomed(
        &mut self,
        now: Moment,
        by: NodeId,
        cluster: ClusterId,
        members: Vec<Member>,
    ) {
        self.enter(now, cluster);
        self.merge(now, by, members, Source::Table);
        self.rumors.add(&self.name, self.id);
        self.arm_gossip(now);
    }

    /// Takes in that a cluster did not. One that we only heard of in passing does not stop us.
    pub(crate) fn refused(&mut self, now: Moment, (from, id): (SocketAddr, NodeId), why: Refusal) {
        let asked = self.seeds.contains(&from) || self.founding.addresses().any(|it| it == from);
        match why {
            Refusal::NameTaken(_) | Refusal::Version(_) if !asked => self.choice = None,
            Refusal::NameTaken(by) => self.fatal(Fatal::NameTaken { by }),
            Refusal::Version(theirs) => {
                let ours = self.me().protocol;
                self.fatal(Fatal::Version { theirs, ours });
            }
            Refusal::Stale(generation) => {
                let mut claim = self.me().clone();
                claim.generation = claim.generation.max(generation.saturating_add(1));
                self.mark(now, claim);
                self.send_join(from, id, self.wanted(now));
            }
            // It asks on: there is room again once the dead are removed.
            Refusal::Full(members_max) => self.event(Event::Full { by: from, members_max }),
        }
    }
}

/// The versions of the protocol in two ranges, if there are any.
pub(crate) fn common(a: (u16, u16), b: (u16, u16)) -> Option<(u16, u16)> {
    let (oldest, newest) = (a.0.max(b.0), a.1.min(b.1));
    (oldest <= newest).then_some((oldest, newest))
}

/// The sender's own claim, which a join must begin with.
pub(crate) fn newcomer(from: NodeId, name: &str, updates: &[Member]) -> Option<Member> {
    let claim = updates.first().filter(|claim| claim.id == from && claim.name == name)?;
    (claim.state < State::Suspect).then(|| claim.clone())
}
