//! Restarts, names claimed twice, and clusters that are full.

use piccolo_gossip::{Event, Fatal, State};
use piccolo_schema::ids::NodeId;
use rand::RngExt;

use piccolo_tests::for_seeds;
use piccolo_tests::membership::{WAITS, World, address, is_death, seconds};

/// A node killed and started again under its name and address is the only one of that name at
/// once, long before its old life would have been held dead; nobody else dies of it.
#[test]
fn a_restart_replaces_the_old_id() {
    for_seeds("a_restart_replaces_the_old_id", 0..64, |seed| {
        let mut world = World::cluster(seed, 4, 0.05);
        let index = world.rng.random_range(0..4);
        let old = world.gossip(index).me().id;
        world.crash(index);
        // Even if the machine's clock went back in between.
        let generation = if seed % 2 == 0 { world.now.0 } else { 1 };
        let start = world.expecting(3);
        world.start_in_generation(index, start, generation);
        assert!(world.run_until(seconds(8), World::agrees), "did not come back");
        assert_eq!(world.clusters().len(), 1);
        world.run(seconds(20));
        let deaths = world.nodes.iter().flat_map(|node| &node.events).filter(|e| is_death(e));
        let dead: Vec<NodeId> = deaths
            .filter_map(|event| match event {
                Event::Changed { member, .. } => Some(member.id),
                _ => None,
            })
            .collect();
        assert_eq!(dead, vec![old; 3], "each of the others buries the old life, and only that");
        // A loss may have left somebody suspect for a moment.
        assert!(world.run_until(seconds(5), World::agrees), "the old life came back");
    });
}

/// A second node under a live node's name is refused, and the first goes on untouched.
#[test]
fn a_name_in_use_is_refused_to_the_newcomer() {
    for_seeds("a_name_in_use_is_refused_to_the_newcomer", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.1);
        let incumbent = world.gossip(1).me().clone();
        let seeds = [address(1 + (seed % 3) as u16)];
        let second = world.add("n1", &seeds);
        world.start(second, WAITS);
        let refused = |world: &World| !world.nodes[second].events.is_empty();
        assert!(world.run_until(seconds(30), refused), "not refused");
        let expected = [Event::Fatal(Fatal::NameTaken { by: incumbent.peer })];
        assert_eq!(world.nodes[second].events, expected);
        world.crash(second);
        world.run(seconds(10));
        assert!(world.run_until(seconds(10), World::agrees));
        assert_eq!(world.gossip(1).me().id, incumbent.id);
        assert_eq!(world.count(is_death), 0);
    });
}

/// A node that moved to another address comes in under its name once its old life is dead.
#[test]
fn a_name_moves_once_its_holder_is_dead() {
    for_seeds("a_name_moves_once_its_holder_is_dead", 0..64, |seed| {
        let mut world = World::cluster(seed, 4, 0.05);
        // Slow enough that answers of the dead still come in.
        world.weather.delay_micros = (10_000, 80_000);
        world.run(seconds(2));
        world.crash(2);
        let moved = world.add("n2", &[address(1), address(2)]);
        world.start(moved, WAITS);
        assert!(world.run_until(seconds(20), World::agrees), "did not come in");
        world.run(seconds(20));
        assert!(world.run_until(seconds(10), World::agrees));
    });
}

/// Who was cut off while its name passed to another is told so and stops; the new holder stays.
#[test]
fn a_superseded_node_stops_and_never_comes_back() {
    for_seeds("a_superseded_node_stops_and_never_comes_back", 0..64, |seed| {
        let mut world = World::cluster(seed, 4, 0.05);
        world.nodes[3].side = 1;
        world.run(seconds(20));
        let heir = world.add("n3", &[address(1)]);
        world.start(heir, WAITS);
        let came = |world: &World| world.gossip(heir).cluster().is_some();
        assert!(world.run_until(seconds(10), came), "the heir did not come in");
        let id = world.gossip(heir).me().id;
        world.nodes[3].side = 0;
        let stopped = Event::Fatal(Fatal::Superseded { by: address(5) });
        let told = |world: &World| world.nodes[3].events.contains(&stopped);
        assert!(world.run_until(seconds(60), told), "the old holder goes on");
        world.crash(3);
        world.run(seconds(20));
        assert!(world.agrees());
        for by in 0..3 {
            let held = world.seen(by, "n3").map(|member| (member.id, member.state));
            assert_eq!(held, Some((id, State::Alive)));
        }
    });
}

/// A cluster with no room says so, again and again, and the newcomer comes in once there is some.
#[test]
fn a_full_cluster_says_so() {
    for_seeds("a_full_cluster_says_so", 0..64, |seed| {
        let mut world = World::cluster(seed, 3, 0.05);
        world.config.members_max = 3;
        for index in 0..3 {
            world.crash(index);
            world.start(index, WAITS);
            assert!(world.run_until(seconds(30), World::agrees));
        }
        let newcomer = world.add("new", &[1, 2, 3].map(address));
        world.start(newcomer, WAITS);
        let is_full = |event: &Event| matches!(event, Event::Full { members_max: 3, .. });
        let told = |world: &World| world.nodes[newcomer].events.iter().any(is_full);
        assert!(world.run_until(seconds(10), told), "not told");
        assert!((0..3).map(|by| world.gossip(by).stats().rejects_full).sum::<u64>() > 0);
        world.crash(2);
        let dead = |world: &World| world.seen(0, "n2").is_some_and(|m| m.state == State::Dead);
        assert!(world.run_until(seconds(30), dead));
        world.tell(0, |gossip, now| assert_eq!(gossip.remove(now, "n2"), Ok(())));
        assert!(world.run_until(seconds(30), World::agrees), "does not come in");
    });
}
