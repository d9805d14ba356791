//! Nodes of one cluster on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::network::Network;
use super::process::{MARK, folder, piccolo};
use super::{Admin, Client, Process, ports, until};

/// How long a cluster may take to come up, or to settle after a node came or went. Quiet takes 2
/// to 10 s, a dead node's grace 30 s; the rest is room for a busy machine.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_mins(2);
/// A password, since nodes in namespaces listen beyond loopback.
pub(crate) const PASSWORD: &str = "a-password-of-the-cases";
/// Where a relay takes questions to the admin door of a node in a namespace.
const RELAY_PORT: u16 = 7391;
/// How long the table of leaders must stay the same to count as settled: longer than the 2 s of
/// quiet that a change of members waits for.
const SAME_FOR: Duration = Duration::from_secs(6);

/// One node: its command line, and its process while it runs.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) client: SocketAddr,
    pub(crate) cluster_client: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) admin: Admin,
    flags: Vec<String>,
    /// In front of the program: `ip netns exec NAME`, or nothing.
    inside: Vec<String>,
    folder: PathBuf,
    pub(crate) process: Option<Process>,
}

impl Node {
    /// A node on free ports of loopback, not started yet.
    pub(crate) fn new(name: &str, folder: &Path) -> Self {
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        Self::at(name, [address(), address(), address(), address()], folder)
    }

    /// A node on the given client, cluster client, peer and admin address.
    pub(crate) fn at(name: &str, addresses: [SocketAddr; 4], folder: &Path) -> Self {
        let [client, cluster_client, peer, admin] = addresses;
        Self {
            name: name.to_owned(),
            client,
            cluster_client,
            peer,
            admin: Admin(admin),
            flags: Vec::new(),
            inside: Vec::new(),
            folder: folder.to_path_buf(),
            process: None,
        }
    }

    #[must_use]
    pub(crate) fn flags<'a>(mut self, flags: impl IntoIterator<Item = &'a str>) -> Self {
        self.flags.extend(flags.into_iter().map(str::to_owned));
        self
    }

    #[must_use]
    pub(crate) fn inside(mut self, prefix: &[&str]) -> Self {
        self.inside = prefix.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The whole command line of this node.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.inside.clone();
        words.push(piccolo().display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["serve", "--name", &self.name]);
        command.args(["--client", &self.client.to_string(), "--peer", &self.peer.to_string()]);
        command.args(["--admin", &self.admin.0.to_string()]);
        command.args(["--cluster-client", &self.cluster_client.to_string()]);
        // Two cores run up to four nodes and their clients: pinned threads would sit on each other.
        command.args(["--shards", "2", "--pin", "off"]).args(&self.flags);
        command.env(MARK, &self.folder);
        command
    }

    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.process = Some(Process::start(&self.name, self.command(), &self.folder));
    }

    /// Waits until `/readyz` says 200.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self) {
        let what = format!("{} is ready", self.name);
        let (admin, process) = (self.admin, self.process.as_mut().expect("the node was started"));
        until(SETTLE_LIMIT, &what, || match process.ended() {
            Some(status) => panic!("{} ended ({status}): {}", self.name, process.printed()),
            None => admin.ready(),
        });
    }

    /// Kills it with no warning.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        process.signal("KILL");
        process.wait(Duration::from_secs(10));
    }

    /// Stops it by SIGTERM and waits for its clean end.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        process.signal("TERM");
        let status = process.wait(SETTLE_LIMIT);
        assert!(status.success(), "{} ended with {status}: {}", self.name, process.printed());
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.client)
    }

    /// The process, of a node that runs.
    pub(crate) fn running(&self) -> &Process {
        self.process.as_ref().expect("the node runs")
    }
}

/// Nodes that know each other.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) folder: PathBuf,
}

impl Cluster {
    /// A settled cluster of nodes `a`, `b`, `c` and so on. The first creates it, the others join.
    #[track_caller]
    pub(crate) fn start(case: &str, count: usize, flags: &[&str]) -> Self {
        let mut cluster = Self { nodes: Vec::new(), folder: folder(case) };
        for _ in 0..count {
            cluster.add(flags);
        }
        cluster.settle();
        cluster
    }

    /// Nodes with the same command line, one in each namespace, as in containers. The admin door
    /// knows no password, so it listens on loopback; a relay beside each node brings the questions
    /// of the case there.
    #[track_caller]
    pub(crate) fn in_namespaces(
        case: &str,
        network: &Network,
        count: usize,
    ) -> (Self, Vec<Process>) {
        let folder = folder(case);
        let seeds: Vec<String> =
            (0..count).map(|at| network.address(at, 7380).to_string()).collect();
        let (seeds, expect) = (seeds.join(","), count.to_string());
        let node = |at: usize| {
            let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, 7381));
            let [client, peer, cluster] = [7379, 7380, 7382].map(|port| network.address(at, port));
            let addresses = [client, cluster, peer, admin];
            let flags = ["--join", &seeds, "--expect", &expect, "--requirepass", PASSWORD];
            let name = char::from(b'a' + at as u8).to_string();
            let node = Node::at(&name, addresses, &folder).flags(flags);
            let mut node = node.inside(&network.inside(at));
            node.start();
            node.admin = Admin(network.address(at, RELAY_PORT));
            node
        };
        let relays = (0..count).map(|at| network.relay(at, RELAY_PORT, 7381, &folder)).collect();
        let mut cluster = Self { nodes: (0..count).map(node).collect(), folder: folder.clone() };
        cluster.nodes.iter_mut().for_each(Node::wait_ready);
        (cluster, relays)
    }

    /// Starts one more node and waits until it is ready; its place in `nodes`.
    #[track_caller]
    pub(crate) fn add(&mut self, flags: &[&str]) -> usize {
        let at = self.nodes.len();
        let name = char::from(b'a' + at as u8).to_string();
        let node = Node::new(&name, &self.folder).flags(flags.iter().copied());
        let mut node = match self.seeds() {
            seeds if seeds.is_empty() => node.flags(["--create"]),
            seeds => node.flags(["--join", &seeds]),
        };
        node.start();
        node.wait_ready();
        self.nodes.push(node);
        at
    }

    /// Peer addresses of the nodes that run, as `--join` takes them.
    pub(crate) fn seeds(&self) -> String {
        let seeds: Vec<String> = self.live().map(|node| node.peer.to_string()).collect();
        seeds.join(",")
    }

    /// Nodes that run.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.process.is_some())
    }

    /// Waits until all live nodes see exactly the live nodes alive, agree on one leader for every
    /// slot, each of them leads some, and nothing moves any more. Returns the leaders by slot.
    #[track_caller]
    pub(crate) fn settle(&self) -> Vec<String> {
        let mut last = (super::Stopwatch::start(), Vec::new());
        until(SETTLE_LIMIT, "the cluster settles", || {
            let leaders = self.agreed()?;
            if leaders != last.1 {
                last = (super::Stopwatch::start(), leaders);
                return Err("slots still moved a moment ago".to_owned());
            }
            // From a node that is alone nothing can move anywhere.
            if self.live().count() > 1 && last.0.passed() < SAME_FOR {
                return Err("slots moved a few seconds ago".to_owned());
            }
            Ok(last.1.clone())
        })
    }

    /// What [`Self::settle`] waits for, at this moment.
    fn agreed(&self) -> Result<Vec<String>, String> {
        let names: BTreeSet<&str> = self.live().map(|node| node.name.as_str()).collect();
        let mut agreed: Option<Vec<String>> = None;
        for node in self.live() {
            let name = &node.name;
            let why = |error| format!("{name}: {error}");
            node.admin.ready().map_err(why)?;
            let members = node.admin.members().map_err(why)?;
            if alive(&members) != names {
                return Err(format!("{name} sees {members:?}, alive are {names:?}"));
            }
            let leaders = node.admin.leaders().map_err(why)?;
            let leading: BTreeSet<&str> = leaders.iter().map(String::as_str).collect();
            if leading != names {
                return Err(format!("{name} sees slots led by {leading:?}, not by {names:?}"));
            }
            if agreed.as_ref().is_some_and(|others| *others != leaders) {
                return Err(format!("{name} sees other leaders than the nodes before it"));
            }
            agreed = Some(leaders);
        }
        agreed.ok_or_else(|| "no node runs".to_owned())
    }
}

/// Names of the members whose state is `alive`.
pub(crate) fn alive(members: &BTreeMap<String, String>) -> BTreeSet<&str> {
    members.iter().filter(|(_, state)| *state == "alive").map(|(name, _)| name.as_str()).collect()
}

/// The part of the slots, in percent, whose leader is another one afterwards.
pub(crate) fn moved_percent(before: &[String], after: &[String]) -> f64 {
    let moved = before.iter().zip(after).filter(|(before, after)| before != after).count();
    100.0 * moved as f64 / before.len() as f64
}

#[test]
fn moved_slots_are_counted_in_percent() {
    let names = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    assert!((moved_percent(&names("aabb"), &names("aabc")) - 25.0).abs() < 1e-9);
}

#[test]
fn only_members_in_state_alive_are_alive() {
    let member = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    let members = [member("a", "alive"), member("b", "suspect"), member("c", "left")];
    assert_eq!(alive(&members.into_iter().collect()), BTreeSet::from(["a"]));
}
