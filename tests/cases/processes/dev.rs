//! `piccolo dev`: a cluster on this machine with one command, and nothing left behind.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::cluster::SETTLE_LIMIT;
use crate::harness::process::{MARK, folder, piccolo, run_well};
use crate::harness::{Client, Process, Reply, until};

/// How long Ctrl-C may take to end everything.
const END_LIMIT: Duration = Duration::from_secs(40);
/// How long a taken port may take to be named.
const REFUSE_LIMIT: Duration = Duration::from_secs(30);
/// The port that `piccolo dev` gives its first client door, as documented.
const FIRST_PORT: u16 = 7379;

#[test]
fn dev_serves_and_ctrl_c_ends_it_clean() {
    let folder = folder("dev");
    let mut dev = start(&folder);
    let doors = until(SETTLE_LIMIT, "three client doors answer", || {
        if let Some(status) = dev.ended() {
            panic!("it ended with {status}: {}", dev.printed());
        }
        let doors: Vec<SocketAddr> =
            client_doors(&dev.printed()).into_iter().filter(pongs).collect();
        if doors.len() >= 3 { Ok(doors) } else { Err(format!("answering: {doors:?}")) }
    });
    for (at, &door) in doors.iter().enumerate() {
        let mut one = Client::connect(door);
        let mut next = Client::connect(doors[(at + 1) % doors.len()]);
        for number in 0..100 {
            let (key, value) = (format!("dev:{at}:{number}"), format!("{number}"));
            assert_eq!(one.call(&["SET", &key, &value]), Reply::ok());
            assert_eq!(next.call(&["GET", &key]), Reply::bulk(value.as_bytes()));
        }
    }
    assert!(marked(&folder).len() > 3, "the nodes are processes of their own");
    assert!(dev.printed().contains("redis-cli"), "it prints commands to try: {}", dev.printed());

    dev.signal_group("INT");
    let status = dev.wait(END_LIMIT);
    assert!(status.success(), "Ctrl-C gave {status}: {}", dev.printed());
    until(Duration::from_secs(5), "nothing is left", || {
        let left = marked(&folder);
        if left.is_empty() { Ok(()) } else { Err(format!("still there: {left:?}")) }
    });
}

#[test]
fn dev_ends_its_nodes_even_when_told_alone() {
    let folder = folder("dev-alone");
    let mut dev = start(&folder);
    until(SETTLE_LIMIT, "a client door answers", || {
        let said = dev.printed();
        assert!(dev.ended().is_none(), "it ended: {said}");
        if addresses(&said).iter().any(pongs) { Ok(()) } else { Err(said) }
    });
    // As a supervisor does it: the signal reaches the parent and not its children.
    dev.signal("TERM");
    dev.wait(END_LIMIT);
    until(Duration::from_secs(5), "nothing is left", || {
        let left = marked(&folder);
        if left.is_empty() { Ok(()) } else { Err(format!("still there: {left:?}")) }
    });
}

#[test]
fn dev_says_why_it_ends_before_it_stops() {
    let folder = folder("dev-killed");
    let mut dev = start(&folder);
    until(SETTLE_LIMIT, "it is ready", || {
        let said = dev.printed();
        assert!(dev.ended().is_none(), "it ended: {said}");
        if said.contains("Ctrl-C ends it.") { Ok(()) } else { Err(said) }
    });
    let before = dev.printed().len();
    let parent = dev.pid();
    let node = marked(&folder).into_iter().find(|&id| id != parent).expect("a node");
    run_well(Command::new("kill").args(["-KILL", &node.to_string()]));
    let status = dev.wait(END_LIMIT);
    let said = dev.printed().split_off(before);
    assert_eq!(status.code(), Some(1), "{said}");
    let reason = said.find(" ended by itself (signal: 9 (SIGKILL))").expect("the reason");
    let stop = said.find("processes to stop: ").expect("what it does then");
    assert!(reason < stop, "{said}");
    assert_eq!(said.matches("ended by itself").count(), 1, "{said}");
}

#[test]
fn dev_names_a_taken_port() {
    let folder = folder("dev-taken");
    let _holder = TcpListener::bind(("127.0.0.1", FIRST_PORT)).unwrap();
    let mut dev = start(&folder);
    let status = dev.wait(REFUSE_LIMIT);
    let said = dev.printed();
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains(&FIRST_PORT.to_string()), "{said}");
    assert_eq!(said.lines().filter(|line| !line.trim().is_empty()).count(), 1, "{said}");
    assert_eq!(marked(&folder), BTreeSet::new(), "no node is left behind");
}

#[track_caller]
fn start(folder: &Path) -> Process {
    let mut command = Command::new(piccolo());
    command.arg("dev").env(MARK, folder).current_dir(folder);
    Process::start("dev", command, folder)
}

/// The client doors that `dev` names.
fn client_doors(text: &str) -> BTreeSet<SocketAddr> {
    let found = text.match_indices("  clients ").map(|(at, mark)| &text[at + mark.len()..]);
    found.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}

/// Every address of loopback that a text names.
fn addresses(text: &str) -> BTreeSet<SocketAddr> {
    let starts = text.match_indices("127.0.0.1:").map(|(at, _)| &text[at..]);
    let words = starts.map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
        &rest[..end.unwrap_or(rest.len())]
    });
    words.filter_map(|word| word.trim_end_matches(['.', ':']).parse().ok()).collect()
}

/// Whether a Redis client is answered there.
fn pongs(address: &SocketAddr) -> bool {
    let Ok(mut client) = Client::try_connect(*address) else { return false };
    drop(client.stream().set_read_timeout(Some(Duration::from_secs(2))));
    client.try_call(&["PING"]).is_ok_and(|reply| reply == Reply::Simple("PONG".to_owned()))
}

/// Ids of all processes that carry the mark of `folder` in their environment, zombies left out:
/// the children of a process and theirs inherit it.
fn marked(folder: &Path) -> BTreeSet<u32> {
    let mark = format!("{MARK}={}", folder.display());
    let ids = fs::read_dir("/proc").expect("read /proc").flatten().filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        let carries = environment.split(|&byte| byte == 0).any(|item| item == mark.as_bytes());
        carries.then_some(id)
    });
    ids.collect()
}

#[test]
fn addresses_are_found_in_a_text() {
    let found = addresses("a 127.0.0.1:7379, b http://127.0.0.1:7381/ui. c 127.0.0.1:");
    let ports: Vec<u16> = found.iter().map(SocketAddr::port).collect();
    assert_eq!(ports, [7379, 7381]);
}

#[test]
fn marked_processes_are_found() {
    let folder = folder("marked");
    let mut command = Command::new("sleep");
    command.arg("1000").env(MARK, &folder);
    let process = Process::start("sleep", command, &folder);
    // The kernel shows an environment a moment after it has said that the program runs.
    until(Duration::from_secs(5), "the process is found", || {
        let found = marked(&folder);
        if found == BTreeSet::from([process.pid()]) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    drop(process);
    assert_eq!(marked(&folder), BTreeSet::new());
}
