//! Nodes of another cluster, and nodes that two clusters count.

use std::time::Duration;

use piccolo_gossip::{Event, Fatal, Start, State};
use piccolo_schema::ids::ClusterId;
use rand::RngExt;

use piccolo_tests::for_seeds;
use piccolo_tests::membership::{WAITS, World, address, is_dispute, is_stop, seconds};

/// A member started again with `--create` makes a cluster, hears from its old one, and stops.
#[test]
fn a_member_created_into_another_cluster_stops() {
    for_seeds("a_member_created_into_another_cluster_stops", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        let old = world.gossip(0).cluster();
        world.crash(1);
        world.nodes[1].seeds.clear();
        world.start(1, Start::Create(ClusterId(5)));
        let is_claimed = |event: &Event| match event {
            Event::Fatal(Fatal::ForeignCluster { cluster, .. }) => *cluster == old,
            _ => false,
        };
        assert!(
            world.run_until(seconds(40), |world| world.nodes[1].events.iter().any(is_claimed)),
            "serves in a second cluster"
        );
        assert_eq!(world.nodes[1].events.iter().filter(|event| is_claimed(event)).count(), 1);
        world.crash(1);
        world.run(seconds(10));
        assert!(world.run_until(seconds(5), World::agrees), "the old cluster suffered");
    });
}

/// The address of a dead member may pass to a node of another cluster, which is left in peace.
#[test]
fn an_address_passed_on_to_another_cluster_is_left_in_peace() {
    let mut world = World::cluster(3, 3, 0.0);
    world.crash(1);
    world.run(seconds(20));
    world.nodes[1].name = "other".to_owned();
    world.nodes[1].seeds.clear();
    world.start(1, Start::Create(ClusterId(5)));
    world.run(seconds(120));
    let entered = Event::Entered { cluster: ClusterId(5), created: true };
    assert_eq!(world.nodes[1].events.first(), Some(&entered));
    assert!(!world.nodes[1].events.iter().any(is_stop));
    let stats = world.gossip(1).stats();
    assert!(stats.rejects_foreign + stats.rejects_undated > 0, "the case shows nothing");
}

/// One node of a cluster is paused while the others are killed and begin anew. When it goes on, it
/// is the one that stops: the new cluster does not suffer, and takes it in as a new member.
#[test]
fn a_stale_node_of_a_cluster_that_is_over_stops_alone() {
    for_seeds("a_stale_node_of_a_cluster_that_is_over_stops_alone", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        let stale = world.rng.random_range(0..3);
        let pause = world.rng.random_range(30..90);
        world.pause(stale, seconds(pause));
        world.set_heard(stale, 0);
        let others: Vec<usize> = (0..3).filter(|index| *index != stale).collect();
        for index in &others {
            world.crash(*index);
        }
        for index in &others {
            let start = world.expecting(2);
            world.start(*index, start);
        }
        let founded =
            |world: &World| others.iter().all(|index| world.gossip(*index).members().count() == 2);
        assert!(world.run_until(seconds(25), founded), "no new cluster");
        world.run(seconds(pause));
        let over = |event: &Event| matches!(event, Event::Fatal(Fatal::Over { .. }));
        let stopped = |world: &World| world.nodes[stale].events.iter().any(over);
        assert!(world.run_until(seconds(30), stopped), "the stale one goes on");
        assert_eq!(world.count(is_stop), 1, "others stopped");
        world.crash(stale);
        world.start(stale, WAITS);
        assert!(world.run_until(seconds(30), World::agrees), "it does not come in anew");
        assert_eq!((world.clusters().len(), world.count(is_stop)), (1, 0));
    });
}

/// One of three is dead, one was started again into a cluster of its own, and the last one hears no
/// half of the old cluster: nobody stops, both say so; the dead one decides when it comes back.
#[test]
fn where_nobody_stands_nobody_stops_before_a_half_is_back() {
    for_seeds("where_nobody_stands_nobody_stops_before_a_half_is_back", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        world.crash(0);
        world.crash(2);
        let fails = |world: &World| {
            let dead = |name| world.seen(1, name).is_some_and(|m| m.state == State::Dead);
            dead("n0") && dead("n2")
        };
        assert!(world.run_until(seconds(60), fails));
        for index in [1, 2] {
            world.set_heard(index, 0);
        }
        let seeds = std::mem::take(&mut world.nodes[2].seeds);
        world.start(2, Start::Create(ClusterId(5)));
        let told = |world: &World| {
            [1, 2].iter().all(|index| world.nodes[*index].events.iter().any(is_dispute))
        };
        assert!(world.run_until(seconds(180), told), "nobody says anything");
        world.run(seconds(60));
        assert_eq!(world.count(is_stop), 0, "somebody stopped");
        world.nodes[0].seeds = vec![address(2)];
        world.start(0, WAITS);
        let back = |world: &World| world.gossip(0).cluster() == world.gossip(1).cluster();
        assert!(world.run_until(seconds(30), back), "the dead one does not come back");
        world.set_heard(1, 2);
        let yields = |world: &World| world.nodes[2].events.iter().any(is_stop);
        assert!(world.run_until(seconds(60), yields), "two clusters for ever");
        assert_eq!(world.count(is_stop), 1);
        world.nodes[2].seeds = seeds;
    });
}

/// A member was created into a cluster of its own by mistake, a newcomer came in there, and then
/// the member went back. What is left of that cluster does not end it.
#[test]
fn the_rest_of_a_small_cluster_ends_nobody_who_went_back_to_a_larger_one() {
    for_seeds("the_rest_of_a_small_cluster_ends_nobody_who_went_back", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        world.crash(0);
        // The mistake goes unnoticed for a while.
        for index in [1, 2] {
            world.set_heard(index, 0);
        }
        let seeds = std::mem::take(&mut world.nodes[0].seeds);
        world.start(0, Start::Create(ClusterId(5)));
        let astray = world.add("astray", &[address(1)]);
        world.start(astray, WAITS);
        let came = |world: &World| world.gossip(astray).members().count() == 2;
        assert!(world.run_until(seconds(30), came), "it does not come in");
        world.crash(0);
        world.nodes[0].seeds = seeds;
        for index in [1, 2] {
            world.set_heard(index, 3);
        }
        // As in a node: it hears nobody before its first heartbeats are answered, nor for a moment
        // after each pause.
        world.set_heard(0, 0);
        world.start(0, WAITS);
        let back = |world: &World| world.gossip(0).cluster() == world.gossip(1).cluster();
        assert!(world.run_until(seconds(30), back), "it does not come back");
        for _ in 0..5 {
            world.run(Duration::from_millis(900));
            world.set_heard(0, 3);
            world.run(seconds(10));
            world.set_heard(0, 0);
        }
        world.set_heard(0, 3);
        world.run(seconds(60));
        assert_eq!(world.count(is_stop), 0, "somebody stopped");
        assert!(world.nodes[0].events.iter().any(is_dispute), "nobody says anything");
    });
}

/// Two clusters use the same names, and one lists a member of the other among its seeds by mistake,
/// or because an address passed on: members of that name go on in both.
#[test]
fn clusters_that_use_the_same_names_leave_each_other_in_peace() {
    for_seeds("clusters_that_use_the_same_names_leave_each_other_in_peace", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        let other = ClusterId(5);
        let foreign = world.add_namesakes(other, 3);
        let stands = |world: &World| (3..6).all(|index| world.gossip(index).cluster() == other);
        assert!(world.run_until(seconds(30), stands), "no second cluster");
        world.tell(0, |gossip, _| gossip.set_seeds(&foreign));
        world.nodes[0].seeds.clone_from(&foreign);
        world.run(seconds(120));
        assert_eq!(world.count(is_stop), 0, "somebody stopped");
        assert!((0..3).chain(3..6).all(|by| world.gossip(by).members().count() == 3));
    });
}

/// Seeds of two clusters: the newcomer names both and stops, or comes into one before it hears of
/// the other; that one never counts it.
#[test]
fn a_newcomer_between_two_clusters_ends_in_one_or_none() {
    let mut stopped = 0;
    let whole = for_seeds("a_newcomer_between_two_clusters_ends_in_one_or_none", 0..64, |seed| {
        let mut world = World::cluster(seed, 2, 0.05);
        let other = world.add("other", &[]);
        world.start(other, Start::Create(ClusterId(5)));
        let newcomer = world.add("new", &[address(1), address(3)]);
        world.start(newcomer, WAITS);
        let ends = |world: &World| !world.nodes[newcomer].events.is_empty();
        assert!(world.run_until(seconds(30), ends), "it does not end");
        let between = |event: &Event| matches!(event, Event::Fatal(Fatal::TwoClusters { .. }));
        let stops = world.nodes[newcomer].events.iter().any(between);
        world.run(seconds(60));
        let counts = |by| world.seen(by, "new").is_some_and(|m| m.state != State::Left);
        let counted = (counts(0) || counts(1), counts(other));
        let cluster = world.gossip(newcomer).cluster();
        assert_eq!(stops, !cluster.is_some());
        assert_eq!(
            counted,
            (cluster.is_some() && cluster != ClusterId(5), cluster == ClusterId(5))
        );
        assert_eq!(world.count(is_stop), usize::from(stops), "somebody else stopped");
        stopped += usize::from(stops);
    });
    assert!(!whole || stopped > 0, "the case shows nothing");
}
