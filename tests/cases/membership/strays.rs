//! Nodes between two clusters: on their way into one, let in by one while they go into the other,
//! or counted by one for a name or an address that they share. Most of these ended somebody once.

use std::time::Duration;

use piccolo_gossip::{Event, Fatal, Start, State};
use piccolo_schema::ids::ClusterId;
use rand::RngExt;

use piccolo_tests::for_seeds;
use piccolo_tests::membership::{WAITS, World, address, is_dispute, is_stop, seconds};

const OTHER: ClusterId = ClusterId(5);

/// Why which nodes stopped.
fn stopped(world: &World) -> Vec<(usize, &Event)> {
    let nodes = world.nodes.iter().enumerate();
    let events = nodes.flat_map(|(index, node)| node.events.iter().map(move |it| (index, it)));
    events.filter(|(_, event)| is_stop(event)).collect()
}

fn two_clusters(event: &Event) -> bool {
    matches!(event, Event::Fatal(Fatal::TwoClusters { .. }))
}

/// A newcomer with the name of a live member, and with seeds of two clusters, says good-bye to the
/// one that it had chosen: that is no word about the member.
#[test]
fn the_good_bye_of_a_node_that_is_not_in_ends_nobody() {
    let mut shown = 0;
    let whole = for_seeds("the_good_bye_of_a_node_that_is_not_in_ends_nobody", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.0);
        let other = world.add("other", &[]);
        world.start(other, Start::Create(OTHER));
        let newcomer = world.add("n1", &[address(1), address(3), address(4)]);
        world.start(newcomer, WAITS);
        let ends = |world: &World| !world.nodes[newcomer].events.is_empty();
        assert!(world.run_until(seconds(30), ends), "it does not end");
        shown += usize::from(world.nodes[newcomer].events.iter().any(two_clusters));
        world.run(seconds(60));
        let stopped = world.nodes[..3].iter().flat_map(|node| &node.events).find(|it| is_stop(it));
        assert_eq!(stopped, None, "a member ended");
        let alive = |by| world.seen(by, "n1").is_some_and(|m| m.state == State::Alive);
        assert!([0, 2].into_iter().all(alive), "it is not alive for the others");
    });
    assert!(!whole || shown > 0, "no newcomer said good-bye: the case shows nothing");
}

/// One of three founders is on its way into a cluster that is there. The other two found theirs
/// without it, and neither cluster ever ends it.
#[test]
fn a_cluster_is_founded_without_those_who_go_elsewhere() {
    let mut shown = 0;
    let whole = for_seeds("a_cluster_is_founded_without_those_who_go_elsewhere", 0..64, |seed| {
        let mut world = World::cluster(seed, 2, 0.0);
        let old = world.gossip(0).cluster();
        let names = [3, 4, 5].map(address);
        for (name, seeds) in [("a", &names[..]), ("b", &names), ("c", &[address(1)])] {
            let index = world.add(name, seeds);
            let start = world.expecting(2);
            world.start(index, start);
        }
        // It has chosen, but is not in before the others have done.
        let moment = world.rng.random_range(5..200);
        world.run(Duration::from_millis(moment));
        for index in [0, 1] {
            world.pause(index, seconds(3));
        }
        let in_one = |world: &World| (2..5).all(|index| world.gossip(index).cluster().is_some());
        assert!(world.run_until(seconds(30), in_one), "they are in no cluster");
        world.run(seconds(60));
        assert_eq!(stopped(&world), []);
        let clusters = [2, 3, 4].map(|index| world.gossip(index).cluster());
        assert_eq!(clusters[0], clusters[1]);
        if clusters[0] != old && clusters[2] == old {
            shown += 1;
            let counts = |by| world.seen(by, "c").is_some_and(|m| m.state != State::Left);
            assert!(!counts(2) && !counts(3), "both clusters count it");
        }
    });
    assert!(!whole || shown > 0, "all went into the old cluster: the case shows nothing");
}

/// A cluster reads a join when the node has gone into another one, which was started meanwhile. It
/// lets it go again.
#[test]
fn who_was_let_in_too_late_is_let_go() {
    let mut shown = 0;
    let whole = for_seeds("who_was_let_in_too_late_is_let_go", 0..64, |seed| {
        let mut world = World::cluster(seed, 2, 0.0);
        let other = world.add("other", &[]);
        let newcomer = world.add("new", &[address(1), address(2), address(3)]);
        world.start(newcomer, WAITS);
        // It has just chosen, or is about to.
        let patience = world.rng.random_range(0..250);
        world.run(Duration::from_millis(patience));
        for index in [0, 1] {
            world.pause(index, seconds(12));
        }
        world.start(other, Start::Create(OTHER));
        world.run(seconds(11));
        let in_the_other = world.gossip(newcomer).cluster() == OTHER;
        world.run(seconds(60));
        // Else it has heard both, and stopped, or is in the first.
        if in_the_other {
            assert_eq!(stopped(&world), []);
            shown += 1;
            assert_eq!(world.gossip(newcomer).cluster(), OTHER);
            let counts = |by| world.seen(by, "new").is_some_and(|m| m.state != State::Left);
            assert!(!counts(0) && !counts(1), "both clusters count it");
        }
    });
    assert!(!whole || shown >= 8, "it hardly ever went elsewhere: the case shows nothing");
}

/// The address of a member that was killed passes to a node that looks for a cluster, or is about
/// to create one, with the same key. What is meant for the member neither calls nor refuses it.
#[test]
fn pings_to_whoever_had_the_address_call_nobody_in() {
    for_seeds("pings_to_whoever_had_the_address_call_nobody_in", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        world.crash(1);
        let gone = world.rng.random_range(0..30_000);
        world.run(Duration::from_millis(gone));
        let creates = world.rng.random_bool(0.5);
        world.nodes[1].name = "fresh".to_owned();
        world.nodes[1].seeds = vec![address(99)];
        world.start(1, if creates { Start::Create(OTHER) } else { WAITS });
        world.run(seconds(60));
        let expected = if creates { OTHER } else { ClusterId::NONE };
        assert_eq!(world.gossip(1).cluster(), expected);
        assert_eq!(world.nodes[1].events.iter().find(|event| is_stop(event)), None);
    });
}

/// All nodes are killed and started anew within a moment: words of the old cluster are still heard,
/// but nobody takes them for a second one.
#[test]
fn a_cluster_that_is_started_anew_at_once_is_one() {
    for_seeds("a_cluster_that_is_started_anew_at_once_is_one", 0..256, |seed| {
        let mut world = World::cluster(seed, 4, 0.0);
        world.forget_events();
        for index in 0..4 {
            world.crash(index);
            let start = world.expecting(3);
            world.start(index, start);
            let moment = world.rng.random_range(0..30);
            world.run(Duration::from_millis(moment));
        }
        assert!(world.run_until(seconds(60), World::agrees), "they do not come together");
        assert_eq!((world.clusters().len(), world.count(is_stop)), (1, 0));
    });
}

/// Of three nodes one is left, which took over what the others held. When nodes of their names
/// found another cluster it is not over: nobody stops, and it says so.
#[test]
fn a_lone_survivor_that_stands_is_not_over() {
    for_seeds("a_lone_survivor_that_stands_is_not_over", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        world.crash(1);
        world.crash(2);
        let dead =
            |world: &World, name: &str| world.seen(0, name).is_some_and(|m| m.state == State::Dead);
        assert!(world.run_until(seconds(60), |world| dead(world, "n1") && dead(world, "n2")));
        // It does not call them before they have made their own cluster.
        world.pause(0, seconds(15));
        for index in [1, 2] {
            world.nodes[index].seeds = vec![address(2), address(3)];
            world.set_heard(index, 2);
            let start = world.expecting(2);
            world.start(index, start);
        }
        world.run(seconds(120));
        assert_eq!(world.clusters().len(), 2, "the case shows nothing");
        assert_eq!(stopped(&world), []);
        assert!(world.nodes[0].events.iter().any(is_dispute), "nobody says anything");
    });
}

/// A node is meant for a cluster that does not run yet. Another one, which counted it before, calls
/// it, and refuses it for its version: it waits on for its own.
#[test]
fn a_cluster_heard_of_in_passing_stops_nobody_by_a_refusal() {
    for_seeds("a_cluster_heard_of_in_passing_stops_nobody_by_a_refusal", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        world.crash(1);
        let newest = world.nodes[1].protocol.1;
        world.nodes[1].protocol = (newest + 1, newest + 1);
        world.nodes[1].seeds = vec![address(4)];
        world.start(1, WAITS);
        world.run(seconds(60));
        assert_eq!(world.nodes[1].events, [], "it heard a verdict");
        let other = world.add("other", &[]);
        world.nodes[other].protocol = (newest, newest + 1);
        world.start(other, Start::Create(OTHER));
        let comes = |world: &World| world.gossip(1).cluster() == OTHER;
        assert!(world.run_until(seconds(60), comes), "it does not come into its own");
    });
}

/// Two clusters use the same names and know each other's addresses. A member of one dies: its
/// namesake, which was heard of while it lived, goes on.
#[test]
fn a_namesake_outlives_the_member_of_another_cluster() {
    for_seeds("a_namesake_outlives_the_member_of_another_cluster", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        let foreign = world.add_namesakes(OTHER, 3);
        (3..6).for_each(|index| world.set_heard(index, 2));
        let stands = |world: &World| (3..6).all(|index| world.gossip(index).cluster() == OTHER);
        assert!(world.run_until(seconds(30), stands), "no second cluster");
        for index in 0..3 {
            world.set_heard(index, 2);
            world.tell(index, |gossip, _| gossip.set_seeds(&foreign));
            world.nodes[index].seeds.clone_from(&foreign);
        }
        // Each has met each namesake by then, and says that it has seeds of another cluster.
        world.run(seconds(600));
        let is_told = |event: &Event| matches!(event, Event::ForeignSeed { cluster: OTHER, .. });
        assert!((0..3).all(|index| world.nodes[index].events.iter().any(is_told)));
        world.crash(1);
        world.run(seconds(120));
        assert_eq!(stopped(&world), []);
        assert!((3..6).all(|by| world.gossip(by).members().count() == 3));
    });
}

/// Of seven members three are left and stand, while nodes of the other names have another cluster.
/// One of the three pauses: for a moment it hears nobody, and that is no sign of anything.
#[test]
fn who_was_paused_for_a_moment_is_not_over() {
    for_seeds("who_was_paused_for_a_moment_is_not_over", 0..64, |seed| {
        let mut world = World::cluster(seed, 7, 0.0);
        (0..4).for_each(|index| world.crash(index));
        let dead = |world: &World, by: usize, of: usize| {
            world.seen(by, &format!("n{of}")).is_some_and(|m| m.state == State::Dead)
        };
        let all_dead = |world: &World| (4..7).all(|by| (0..4).all(|of| dead(world, by, of)));
        assert!(world.run_until(seconds(90), all_dead));
        for index in 0..4 {
            world.nodes[index].side = 1;
            world.nodes[index].seeds = (1..=4).map(address).collect();
            world.set_heard(index, 4);
            let start = world.expecting(3);
            world.start(index, start);
        }
        let mut awake = [5; 3];
        for tick in 0..1900 {
            if tick == 100 {
                (0..4).for_each(|index| world.nodes[index].side = 0);
            }
            if tick == 1300 {
                world.pause(6, Duration::from_millis(3300));
            }
            // As in a node: when it first looks after a pause no heartbeat is answered yet.
            for index in 4..7 {
                awake[index - 4] = if world.is_paused(index) { 0 } else { awake[index - 4] + 1 };
                let until = world.now + seconds(2);
                if awake[index - 4] > 1 {
                    world.tell(index, |gossip, _| gossip.stand(3, until));
                }
            }
            world.run(Duration::from_millis(100));
        }
        assert_eq!(stopped(&world), []);
    });
}

/// A node is started with the list of a cluster that stands still for a moment, is ended again, and
/// comes into the one it is for. The first one reads what it said there, and that it went.
#[test]
fn who_gave_up_a_cluster_is_not_claimed_by_it() {
    for_seeds("who_gave_up_a_cluster_is_not_claimed_by_it", 0..64, |seed| {
        let mut world = World::cluster(seed, 2, 0.0);
        (0..2).for_each(|index| world.set_heard(index, 2));
        let other = world.add("other", &[]);
        world.start(other, Start::Create(OTHER));
        let newcomer = world.add("new", &[address(1), address(2)]);
        world.start(newcomer, WAITS);
        let patience = world.rng.random_range(0..250);
        world.run(Duration::from_millis(patience));
        (0..2).for_each(|index| world.pause(index, seconds(3)));
        world.run(Duration::from_millis(500));
        if world.gossip(newcomer).cluster().is_some() {
            return;
        }
        world.tell(newcomer, piccolo_gossip::Gossip::left);
        world.crash(newcomer);
        world.nodes[newcomer].seeds = vec![address(3)];
        (2..4).for_each(|index| world.set_heard(index, 2));
        world.start(newcomer, WAITS);
        world.run(seconds(62));
        assert_eq!(stopped(&world), []);
        assert_eq!(world.gossip(newcomer).cluster(), OTHER);
    });
}

/// A second node of the name of a member that stands still is started by mistake, and ended at
/// once, with a word or without.
#[test]
fn a_newcomer_that_is_gone_takes_no_name() {
    for_seeds("a_newcomer_that_is_gone_takes_no_name", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.0);
        let newcomer = world.add("n1", &[address(1), address(3)]);
        world.pause(1, Duration::from_millis(2500));
        world.start(newcomer, WAITS);
        // One that asks until its trial is almost over may be taken for one that is still there.
        let moment = world.rng.random_range(0..=300);
        world.run(Duration::from_millis(if seed % 4 < 2 { 400 } else { moment }));
        if seed % 4 < 2 {
            world.tell(newcomer, piccolo_gossip::Gossip::left);
        }
        world.crash(newcomer);
        world.run(seconds(30));
        assert_eq!(stopped(&world), []);
    });
}

/// A member dies, and its address passes at once to a node of another name and cluster, before
/// anybody suspects the former, since they doubt themselves.
#[test]
fn the_address_of_one_not_yet_suspect_is_left_in_peace() {
    for_seeds("the_address_of_one_not_yet_suspect_is_left_in_peace", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        let other = world.add("other", &[]);
        world.start(other, Start::Create(OTHER));
        (0..3).for_each(|index| world.set_heard(index, 3));
        for _ in 0..6 {
            for index in [0, 2] {
                world.pause(index, Duration::from_millis(700));
            }
            world.run(Duration::from_millis(800));
        }
        world.crash(1);
        world.nodes[1].name = "moved".to_owned();
        world.nodes[1].seeds = vec![address(4)];
        world.set_heard(1, 2);
        world.start(1, WAITS);
        world.run(seconds(120));
        assert_eq!(stopped(&world), []);
    });
}

/// Three clusters use the same names, and one has seeds of the other two.
#[test]
fn namesakes_in_two_clusters_outlive_a_member() {
    for_seeds("namesakes_in_two_clusters_outlive_a_member", 0..32, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        let foreign = [OTHER, ClusterId(6)].map(|cluster| world.add_namesakes(cluster, 3)).concat();
        (3..9).for_each(|index| world.set_heard(index, 2));
        world.run(seconds(30));
        for index in 0..3 {
            world.set_heard(index, 2);
            world.tell(index, |gossip, _| gossip.set_seeds(&foreign));
            world.nodes[index].seeds.clone_from(&foreign);
        }
        world.run(seconds(1200));
        world.crash(1);
        world.run(seconds(180));
        assert_eq!(stopped(&world), []);
    });
}
