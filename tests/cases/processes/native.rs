//! Real data through the native client: what goes in by way of one node comes out of another.

use std::process::Command;

use piccolo_client::kv::Condition;
use piccolo_client::{Call, Client, Options, Outcome, SetHow};

use crate::harness::process::run_well;
use crate::harness::{Cluster, Reply};

/// Records of the package lists that are loaded.
const RECORDS: usize = 10_000;

#[test]
fn records_go_in_by_one_node_and_come_out_of_another_whole() {
    let cluster = Cluster::start("native", 3, &[]);
    cluster.settle();
    let records = records();
    let long: Vec<u8> = records.iter().flat_map(|(_, text)| text.bytes()).collect();
    let [first, second, third] = [0, 1, 2].map(|at| cluster.nodes[at].client.to_string());

    let mut writer = connect(&first);
    let led: Vec<usize> = (0..3).map(|node| slots_of(&writer, node)).collect();
    assert_eq!(led.iter().sum::<usize>(), 16_384, "{led:?}");
    let how = SetHow { condition: Condition::Absent, meta: b"text/plain", ..SetHow::default() };
    let calls: Vec<_> =
        records.iter().map(|(key, text)| Call::set(key.as_bytes(), text.as_bytes(), how)).collect();
    for result in writer.batch(&calls) {
        assert!(matches!(result, Ok(Outcome::Written { created: true, .. })), "{result:?}");
    }
    let version = writer.set(b"long", &long).expect("written");

    let mut reader = connect(&second);
    let gets: Vec<_> = records.iter().map(|(key, _)| Call::get(key.as_bytes())).collect();
    for (result, (key, text)) in reader.batch(&gets).into_iter().zip(&records) {
        let Ok(Outcome::Entry(entry)) = result else { panic!("{key}: {result:?}") };
        assert!(entry.value == text.as_bytes() && entry.meta == b"text/plain", "{key} differs");
    }
    let entry = reader.get(b"long").expect("read").expect("there");
    assert!(entry.value == long && entry.version == version, "{} bytes", entry.value.len());
    let (mut cursor, mut found) = (0, Vec::new());
    loop {
        let page = reader.scan(cursor, 1000, b"package:").expect("a page");
        found.extend(page.keys);
        cursor = page.cursor;
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), records.len());

    // The same entries to who speaks RESP, and the same connections to who asks for them.
    let mut redis = cluster.nodes[2].connect();
    assert_eq!(redis.call(&["DBSIZE"]), Reply::Integer(records.len() as i64 + 1));
    let Reply::Bulk(list) = cluster.nodes[0].connect().call(&["CLIENT", "LIST"]) else {
        panic!("a list")
    };
    assert!(String::from_utf8_lossy(&list).contains("proto=native"));
    let mut last = connect(&third);
    assert!(matches!(last.cas(b"long", version, b""), Ok(Outcome::Written { .. })));
    assert!(matches!(last.cas(b"long", version, b""), Ok(Outcome::Unmet(_))));
}

#[test]
fn the_tour_of_the_native_client_runs() {
    let cluster = Cluster::start("native-tour", 1, &[]);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut tour = Command::new(env!("CARGO"));
    tour.args(["run", "--quiet", "--locked", "--manifest-path", root]);
    tour.args(["-p", "piccolo-client", "--example", "tour", "--"]);
    let said = run_well(tour.arg(cluster.nodes[0].client.to_string()));
    for wanted in ["read \"hello\"", "replaced by version", "1000 of 1000 counted", "1002 keys"] {
        assert!(said.contains(wanted), "{wanted:?} is missing: {said}");
    }
}

#[track_caller]
fn connect(seed: &str) -> Client {
    Client::connect(&[seed], Options::default()).expect("a node that answers")
}

/// Slots that a node leads, as the client has heard.
fn slots_of(client: &Client, node: usize) -> usize {
    let slots = piccolo_schema::ids::Slot::all();
    slots.filter(|slot| client.ring().owner_at(*slot) == Some(node)).count()
}

/// Records of the package lists of this machine, each under a key of its own.
#[track_caller]
fn records() -> Vec<(String, String)> {
    let out = Command::new("apt-cache").arg("dumpavail").output().expect("run apt-cache");
    let text = String::from_utf8(out.stdout).expect("UTF-8");
    let all = text.split("\n\n").filter(|record| !record.trim().is_empty());
    let records: Vec<_> = all
        .take(RECORDS)
        .enumerate()
        .map(|(at, record)| (format!("package:{at}"), record.to_owned()))
        .collect();
    assert_eq!(records.len(), RECORDS, "run `apt-get update` first");
    records
}
