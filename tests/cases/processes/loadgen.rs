//! `loadgen verify` against a cluster whose members change.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::{folder, loadgen, show};
use crate::harness::{Cluster, Process, until};

/// How long verify may take to read everything back.
const LIMIT: Duration = Duration::from_mins(2);
/// Acknowledged writes of the smallest run that shows something.
const ACKNOWLEDGED_MIN: u64 = 10_000;

#[test]
fn verify_finds_nothing_lost_while_one_node_joins_and_another_leaves() {
    let mut cluster = Cluster::start("loadgen", 3, &[]);
    let (a, b, c) = (0, 1, 2);
    let mut command = Command::new(loadgen());
    command.arg("verify");
    for node in [a, b, c] {
        command.arg(format!("resp://{}", cluster.nodes[node].client));
    }
    // It is told to end once everything has happened.
    command.args(["--duration", "1h", "-c", "12", "-P", "4", "--keys", "2k", "--format", "json"]);
    let mut verify = Process::start("verify", command, &folder("loadgen"));
    wait_for_keys(&cluster, 2000);

    let d = cluster.add(&[]);
    cluster.settle();
    cluster.nodes[c].stop();
    cluster.settle();
    assert!(verify.ended().is_none(), "verify ended early: {}", verify.printed());
    verify.signal("TERM");
    let status = verify.wait(LIMIT);
    let printed = verify.printed();
    assert!(status.success(), "{status}: {printed}");
    let found: Value = serde_json::from_str(&printed).expect("verify prints JSON alone");
    for count in ["lost", "stale", "corrupt", "errors", "unread"] {
        assert_eq!(found[count], 0, "{count}: {printed}");
    }
    assert!(found["acknowledged"].as_u64() > Some(ACKNOWLEDGED_MIN), "{printed}");
    // Every connection of the node that left ended, and no other.
    let ended = found["cut"].as_u64().unwrap() + found["closed"].as_u64().unwrap();
    assert!((1..=12).contains(&ended), "{ended} connections ended: {printed}");
    assert!(cluster.nodes[d].process.is_some());
    show(&format!(
        "loadgen: {} writes acknowledged, {} unknown, {} reads, {ended} connections moved on\n",
        found["acknowledged"], found["unknown"], found["reads"]
    ));
}

/// Waits until verify has written every key.
#[track_caller]
fn wait_for_keys(cluster: &Cluster, keys: i64) {
    let mut client = cluster.nodes[0].connect();
    until(Duration::from_mins(1), "verify has written every key", || {
        let reply = client.call(&["DBSIZE"]);
        let there = reply == crate::harness::Reply::Integer(keys);
        if there { Ok(()) } else { Err(format!("DBSIZE says {}", reply.text())) }
    });
}
