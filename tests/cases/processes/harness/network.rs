//! Network namespaces on one bridge, so that a case can pull a node's cable.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Process;
use super::process::{run, run_well};
use super::tools::script;

/// The hardware address of nobody.
const NOBODY: &str = "02:00:00:00:00:01";

/// Namespaces joined by a bridge to which this machine belongs too. Needs root.
#[derive(Debug)]
pub(crate) struct Network {
    bridge: String,
    spaces: Vec<String>,
    /// Third part of the addresses `10.99.N.x`, so that two runs do not meet.
    net: u8,
}

impl Network {
    #[track_caller]
    pub(crate) fn new(count: usize) -> Self {
        // The system takes a namespace down in its own time: no name is used twice in a run.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}x{}", process::id() % 10_000, NEXT.fetch_add(1, Ordering::Relaxed));
        let net = (process::id() % 250) as u8;
        let mut network = Self { bridge: format!("pcb{id}"), spaces: Vec::new(), net };
        let bridge = network.bridge.clone();
        ip(&["link", "add", &bridge, "type", "bridge"]);
        ip(&["addr", "add", &format!("10.99.{net}.254/24"), "dev", &bridge]);
        ip(&["link", "set", &bridge, "up"]);
        for at in 0..count {
            network.add(at, &format!("pc{id}n{at}"));
        }
        network
    }

    /// Address of the node in namespace `at`.
    pub(crate) fn address(&self, at: usize, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(10, 99, self.net, at as u8 + 1), port))
    }

    /// The words in front of a command that shall run in namespace `at`.
    pub(crate) fn inside(&self, at: usize) -> [&str; 4] {
        ["ip", "netns", "exec", &self.spaces[at]]
    }

    /// Makes a port of loopback inside namespace `at` reachable under another port of its address,
    /// for as long as the process lives.
    #[track_caller]
    pub(crate) fn relay(&self, at: usize, port: u16, inner: u16, folder: &Path) -> Process {
        let words = self.inside(at);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("python3").arg(script("relay.py"));
        command.args([self.address(at, port).to_string(), format!("127.0.0.1:{inner}")]);
        Process::start(&format!("relay-{at}"), command, folder)
    }

    /// Pulls the cable of namespace `at`: every packet is lost from now on, with no word to anyone.
    pub(crate) fn cut(&self, at: usize) {
        ip(&["link", "set", &format!("{}h", self.spaces[at]), "nomaster"]);
    }

    /// Puts the cable back.
    pub(crate) fn heal(&self, at: usize) {
        ip(&["link", "set", &format!("{}h", self.spaces[at]), "master", &self.bridge]);
    }

    /// Loses every packet from namespace `from` to `to` from now on, and none the other way. The
    /// sender addresses its frames to nobody: a route into a black hole would tell it of each
    /// loss, and where `rp_filter` is on it would cut the way back, too.
    pub(crate) fn cut_one_way(&self, from: usize, to: usize) {
        let (space, to) = (&self.spaces[from], self.address(to, 0).ip().to_string());
        let guest = format!("{space}g");
        let neighbour = ["lladdr", NOBODY, "dev", &guest, "nud", "permanent"];
        ip(&[&["-n", space, "neigh", "replace", &to], neighbour.as_slice()].concat());
    }

    /// Ends that.
    pub(crate) fn heal_one_way(&self, from: usize, to: usize) {
        let (space, to) = (&self.spaces[from], self.address(to, 0).ip().to_string());
        ip(&["-n", space, "neigh", "del", &to, "dev", &format!("{space}g")]);
    }

    fn add(&mut self, at: usize, space: &str) {
        let (host, guest) = (format!("{space}h"), format!("{space}g"));
        ip(&["netns", "add", space]);
        self.spaces.push(space.to_owned());
        ip(&["link", "add", &host, "type", "veth", "peer", "name", &guest, "netns", space]);
        ip(&["link", "set", &host, "master", &self.bridge, "up"]);
        ip(&["-n", space, "link", "set", "lo", "up"]);
        let address = format!("{}/24", self.address(at, 0).ip());
        ip(&["-n", space, "addr", "add", &address, "dev", &guest]);
        ip(&["-n", space, "link", "set", &guest, "up"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Deleting a namespace takes its end of the cable along, and with it the other end.
        for space in &self.spaces {
            run(Command::new("ip").args(["netns", "del", space]));
        }
        run(Command::new("ip").args(["link", "del", &self.bridge]));
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    run_well(Command::new("ip").args(args));
}

#[test]
fn a_cut_namespace_is_unreachable_until_healed() {
    let network = Network::new(2);
    let target = network.address(1, 0).ip().to_string();
    let probe = |count: &str| {
        let words = network.inside(0);
        let mut command = Command::new(words[0]);
        // A neighbour that answers is in the table as REACHABLE, a lost one as FAILED.
        command.args(&words[1..]).args(["python3", "-c", PROBE, &target, count]);
        run(&mut command)
    };
    assert!(probe("50").0.success(), "{}", probe("1").1);
    network.cut(1);
    assert!(!probe("3").0.success());
    network.heal(1);
    assert!(probe("100").0.success(), "{}", probe("1").1);
}

#[test]
fn a_namespace_cut_off_one_way_hears_and_is_not_heard() {
    let network = Network::new(2);
    let heard = |from: usize, to: usize| {
        let target = network.address(to, 0).ip().to_string();
        let words = network.inside(to);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["python3", "-c", HEARD, &target]);
        command.args(network.inside(from)).args(["python3", "-c", SAYS, &target]);
        let (status, printed) = run(&mut command);
        let lost = status.code() == Some(1) && printed.is_empty();
        assert!(status.success() || lost, "{status}: {printed}");
        status.success()
    };
    assert!(heard(0, 1) && heard(1, 0));
    network.cut_one_way(0, 1);
    assert!(!heard(0, 1) && heard(1, 0));
    network.heal_one_way(0, 1);
    assert!(heard(0, 1) && heard(1, 0));
}

/// Exits 0 if a datagram arrives that the command behind the address sends, else 1.
#[cfg(test)]
const HEARD: &str = "
import socket, subprocess, sys
hears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
hears.bind((sys.argv[1], 9))
hears.settimeout(0.5)
for _ in range(3):
    subprocess.run(sys.argv[2:], check=True)
    try:
        hears.recv(1)
        sys.exit(0)
    except TimeoutError:
        pass
sys.exit(1)
";

/// Sends a datagram to the address; an error is printed.
#[cfg(test)]
const SAYS: &str = "
import socket, sys
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 9))
";

/// Exits 0 as soon as the port is refused by a machine that is there, else 1 after some attempts.
#[cfg(test)]
const PROBE: &str = "
import socket, sys
for _ in range(int(sys.argv[2])):
    s = socket.socket()
    s.settimeout(0.2)
    try:
        s.connect((sys.argv[1], 9))
    except ConnectionRefusedError:
        sys.exit(0)
    except OSError:
        pass
sys.exit(1)
";
