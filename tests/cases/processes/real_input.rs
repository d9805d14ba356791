//! Real data through ordinary clients while nodes come and go: every record of
//! `apt-cache dumpavail` goes in through one node and comes out through another, byte for byte.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::cluster::moved_percent;
use crate::harness::process::run_well;
use crate::harness::tools::{feed, python, redis, script};
use crate::harness::{Cluster, Node, Reply};
use crate::traffic::{Plan, Records, Traffic};

/// Fewer records than this and the machine has no package lists: nothing would be shown.
const RECORDS_MIN: usize = 10_000;
/// Replies that each loader and reader must get before the next step, so that every phase has
/// traffic in front of it, in it and behind it.
const REPLIES_PER_PHASE: u64 = 3_000;
/// How long a phase of traffic may take.
const PHASE_LIMIT: Duration = Duration::from_mins(2);

#[test]
fn every_record_survives_a_join_and_a_leave_under_load() {
    let mut cluster = Cluster::start("real-input", 3, &[]);
    let (a, b, c) = (0, 1, 2);
    let records = dump(&cluster.folder);

    load(&cluster.nodes[a], &cluster.folder, records.len());
    read_back(&cluster.nodes[b], &cluster.folder, "before");

    let stay = [cluster.nodes[a].client, cluster.nodes[b].client];
    let traffic = Traffic::start(&Plan { stay, guest: cluster.nodes[c].client, records });
    traffic.wait_for(REPLIES_PER_PHASE, PHASE_LIMIT);

    let before = cluster.settle();
    assert!(before == wished(&cluster.nodes[a]), "slots lie elsewhere than on the ring");
    let d = cluster.add(&[]);
    let after = cluster.settle();
    assert!(after == wished(&cluster.nodes[b]), "slots lie elsewhere than on the ring");
    let moved = moved_percent(&before, &after);
    assert!((20.0..=30.0).contains(&moved), "{moved:.1} % of the slots moved on the join");
    traffic.wait_for(REPLIES_PER_PHASE, PHASE_LIMIT);

    cluster.nodes[c].stop();
    let left = cluster.settle();
    assert!(left == wished(&cluster.nodes[d]), "slots lie elsewhere than on the ring");
    traffic.wait_for(REPLIES_PER_PHASE, PHASE_LIMIT);

    let outcome = traffic.stop();
    outcome.assert_clean();
    outcome.assert_counters(&mut cluster.nodes[d].connect());
    read_back(&cluster.nodes[d], &cluster.folder, "after");
    let keys = (outcome.records + outcome.counters()) as i64;
    assert_eq!(cluster.nodes[b].connect().call(&["DBSIZE"]), Reply::Integer(keys));
    // The same records once more, over those that are there.
    load(&cluster.nodes[d], &cluster.folder, outcome.records);
    read_back(&cluster.nodes[a], &cluster.folder, "again");
    crate::harness::process::show(&format!(
        "real input: {} records, {moved:.1} % of the slots moved, {} replies, {} errors\n",
        outcome.records,
        outcome.replies,
        outcome.faults.len()
    ));
}

/// Who should lead every slot, as a node places them on the ring.
#[track_caller]
fn wished(node: &Node) -> Vec<String> {
    node.admin.wished().expect("the ring of a node")
}

/// Writes the package lists of this machine into `folder` in all forms that the case needs.
#[track_caller]
pub(crate) fn dump(folder: &Path) -> Records {
    let path = folder.join("dumpavail.txt");
    let file = File::create(&path).expect("make a file");
    let dumped = Command::new("apt-cache").arg("dumpavail").stdout(file).status();
    assert!(dumped.expect("run apt-cache").success(), "apt-cache dumpavail failed");
    let out = feed(Command::new(python()).arg(script("dumpavail.py")).arg(folder), &path);
    let count = String::from_utf8_lossy(&out.stdout).trim().parse::<usize>();
    let count = count.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)));
    assert!(count >= RECORDS_MIN, "{count} records: run `apt-get update` first");
    let records = Records::read(&folder.join("records.txt"));
    assert_eq!(records.len(), count);
    records
}

/// Loads everything by `redis-cli` from standard input; it counts every error reply.
#[track_caller]
pub(crate) fn load(node: &Node, folder: &Path, count: usize) {
    let out = feed(redis("redis-cli", node.client).arg("--pipe"), &folder.join("load.resp"));
    let said = String::from_utf8_lossy(&out.stdout);
    let wanted = format!("errors: 0, replies: {count}");
    assert!(out.status.success() && said.contains(&wanted), "not {wanted}: {said} {out:?}");
}

/// Reads everything by `redis-cli` from standard input and compares it as a whole. An error reply
/// would stand in the output, and so differ.
#[track_caller]
pub(crate) fn read_back(node: &Node, folder: &Path, when: &str) {
    let path = folder.join(format!("back-{when}.txt"));
    let mut command = redis("redis-cli", node.client);
    command.arg("--raw").stdin(Stdio::from(File::open(folder.join("ask.txt")).expect("ask.txt")));
    let status = command.stdout(File::create(&path).expect("make a file")).status();
    assert!(status.expect("run redis-cli").success());
    run_well(Command::new("cmp").arg(folder.join("canon.txt")).arg(&path));
    fs::remove_file(path).expect("remove what was equal");
}
