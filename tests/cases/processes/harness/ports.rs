//! Ports that nobody uses.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// First port tried. All lie below the range that Linux gives to outgoing connections (32768 and
/// up), so that no connection takes the port of a node between its death and its restart.
const FIRST: u32 = 15_000;
/// Ports from which this run draws.
const RANGE: u32 = 16_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port of loopback on which neither TCP nor UDP is bound. Each call gives another one.
pub(crate) fn free() -> u16 {
    for _ in 0..RANGE {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = (FIRST + (process::id() * 61 + step) % RANGE) as u16;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
    panic!("no port between {FIRST} and {} is free", FIRST + RANGE)
}

#[test]
fn a_free_port_can_be_bound_and_is_given_once() {
    let (one, two) = (free(), free());
    assert_ne!(one, two);
    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, one)).is_ok());
}
