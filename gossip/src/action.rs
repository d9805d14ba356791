//! What the core wants done.

use std::net::SocketAddr;

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;

use crate::{Member, State};

/// Something for the caller to do, in the order handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send a datagram. It may be lost; the core repeats what matters.
    Send {
        /// Where to.
        to: SocketAddr,
        /// At most [`Config::datagram_bytes_max`](crate::Config::datagram_bytes_max) bytes.
        datagram: Vec<u8>,
    },
    /// Resolve the seeds' names anew and call [`Gossip::set_seeds`](crate::Gossip::set_seeds).
    /// Need not be answered at once, nor at all if resolving fails.
    Resolve,
    /// Something the node should know.
    Event(Event),
}

/// Something the node should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// This node is in a cluster now. Happens once.
    Entered {
        /// Which.
        cluster: ClusterId,
        /// Whether this node made it, and so begins with every slot.
        created: bool,
    },
    /// A member, perhaps ourselves, is new or has taken another state.
    Changed {
        /// As it is now.
        member: Box<Member>,
        /// The state it had before; `None`: this id was not known.
        was: Option<State>,
    },
    /// A member asks whether it is heard: answered by
    /// [`Gossip::answer_heartbeat`](crate::Gossip::answer_heartbeat).
    Heartbeat {
        /// Who.
        from: NodeId,
        /// Where to send the answer.
        address: SocketAddr,
        /// To be repeated in the answer.
        sent: Moment,
        /// It asks for support, too.
        asks: bool,
    },
    /// A member hears this node, and supports it if it was asked to.
    Supported {
        /// Who.
        by: NodeId,
        /// When this node sent the heartbeat that is answered.
        sent: Moment,
        /// Under which epoch; zero if it was not asked for support.
        epoch: u64,
    },
    /// A seed answered `--create` as a member of a cluster, and a second one must not come
    /// about. The core has stopped; the process should exit with 2.
    CreateRefused {
        /// Who answered.
        by: SocketAddr,
    },
    /// The cluster has no room for this node, which asks again and again; whoever runs it should
    /// be told that dead members have to be removed first.
    Full {
        /// Who said so.
        by: SocketAddr,
        /// Members that it takes.
        members_max: u32,
    },
    /// Another cluster and ours count one node. If neither gives way whoever runs them has to say
    /// which one goes on. Comes again and again.
    Disputed {
        /// The other cluster.
        cluster: ClusterId,
        /// A member of it.
        by: SocketAddr,
    },
    /// A seed is a member of another cluster, which counts nobody of ours: the list of seeds names
    /// two clusters. Comes again and again.
    ForeignSeed {
        /// The other cluster.
        cluster: ClusterId,
        /// The seed.
        by: SocketAddr,
    },
    /// This node must not go on. The core has stopped; the process should exit with 2.
    Fatal(Fatal),
}

/// Why this node must not go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fatal {
    /// Another node has this node's name, and the better right to it.
    #[error("the node at {by} has this node's name: choose another with --name")]
    NameTaken {
        /// Its address.
        by: SocketAddr,
    },
    /// A later node took this node's name while this one did not answer.
    #[error(
        "a node that was started later took this node's name, at {by}, while this one did not \
         answer: it goes on, and what this one held is lost. Two nodes need two names (--name)"
    )]
    Superseded {
        /// Its address.
        by: SocketAddr,
    },
    /// An operator removed this node.
    #[error("this node was removed from its cluster: start it anew, and it joins as a new member")]
    Removed,
    /// The members of the cluster speak other versions of the protocol.
    #[error("the members speak versions {} to {} of the protocol, this node {} to {}: \
             upgrade one version at a time", theirs.0, theirs.1, ours.0, ours.1)]
    Version {
        /// Oldest and newest version that all members speak.
        theirs: (u16, u16),
        /// Oldest and newest version that this node speaks.
        ours: (u16, u16),
    },
    /// Another cluster, which stands, counts this node as its member by name or address.
    #[error(
        "{cluster:?}, of the node at {by}, counts this node as its member, but it was started \
         into another cluster, and clusters never merge: start it with --join {by}, and without \
         --create, if it belongs there; if not, give it another --name and address"
    )]
    ForeignCluster {
        /// The other cluster.
        cluster: ClusterId,
        /// Who said so.
        by: SocketAddr,
    },
    /// Most members of our cluster began anew in another one while this node was away.
    #[error(
        "{moved} of the {members} members of this node's cluster were started anew, and are in \
         {cluster:?} of the node at {by} now: the old cluster is over. Start this node anew with \
         --join {by}; it comes in without the keys that it held"
    )]
    Over {
        /// The other cluster.
        cluster: ClusterId,
        /// A member of it.
        by: SocketAddr,
        /// Members of ours that live on there.
        moved: usize,
        /// Members that there are.
        members: usize,
    },
    /// Seeds are members of different clusters.
    #[error("--join names members of two clusters, {:?} at {} and {:?} at {}: say which one this \
             node is for", clusters[0], by[0], clusters[1], by[1])]
    TwoClusters {
        /// Both.
        clusters: [ClusterId; 2],
        /// A member of each.
        by: [SocketAddr; 2],
    },
}
