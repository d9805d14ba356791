//! The node: what gossip says, told to the shards as members, those that are gone, and where slots
//! should be.
//!
//! Pure like the shard: the reactor drives it in a node, the simulator in tests.

mod action;
mod advice;
mod lives;
mod majority;
mod review;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use piccolo_gossip::{
    Action as GossipAction, Event, Gossip, Keys, Member, Reject, RemoveError, State,
};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;

use crate::plural::counted;
use crate::seldom::Seldom;
use crate::shard::{Control, Members, Wish};
use crate::support::{Bonds, Heartbeat, Heartbeats};

use lives::Lives;
use majority::Majority;

pub use action::{NodeAction, Stop};

/// How long wishes must have been the same before slots move by them.
const QUIET: Duration = Duration::from_secs(2);

/// How long they are waited for at most while they keep changing.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// Time between two looks at what only time changes.
const TICK: Duration = Duration::from_millis(100);

/// How long a node that leads nothing any more still says where its slots went. Clients of a
/// Redis Cluster hear of a move only by asking in the wrong place: most learn the whole map from
/// the first MOVED, so this is time for the slowest to ask once.
const FAREWELL: Duration = Duration::from_secs(2);

/// The same if no client needs to hear: time for whoever asked it to leave to see that it holds
/// nothing any more.
const GLANCE: Duration = Duration::from_millis(500);

/// Time without a cluster after which the operator is told, and between two such lines.
const NO_CLUSTER_TOLD_AFTER: Duration = Duration::from_secs(10);
const NO_CLUSTER_TOLD_EVERY: Duration = Duration::from_mins(1);

/// What the node does about members beyond gossip.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    /// Copies of each slot.
    pub replicas: usize,
    /// How long a dead member keeps its place on the ring.
    pub down_grace: Duration,
}

/// What the shards have come to, summed over them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Slots that nobody is known to lead.
    pub unrouted: u64,
    /// Slots that this node should lead and does not.
    pub missing: u64,
    /// Replicas held.
    pub replicas: u64,
    /// Clients that may have to hear where slots went before this node is gone.
    pub visitors: u64,
}

/// One node of a cluster.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    gossip: Gossip,
    actions: VecDeque<NodeAction>,
    lives: Lives,
    heartbeats: Heartbeats,
    /// Ids whose slots were brought back, or could be, while a majority was seen: they do not count
    /// against a later majority, or a cluster whose nodes are replaced one by one would lose it.
    written_off: BTreeSet<NodeId>,
    majority: Majority,
    /// Whether the operator was told that a majority is lacking.
    told_of_minority: bool,
    /// When the operator is to be told next that no cluster is found.
    told_at: Moment,
    /// Who said that a cluster has no room for this node, and how many members it takes.
    full: Option<(SocketAddr, u32)>,
    told_of_dispute: Seldom,
    /// Since when no member serves, though this node is in a cluster.
    unserved_since: Option<Moment>,
    members: Arc<Members>,
    wish: Arc<Wish>,
    /// When candidates last changed, and when they first did since they were last settled.
    changed: Moment,
    unsettled_since: Moment,
    ticked: Moment,
    stale: bool,
    leaving: bool,
    /// Since when everything is moved out.
    empty_since: Option<Moment>,
    stopped: bool,
    observed: Observed,
}

impl Node {
    /// A node that begins to look for its cluster.
    pub fn new(config: NodeConfig, gossip: Gossip, now: Moment) -> Self {
        Self {
            config,
            gossip,
            actions: VecDeque::new(),
            lives: Lives::default(),
            heartbeats: Heartbeats::default(),
            written_off: BTreeSet::new(),
            majority: Majority::default(),
            told_of_minority: false,
            told_at: now + NO_CLUSTER_TOLD_AFTER,
            full: None,
            told_of_dispute: Seldom::default(),
            unserved_since: None,
            members: Arc::default(),
            wish: Arc::default(),
            changed: now,
            unsettled_since: now,
            ticked: now,
            stale: true,
            leaving: false,
            empty_since: None,
            stopped: false,
            observed: Observed::default(),
        }
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.gossip.me().id
    }

    /// Whether this node sees more than half of all members that count.
    pub fn sees_majority(&self) -> bool {
        self.members.majority
    }

    /// What this node and others hold of each other.
    pub fn bonds(&self) -> &Bonds {
        self.heartbeats.bonds()
    }

    /// How many other nodes support this one as a leader now.
    pub fn supporters(&self, now: Moment) -> usize {
        self.heartbeats.bonds().supporters(now)
    }

    /// The cluster, zero while there is none.
    pub fn cluster(&self) -> ClusterId {
        self.gossip.cluster()
    }

    /// Who is in it, this node included, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.gossip.members()
    }

    /// Where slots should be.
    pub fn wish(&self) -> &Arc<Wish> {
        &self.wish
    }

    /// Whether it was asked to leave.
    pub fn leaving(&self) -> bool {
        self.leaving
    }

    /// What gossip has counted.
    pub fn gossip_stats(&self) -> piccolo_gossip::Stats {
        self.gossip.stats()
    }

    /// Why the node is not ready for its share of requests, if it is not.
    pub fn not_ready_because(&self) -> Option<String> {
        let Observed { unrouted, missing, .. } = self.observed;
        if !self.gossip.cluster().is_some() {
            Some("no cluster found yet".into())
        } else if self.leaving {
            Some("leaving".into())
        } else if unrouted > 0 {
            Some(format!("{} without a known leader", counted(unrouted as usize, "slot", "slots")))
        } else if self.gossip.me().said != State::Alive {
            Some("joining".into())
        } else if !self.wish.settled {
            Some("members have changed a moment ago".into())
        } else if missing > 0 {
            Some(counted(
                missing as usize,
                "slot is still to move here",
                "slots are still to move here",
            ))
        } else {
            None
        }
    }

    /// States where seeds are now.
    pub fn set_seeds(&mut self, seeds: &[SocketAddr], now: Moment) {
        self.gossip.set_seeds(seeds);
        self.pump(now);
    }

    /// Takes in a datagram.
    ///
    /// # Errors
    ///
    /// Why it was dropped; nothing has changed then.
    pub fn receive(
        &mut self,
        now: Moment,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Reject> {
        let result = self.gossip.receive(now, from, datagram);
        self.pump(now);
        result
    }

    /// Speaks with these keys from now on, in datagrams and on links.
    pub fn set_keys(&mut self, keys: Keys) {
        self.gossip.set_keys(Some(keys.clone()));
        self.actions.push_back(NodeAction::Control(Control::Keys(keys)));
    }

    /// Ends the life of a dead member for good: it does not come back, and nothing waits for it.
    ///
    /// # Errors
    ///
    /// Why not; nothing has changed then.
    pub fn remove(&mut self, now: Moment, name: &str) -> Result<(), RemoveError> {
        self.gossip.remove(now, name)?;
        self.majority.trust();
        self.stale = true;
        self.pump(now);
        Ok(())
    }

    /// Tells what the shards have come to.
    pub fn observe(&mut self, now: Moment, observed: Observed) {
        self.observed = observed;
        let inside = self.gossip.cluster().is_some() && !self.leaving;
        if inside && self.gossip.me().said == State::Joining {
            let knows_all = observed.unrouted == 0;
            if knows_all || self.creator_is_lost(now) {
                self.gossip.ready(now);
                self.pump(now);
            }
        }
    }

    /// Whether nobody has served for the grace, though most members are there: whoever created the
    /// cluster was gone before it gave any slot away, and the others must begin without it.
    fn creator_is_lost(&mut self, now: Moment) -> bool {
        let serves = |m: &Member| m.state.is_live() && m.said != State::Joining;
        if self.gossip.members().any(serves) || !self.members.majority {
            self.unserved_since = None;
            return false;
        }
        let since = *self.unserved_since.get_or_insert(now);
        now.since(since) >= self.config.down_grace
    }

    /// Begins to move everything away, to stop when that is done.
    pub fn leave(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.leaving, true) {
            self.gossip.leave(now);
            self.stale = true;
            self.pump(now);
            // Who is not in a cluster, or alone in it, has nowhere to move anything.
            if !self.gossip.cluster().is_some() || self.nobody_is_left() {
                self.depart_alone(now);
            }
        }
    }

    /// Gives up moving slots away: the time for it is over. Says good-bye all the same, so that
    /// the others need not find out that this node is gone.
    pub fn abandon(&mut self, now: Moment) {
        self.depart_with(now, |slots| {
            let left = counted(slots, "slot has", "slots have");
            format!("{left} not moved away: lost with this node, with their keys")
        });
    }

    /// Whether nobody can take slots, now or soon.
    fn nobody_is_left(&self) -> bool {
        let me = self.gossip.me().id;
        let comes = |m: &Member| m.id != me && m.state.is_live() && m.said == State::Joining;
        self.wish.placement.candidates().is_empty() && !self.gossip.members().any(comes)
    }

    /// Runs what is due.
    pub fn advance(&mut self, now: Moment) {
        if now >= self.gossip.deadline() {
            self.gossip.advance(now);
        }
        for Heartbeat { to, address, asks } in self.heartbeats.due(now) {
            self.gossip.send_heartbeat(address, to, now, asks);
        }
        if now.since(self.ticked) >= TICK {
            self.ticked = now;
            self.stale = true;
        }
        self.pump(now);
        if now >= self.told_at && !self.gossip.cluster().is_some() && !self.stopped {
            self.told_at = now + NO_CLUSTER_TOLD_EVERY;
            self.actions.push_back(NodeAction::Warn(self.full.take().map_or_else(
                || advice::no_cluster(&self.gossip),
                |(by, max)| advice::full(by, max),
            )));
        }
        if self.leaving && self.farewell_over(now) {
            self.depart(now);
        } else if self.leaving && self.nobody_is_left() {
            self.depart_alone(now);
        }
    }

    /// Whether everything is moved out, and clients had time to hear where to.
    fn farewell_over(&mut self, now: Moment) -> bool {
        if !self.wish.settled || self.observed.replicas > 0 {
            self.empty_since = None;
            return false;
        }
        let since = *self.empty_since.get_or_insert(now);
        let long_enough = if self.observed.visitors == 0 { GLANCE } else { FAREWELL };
        now.since(since) >= long_enough
    }

    /// When [`Self::advance`] next has work.
    pub fn deadline(&self) -> Moment {
        self.gossip.deadline().min(self.ticked + TICK).min(self.heartbeats.deadline())
    }

    /// The oldest thing to do that is not taken yet.
    pub fn next_action(&mut self) -> Option<NodeAction> {
        self.actions.pop_front()
    }

    /// Departs since nobody is there to take what is left.
    fn depart_alone(&mut self, now: Moment) {
        self.depart_with(now, |slots| {
            format!(
                "no other member is there to take what this node holds, {}: the keys are lost \
                 with it",
                counted(slots, "slot", "slots")
            )
        });
    }

    /// Departs with what it holds, and says so if that is something.
    fn depart_with(&mut self, now: Moment, told: impl FnOnce(usize) -> String) {
        let slots = self.observed.replicas as usize;
        if slots > 0 && !self.stopped {
            self.actions.push_back(NodeAction::Warn(told(slots)));
        }
        self.depart(now);
    }

    fn depart(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.gossip.left(now);
            self.pump(now);
            self.actions.push_back(NodeAction::Stop(Stop::Left));
        }
    }

    /// Takes what gossip wants done.
    fn pump(&mut self, now: Moment) {
        while let Some(action) = self.gossip.next_action() {
            match action {
                GossipAction::Send { to, datagram } => {
                    self.actions.push_back(NodeAction::Send { to, datagram });
                }
                GossipAction::Resolve => self.actions.push_back(NodeAction::Resolve),
                GossipAction::Event(event) => self.take_event(now, event),
            }
        }
        if std::mem::take(&mut self.stale) {
            self.review(now);
        }
    }

    fn take_event(&mut self, now: Moment, event: Event) {
        match event {
            Event::Entered { cluster, created } => {
                let how = if created { "created" } else { "entered" };
                self.actions.push_back(NodeAction::Say(format!("{how} {cluster:?}")));
                self.actions
                    .push_back(NodeAction::Control(Control::Enter { cluster, create: created }));
                self.stale = true;
            }
            Event::Changed { member, was } => {
                self.lives.see(&member.name, member.id, member.state.is_live());
                if was != Some(member.state) {
                    self.actions.push_back(NodeAction::Say(format!(
                        "{} ({}, node {}) is {}",
                        member.name,
                        member.peer,
                        member.id,
                        member.state.word()
                    )));
                }
                self.stale = true;
            }
            Event::Heartbeat { from, address, sent, asks } => {
                if let Some(epoch) = self.heartbeats.heard(from, asks, now) {
                    self.gossip.answer_heartbeat(address, from, sent, epoch);
                }
            }
            Event::Supported { by, sent, epoch } => {
                if self.heartbeats.answered(by, sent, epoch, now) {
                    let news = Control::Supported { by, epoch };
                    self.actions.push_back(NodeAction::Control(news));
                }
            }
            Event::CreateRefused { by } => {
                self.actions.push_back(NodeAction::Stop(Stop::CreateRefused { by }));
            }
            Event::Full { by, members_max } => self.full = Some((by, members_max)),
            Event::Disputed { cluster, by } => {
                self.tell_of_two_clusters(now, || advice::disputed(cluster, by));
            }
            Event::ForeignSeed { cluster, by } => {
                self.tell_of_two_clusters(now, || advice::foreign_seed(cluster, by));
            }
            Event::Fatal(fatal) => self.actions.push_back(NodeAction::Stop(Stop::Fatal(fatal))),
        }
    }

    fn tell_of_two_clusters(&mut self, now: Moment, what: impl FnOnce() -> String) {
        if self.told_of_dispute.may(now) {
            self.actions.push_back(NodeAction::Warn(what()));
        }
    }
}
