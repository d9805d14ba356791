//! Five real nodes, each in a network namespace: who is held dead, and who is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::harness::cluster::{Cluster, Node, alive};
use crate::harness::network::Network;
use crate::harness::process::show;
use crate::harness::{Stopwatch, until};

const NODES: usize = 5;
/// How long two nodes cannot talk in one direction: four rounds of probes with all suspicions that
/// could come of them.
const CUT: Duration = Duration::from_secs(20);
/// How long a node stands still. No pause below 3.5 s may be taken for a death.
const STILL: Duration = Duration::from_secs(3);
/// Within which all must know of a crash.
const CRASH_LIMIT: Duration = Duration::from_secs(8);
/// How long suspicions of the past may take to be refuted everywhere.
const CALM_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn only_the_one_that_crashed_is_held_dead() {
    let network = Network::new(NODES);
    let (mut cluster, _relays) = Cluster::in_namespaces("membership", &network, NODES);
    cluster.settle();

    // What b is asked by a comes to nothing, and so does what a answers to b: each probe of the
    // two fails, is asked of three others in turn, and the others hear both.
    network.cut_one_way(0, 1);
    nobody_dies_for(&cluster, CUT);
    network.heal_one_way(0, 1);
    all_are_alive(&cluster);

    // The others suspect it half a second into the pause at the earliest, and confirm each other
    // within one more. Even then a suspect has three seconds (`suspicion_floor`), so the pause is
    // over half a second before the first of them could declare it dead; its first datagrams
    // bring it the suspicion, and it refutes.
    let stopped = &cluster.nodes[2];
    stopped.running().signal("STOP");
    let rest: Vec<&Node> = cluster.nodes.iter().filter(|node| node.name != stopped.name).collect();
    let suspected = watch(&rest, STILL, |seen| seen.get("c").is_some_and(|c| c == "suspect"));
    stopped.running().signal("CONT");
    assert!(suspected, "nobody noticed that c stood still: the case shows nothing");
    all_are_alive(&cluster);
    nobody_was_held_dead(&cluster);

    cluster.nodes[3].kill();
    let killed = Stopwatch::start();
    let rest: BTreeSet<&str> = BTreeSet::from(["a", "b", "c", "e"]);
    until(CRASH_LIMIT, "all know that d is dead", || {
        for node in cluster.live() {
            let members = node.admin.members()?;
            if members["d"] != "dead" || alive(&members) != rest {
                return Err(format!("{} sees {members:?}", node.name));
            }
        }
        Ok(())
    });
    show(&format!("d was held dead by all after {:.2} s\n", killed.passed().as_secs_f64()));
}

fn nobody_dies_for(cluster: &Cluster, time: Duration) {
    let nodes: Vec<&Node> = cluster.nodes.iter().collect();
    watch(&nodes, time, |_| false);
    nobody_was_held_dead(cluster);
}

/// Asks the nodes again and again for so long; whether any answer was such a one. Nobody may be
/// seen dead.
#[track_caller]
fn watch(nodes: &[&Node], time: Duration, is: impl Fn(&BTreeMap<String, String>) -> bool) -> bool {
    let (watch, mut any) = (Stopwatch::start(), false);
    until(time * 2, "the time is over", || {
        for node in nodes {
            let members = node.admin.members()?;
            let dead = members.values().any(|state| state == "dead");
            assert!(!dead, "{} sees {members:?}", node.name);
            any |= is(&members);
        }
        if watch.passed() >= time { Ok(()) } else { Err(format!("{:?}", watch.passed())) }
    });
    any
}

/// By the nodes' own logs, which name each change.
#[track_caller]
fn nobody_was_held_dead(cluster: &Cluster) {
    for node in &cluster.nodes {
        let printed = node.running().printed();
        assert!(!printed.contains(" is dead"), "{}: {printed}", node.name);
    }
}

#[track_caller]
fn all_are_alive(cluster: &Cluster) {
    until(CALM_LIMIT, "all see all alive", || {
        for node in &cluster.nodes {
            let members = node.admin.members()?;
            if alive(&members).len() < NODES {
                return Err(format!("{} sees {members:?}", node.name));
            }
        }
        Ok(())
    });
}
