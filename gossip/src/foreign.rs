//! Other clusters. When two of them count one node, the one that stands goes on.
//!
//! Nobody stops for what it overhears. A node that is counted by another cluster, or addressed as
//! somebody else by it, introduces itself. The other side looks it up, and says whether it counts
//! that node, and how many of its own members it hears: a cluster stands where at least half are
//! heard. Who is claimed by one that stands and is no smaller stops if that stays so for a while.
//! If instead most members of the other side live on elsewhere, its cluster is over, and it stops.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;

use crate::action::{Event, Fatal};
use crate::gossip::Gossip;
use crate::join::newcomer;
use crate::member::{Member, State};
use crate::message::{Body, Message};
use crate::reject::Reject;

/// What is known of other clusters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Foreign {
    /// Later lives of our members in other clusters, by name: of members only.
    moved: BTreeMap<String, Moved>,
    /// Where nodes of other clusters have the names of members that live elsewhere, and since when
    /// that is known: of members only.
    namesakes: BTreeMap<String, Vec<(SocketAddr, Moment)>>,
    /// The claim upon us that outweighs our own cluster, if there is one now.
    losing: Option<Losing>,
    /// Where most of our members live on, while this node does not stand, and at how many probes
    /// in a row that was so.
    over: Option<(ClusterId, SocketAddr, u32)>,
    /// Members that this node hears, itself included, if they are at least half of all; until when
    /// that is known.
    heard: (u32, Moment),
}

#[derive(Clone, Debug)]
struct Moved {
    cluster: ClusterId,
    heard_at: Moment,
    claim: Member,
}

/// A cluster that counts us, stands, and in which no fewer are heard than here.
#[derive(Clone, Copy, Debug)]
struct Losing {
    cluster: ClusterId,
    by: (SocketAddr, NodeId),
    /// How often it has said so, each time a while after the last.
    times: u32,
    last: Moment,
}

impl Losing {
    fn is_old(&self, now: Moment) -> bool {
        now.since(self.last) > CLAIM_MEMORY
    }
}

/// How long it counts that a member was heard in another cluster: each of a few dead is tried
/// several times in it.
const MOVED_MEMORY: Duration = Duration::from_mins(1);

/// A member that was held live for so long after its name was heard in another cluster has only
/// its name in common with that one.
const NAMESAKE_AFTER: Duration = Duration::from_mins(1);

/// Namesakes of one member that are remembered, the latest first.
const NAMESAKES_MAX: usize = 8;

/// Time between two claims upon us that count each, and how many make us stop. Less than a second
/// proves nothing: our own cluster may not have been heard yet since we came in or were paused, and
/// the other one may not have noticed its own pause.
const CLAIM_SPACING: Duration = Duration::from_millis(300);
const CLAIMS_TO_STOP: u32 = 6;

/// At how many probes in a row, a second apart, our cluster must look over. Whoever was paused
/// hears nobody for the tenth of a second between two heartbeats.
const PROBES_TO_STOP: u32 = 3;

/// A claim that was not repeated for so long is forgotten.
const CLAIM_MEMORY: Duration = Duration::from_secs(5);

impl Gossip {
    /// Says how many members this node hears, itself included, and until when they are known to be
    /// at least half of all. Where another cluster counts this node, too, that decides who stops.
    pub fn stand(&mut self, heard: u32, until: Moment) {
        self.foreign.heard = (heard, until);
    }

    /// Members heard now; zero if they are less than half.
    fn heard(&self, now: Moment) -> u32 {
        let (heard, until) = self.foreign.heard;
        if now < until { heard } else { 0 }
    }

    /// The sender is of another cluster.
    pub(crate) fn foreigner_says(
        &mut self,
        now: Moment,
        from: SocketAddr,
        message: &Message,
    ) -> Result<(), Reject> {
        let Message { cluster, to, ref updates, .. } = *message;
        match (&message.body, newcomer(message.from, &message.from_name, updates)) {
            (Body::Claimed(heard), _) if to == self.id => {
                self.claimed(now, cluster, (from, message.from), updates, *heard);
            }
            (Body::Ping(_), Some(claim)) if to == self.id => {
                self.introduced(now, from, cluster, claim);
            }
            // Whatever else it says, a claim or an introduction meant for an earlier life among it.
            // One that pings whoever is here has us among its seeds.
            (body, _)
                if matches!(body, Body::Ping(_)) || self.is_taken_for_a_member(to, updates) =>
            {
                self.introduce(from, message.from);
            }
            _ => {}
        }
        Err(Reject::ForeignCluster { cluster })
    }

    /// Whether whoever says this counts us, or whoever had our address before, as its member.
    fn is_taken_for_a_member(&self, to: NodeId, updates: &[Member]) -> bool {
        let counts = |claim: &Member| {
            claim.state != State::Left && (self.is_us(&claim.name) || claim.peer == self.peer)
        };
        to.is_some() || updates.iter().any(counts)
    }

    /// Says who we are.
    pub(crate) fn introduce(&mut self, to: SocketAddr, id: NodeId) {
        let sequence = self.probing.number();
        let me = vec![self.me().clone()];
        self.send(to, id, Body::Ping(sequence), me);
    }

    /// A node of another cluster says who it is. If it is none of ours, that is all; else one of
    /// the two clusters is a mistake, or over.
    fn introduced(&mut self, now: Moment, from: SocketAddr, cluster: ClusterId, claim: Member) {
        self.note_namesake(now, &claim);
        let taken_for = |held: &&Member| self.is_taken_for(held, &claim);
        let Some(held) = self.table.iter().find(taken_for) else {
            if self.seeds.contains(&from) {
                self.event(Event::ForeignSeed { cluster, by: from });
            }
            return;
        };
        let (held, id) = (held.clone(), claim.id);
        if held.id == id {
            return self.let_go(now, held);
        }
        if held.name == claim.name {
            self.note_moved(now, &held, Moved { cluster, heard_at: now, claim });
        } else {
            // The address may have passed on, however fast we probe: who lives there refutes.
            self.suspect(now, &held.name, held.id);
        }
        let heard = self.heard(now);
        let (moved, members) = self.count_moved(now, cluster);
        // One that stands may lead what was brought back for those who moved.
        if heard == 0 && 2 * moved > members {
            if self.foreign.over.is_none_or(|(other, ..)| other != cluster) {
                self.foreign.over = Some((cluster, from, 0));
            }
            return;
        }
        self.event(Event::Disputed { cluster, by: from });
        self.send(from, id, Body::Claimed(heard), vec![held]);
    }

    /// Notes that a node of another cluster has the name of a member which lives elsewhere.
    fn note_namesake(&mut self, now: Moment, claim: &Member) {
        let namesakes = &mut self.foreign.namesakes;
        namesakes.retain(|name, _| self.table.get(name).is_some());
        let Some(held) = self.table.get(&claim.name) else { return };
        let elsewhere = held.state.is_live() && held.id != claim.id && held.peer != claim.peer;
        if elsewhere {
            let known = namesakes.entry(claim.name.clone()).or_default();
            if !known.iter().any(|(peer, _)| *peer == claim.peer) {
                known.truncate(NAMESAKES_MAX - 1);
                known.insert(0, (claim.peer, now));
            }
        }
    }

    /// Whether a member of ours is, or was, the node of another cluster that makes this claim: the
    /// very same; an earlier life, unless it goes on, or went on, at another address; or who lives
    /// at its address.
    fn is_taken_for(&self, held: &Member, claim: &Member) -> bool {
        if held.state == State::Left {
            false
        } else if held.name == claim.name {
            let over = held.peer == claim.peer || !held.state.is_live();
            let later = claim.life(held) == Ordering::Greater;
            held.id == claim.id || (later && over && !self.is_namesake(held, claim))
        } else {
            // Of a suspect the address may have passed on.
            held.peer == claim.peer && held.state < State::Suspect
        }
    }

    fn is_namesake(&self, held: &Member, claim: &Member) -> bool {
        let known = self.foreign.namesakes.get(&claim.name);
        known
            .into_iter()
            .flatten()
            .any(|(peer, since)| *peer == claim.peer && held.since.since(*since) >= NAMESAKE_AFTER)
    }

    /// One life enters one cluster: whoever is in another one was let in here by a join that was
    /// read when it had gone there.
    fn let_go(&mut self, now: Moment, held: Member) {
        self.mark(now, Member { state: State::Left, ..held });
    }

    /// Notes that the life of a member is over, since its name lives on in another cluster.
    fn note_moved(&mut self, now: Moment, held: &Member, life: Moved) {
        let moved = &mut self.foreign.moved;
        moved.retain(|name, _| self.table.get(name).is_some());
        moved.insert(held.name.clone(), life);
        if held.state.is_live() {
            self.stats.deaths += 1;
            self.mark(now, Member { state: State::Dead, ..held.clone() });
        }
    }

    /// How many members live on in that cluster only, and how many there are.
    fn count_moved(&self, now: Moment, cluster: ClusterId) -> (usize, usize) {
        let members = || self.table.iter().filter(|member| member.state != State::Left);
        let later = |life: &Moved, member| {
            let fresh = life.cluster == cluster && now.since(life.heard_at) < MOVED_MEMORY;
            fresh && life.claim.life(member) == Ordering::Greater
        };
        let dead = members().filter(|member| !member.state.is_live());
        let moved = dead.filter(|member| {
            self.foreign.moved.get(&member.name).is_some_and(|life| later(life, member))
        });
        (moved.count(), members().count())
    }

    /// A member of another cluster counts us as a member of its own. If that one stands, and no
    /// fewer hear each other there than here, and stays so, we are the mistake.
    fn claimed(
        &mut self,
        now: Moment,
        cluster: ClusterId,
        by: (SocketAddr, NodeId),
        held: &[Member],
        heard: u32,
    ) {
        let ours = |held: &Member| self.is_us(&held.name) || held.peer == self.peer;
        if !held.first().is_some_and(ours) {
            return;
        }
        let before = self.foreign.losing.filter(|losing| losing.cluster == cluster);
        if heard == 0 || heard < self.heard(now) {
            if before.is_some() {
                self.foreign.losing = None;
            }
            return self.event(Event::Disputed { cluster, by: by.0 });
        }
        let (times, last) = match before.filter(|losing| !losing.is_old(now)) {
            Some(before) if now.since(before.last) < CLAIM_SPACING => (before.times, before.last),
            Some(before) => (before.times + 1, now),
            None => (1, now),
        };
        self.foreign.losing = Some(Losing { cluster, by, times, last });
        if times >= CLAIMS_TO_STOP {
            self.fatal(Fatal::ForeignCluster { cluster, by: by.0 });
        }
    }

    /// Stops if most members live on elsewhere, and this node has not stood for some probes.
    fn end_if_over(&mut self, now: Moment) {
        let Some((cluster, by, times)) = self.foreign.over else { return };
        let (moved, members) = self.count_moved(now, cluster);
        if self.heard(now) > 0 || 2 * moved <= members {
            self.foreign.over = None;
        } else if times + 1 < PROBES_TO_STOP {
            self.foreign.over = Some((cluster, by, times + 1));
        } else {
            self.fatal(Fatal::Over { cluster, by, moved, members });
        }
    }

    /// Asks again whoever claims us, now and then, while that claim outweighs our cluster.
    pub(crate) fn contest(&mut self, now: Moment) {
        self.end_if_over(now);
        let Some(losing) = self.foreign.losing else { return };
        if losing.is_old(now) {
            self.foreign.losing = None;
        } else {
            self.introduce(losing.by.0, losing.by.1);
        }
    }
}
