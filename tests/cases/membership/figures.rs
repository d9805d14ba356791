//! What membership promises in figures, each over 64 seeds. `sim membership` prints the figures
//! themselves, and plays them at any size.

use std::time::Duration;

use piccolo_gossip::Config;
use piccolo_tests::for_seeds;
use piccolo_tests::membership::scenarios::{self, Setting};
use piccolo_tests::membership::seconds;

/// A hundred nodes in the long set; fewer in the ordinary one, where a hundred would take minutes.
fn usual() -> Setting {
    let nodes = if std::env::var_os("PICCOLO_FULL").is_some() { 100 } else { 30 };
    Setting { nodes, loss: 0.0, slow: 0.0, config: Config::default() }
}

/// The share of the times that is no longer than the bound must be so large.
fn assert_share(times: &[Duration], share: f64, bound: Duration) {
    let within = times.iter().filter(|time| **time <= bound).count();
    assert!(within as f64 >= share * times.len() as f64, "{within} within {bound:?}: {times:?}");
}

#[test]
fn a_crash_is_known_to_all_in_seconds() {
    let mut times = Vec::new();
    for_seeds("a_crash_is_known_to_all_in_seconds", 0..64, |seed| {
        let crash = scenarios::crash(seed, &usual());
        assert_eq!(crash.false_deaths, 0);
        times.push(crash.all);
    });
    assert_share(&times, 0.5, seconds(5));
    assert_share(&times, 0.99, seconds(8));
}

/// Each seed plays a part; `sim membership --loss 0.05` plays days.
#[test]
fn loss_buries_nobody() {
    for_seeds("loss_buries_nobody", 0..64, |seed| {
        let setting = Setting { loss: 0.05, ..usual() };
        let quiet = scenarios::quiet(seed, &setting, seconds(0), seconds(PART_SECONDS));
        assert_eq!(quiet.deaths_of_healthy, 0, "{quiet:?}");
    });
}

/// Seconds of one part of the quiet time under loss.
const PART_SECONDS: u64 = 20;

#[test]
fn all_come_in_through_one_seed() {
    for_seeds("all_come_in_through_one_seed", 0..64, |seed| {
        let took = scenarios::join(seed, &usual());
        assert!(took <= seconds(15), "{took:?}");
    });
}

#[test]
fn a_restart_at_another_address_is_known_to_all_and_costs_nobody() {
    let name = "a_restart_at_another_address_is_known_to_all_and_costs_nobody";
    for_seeds(name, 0..64, |seed| {
        let (took, deaths) = scenarios::moved(seed, &usual());
        assert!(took <= seconds(5), "{took:?}");
        assert_eq!(deaths, 0, "others were held dead");
    });
}

/// What a node sends does not depend on how many there are: ten, and now and then a hundred.
#[test]
fn a_quiet_cluster_costs_each_node_the_same_whatever_its_size() {
    let name = "a_quiet_cluster_costs_each_node_the_same_whatever_its_size";
    for_seeds(name, 0..64, |seed| {
        let nodes = if seed % 16 == 0 { 100 } else { 10 };
        let quiet = scenarios::quiet(seed, &Setting { nodes, ..usual() }, seconds(60), seconds(30));
        let bytes = quiet.bytes / nodes as u64 / 30;
        assert!((200..=600).contains(&bytes), "{nodes} nodes: {bytes} bytes a second and node");
    });
}

/// Nodes of which a tenth pauses for up to 5 s again and again: healthy ones are never held dead,
/// and those that pause far less often than without Lifeguard. In the first minute, in which least
/// is known of who pauses; `sim membership --slow 0.1` plays longer, where the share is smaller.
#[test]
fn pauses_bury_nobody_healthy_and_far_fewer_of_the_others() {
    let slow = Setting { nodes: 20, slow: 0.1, ..usual() };
    let plain = Setting { config: Config::default().without_lifeguard(), ..slow.clone() };
    let minute = |seed, setting| scenarios::quiet(seed, setting, seconds(0), seconds(60));
    let (mut with, mut without) = (0, 0);
    for_seeds("pauses_bury_nobody_healthy_and_far_fewer_of_the_others", 0..64, |seed| {
        let quiet = minute(seed, &slow);
        assert_eq!(quiet.deaths_of_healthy, 0, "{quiet:?}");
        with += quiet.deaths_of_slow;
        without += minute(seed, &plain).deaths_of_slow;
    });
    assert!(with * 5 <= without, "{with} with Lifeguard, {without} without");
}

#[test]
fn halves_apart_for_minutes_agree_again() {
    for_seeds("halves_apart_for_minutes_agree_again", 0..64, |seed| {
        let took = scenarios::partition(seed, &usual(), seconds(60));
        assert!(took <= seconds(30), "{took:?}");
    });
}
