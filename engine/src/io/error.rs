//! Why a node does not run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::node::Stop;

/// Why a node does not run, in one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody listens there already.
    #[error(
        "address in use: {address}, which is --{flag} (another Redis or Piccolo?): a node needs \
         four ports that nobody else on this machine has: --client, --peer, --admin, and \
         --cluster-client, which is that of --client plus 3 unless given"
    )]
    InUse {
        /// Where.
        address: SocketAddr,
        /// The flag that says where.
        flag: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error} (use --{flag})")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The flag that says where.
        flag: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// The system refused something.
    #[error("the system refused what a node needs: {0}")]
    System(io::Error),
    /// A core that this process may not use.
    #[error("--pin: core {core} is not there, or not for this process (it may use {cores})")]
    NoSuchCore {
        /// As given.
        core: usize,
        /// Those that it may use.
        cores: String,
    },
    /// The file of the cluster's keys is not what it should be.
    #[error("--cluster-key {}: {why}", .path.display())]
    KeyFile {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `--create`, but there is a cluster.
    #[error("a cluster is there already: {by} answered (use --join {by} instead of --create)")]
    CreateRefused {
        /// Who answered.
        by: SocketAddr,
    },
    /// Another node or cluster stands against this one.
    #[error("{0}")]
    Fatal(piccolo_gossip::Fatal),
    /// The configuration does not suit gossip.
    #[error("{0}")]
    Gossip(piccolo_gossip::ConfigError),
}

impl ServeError {
    /// 2 if the operator has to change something, 1 if the system failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::System(_) => 1,
            _ => 2,
        }
    }

    pub(super) fn of_bind(error: io::Error, address: SocketAddr, flag: &'static str) -> Self {
        if error.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { address, flag }
        } else {
            Self::Listen { address, flag, error }
        }
    }

    /// What a stop means for the process.
    pub(super) fn of_stop(stop: Stop) -> Result<(), Self> {
        match stop {
            Stop::Left => Ok(()),
            Stop::CreateRefused { by } => Err(Self::CreateRefused { by }),
            Stop::Fatal(fatal) => Err(Self::Fatal(fatal)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node beside others finds its port taken by a door that nobody has named.
    #[test]
    fn a_taken_port_is_named_with_all_that_a_node_needs() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = std::net::TcpListener::bind(address).unwrap_err();
        let error = ServeError::of_bind(error, address, "client");
        assert_eq!(
            error.to_string(),
            format!(
                "address in use: {address}, which is --client (another Redis or Piccolo?): a node \
                 needs four ports that nobody else on this machine has: --client, --peer, \
                 --admin, and --cluster-client, which is that of --client plus 3 unless given"
            )
        );
        assert_eq!(error.exit_code(), 2);
    }
}
