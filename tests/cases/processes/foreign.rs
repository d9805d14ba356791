//! Two clusters that count one node, as mistakes and pauses bring them about.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::harness::cluster::SETTLE_LIMIT;
use crate::harness::process::folder;
use crate::harness::{Cluster, Node, until};

/// How long the node that is in the wrong may go on, on a busy machine: it needs some two seconds
/// to be sure.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Nodes on loopback with one command line, of which two make a cluster.
fn founders(names: &[&str], case: &str) -> Cluster {
    let folder = folder(case);
    let nodes: Vec<_> = names.iter().map(|name| Node::new(name, &folder)).collect();
    let seeds = nodes.iter().map(|node| node.peer.to_string()).collect::<Vec<_>>().join(",");
    let flags = ["--join", &seeds, "--expect", "2"];
    let nodes = nodes.into_iter().map(|node| node.flags(flags)).collect();
    let mut cluster = Cluster { nodes, folder };
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.nodes.iter_mut().for_each(Node::wait_ready);
    cluster
}

/// Waits for a node to end by itself with 2, and says what it printed.
fn ends(node: &mut Node) -> String {
    let mut process = node.process.take().expect("the node runs");
    let status = process.wait(STOP_LIMIT);
    let printed = process.printed();
    assert_eq!(status.code(), Some(2), "{printed}");
    printed
}

/// Whether a write is acknowledged on a new connection.
fn writes(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut reply = [0; 3];
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    stream.write_all(b"SET k v\r\n").is_ok()
        && stream.read_exact(&mut reply).is_ok()
        && reply == *b"+OK"
}

/// One node of three is stopped while the others are killed and make a cluster anew. When it goes
/// on it is the one that ends, and the keys written since are all there.
#[test]
fn a_stale_node_ends_and_not_the_cluster_that_began_anew() {
    let mut cluster = founders(&["a", "b", "c"], "stale");
    cluster.settle();
    cluster.nodes[1].running().signal("STOP");
    for at in [0, 2] {
        cluster.nodes[at].kill();
        cluster.nodes[at].start();
    }
    for at in [0, 2] {
        cluster.nodes[at].wait_ready();
    }
    let mut client = cluster.nodes[0].connect();
    for key in 0..200 {
        assert_eq!(client.call(&["SET", &format!("k{key}"), "v"]).text(), "OK");
    }
    cluster.nodes[1].running().signal("CONT");
    let printed = ends(&mut cluster.nodes[1]);
    assert!(
        printed.contains("of the 3 members of this node's cluster were started anew"),
        "{printed}"
    );
    for key in 0..200 {
        assert_eq!(client.call(&["GET", &format!("k{key}")]).text(), "v");
    }
    cluster.nodes[1].start();
    cluster.nodes[1].wait_ready();
    cluster.settle();
}

/// A member started with `--create` beside its cluster ends, and says where it belongs.
#[test]
fn a_member_created_beside_its_cluster_ends() {
    let mut cluster = Cluster::start("created", 2, &[]);
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    let address = cluster.nodes[0].client;
    until(STOP_LIMIT, "it serves", || if writes(address) { Ok(()) } else { Err("no".into()) });
    let mut standing = TcpStream::connect(address).expect("it serves");
    // It closes its clients first. From then on what it said would be lost for sure.
    while standing.read(&mut [0]).is_ok_and(|bytes| bytes > 0) {}
    while TcpStream::connect(address).is_ok() {
        assert!(!writes(address), "acknowledged by a node that is at its end");
    }
    let printed = ends(&mut cluster.nodes[0]);
    assert!(printed.contains("counts this node as its member"), "{printed}");
    let seeds = cluster.seeds();
    assert!(printed.contains(&format!("--join {seeds}")), "it says what to do: {printed}");
}

/// `--join` with members of two clusters, both of which answer at once: the newcomer names both.
#[test]
fn a_newcomer_between_two_clusters_harms_neither() {
    let (first, second) = (Cluster::start("one", 1, &[]), Cluster::start("other", 1, &[]));
    let seeds = format!("{},{}", first.seeds(), second.seeds());
    let mut newcomer = Node::new("new", &first.folder).flags(["--join", &seeds]);
    newcomer.start();
    let printed = ends(&mut newcomer);
    assert!(printed.contains("names members of two clusters"), "{printed}");
    for cluster in [&first, &second] {
        cluster.settle();
        let printed = cluster.nodes[0].running().printed();
        assert!(!printed.contains("LOST"), "{printed}");
    }
}

/// A terminal that closes sends SIGHUP.
#[test]
fn a_hangup_ends_no_node() {
    let cluster = Cluster::start("hangup", 1, &[]);
    let node = &cluster.nodes[0];
    node.running().signal("HUP");
    until(SETTLE_LIMIT, "it says so", || {
        let printed = node.running().printed();
        if printed.contains("SIGHUP: there is no --cluster-key") { Ok(()) } else { Err(printed) }
    });
    assert_eq!(node.connect().call(&["PING"]).text(), "PONG");
}
