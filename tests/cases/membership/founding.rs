//! How clusters come about, and that no second one does.

use piccolo_gossip::{Event, Start};
use piccolo_schema::ids::ClusterId;
use rand::RngExt;

use piccolo_tests::for_seeds;
use piccolo_tests::membership::{WAITS, World, address, is_stop, seconds};

fn is_creation(event: &Event) -> bool {
    matches!(event, Event::Entered { created: true, .. })
}

fn assert_one_cluster(world: &World) {
    assert_eq!(world.clusters().len(), 1, "not one cluster");
    assert_eq!(world.count(is_creation), 1, "not one creator");
    assert_eq!(world.count(is_stop), 0, "a node stopped");
}

/// Whatever the number of nodes, the order of their starts and the loss, those that expect each
/// other form one cluster, and one that comes late joins it.
#[test]
fn nodes_that_expect_each_other_form_one_cluster() {
    for_seeds("nodes_that_expect_each_other_form_one_cluster", 0..64, |seed| {
        let mut world = World::perhaps_sealed(seed, 0.25);
        let count = world.rng.random_range(2..=7_usize);
        let expect = world.rng.random_range(count / 2 + 1..=count) as u16;
        // Either all are named, or all name only the first one; each may name itself.
        let named = if world.rng.random_bool(0.5) { count as u16 } else { 1 };
        let seeds: Vec<_> = (1..=named).map(address).collect();
        for index in 0..count {
            let letter = world.rng.random_range(b'a'..=b'z') as char;
            world.add(&format!("{letter}{index}"), &seeds);
            let start = world.expecting(expect);
            world.start(index, start);
            let stagger = world.rng.random_range(0..2000);
            world.run(std::time::Duration::from_millis(stagger));
            assert!(world.clusters().len() <= 1);
        }
        assert!(world.run_until(seconds(60), World::agrees), "did not form");
        assert_one_cluster(&world);
        let late = world.add("late", &seeds);
        let start = world.expecting(expect);
        world.start(late, start);
        assert!(world.run_until(seconds(30), World::agrees), "the late one did not come in");
        assert_one_cluster(&world);
    });
}

/// Nodes are paused and cut off from each other at random while they found a cluster: never do
/// two come about, and in the end all are in one.
#[test]
fn founders_paused_and_cut_off_at_random_never_make_two_clusters() {
    for_seeds("founders_paused_and_cut_off_at_random_never_make_two_clusters", 0..256, |seed| {
        let mut world = World::perhaps_sealed(seed, 0.3);
        let count = world.rng.random_range(3..=5_usize);
        let seeds: Vec<_> = (1..=count as u16).map(address).collect();
        for index in 0..count {
            world.add(&format!("n{index}"), &seeds);
            let start = world.expecting(count as u16 / 2 + 1);
            world.start(index, start);
        }
        for _ in 0..20 {
            for index in 0..count {
                world.nodes[index].side = world.rng.random_range(0..2);
                if world.rng.random_bool(0.2) {
                    let pause = world.rng.random_range(0..12);
                    world.pause(index, seconds(pause));
                }
            }
            let time = world.rng.random_range(20..3000);
            world.run(std::time::Duration::from_millis(time));
            assert!(world.clusters().len() <= 1, "two clusters");
            assert!(world.count(is_creation) <= 1, "two creators");
        }
        for node in &mut world.nodes {
            node.side = 0;
        }
        world.weather.loss = 0.0;
        assert!(world.run_until(seconds(90), World::agrees), "did not come together");
        assert_one_cluster(&world);
    });
}

/// The creator is cut off in the very moment in which it creates, before anybody else hears of it.
/// The others go on without it, and end in its cluster all the same.
#[test]
fn founders_left_alone_by_the_creator_end_in_its_cluster() {
    for_seeds("founders_left_alone_by_the_creator_end_in_its_cluster", 0..64, |seed| {
        let mut world = World::perhaps_sealed(seed, 0.2);
        let seeds = [1, 2, 3].map(address);
        for index in 0..3 {
            world.add(&format!("n{index}"), &seeds);
            let start = world.expecting(2);
            world.start(index, start);
        }
        assert!(world.run_until(seconds(30), |world| world.clusters().len() == 1));
        let creator = world.running().into_iter().find(|by| world.gossip(*by).cluster().is_some());
        world.nodes[creator.expect("one has entered")].side = 1;
        let others = |world: &World| world.nodes.iter().all(|node| !node.events.is_empty());
        assert!(world.run_until(seconds(60), others), "the others wait for ever");
        assert_one_cluster(&world);
        for node in &mut world.nodes {
            node.side = 0;
        }
        assert!(world.run_until(seconds(60), World::agrees), "did not come together");
        assert_one_cluster(&world);
    });
}

/// With `--expect 0` a node never creates, however long it waits, and comes in as soon as
/// somebody else has.
#[test]
fn a_node_that_expects_nobody_waits_for_a_cluster() {
    let mut world = World::new(1, 0.1);
    let seeds = [address(1), address(3)];
    world.add("a", &seeds);
    world.add("b", &seeds);
    world.start(0, WAITS);
    world.start(1, WAITS);
    world.run(seconds(120));
    assert!(world.clusters().is_empty());
    let creator = world.add("c", &[]);
    world.start(creator, Start::Create(ClusterId(7)));
    assert!(world.run_until(seconds(20), World::agrees));
    assert_eq!(world.clusters(), [ClusterId(7)]);
}

/// A node that expects only itself and names itself makes a cluster alone.
#[test]
fn one_is_enough_if_one_is_expected() {
    let mut world = World::new(2, 0.0);
    world.add("a", &[address(1)]);
    let start = world.expecting(1);
    world.start(0, start);
    assert!(world.run_until(seconds(3), World::agrees));
    assert_one_cluster(&world);
}

/// `--create` makes no second cluster: any seed that is in one stops it.
#[test]
fn create_is_refused_where_a_cluster_answers() {
    for_seeds("create_is_refused_where_a_cluster_answers", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.1);
        let seeds = [address(9), address(2), address(4)];
        let second = world.add("second", &seeds);
        world.start(second, Start::Create(ClusterId(9)));
        world.run(seconds(5));
        assert_eq!(world.nodes[second].events, [Event::CreateRefused { by: address(2) }]);
        assert_eq!(world.clusters().len(), 1);
        world.run(seconds(5));
        assert!(world.seen(0, "second").is_none(), "one that only asked became a member");
    });
}

/// `--create` creates at once without seeds, and after the waiting time where none answers.
#[test]
fn create_creates_where_nobody_answers() {
    let mut world = World::new(3, 0.0);
    let alone = world.add("a", &[]);
    world.start(alone, Start::Create(ClusterId(1)));
    world.run(std::time::Duration::ZERO);
    assert_eq!(world.clusters(), [ClusterId(1)]);
    let other = world.add("b", &[address(2), address(99)]);
    world.start(other, Start::Create(ClusterId(2)));
    world.run(std::time::Duration::from_millis(999));
    assert_eq!(world.clusters(), [ClusterId(1)]);
    world.run(seconds(1));
    assert_eq!(world.clusters(), [ClusterId(1), ClusterId(2)]);
    assert_eq!(world.count(is_creation), 2);
}

/// A newcomer learns all members of a cluster whose table takes many datagrams, though a fifth of
/// them is lost.
#[test]
fn a_long_table_arrives_whole_under_loss() {
    for_seeds("a_long_table_arrives_whole_under_loss", 0..4, |seed| {
        let mut world = World::perhaps_sealed(seed, 0.0);
        let first = world.add("n0", &[]);
        world.start(first, Start::Create(ClusterId(1)));
        for index in 1..48 {
            world.add(&format!("{:x<56}{index}", "a-long-name-"), &[address(1)]);
            world.start(index, WAITS);
        }
        assert!(world.run_until(seconds(30), World::agrees), "did not form");
        world.weather.loss = 0.2;
        let late = world.add("late", &[address(1)]);
        world.start(late, WAITS);
        let whole =
            |world: &World| (0..=late).all(|by| world.gossip(by).members().count() == late + 1);
        assert!(world.run_until(seconds(60), whole), "part of the table never came");
    });
}
