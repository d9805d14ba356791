//! An operator gives up a dead member for good.

use std::process::Command;
use std::time::Duration;

use crate::harness::process::{piccolo, run, run_well};
use crate::harness::{Cluster, until};

/// How long a stopped node may take to be known dead, and its slots to be led by others.
const DEATH_LIMIT: Duration = Duration::from_secs(30);
/// How long a removed node may take to hear of it and end.
const END_LIMIT: Duration = Duration::from_secs(30);

/// A node stands still for ever, with a grace of ten minutes. Removed, its slots are led by others
/// within seconds; when it runs on after all it is told and ends. Its name is free.
#[test]
fn a_removed_member_is_gone_for_good_and_its_slots_are_led_at_once() {
    let mut cluster = Cluster::start("removal", 3, &["--down-grace", "600"]);
    let admin = cluster.nodes[0].admin;
    let remove = |name: &str| {
        let mut command = Command::new(piccolo());
        command.args(["remove", name, "--admin", &admin.0.to_string()]);
        command
    };
    let (status, printed) = run(&mut remove("c"));
    assert!(status.code() == Some(1) && printed.contains("c is not dead"), "{status}: {printed}");
    let mut stopped = cluster.nodes[2].process.take().unwrap();
    stopped.signal("STOP");
    until(DEATH_LIMIT, "c is held dead", || {
        let members = admin.members()?;
        if members["c"] == "dead" { Ok(()) } else { Err(format!("{members:?}")) }
    });
    assert_eq!(run_well(&mut remove("c")), "c is removed\n");
    until(DEATH_LIMIT, "the others lead every slot", || {
        let leaders = admin.leaders()?;
        let waits = leaders.iter().filter(|leader| *leader == "c").count();
        if waits == 0 { Ok(()) } else { Err(format!("{waits} slots wait for c")) }
    });
    stopped.signal("CONT");
    let ended = stopped.wait(END_LIMIT);
    assert_eq!(ended.code(), Some(2), "{}", stopped.printed());
    assert!(stopped.printed().contains("was removed from its cluster"), "{}", stopped.printed());
    // As a new member under its old name.
    cluster.nodes[2].start();
    cluster.nodes[2].wait_ready();
    cluster.settle();
}
