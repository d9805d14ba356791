//! What a node shows of itself and of its cluster.

use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

/// What the admin listener shows: written by the reactor, read by the listener.
///
/// A new status replaces the old one as a whole, so that a reader holds up nobody and never sees
/// half of each.
#[derive(Debug)]
pub struct View(RwLock<Arc<Status>>);

impl View {
    /// A view that shows `status` until the next one is published.
    pub fn new(status: Status) -> Self {
        Self(RwLock::new(Arc::new(status)))
    }

    /// Shows `status` from now on.
    pub fn publish(&self, status: Status) {
        let status = Arc::new(status);
        // The lock guards one pointer, which is whole even if a holder panicked.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// What is shown now.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One node, and the cluster as this node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's id in hexadecimal, once there is one.
    pub cluster: Option<String>,
    /// The node's stable name.
    pub name: String,
    /// The id of this life of the node in hexadecimal.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// Seconds since the node started.
    pub uptime_seconds: u64,
    /// Whether the node has every seat that is meant for it.
    pub ready: bool,
    /// If it is not ready: what it waits for, in words.
    pub not_ready_because: Option<String>,
    /// Whether it is on its way out.
    pub leaving: bool,
    /// Whether it sees more than half of all members that count: if not, the others may serve on
    /// without it.
    pub majority: bool,
    /// Every member known, this node included, by name.
    pub members: Vec<MemberStatus>,
    /// Who should own which slots, in order of slots, without gaps.
    pub ring: Vec<RangeStatus>,
    /// Equal for nodes that agree on `ring`.
    pub ring_digest: String,
    /// Who does lead which slots, as far as this node knows; in order of slots, without gaps.
    pub slots: Vec<SlotRangeStatus>,
    /// This node's shards.
    pub shards: Vec<ShardStatus>,
    /// A fingerprint of each key that the node holds, the one that proves first; empty if it has
    /// none, or is of a version that does not show them.
    #[serde(default)]
    pub cluster_keys: Vec<String>,
    /// What the reactor has counted; for metrics alone.
    #[serde(skip)]
    pub counts: Counts,
}

/// What the reactor has counted since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By gossip.
    pub gossip: piccolo_gossip::Stats,
    /// Other nodes that support this one as a leader.
    pub supporters: usize,
    /// Clients turned away because there were as many as there may be.
    pub clients_refused_full: u64,
    /// Clients turned away because the node was leaving.
    pub clients_refused_leaving: u64,
}

/// Where a member is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Has entered, and holds no slots yet.
    Joining,
    /// Answers.
    Alive,
    /// Did not answer lately.
    Suspect,
    /// Given up until it answers again.
    Dead,
    /// Hands its slots over, and goes.
    Leaving,
    /// Has gone by its own will.
    Left,
}

impl MemberState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 6] =
        [Self::Joining, Self::Alive, Self::Suspect, Self::Dead, Self::Leaving, Self::Left];

    /// The word for it, the same as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Leaving => "leaving",
            Self::Left => "left",
        }
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Stable name.
    pub name: String,
    /// Id of its present life in hexadecimal.
    pub id: String,
    /// Where it is in its life.
    pub state: MemberState,
    /// Address for other nodes.
    pub peer: String,
    /// Address for Redis clients.
    pub client: String,
    /// Address for clients of Redis Cluster.
    pub cluster_client: String,
    /// Address of its admin listener, which only its own machine can reach. Also what service
    /// discovery names.
    pub admin: String,
    /// Zone; empty if it has none.
    pub zone: String,
    /// Share of the ring relative to others.
    pub weight: u16,
    /// Number of its shards.
    pub shards: u16,
}

/// Slots that should have the same owners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeStatus {
    /// First slot.
    pub first: u16,
    /// Last slot, included.
    pub last: u16,
    /// Names of the nodes that should hold them, the intended leader first.
    pub owners: Vec<String>,
}

/// Slots that have the same leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRangeStatus {
    /// First slot.
    pub first: u16,
    /// Last slot, included.
    pub last: u16,
    /// Name of the node that leads them; none if nobody is known to.
    pub leader: Option<String>,
}

/// One shard of this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Its number, from 0.
    pub shard: u16,
    /// Slots that it leads.
    pub slots_led: u32,
    /// Keys in them.
    pub keys: u64,
    /// Bytes of their entries.
    pub bytes: u64,
    /// Client connections.
    pub connections: u64,
    /// Commands executed since the node started.
    pub commands: u64,
    /// Slots on their way in or out.
    pub moving: u32,
}

impl Status {
    /// Slots that this node leads.
    pub fn slots_led(&self) -> u32 {
        self.shards.iter().map(|shard| shard.slots_led).sum()
    }

    /// Keys that this node leads.
    pub fn keys(&self) -> u64 {
        self.shards.iter().map(|shard| shard.keys).sum()
    }

    /// Slots whose leader, as far as this node knows, is dead or gone. A former life of a member is
    /// shown by its id, and gone, too.
    pub fn slots_led_by_the_dead(&self) -> u32 {
        let dead = |m: &MemberStatus| matches!(m.state, MemberState::Dead | MemberState::Left);
        let live: Vec<_> = self.members.iter().filter(|m| !dead(m)).map(|m| &m.name).collect();
        self.slots_of(|leader| leader.is_some_and(|leader| !live.contains(&leader)))
    }

    /// Slots for whose leader something holds.
    pub fn slots_of(&self, holds: impl Fn(Option<&String>) -> bool) -> u32 {
        let ranges = self.slots.iter().filter(|range| holds(range.leader.as_ref()));
        ranges.map(|range| u32::from(range.last - range.first) + 1).sum()
    }

    /// Whether somebody else could take over what this node holds. Who is suspect may be dead, and
    /// is known to be or not in a moment.
    pub fn has_company(&self) -> bool {
        let here = [MemberState::Joining, MemberState::Alive];
        self.members.iter().any(|member| member.name != self.name && here.contains(&member.state))
    }
}
