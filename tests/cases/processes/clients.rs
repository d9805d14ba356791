//! Ordinary Redis clients, unmodified, against a cluster of three nodes.

use std::process::Command;

use redis::Commands as _;

use crate::harness::cluster::SETTLE_LIMIT;
use crate::harness::process::run_well;
use crate::harness::tools::{python, redis as tool, script};
use crate::harness::{Client, Cluster, Node, Reply, until};

/// Requests of one round of redis-benchmark. Enough to touch every slot, short enough for a case.
const BENCHMARK_REQUESTS: &str = "50000";

#[test]
fn redis_cli_speaks_both_protocols() {
    let cluster = Cluster::start("redis-cli", 3, &[]);
    for (node, protocol) in cluster.nodes.iter().zip(["-2", "-3", "-3"]) {
        let cli = |args: &[&str]| cli(node, protocol, args);
        assert_eq!(cli(&["PING"]), "PONG");
        assert_eq!(cli(&["SET", "greeting", "good day", "EX", "1000"]), "OK");
        assert_eq!(cli(&["GET", "greeting"]), "good day");
        let left: u32 = cli(&["TTL", "greeting"]).parse().unwrap();
        assert!((990..=1000).contains(&left), "TTL {left}");
        assert_eq!(cli(&["MSET", "m1", "1", "m2", "2", "m3", "3"]), "OK");
        assert_eq!(cli(&["MGET", "m1", "m2", "none", "m3"]), "1\n2\n\n3");
        assert_eq!(cli(&["INCRBYFLOAT", "m1", "0.5"]), "1.5");
        assert_eq!(cli(&["DBSIZE"]), "4");
        let mut found: Vec<String> = cli(&["--scan"]).lines().map(str::to_owned).collect();
        found.sort();
        assert_eq!(found, ["greeting", "m1", "m2", "m3"]);
        assert!(cli(&["INFO", "server"]).contains("redis_version:"));
        assert!(cli(&["--bigkeys"]).contains("Biggest string"));
        assert_eq!(cli(&["FLUSHALL"]), "OK");
    }
}

#[test]
fn redis_cli_shows_refusals_as_redis_does() {
    let cluster = Cluster::start("redis-cli-refusals", 1, &[]);
    let node = &cluster.nodes[0];
    let cli = |args: &[&str]| cli(node, "-2", args);
    assert!(cli(&["LPUSH", "list", "x"]).starts_with("ERR unknown command"));
    assert!(cli(&["GET"]).starts_with("ERR wrong number of arguments for 'get' command"));
    assert_eq!(cli(&["SET", "k", "v"]), "OK");
    assert_eq!(cli(&["INCR", "k"]), "ERR value is not an integer or out of range");
    assert_eq!(cli(&["SELECT", "1"]), "ERR DB index is out of range");
    // With -e, redis-cli ends with a failure on any error reply.
    let mut command = tool("redis-cli", node.client);
    let status = command.args(["-e", "LPUSH", "list", "x"]).status().unwrap();
    assert!(!status.success());
}

#[test]
fn redis_py_works_with_its_default_pipelines() {
    let cluster = Cluster::start("redis-py", 3, &[]);
    let ports: Vec<String> =
        cluster.nodes.iter().map(|node| node.client.port().to_string()).collect();
    let said = run_well(Command::new(python()).arg(script("clients.py")).args(&ports));
    assert!(said.contains("redis-py: all as expected"), "{said}");
}

#[test]
fn redis_rs_works() {
    let cluster = Cluster::start("redis-rs", 3, &[]);
    for (at, node) in cluster.nodes.iter().enumerate() {
        let mut one = redis_rs(node, "");
        let mut next = redis_rs(&cluster.nodes[(at + 1) % 3], "?protocol=resp3");
        let _: () = one.set("key", "value").unwrap();
        assert_eq!(next.get::<_, String>("key").unwrap(), "value");
        assert_eq!(next.get::<_, Option<String>>("none").unwrap(), None);
        assert_eq!(one.incr::<_, _, i64>("count", 5).unwrap(), 5 * (at as i64 + 1));
        let _: () = one.mset(&[("x", 1), ("y", 2), ("z", 3)]).unwrap();
        assert_eq!(next.mget::<_, Vec<i64>>(&["x", "y", "z"]).unwrap(), [1, 2, 3]);
        let (first, second): (i64, i64) =
            redis::pipe().atomic().incr("{tag}one", 1).incr("{tag}two", 2).query(&mut one).unwrap();
        assert_eq!((first, second), (at as i64 + 1, 2 * (at as i64 + 1)));
        let mut keys: Vec<String> = next.scan().unwrap().map(|key| key.unwrap()).collect();
        keys.sort();
        assert_eq!(keys, ["count", "key", "x", "y", "z", "{tag}one", "{tag}two"]);
        let refusal = one.lpush::<_, _, i64>("list", 1).unwrap_err();
        assert!(refusal.to_string().contains("unknown command"), "{refusal}");
        assert_eq!(one.del::<_, i64>(&["x", "y", "z", "none"]).unwrap(), 3);
    }
}

#[test]
fn a_node_that_leaves_takes_clients_of_a_cluster_in_until_it_has_sent_them_on() {
    let mut cluster = Cluster::start("redis-cluster-leave", 2, &[]);
    let leaver = &cluster.nodes[1];
    let door = leaver.cluster_client;
    let ask = |key: &str| Client::connect(door).call(&["GET", key]);
    let mut keys = (0..1000).map(|at| format!("key:{at}"));
    let key = keys.find(|key| ask(key) == Reply::Null).unwrap();
    leaver.running().signal("TERM");
    until(SETTLE_LIMIT, "it leaves", || match Client::connect(leaver.client).call(&["PING"]) {
        Reply::Error(text) if text == "ERR this node is leaving" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Each time by a new connection, as clients do that had no need of this node before.
    let sent_on = until(SETTLE_LIMIT, "the key has moved", || match ask(&key) {
        Reply::Error(text) => Ok(text),
        other => Err(format!("{other:?}")),
    });
    let place = cluster.nodes[0].cluster_client.to_string();
    assert!(sent_on.starts_with("MOVED ") && sent_on.ends_with(&place), "{sent_on}");
    let mut process = cluster.nodes[1].process.take().unwrap();
    assert!(process.wait(SETTLE_LIMIT).success());
}

#[test]
fn redis_benchmark_meets_no_error() {
    let cluster = Cluster::start("redis-benchmark", 3, &[]);
    for pipeline in ["1", "16"] {
        let mut command = tool("redis-benchmark", cluster.nodes[1].client);
        command.args(["-t", "ping,set,get,incr,mset", "-P", pipeline, "-n", BENCHMARK_REQUESTS]);
        // -r spreads the keys over all slots, and so over all nodes. An error reply ends it
        // with a failure.
        let said = run_well(command.args(["-r", "100000", "--csv"]));
        assert!(!said.to_lowercase().contains("error"), "{said}");
        let tests = said.lines().filter(|line| line.starts_with('"')).count();
        assert!(tests >= 6, "ping twice, set, get, incr, mset and the head: {said}");
    }
}

#[track_caller]
fn cli(node: &Node, protocol: &str, args: &[&str]) -> String {
    let said = run_well(tool("redis-cli", node.client).arg(protocol).arg("--raw").args(args));
    said.trim_end_matches('\n').to_owned()
}

#[track_caller]
fn redis_rs(node: &Node, options: &str) -> redis::Connection {
    let client = redis::Client::open(format!("redis://{}/{options}", node.client));
    client.and_then(|client| client.get_connection()).expect("redis-rs connects")
}
