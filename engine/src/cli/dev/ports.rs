//! The ports of a node of `piccolo dev`.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::cli::error::CliError;

/// From the first port of a node to that of the next: room for more doors, and easy to read.
const STEP: u16 = 10;

/// Four ports in a row on loopback: for clients, peers, admin and cluster clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    first: u16,
}

impl Ports {
    /// Those of each of `nodes` nodes.
    pub(super) fn of_nodes(base_port: u16, nodes: u16) -> Result<Vec<Self>, CliError> {
        let last = u32::from(base_port) + u32::from(STEP) * u32::from(nodes.saturating_sub(1)) + 3;
        if last > u32::from(u16::MAX) {
            return Err(CliError::PortsEnd { base_port, nodes, last });
        }
        Ok((0..nodes).map(|node| Self { first: base_port + node * STEP }).collect())
    }

    pub(super) fn client(self) -> SocketAddr {
        local(self.first)
    }

    pub(super) fn peer(self) -> SocketAddr {
        local(self.first + 1)
    }

    pub(super) fn admin(self) -> SocketAddr {
        local(self.first + 2)
    }

    pub(super) fn cluster_client(self) -> SocketAddr {
        local(self.first + 3)
    }

    /// Checks that nobody listens on any of them.
    pub(super) fn check_free(self) -> Result<(), CliError> {
        const FLAG: &str = "base-port";
        for address in [self.client(), self.peer(), self.admin(), self.cluster_client()] {
            check_free(address, FLAG)?;
        }
        let peer = self.peer();
        UdpSocket::bind(peer).map(drop).map_err(|error| refused(peer, FLAG, &error))
    }
}

/// Checks that nobody listens there by TCP; `flag` would take another address.
pub(super) fn check_free(address: SocketAddr, flag: &'static str) -> Result<(), CliError> {
    TcpListener::bind(address).map(drop).map_err(|error| refused(address, flag, &error))
}

pub(super) fn local(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
}

fn refused(address: SocketAddr, flag: &'static str, error: &std::io::Error) -> CliError {
    if error.kind() == ErrorKind::AddrInUse {
        CliError::AddressInUse { flag, address }
    } else {
        CliError::CannotListen { flag, address, reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_ten_ports_apart() {
        let ports = Ports::of_nodes(7379, 3).unwrap();
        let clients: Vec<u16> = ports.iter().map(|ports| ports.client().port()).collect();
        assert_eq!(clients, [7379, 7389, 7399]);
        let third = ports.last().unwrap();
        assert_eq!((third.peer().port(), third.admin().port()), (7400, 7401));
    }

    #[test]
    fn ports_end_at_65535() {
        assert!(Ports::of_nodes(65532, 1).is_ok());
        assert!(Ports::of_nodes(65522, 2).is_ok());
        for (base, nodes) in [(65533, 1), (65523, 2), (65535, 32)] {
            let error = Ports::of_nodes(base, nodes).unwrap_err();
            assert!(matches!(error, CliError::PortsEnd { .. }), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn a_taken_port_is_named() {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = tcp.local_addr().unwrap();
        let error = Ports { first: taken.port() }.check_free().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("address in use: {taken} (another Redis or Piccolo? use --base-port)")
        );
        assert_eq!(error.exit_code(), 2);

        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = udp.local_addr().unwrap();
        let error = Ports { first: taken.port() - 1 }.check_free().unwrap_err();
        assert!(matches!(error, CliError::AddressInUse { .. }), "{error}");
    }
}
