//! Other clusters. When two of them count one node, the one that stands goes on.
//!
//! Nobody stops for what it overhears. A node that is counted by another cluster, or addressed as
//! somebody else by it, introduces itself. The other side looks it up, and says whether it counts
//! that node, and how many of its own members it hears: a cluster stands where at least half are
//! heard. If instead most of its members live on elsewhere, its cluster is over, and it is the one
//! that stops.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::SocketAddr;

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
    moved: BTreeMap<String, Member>,
    /// Members that this node hears, itself included, if they are at least half of all; until when
    /// that is known.
    heard: (u32, Moment),
}

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
                self.claimed(now, (cluster, from), updates, *heard);
            }
            (Body::Ping(_), Some(claim)) if to == self.id => {
                self.introduced(now, from, cluster, claim);
            }
            _ if self.is_taken_for_a_member(to, updates) => self.introduce(from, message.from),
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
        let Some(held) = self.table.iter().find(|held| is_taken_for(held, &claim)) else { return };
        let (held, id) = (held.clone(), claim.id);
        if held.name == claim.name && held.id != id {
            self.note_moved(now, &held, claim);
        }
        let heard = self.heard(now);
        let (moved, members) = self.count_moved();
        if heard == 0 && 2 * moved > members {
            self.fatal(Fatal::Over { cluster, by: from, moved, members });
            return;
        }
        if heard == 0 {
            self.event(Event::Disputed { cluster, by: from });
        }
        self.send(from, id, Body::Claimed(heard), vec![held]);
    }

    /// Notes that the life of a member is over, since its name lives on in another cluster.
    fn note_moved(&mut self, now: Moment, held: &Member, claim: Member) {
        let moved = &mut self.foreign.moved;
        moved.retain(|name, _| self.table.get(name).is_some());
        moved.insert(claim.name.clone(), claim);
        if held.state.is_live() {
            self.stats.deaths += 1;
            self.mark(now, Member { state: State::Dead, ..held.clone() });
        }
    }

    /// How many members live on in other clusters only, and how many there are.
    fn count_moved(&self) -> (usize, usize) {
        let members = || self.table.iter().filter(|member| member.state != State::Left);
        let later = |claim: &Member, member| claim.life(member) == Ordering::Greater;
        let dead = members().filter(|member| !member.state.is_live());
        let moved = dead.filter(|member| {
            self.foreign.moved.get(&member.name).is_some_and(|claim| later(claim, member))
        });
        (moved.count(), members().count())
    }

    /// A member of another cluster counts us as a member of its own. If that one stands, and no
    /// fewer hear each other there than here, we are the mistake.
    fn claimed(
        &mut self,
        now: Moment,
        (cluster, by): (ClusterId, SocketAddr),
        held: &[Member],
        heard: u32,
    ) {
        let ours = |held: &Member| self.is_us(&held.name) || held.peer == self.peer;
        if !held.first().is_some_and(ours) {
            return;
        }
        if heard > 0 && heard >= self.heard(now) {
            self.fatal(Fatal::ForeignCluster { cluster, by });
        } else {
            self.event(Event::Disputed { cluster, by });
        }
    }
}

/// Whether a member of ours is, or was, the node of another cluster that makes this claim: the very
/// same; an earlier life, unless it goes on at another address; or who lives at its address.
fn is_taken_for(held: &Member, claim: &Member) -> bool {
    if held.state == State::Left {
        false
    } else if held.name == claim.name {
        let over = held.peer == claim.peer || !held.state.is_live();
        held.id == claim.id || (claim.life(held) == Ordering::Greater && over)
    } else {
        held.peer == claim.peer && held.state.is_live()
    }
}
