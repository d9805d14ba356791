//! What the node asks of the one who drives it.

use std::net::SocketAddr;

use piccolo_gossip::Fatal;

use crate::shard::Control;

/// What the node asks of the one who drives it.
#[derive(Clone, Debug)]
pub enum NodeAction {
    /// Send a datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        datagram: Vec<u8>,
    },
    /// Resolve the seeds' names anew and call [`Node::set_seeds`](super::Node::set_seeds).
    Resolve,
    /// Tell every shard.
    Control(Control),
    /// Tell the operator.
    Say(String),
    /// Tell the operator, who has to do something about it.
    Warn(String),
    /// Stop the process: everything is moved out, or this node must not go on.
    Stop(Stop),
}

/// Why the process is to stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It has left as it was asked to.
    Left,
    /// `--create`, but a cluster is there already.
    CreateRefused {
        /// Who answered.
        by: SocketAddr,
    },
    /// Another node or cluster stands against this one.
    Fatal(Fatal),
}
