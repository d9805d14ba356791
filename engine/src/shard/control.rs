//! What the node tells its shards, and what they ask of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use piccolo_gossip::{Keys, State};
use piccolo_ring::placement::Placement;
use piccolo_schema::ids::{ClusterId, NodeId};

use super::link::{LANES, Peer};
use super::{Shard, StreamKey};
use crate::store::KeyHasher;
use crate::support::Bonds;

/// What the node tells a shard.
#[derive(Clone, Debug)]
pub enum Control {
    /// The node belongs to this cluster now. `create`: it is the first, and begins every slot.
    Enter {
        /// Which cluster.
        cluster: ClusterId,
        /// Whether the slots begin here.
        create: bool,
    },
    /// With what links are opened from now on.
    Keys(Keys),
    /// Who is there.
    Members(Arc<Members>),
    /// Another node supports this one, under a new epoch.
    Supported {
        /// Who.
        by: NodeId,
        /// Which.
        epoch: u64,
    },
    /// Where slots should be.
    Wish(Arc<Wish>),
    /// The node stops: answer what clients have sent, then close their connections.
    EndClients,
}

/// Another node, as shards need to know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerView {
    /// Its id.
    pub id: NodeId,
    /// Where its shards take in links.
    pub address: SocketAddr,
}

/// A member, as clients are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its stable name.
    pub name: String,
    /// Where clients are told to come.
    pub client: SocketAddr,
    /// Where clients of Redis Cluster are told to come.
    pub cluster_client: SocketAddr,
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    /// What it is believed to be.
    pub state: State,
    /// Its zone; empty if it has none.
    pub zone: String,
    /// Its share of the ring relative to others.
    pub weight: u16,
    /// Its shards.
    pub shards: u16,
}

/// Who is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// Every member that has not left, this one included, by name.
    pub nodes: Vec<NodeView>,
    /// Nodes to have links to; this one is not among them.
    pub peers: Vec<PeerView>,
    /// Nodes that will never come back as what they were: dead for longer than the grace, left,
    /// or followed by a newer life under their name.
    pub gone: BTreeSet<NodeId>,
    /// Whether this node sees more than half of the members, or half of them with the lowest
    /// name: only then may it bring back slots of those that are gone.
    pub majority: bool,
    /// What this node and each of the others hold of each other.
    pub bonds: Bonds,
}

/// Where slots should be.
#[derive(Debug)]
pub struct Wish {
    /// Slot to owners.
    pub placement: Placement,
    /// It has been the same for long enough to move by it.
    pub settled: bool,
    /// This node leaves, and so moves slots by a ring of its own, without the dead.
    pub leaving: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self { placement: Placement::new(&[], 1), settled: false, leaving: false }
    }
}

/// What a shard asks of the thread that drives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Open a connection to a peer for this stream.
    Connect {
        /// The stream.
        stream: StreamKey,
        /// Where to.
        address: SocketAddr,
    },
    /// Close a connection; the shard has forgotten it already.
    Close(StreamKey),
    /// The node is to leave and end, as on SIGTERM.
    Leave,
    /// Tell the operator.
    Warn(String),
}

impl Shard {
    /// Takes in what the node says.
    pub fn control(&mut self, control: Control) {
        match control {
            Control::Enter { cluster, create } => {
                self.cluster = cluster;
                self.hasher = KeyHasher::new(cluster);
                if create {
                    for place in 0..self.seats.len() {
                        self.begin_slot(self.slot_at(place), None);
                    }
                }
            }
            Control::Keys(keys) => self.set_keys(keys),
            Control::Members(members) => {
                self.set_members(&members);
                self.topology.set_nodes(members);
            }
            Control::Supported { by, epoch } => self.epoch_changed(by, epoch),
            Control::Wish(wish) => {
                self.wish = wish;
                self.review();
            }
            Control::EndClients => self.end_clients(),
        }
    }

    fn set_members(&mut self, members: &Members) {
        self.gone.clone_from(&members.gone);
        self.members_majority = members.majority;
        self.bonds.clone_from(&members.bonds);
        let wanted = |peer: &Peer| {
            members.peers.iter().any(|view| (view.id, view.address) == (peer.id, peer.address))
        };
        let (kept, dropped): (Vec<Peer>, Vec<Peer>) =
            std::mem::take(&mut self.peers).into_iter().partition(wanted);
        self.peers = kept;
        for mut peer in dropped {
            for lane in LANES {
                if let Some(stream) = peer.end(lane).stream {
                    self.hang_up(stream);
                }
            }
        }
        for view in &members.peers {
            if self.peer(view.id).is_none() {
                self.peers.push(Peer::new(view.id, view.address));
            }
        }
        self.tend_links();
        self.recount = true;
    }

    /// Reads nothing more of clients: what they have sent is answered, then they are closed. So
    /// each finds its connection closed between replies. Native clients are told so, and ask
    /// another node for what this one did not take; those of Redis would pass an error on to the
    /// user.
    fn end_clients(&mut self) {
        self.unpause_clients();
        let clients: Vec<StreamKey> = self
            .streams
            .iter()
            .filter(|stream| matches!(stream.role, super::stream::Role::Client(_)))
            .map(|stream| stream.key)
            .collect();
        for key in clients {
            if !self.dismiss_native(key) {
                self.ended(key);
            }
        }
    }
}
