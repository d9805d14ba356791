//! The cluster's key, in real files of real nodes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::process::{folder, run};
use crate::harness::{Client, Cluster, Node, Reply, until};

const OLD: &str = "000102030405060708090a0b0c0d0e0f";
const NEW: &str = "f0e0d0c0b0a090807060504030201000";

/// How long a node may take to read its file again.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// How long a node without the key is watched: it says after 10 s that it finds no cluster.
const STRANGER_LIMIT: Duration = Duration::from_secs(30);

/// A key is replaced in three rounds while a client works: no error, nobody lost; a node with the
/// new key comes in and takes slots, one with the old key stays outside, and both sides say why.
#[test]
fn a_key_is_replaced_under_traffic_and_strangers_stay_outside() {
    let file = key_file("keys", OLD);
    let flags = ["--cluster-key", file.to_str().unwrap()];
    let mut cluster = Cluster::start("keys", 3, &flags);
    let (stop, replies) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut client = cluster.nodes[0].connect();
    thread::scope(|scope| {
        let traffic = scope.spawn(|| works(&mut client, &stop, &replies));
        for round in [format!("{OLD}\n{NEW} # next"), format!("{NEW}\n{OLD}"), NEW.to_owned()] {
            fs::write(&file, round).unwrap();
            for node in &cluster.nodes {
                reread(node, "hold from now on");
                let (seen, mark) = (&replies, replies.load(Ordering::Relaxed));
                until(READ_LIMIT, "the client works on", || {
                    let more = seen.load(Ordering::Relaxed) > mark + 100;
                    if more { Ok(()) } else { Err("no replies".to_owned()) }
                });
            }
        }
        stop.store(true, Ordering::Relaxed);
        traffic.join().expect("the client met no error");
    });
    cluster.settle();
    for node in &cluster.nodes {
        let printed = node.running().printed();
        assert!(!printed.contains(" is dead"), "{} lost somebody: {printed}", node.name);
    }
    cluster.add(&flags);
    cluster.settle();
    a_stranger_stays_outside(&cluster);
    fs::write(&file, "no key at all").unwrap();
    reread(&cluster.nodes[0], "the keys stay as they were");
    cluster.settle();
}

fn a_stranger_stays_outside(cluster: &Cluster) {
    let old = key_file("keys-old", OLD);
    let flags = ["--join", &cluster.seeds(), "--cluster-key", old.to_str().unwrap()];
    let mut stranger = Node::new("stranger", &cluster.folder).flags(flags);
    stranger.start();
    until(STRANGER_LIMIT, "the stranger says that it finds no cluster", || {
        let printed = stranger.running().printed();
        if printed.contains("no cluster found yet") { Ok(()) } else { Err(printed) }
    });
    let told = cluster.nodes.iter().any(|node| {
        let printed = node.running().printed();
        printed.contains("is not sealed with a key of --cluster-key")
    });
    assert!(told, "no member says why the stranger does not come in");
    for node in &cluster.nodes {
        assert!(!node.admin.members().unwrap().contains_key("stranger"), "{} knows it", node.name);
    }
}

/// Writes and reads until told to stop.
#[track_caller]
fn works(client: &mut Client, stop: &AtomicBool, replies: &AtomicU64) {
    for at in 0.. {
        let (key, value) = (format!("key:{}", at % 5000), at.to_string());
        assert_eq!(client.call(&["SET", &key, &value]), Reply::ok());
        assert_eq!(client.call(&["GET", &key]), Reply::bulk(value.as_bytes()));
        replies.fetch_add(2, Ordering::Relaxed);
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Makes a node read its file again, and waits until it says so.
#[track_caller]
fn reread(node: &Node, says: &str) {
    let count = || node.running().printed().matches(says).count();
    let before = count();
    node.running().signal("HUP");
    until(READ_LIMIT, "the node has read its file", || {
        if count() > before { Ok(()) } else { Err(node.running().printed()) }
    });
}

#[test]
fn a_wrong_key_file_ends_the_program_before_it_listens() {
    let wrong = key_file("keys-wrong", "password1");
    for (file, why) in [
        (wrong.as_path(), "line 1: a key is 32 hexadecimal digits"),
        (Path::new("/nowhere/key"), "No such file"),
    ] {
        let node = Node::new("a", &folder("keys-wrong"));
        let node = node.flags(["--create", "--cluster-key", file.to_str().unwrap()]);
        let (status, printed) = run(&mut node.command());
        assert_eq!(status.code(), Some(2), "{printed}");
        let named = printed.contains(file.to_str().unwrap()) && printed.contains(why);
        assert!(named && !printed.contains("password1"), "{printed}");
    }
}

/// A file that only its owner can read, as it should be.
fn key_file(case: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder(case).join("cluster.key");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
