//! How nodes without a cluster make exactly one.
//!
//! They agree on the id of the cluster as Paxos agrees on a value: the node of the lowest name
//! opens a ballot; each node promises itself to the highest ballot it has heard of, and to no
//! lower one ever after; with `expect` promises the opener proposes the cluster that those who
//! promised accepted last, or else its own; with `expect` acceptances the cluster exists. Since
//! `expect` exceeds half of all, two ballots share a node, and so the second one proposes what the
//! first one may have decided. Only the node that drew the id counts as the creator.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;

use crate::claims::Source;
use crate::gossip::{Gossip, Phase};
use crate::join::common;
use crate::member::Member;
use crate::message::{Ballot, Body, Join};
use crate::reject::Reject;

/// Nodes without a cluster remembered at most.
pub(crate) const FOUNDERS_MAX: usize = 256;

/// This node's part, and what it knows of the others'.
#[derive(Clone, Debug, Default)]
pub(crate) struct Founding {
    /// Nothing below is supported any more.
    promised: Ballot,
    /// What was accepted last, and in which ballot.
    accepted: Option<(Ballot, ClusterId)>,
    /// What we propose, while `promised` is our own ballot.
    proposed: Option<ClusterId>,
    /// No own ballot before then: another's is under way.
    stand_after: Moment,
    founders: BTreeMap<String, Founder>,
}

/// Another node without a cluster.
#[derive(Clone, Debug)]
struct Founder {
    claim: Member,
    join: Join,
    heard: Moment,
}

impl Founder {
    /// It means to found a cluster: it has heard of none.
    fn takes_part(&self) -> bool {
        self.join.expect > 0 && !self.join.wanted.is_some()
    }
}

impl Founding {
    /// What to tell others about our part.
    pub(crate) const fn join(&self, expect: u16, answer: bool, wanted: ClusterId) -> Join {
        let Self { promised, accepted, proposed, .. } = *self;
        Join { expect, answer, promised, accepted, proposed, wanted }
    }

    /// Where the other founders are.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.founders.values().map(|founder| founder.claim.peer)
    }

    /// How the other founders are called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.founders.keys().map(String::as_str)
    }

    /// The other founders, as they describe themselves.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Member> {
        self.founders.values().map(|founder| founder.claim.clone())
    }

    /// Those who want into that cluster, or into none that they have heard of.
    fn undecided(&self, cluster: ClusterId) -> Vec<Member> {
        let founders = self.founders.values();
        let free = founders
            .filter(|founder| !founder.join.wanted.is_some() || founder.join.wanted == cluster);
        free.map(|founder| founder.claim.clone()).collect()
    }

    /// Those who take part, and how many it takes.
    fn electors(&self, expect: u16) -> (Vec<&Founder>, usize) {
        let part: Vec<_> = self.founders.values().filter(|f| f.takes_part()).collect();
        let most = part.iter().map(|founder| founder.join.expect).max().unwrap_or(0);
        (part, usize::from(most.max(expect)))
    }

    /// Supports the ballot of another if it is not below what was promised, and says whether
    /// anything changed.
    fn support(&mut self, now: Moment, opener: &Founder, patience: std::time::Duration) -> bool {
        let ballot = opener.join.promised;
        if ballot.node != opener.claim.id || ballot < self.promised {
            return false;
        }
        let mut changed = false;
        if ballot > self.promised {
            (self.promised, self.proposed) = (ballot, None);
            self.stand_after = now + patience;
            changed = true;
        }
        if let Some(cluster) = opener.join.proposed
            && self.accepted != Some((ballot, cluster))
        {
            self.accepted = Some((ballot, cluster));
            changed = true;
        }
        changed
    }
}

impl Gossip {
    /// Takes in the join of another node without a cluster, while we have none either.
    pub(crate) fn found(
        &mut self,
        now: Moment,
        from: SocketAddr,
        claim: Member,
        others: &[Member],
        join: Join,
    ) -> Result<(), Reject> {
        if self.is_us(&claim.name) {
            return Err(Reject::NoCluster);
        }
        let (theirs, ours) = (claim.protocol, self.me().protocol);
        if common(theirs, ours).is_none() {
            return Err(Reject::Version { theirs, ours });
        }
        self.drop_silent(now);
        let founders = &self.founding.founders;
        let first = founders.get(&claim.name).is_none_or(|known| {
            known.claim.id == claim.id
                || (known.claim.peer == claim.peer && known.claim.generation < claim.generation)
        });
        if !first || (founders.len() >= FOUNDERS_MAX && !founders.contains_key(&claim.name)) {
            return Err(Reject::NoCluster);
        }
        let to = claim.id;
        let founder = Founder { claim, join, heard: now };
        let patience = self.up_to(self.config.founder_silence) + self.config.join_retry;
        let takes_part = self.expect > 0 && join.expect > 0 && !self.has_chosen(now);
        let changed = takes_part && self.founding.support(now, &founder, patience);
        self.founding.founders.insert(founder.claim.name.clone(), founder);
        self.look_up(others);
        let broadcast = self.found_step(now);
        if self.cluster.is_some() {
            return Ok(());
        }
        if broadcast {
            self.send_joins(now);
        } else if changed || !join.answer {
            let answer = Body::Join(self.founding.join(self.expect, true, self.wanted(now)));
            let updates = self.introduction();
            self.send(from, to, answer, updates);
        }
        Ok(())
    }

    /// Asks nodes that others have found, and we have not.
    fn look_up(&mut self, others: &[Member]) {
        for other in others {
            let known = self.is_us(&other.name)
                || other.peer == self.peer
                || self.founding.founders.contains_key(&other.name)
                || self.seeds.contains(&other.peer);
            if !known {
                self.send_join(other.peer, NodeId::NONE, ClusterId::NONE);
            }
        }
    }

    pub(crate) fn drop_silent(&mut self, now: Moment) {
        let silence = self.config.founder_silence;
        self.founding.founders.retain(|_, founder| now.since(founder.heard) < silence);
    }

    /// Goes as far towards a cluster as what is known allows. Says whether the others must hear
    /// of it.
    pub(crate) fn found_step(&mut self, now: Moment) -> bool {
        let Phase::Seeking { since } = self.phase else { return false };
        // Whoever forms a cluster must first have given an existing one time to answer.
        if self.expect == 0 || now.since(since) < self.config.create_wait || self.has_chosen(now) {
            return false;
        }
        let opened = self.open_ballot(now);
        let proposed = self.propose();
        if let Some(cluster) = self.decided() {
            self.found_cluster(now, cluster);
        }
        opened || proposed
    }

    /// Opens a ballot if that falls to us.
    fn open_ballot(&mut self, now: Moment) -> bool {
        let founding = &self.founding;
        let (part, needed) = founding.electors(self.expect);
        let lowest = part.iter().all(|founder| founder.claim.name > self.name);
        let open = founding.promised.node == self.id;
        let mut versions = part.iter().map(|founder| founder.claim.protocol);
        let speak = versions.try_fold(self.me().protocol, common).is_some();
        let ready = part.len() + 1 >= needed && lowest && speak;
        if !ready || open || now < founding.stand_after {
            return false;
        }
        let highest = part.iter().map(|founder| founder.join.promised.round).max().unwrap_or(0);
        let round = highest.max(founding.promised.round).saturating_add(1);
        self.founding.promised = Ballot { round, node: self.id };
        self.founding.proposed = None;
        true
    }

    /// Proposes a cluster in our ballot once enough have promised themselves to it.
    fn propose(&mut self) -> bool {
        let founding = &self.founding;
        let ballot = founding.promised;
        if ballot.node != self.id || founding.proposed.is_some() {
            return false;
        }
        let (part, needed) = founding.electors(self.expect);
        let promised: Vec<_> = part.iter().filter(|f| f.join.promised == ballot).collect();
        if promised.len() + 1 < needed {
            return false;
        }
        let accepted = promised.iter().filter_map(|founder| founder.join.accepted);
        let latest = accepted.chain(founding.accepted).max_by_key(|(ballot, _)| *ballot);
        let cluster = latest.map_or(self.own_cluster, |(_, cluster)| cluster);
        self.founding.proposed = Some(cluster);
        self.founding.accepted = Some((ballot, cluster));
        true
    }

    /// The cluster that enough have accepted in our ballot.
    fn decided(&self) -> Option<ClusterId> {
        let founding = &self.founding;
        let cluster = founding.proposed.filter(|_| founding.promised.node == self.id)?;
        let (part, needed) = founding.electors(self.expect);
        let decision = Some((founding.promised, cluster));
        let accepted = part.iter().filter(|founder| founder.join.accepted == decision).count();
        (accepted + 1 >= needed).then_some(cluster)
    }

    /// Enters the cluster that was decided, and lets the founders in at once.
    fn found_cluster(&mut self, now: Moment, cluster: ClusterId) {
        let founders = self.founding.undecided(cluster);
        self.enter(now, cluster);
        self.merge(now, self.id, founders.clone(), Source::News);
        for founder in founders {
            self.send_table((founder.peer, founder.id), &Body::Welcome);
        }
    }
}
