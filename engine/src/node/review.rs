//! What the shards must know of members, worked out anew whenever something may have changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use piccolo_gossip::{Member, State};
use piccolo_ring::placement::{Candidate, Placement};
use piccolo_schema::time::Moment;

use super::{Node, NodeAction, QUIET, QUIET_MAX};
use crate::plural::counted;
use crate::shard::{Control, Members, NodeView, PeerView, Wish};
use crate::support::{Bonds, LEASE};

impl Node {
    /// Whether a member has been dead for longer than the grace.
    fn given_up(&self, member: &Member, now: Moment) -> bool {
        member.state == State::Dead && now.since(member.since) >= self.config.down_grace
    }

    /// Works out anew what the shards must know, and tells them what is news.
    pub(super) fn review(&mut self, now: Moment) {
        if !self.gossip.cluster().is_some() {
            return;
        }
        self.lives.forget(self.gossip.members().map(|member| (member.name.as_str(), member.id)));
        let mut members = self.view(now);
        self.heartbeats.set_peers(
            members.peers.iter().map(|peer| (peer.id, peer.address)),
            |node| {
                let known = self.gossip.members().find(|member| member.id == node);
                known.is_none_or(|member| member.state == State::Left)
            },
        );
        members.bonds = self.heartbeats.bonds().clone();
        self.write_off(&members, now);
        let (heard, until) = self.standing(now);
        self.gossip.stand(heard, until);
        if members != *self.members {
            self.members = Arc::new(members);
            self.actions.push_back(NodeAction::Control(Control::Members(self.members.clone())));
        }
        let candidates: Vec<Candidate> = self
            .gossip
            .members()
            .filter(|member| {
                member.said == State::Alive
                    && member.state != State::Left
                    && !self.given_up(member, now)
                    // Who was dead before this node came has its grace behind it, or soon.
                    && (member.state.is_live() || self.lives.was_live(member.id))
                    // The dead may come back in their grace, but not in the time of a leaver.
                    && (!self.leaving || member.state.is_live())
            })
            .map(|member| Candidate {
                name: member.name.clone(),
                id: member.id,
                zone: member.zone.clone(),
                weight: member.weight,
            })
            .collect();
        if candidates != self.wish.placement.candidates() {
            if self.wish.settled {
                self.unsettled_since = now;
            }
            self.changed = now;
            let placement = Placement::new(&candidates, self.config.replicas);
            self.tell_wish(Wish { placement, settled: false, leaving: self.leaving });
        } else if !self.wish.settled {
            let quiet =
                now.since(self.changed) >= QUIET || now.since(self.unsettled_since) >= QUIET_MAX;
            if quiet {
                let placement = Placement::new(&candidates, self.config.replicas);
                self.tell_wish(Wish { placement, settled: true, leaving: self.leaving });
            }
        }
    }

    /// Whether a member is one of those of whom a majority or a half has to be seen.
    fn counts(&self, member: &Member) -> bool {
        member.state != State::Left && !self.written_off.contains(&member.id)
    }

    /// How many of the members that count hear this node, itself included, and until when they are
    /// known to be at least half. What is believed of them is no evidence: after a pause all seem
    /// alive.
    fn standing(&self, now: Moment) -> (u32, Moment) {
        let me = self.gossip.me().id;
        let counted: Vec<_> =
            self.gossip.members().filter(|m| self.counts(m)).map(|m| m.id).collect();
        let others = counted.iter().filter(|id| **id != me);
        let mut answers: Vec<_> =
            others.filter_map(|id| self.heartbeats.answered_at(*id)).collect();
        answers.sort_unstable_by(|a, b| b.cmp(a));
        let heard = 1 + answers.iter().filter(|sent| now < **sent + LEASE).count();
        let until = match counted.len().div_ceil(2).checked_sub(2) {
            Some(last) => answers.get(last).map_or(Moment(0), |sent| *sent + LEASE),
            None => Moment::NEVER,
        };
        (heard as u32, until)
    }

    /// Notes who need not count any more, and says so if what is left is no majority.
    fn write_off(&mut self, members: &Members, now: Moment) {
        let mut absent = 0;
        if !self.written_off.is_empty() {
            let known: BTreeSet<_> = self.gossip.members().map(|member| member.id).collect();
            self.written_off.retain(|id| known.contains(id));
        }
        for member in self.gossip.members() {
            if member.state.is_live() {
                self.written_off.remove(&member.id);
                continue;
            }
            // Who was dead before this node came is as long dead as for the others, or nearly. Not
            // before all parts of the table are here: a part may look like a majority.
            let before_us = !self.lives.was_live(member.id) && self.wish.settled;
            let given_up = self.given_up(member, now);
            absent += usize::from(given_up);
            if members.majority && (given_up || before_us) && member.state == State::Dead {
                self.written_off.insert(member.id);
            }
        }
        if members.majority || absent == 0 {
            self.told_of_minority = false;
        } else if !std::mem::replace(&mut self.told_of_minority, true) {
            self.actions.push_back(NodeAction::Warn(minority(absent)));
        }
    }

    fn tell_wish(&mut self, wish: Wish) {
        self.wish = Arc::new(wish);
        self.actions.push_back(NodeAction::Control(Control::Wish(self.wish.clone())));
    }

    fn view(&mut self, now: Moment) -> Members {
        let me = self.gossip.me().id;
        let mut gone: BTreeSet<_> = self.lives.superseded().collect();
        let (mut nodes, mut peers, mut live, mut all) = (Vec::new(), Vec::new(), 0, 0);
        let mut lowest_is_live = None;
        for member in self.gossip.members() {
            let left = member.state == State::Left;
            if left || self.given_up(member, now) {
                gone.insert(member.id);
            } else if member.id != me {
                peers.push(PeerView { id: member.id, address: member.peer });
            }
            if !left {
                nodes.push(node_view(member));
            }
            if self.counts(member) {
                all += 1;
                live += usize::from(member.state.is_live());
                lowest_is_live.get_or_insert(member.state.is_live());
            }
        }
        let seen = 2 * live > all || (2 * live == all && lowest_is_live == Some(true));
        let majority = self.majority.counts(now, seen);
        Members { nodes, peers, gone, majority, bonds: Bonds::default() }
    }
}

/// What the operator is told when so many members are gone that the others are no majority.
fn minority(absent: usize) -> String {
    let gone = counted(absent, "member is gone", "members are gone");
    let what_to_do = if absent == 1 {
        "held stay away until more than half of all are seen; start it again under its name, or, \
         once it cannot come back nor be cut off only, give it up"
    } else {
        "held stay away until more than half of all are seen; start those that are gone again \
         under their names, or, once they cannot come back nor be cut off only, give them up"
    };
    format!(
        "{gone}, and those seen are no majority: slots that only the former {what_to_do} with \
         `piccolo remove --force NAME`"
    )
}

fn node_view(member: &Member) -> NodeView {
    NodeView {
        id: member.id,
        name: member.name.clone(),
        client: member.client,
        cluster_client: member.cluster_client,
        peer: member.peer,
        state: member.state,
        zone: member.zone.clone(),
        weight: member.weight,
        shards: member.shards,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_that_is_gone_is_no_crowd() {
        let one = minority(1);
        assert!(one.starts_with("1 member is gone, and those seen are no majority"), "{one}");
        assert!(one.contains("start it again under its name"), "{one}");
        let two = minority(2);
        assert!(two.starts_with("2 members are gone"), "{two}");
        assert!(two.contains("under their names"), "{two}");
    }
}
