//! Other clusters. When two of them count one node, the one that stands goes on.
//!
//! Nobody stops for what it overhears. A node that is counted by another cluster, or addressed as
//! somebody else by it, introduces itself. The other side looks itself up, and says whether it
//! counts that node, and whether it hears at least half of its own members. If instead most of its
//! members live on elsewhere, its cluster is over, and it is the one that stops.

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
    /// Until then this node is known to hear half of its cluster.
    stands_until: Moment,
}

impl Gossip {
    /// Says until when this node hears from at least half of the members, itself among them.
    /// Where another cluster counts the same node, the one that does not hear half gives way.
    pub fn stand_until(&mut self, until: Moment) {
        self.foreign.stands_until = until;
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
            (Body::Claimed(stands), _) if to == self.id => {
                self.claimed(cluster, from, updates, *stands);
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
        let stands = now < self.foreign.stands_until;
        let (moved, members) = self.count_moved();
        if !stands && 2 * moved > members {
            self.fatal(Fatal::Over { cluster, by: from, moved, members });
            return;
        }
        if !stands {
            self.event(Event::Disputed { cluster, by: from });
        }
        self.send(from, id, Body::Claimed(stands), vec![held]);
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

    /// How many members live on in other clusters, and how many there are.
    fn count_moved(&self) -> (usize, usize) {
        let members = || self.table.iter().filter(|member| member.state != State::Left);
        let later = |claim: &Member, member| claim.life(member) == Ordering::Greater;
        let moved = members().filter(|member| {
            self.foreign.moved.get(&member.name).is_some_and(|claim| later(claim, member))
        });
        (moved.count(), members().count())
    }

    /// A member of another cluster counts us as a member of its own, and says whether it stands.
    fn claimed(&mut self, cluster: ClusterId, by: SocketAddr, held: &[Member], stands: bool) {
        let ours = |held: &Member| self.is_us(&held.name) || held.peer == self.peer;
        if !held.first().is_some_and(ours) {
            return;
        }
        if stands {
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
