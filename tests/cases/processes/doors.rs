//! The real input through every door: each loads all records, each is read back whole, and by
//! `redis-cli` at another node as well.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use piccolo_client::{Call, Client, Options, Outcome, SetHow};

use crate::harness::process::{MARK, cerializer, run_well};
use crate::harness::tools::{python, script};
use crate::harness::{Cluster, Process, Reply, ports, until};
use crate::real_input::{dump, load, read_back};
use crate::traffic::Records;

/// Requests of one batch of the native client.
const BATCH: usize = 500;
/// How long cerializer may take to be ready.
const READY_LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

#[test]
fn every_record_goes_in_and_out_by_every_door() {
    let cluster = Cluster::start("doors", 3, &[]);
    let records = dump(&cluster.folder);
    let [a, b, c] = [0, 1, 2].map(|at| &cluster.nodes[at]);

    load(a, &cluster.folder, records.len());
    read_back(b, &cluster.folder, "client-door");
    empty(&cluster);

    let said = by_cluster_client("load", &cluster.folder, b.cluster_client, Stdio::piped());
    assert_eq!(said.trim(), records.len().to_string());
    read_back(c, &cluster.folder, "cluster-door");
    let back = cluster.folder.join("back-cluster.txt");
    let out = Stdio::from(File::create(&back).unwrap());
    by_cluster_client("read", &cluster.folder, a.cluster_client, out);
    same(&cluster.folder.join("canon.txt"), &back);
    empty(&cluster);

    by_native_client(&cluster, &records);
    read_back(a, &cluster.folder, "native-door");
    empty(&cluster);

    by_rest(&cluster, records.len());
    read_back(b, &cluster.folder, "rest");
}

/// Every key goes; the doors agree on it.
#[track_caller]
fn empty(cluster: &Cluster) {
    assert_eq!(cluster.nodes[0].connect().call(&["FLUSHALL"]), Reply::ok());
    assert_eq!(cluster.nodes[1].connect().call(&["DBSIZE"]), Reply::Integer(0));
}

#[track_caller]
fn same(wanted: &Path, found: &Path) {
    run_well(Command::new("cmp").arg(wanted).arg(found));
    fs::remove_file(found).expect("remove what was equal");
}

/// redis-py's client of Redis Cluster.
#[track_caller]
fn by_cluster_client(what: &str, folder: &Path, door: SocketAddr, out: Stdio) -> String {
    let (host, port) = (door.ip().to_string(), door.port().to_string());
    let mut command = Command::new(python());
    command.arg(script("cluster_records.py")).arg(what).arg(folder).args([host, port]);
    let child = command.stdout(out).spawn().expect("run Python");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?} ended with {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn by_native_client(cluster: &Cluster, records: &Records) {
    let seeds: Vec<String> = cluster.nodes.iter().map(|node| node.client.to_string()).collect();
    let mut client = Client::connect(&seeds, Options::default()).unwrap();
    for lot in records.all().chunks(BATCH) {
        let calls: Vec<Call<'_>> =
            lot.iter().map(|(name, record)| Call::set(name, record, SetHow::default())).collect();
        for outcome in client.batch(&calls) {
            assert!(matches!(outcome, Ok(Outcome::Written { created: true, .. })), "{outcome:?}");
        }
    }
    let back = cluster.folder.join("back-native.txt");
    let mut file = BufWriter::new(File::create(&back).unwrap());
    for lot in records.all().chunks(BATCH) {
        let calls: Vec<Call<'_>> = lot.iter().map(|(name, _)| Call::get(name)).collect();
        for ((name, _), outcome) in lot.iter().zip(client.batch(&calls)) {
            let Ok(Outcome::Entry(entry)) = outcome else { panic!("{outcome:?}") };
            for part in [&name[..], b"\n", &entry.value, b"\n"] {
                file.write_all(part).unwrap();
            }
        }
    }
    drop(file);
    same(&cluster.folder.join("canon.txt"), &back);
}

/// `curl --config` through cerializer.
#[track_caller]
fn by_rest(cluster: &Cluster, count: usize) {
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    let nodes: Vec<String> = cluster.live().map(|node| node.client.to_string()).collect();
    let mut command = Command::new(cerializer());
    command.args(["--listen", &address.to_string(), "--nodes", &nodes.join(",")]);
    command.env(MARK, &cluster.folder);
    let _front = Process::start("cerializer", command, &cluster.folder);
    until(READY_LIMIT, "cerializer is ready", || {
        let url = format!("http://{address}/readyz");
        let status = Command::new("curl").args(["--silent", "--fail", &url]).output().unwrap();
        if status.status.success() { Ok(()) } else { Err("not ready".to_owned()) }
    });
    let (folder, place) = (&cluster.folder, address.to_string());
    let mut write = Command::new(python());
    let said = run_well(write.arg(script("rest_records.py")).arg(folder).arg(place));
    assert_eq!(said.trim(), count.to_string());
    let curl = |config: &str| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--config"]).arg(folder.join(config));
        command
    };
    let statuses = run_well(&mut curl("put.curl"));
    let new = statuses.lines().filter(|status| *status == "201").count();
    assert_eq!((new, statuses.lines().count()), (count, count));
    let back = folder.join("back-rest.txt");
    let status = curl("get.curl").stdout(File::create(&back).unwrap()).status().unwrap();
    assert!(status.success(), "curl ended with {status}");
    same(&folder.join("bodies.txt"), &back);
}
