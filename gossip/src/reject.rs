//! Why a datagram was dropped.

use std::net::SocketAddr;

use piccolo_schema::ids::{ClusterId, NodeId};

use crate::TextFault;

/// Why a datagram was dropped. Always the sender's fault or the network's, never ours, so the
/// caller carries on; [`Stats`](crate::Stats) counts them. The members are then unchanged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// Longer than [`Config::datagram_bytes_max`](crate::Config::datagram_bytes_max).
    #[error("a datagram of {bytes} bytes; at most {bytes_max} are taken")]
    TooLong {
        /// As received.
        bytes: usize,
        /// As configured.
        bytes_max: usize,
    },
    /// Not a message of this protocol.
    #[error("not a message of this protocol: {0}")]
    Malformed(Malformed),
    /// Bears our own id: our own datagram came back, as when `--join` names the node itself.
    #[error("our own datagram came back")]
    FromOurselves,
    /// Of another cluster.
    #[error("from {cluster:?}, which is not ours")]
    ForeignCluster {
        /// The sender's cluster.
        cluster: ClusterId,
    },
    /// One of the two is in no cluster, and the message makes sense only between members.
    #[error("not a message between nodes of which one has no cluster")]
    NoCluster,
    /// Meant for another node, perhaps for one that lived at our address before.
    #[error("meant for {to:?}")]
    NotForUs {
        /// Whom the sender meant.
        to: NodeId,
    },
    /// An answer to a question that was not asked, or that was given up.
    #[error("an answer from {from} that nothing waits for")]
    Unsolicited {
        /// Who sent it.
        from: SocketAddr,
    },
    /// A newcomer cannot come in: the table is full.
    #[error("no room for another member: there are {members_max}")]
    Full {
        /// As configured.
        members_max: usize,
    },
    /// From a node without a cluster that speaks no version of the protocol which we speak: it
    /// takes no part in making one with us.
    #[error("speaks versions {} to {} of the protocol, this node {} to {}", theirs.0, theirs.1,
            ours.0, ours.1)]
    Version {
        /// Oldest and newest that the sender speaks.
        theirs: (u16, u16),
        /// Oldest and newest that this node speaks.
        ours: (u16, u16),
    },
    /// Not sealed with a key of the cluster, or perhaps not for the first time.
    #[error("not authentic: {0}")]
    Unauthentic(#[from] crate::SealFault),
    /// This node has left or stopped.
    #[error("this node has left")]
    Stopped,
}

/// What is wrong with a message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Not Cap'n Proto, or beyond the reader's limits.
    #[error("not readable as Cap'n Proto")]
    Encoding,
    /// A variant that this version does not know.
    #[error("a variant of number {0} is not known")]
    Kind(u16),
    /// A name or zone that breaks the rules for texts.
    #[error("{what}: {fault}")]
    Text {
        /// "name" or "zone".
        what: &'static str,
        /// The rule broken.
        fault: TextFault,
    },
    /// An address that is neither IPv4 nor IPv6.
    #[error("an address of {bytes} bytes")]
    Address {
        /// As received.
        bytes: usize,
    },
    /// More updates than one datagram can carry.
    #[error("{count} updates")]
    TooMany {
        /// As announced.
        count: u32,
    },
    /// Not as many digests as a table has ranges.
    #[error("{count} digests of ranges")]
    Ranges {
        /// As announced.
        count: u32,
    },
    /// A zero where an id must stand.
    #[error("no id where one must stand")]
    NoId,
    /// A message without the update that it must begin with, or with an impossible one.
    #[error("an update that makes no sense there")]
    Update,
}
