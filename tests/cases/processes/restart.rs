//! Nodes that die without a word, and nodes that are cut off, come back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::admin::SLOTS;
use crate::harness::cluster::{Cluster, Node, PASSWORD, SETTLE_LIMIT, alive};
use crate::harness::network::Network;
use crate::harness::{Client, Reply, Stopwatch, until};

/// Keys that a case writes before the fault: several in every slot of the smallest node.
const KEYS: usize = 20_000;
/// How long a node is cut off.
const CUT: Duration = Duration::from_mins(1);
/// Within which a dead node must be known to be dead: a probe round, suspicion, and room.
const DETECT_LIMIT: Duration = Duration::from_secs(45);

#[test]
fn a_killed_node_rejoins_under_its_name() {
    let mut cluster = Cluster::start("killed", 3, &[]);
    let leaders = cluster.settle();
    write_keys(&mut cluster.nodes[0].connect());
    cluster.nodes[2].kill();
    // The same command line on the same ports, at once, as a supervisor would do it.
    cluster.nodes[2].start();
    cluster.nodes[2].wait_ready();
    let settled = cluster.settle();
    for node in &cluster.nodes {
        let members = node.admin.members().unwrap();
        let names: BTreeSet<&str> = members.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["a", "b", "c"]), "{} sees them", node.name);
        every_slot_serves(&mut node.connect());
    }
    assert_eq!(leaders, settled, "the same names give the same slots");
    keys_of_survivors_are_there(&mut cluster.nodes[2].connect(), &leaders, "c");
}

#[test]
fn a_restarted_creator_joins_its_cluster() {
    let mut cluster = Cluster::start("creator", 3, &[]);
    cluster.nodes[0].kill();
    let seeds = cluster.seeds();
    let flags = ["--join", seeds.as_str()];
    let old = &cluster.nodes[0];
    let addresses = [old.client, old.cluster_client, old.peer, old.admin.0];
    cluster.nodes[0] = Node::at("a", addresses, &cluster.folder).flags(flags);
    cluster.nodes[0].start();
    cluster.nodes[0].wait_ready();
    cluster.settle();
    every_slot_serves(&mut cluster.nodes[0].connect());
}

#[test]
fn a_node_told_to_leave_hands_everything_over() {
    let mut cluster = Cluster::start("leave", 3, &[]);
    write_keys(&mut cluster.nodes[0].connect());
    let (status, body) = cluster.nodes[1].admin.post("/v1/node/leave").unwrap();
    assert!((200..300).contains(&status), "{status}: {body}");
    let mut process = cluster.nodes[1].process.take().unwrap();
    let ended = process.wait(SETTLE_LIMIT);
    assert!(ended.success(), "{ended}: {}", process.printed());
    let leaders = cluster.settle();
    keys_of_survivors_are_there(&mut cluster.nodes[2].connect(), &leaders, "nobody");
}

#[test]
fn a_node_cut_off_for_a_minute_converges() {
    let network = Network::new(3);
    let (cluster, _relays) = Cluster::in_namespaces("cut-off", &network, 3);
    let before = cluster.settle();
    let mut client = login(cluster.nodes[0].client);
    write_keys(&mut client);

    network.cut(2);
    let watch = Stopwatch::start();
    let others = BTreeSet::from(["a", "b"]);
    until(DETECT_LIMIT, "the others see that c is gone", || {
        let members = cluster.nodes[0].admin.members()?;
        if alive(&members) == others { Ok(()) } else { Err(format!("a sees {members:?}")) }
    });
    until(CUT * 2, "the minute is over", || match CUT.checked_sub(watch.passed()) {
        None => Ok(()),
        Some(rest) => Err(format!("{rest:?} are left")),
    });
    network.heal(2);

    // Members agree, every slot has one leader by every node's word, and nothing moves any more.
    cluster.settle();
    for node in &cluster.nodes {
        every_slot_serves(&mut login(node.client));
    }
    keys_of_survivors_are_there(&mut login(cluster.nodes[2].client), &before, "c");
}

#[track_caller]
fn login(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    assert!(client.call(&["GET", "k"]).error().is_some_and(|text| text.starts_with("NOAUTH")));
    assert_eq!(client.call(&["AUTH", PASSWORD]), Reply::ok());
    client
}

#[track_caller]
fn write_keys(client: &mut Client) {
    for at in 0..KEYS {
        assert_eq!(client.call(&["SET", &key(at), &value(at)]), Reply::ok());
    }
}

/// Every key is there whose slot `lost` did not lead. With one copy of each slot, the keys that the
/// lost node led are gone with it, and only they.
#[track_caller]
fn keys_of_survivors_are_there(client: &mut Client, leaders: &[String], lost: &str) {
    let survivors = (0..KEYS).filter(|&at| leaders[slot(&key(at))] != lost);
    let mut seen = 0;
    for at in survivors {
        let reply = client.call(&["GET", &key(at)]);
        assert_eq!(reply, Reply::bulk(value(at).as_bytes()), "{}", key(at));
        seen += 1;
    }
    assert!(seen > KEYS / 2, "{lost} led most of the slots");
}

/// Writes and reads keys until every one of the 16384 slots was met, through this connection.
#[track_caller]
fn every_slot_serves(client: &mut Client) {
    let mut met = vec![false; SLOTS];
    let mut left = met.len();
    for at in 0.. {
        let key = format!("serves:{at}");
        let slot = &mut met[slot(&key)];
        if !*slot {
            *slot = true;
            left -= 1;
            assert_eq!(client.call(&["SET", &key, "x"]), Reply::ok(), "{key}");
            assert_eq!(client.call(&["GET", &key]), Reply::bulk(b"x"));
            assert_eq!(client.call(&["DEL", &key]), Reply::Integer(1));
        }
        if left == 0 {
            return;
        }
    }
}

fn key(at: usize) -> String {
    format!("key:{at}")
}

fn value(at: usize) -> String {
    format!("value of {at}")
}

/// The slot of a key without a hashtag, computed here anew: CRC16-XMODEM, as Redis Cluster does.
fn slot(key: &str) -> usize {
    let crc = key.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    usize::from(crc) % SLOTS
}

#[test]
fn the_slot_of_a_key_is_that_of_redis_cluster() {
    // Source: the Redis Cluster specification gives 31C3 as the sum of "123456789".
    assert_eq!(slot("123456789"), 0x31c3);
    assert_eq!(slot("foo"), 12182);
}
