//! The sockets that a node listens on.

use mio::net::{TcpListener, UdpSocket};

use super::error::ServeError;
use crate::config::Config;
use crate::shard::Door;

/// Doors of a node.
pub(super) const LISTENERS: usize = 3;

/// Who comes in by a listener.
#[derive(Clone, Copy, Debug)]
pub(super) enum Visitor {
    Client(Door),
    Peer,
}

/// A door of the node.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) visitor: Visitor,
    /// Somebody may be waiting.
    pub(super) more: bool,
}

/// The sockets that a node listens on.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) listeners: [Listener; LISTENERS],
    pub(super) gossip: UdpSocket,
    pub(super) admin: std::net::TcpListener,
}

impl Sockets {
    /// Takes all addresses of a node, or says which is not to be had.
    pub(super) fn bind(config: &Config) -> Result<Self, ServeError> {
        let listener = |address, flag, visitor| {
            let socket = TcpListener::bind(address);
            let socket = socket.map_err(|error| ServeError::of_bind(error, address, flag))?;
            Ok(Listener { socket, visitor, more: false })
        };
        let in_use = |address, flag| move |error| ServeError::of_bind(error, address, flag);
        Ok(Self {
            listeners: [
                listener(config.client, "client", Visitor::Client(Door::Client))?,
                listener(config.cluster_client, "cluster-client", Visitor::Client(Door::Cluster))?,
                listener(config.peer, "peer", Visitor::Peer)?,
            ],
            gossip: UdpSocket::bind(config.peer).map_err(in_use(config.peer, "peer"))?,
            admin: std::net::TcpListener::bind(config.admin)
                .map_err(in_use(config.admin, "admin"))?,
        })
    }
}
