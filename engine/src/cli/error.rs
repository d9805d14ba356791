//! What can go wrong on the command line.

use std::io;
use std::net::SocketAddr;

use crate::plural::counted;

/// Why a command did not do what it was asked to. Each is one line for the person who asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// No node answers there.
    #[error("cannot reach a node at {address}: {reason} (is it running? use --admin ADDR)")]
    Unreachable {
        /// Address as given.
        address: String,
        /// What the system said.
        reason: String,
        /// Whether the port is known to be closed, which means that no node runs there.
        closed: bool,
    },
    /// Something answers there, but not as a node's admin listener does.
    #[error("{address} does not answer as a node's admin listener: {what} (use --admin ADDR)")]
    NotANode {
        /// Address as given.
        address: String,
        /// What is wrong with its answer.
        what: String,
    },
    /// The node says no.
    #[error("{address} refused with status {status}: {detail}")]
    Refused {
        /// Address as given.
        address: String,
        /// Status of HTTP.
        status: u16,
        /// The node's own words.
        detail: String,
    },
    /// The node is still on its way out.
    #[error(
        "{name} has still {} to hand over after {}; it goes on by itself (see `piccolo members`)",
        counted(*slots as usize, "slot", "slots"),
        counted(*seconds as usize, "second", "seconds")
    )]
    StillLeaving {
        /// Name of the node.
        name: String,
        /// Slots that it leads yet.
        slots: u32,
        /// How long was waited.
        seconds: u64,
    },
    /// The node ended before it had handed over what it held.
    #[error(
        "{name} has ended, and {slots} slots were not handed over: keys of which no other node \
         has a copy are lost (its log says why)"
    )]
    NotHandedOver {
        /// Name of the node.
        name: String,
        /// Slots that it led when it was last seen.
        slots: u32,
    },
    /// The member that was to be removed answers again.
    #[error("{name} is not removed: it has come back just now")]
    CameBack {
        /// Name of the member.
        name: String,
    },
    /// The node was asked to remove a member, and has not.
    #[error("{name} is not removed after {seconds} seconds: see the node's log")]
    NotRemoved {
        /// Name of the member.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
    /// Another process listens on a port that `dev` needs.
    #[error("address in use: {address} (another Redis or Piccolo? use --{flag})")]
    AddressInUse {
        /// The flag by which another one is taken.
        flag: &'static str,
        /// The first such address.
        address: SocketAddr,
    },
    /// A port that `dev` needs cannot be had for another reason.
    #[error("cannot listen on {address}: {reason} (use --{flag})")]
    CannotListen {
        /// The flag by which another one is taken.
        flag: &'static str,
        /// The first such address.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// There are not enough ports above the base port.
    #[error(
        "--base-port {base_port}: {} ports up to {last}: give a lower one",
        counted((*nodes).into(), "node needs", "nodes need")
    )]
    PortsEnd {
        /// As given.
        base_port: u16,
        /// Number of nodes.
        nodes: u16,
        /// The highest port that would be needed.
        last: u32,
    },
    /// A node of `dev` ended by itself.
    #[error("{node} ended by itself ({status}){}", last_words(*.spoke))]
    NodeEnded {
        /// Its name.
        node: String,
        /// How it ended.
        status: String,
        /// Whether it said anything before, which was shown then.
        spoke: bool,
    },
    /// A node of `dev` did not become ready.
    #[error("{node} is not ready after {seconds} seconds: {reason}")]
    NotReady {
        /// Its name.
        node: String,
        /// How long was waited.
        seconds: u64,
        /// What it said last.
        reason: String,
    },
    /// A process or signal handler could not be had.
    #[error("cannot {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
}

fn last_words(spoke: bool) -> &'static str {
    if spoke { ": its last words are above" } else { "" }
}

impl CliError {
    /// 2 if the command line has to be changed, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::AddressInUse { .. } | Self::CannotListen { .. } | Self::PortsEnd { .. } => 2,
            _ => 1,
        }
    }
}
