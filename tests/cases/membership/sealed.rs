//! Keys, versions of the protocol, removal.

use std::net::SocketAddr;

use piccolo_gossip::{Event, Fatal, Keys, RemoveError, Start, State};
use piccolo_schema::ids::ClusterId;
use piccolo_tests::for_seeds;
use piccolo_tests::membership::{WAITS, World, address, seconds};
use rand::RngExt;

fn keys(text: &str) -> Keys {
    Keys::parse(text).expect("keys")
}

const ONE: &str = "00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";

/// Makes a cluster of nodes that have a key, and says where they are.
pub(super) fn found(world: &mut World, count: u16) -> Vec<SocketAddr> {
    let seeds: Vec<_> = (1..=count).map(address).collect();
    world.keys = Some(keys(ONE));
    for index in 0..usize::from(count) {
        world.add(&format!("n{index}"), &seeds);
        let start = world.expecting(count);
        world.start(index, start);
    }
    assert!(world.run_until(seconds(30), World::agrees), "those with the key do not agree");
    seeds
}

/// Nodes that share a key are a cluster under loss and duplication; one with another key, or with
/// none, never comes in and changes nothing.
#[test]
fn a_node_without_the_key_never_comes_in() {
    for_seeds("a_node_without_the_key_never_comes_in", 0..64, |seed| {
        let mut world = World::new(seed, 0.1);
        let seeds = found(&mut world, 3);
        let stranger = world.add("stranger", &seeds);
        world.nodes[stranger].keys = (seed % 2 == 0).then(|| keys(OTHER));
        world.start(stranger, WAITS);
        world.run(seconds(10));
        assert!(!world.gossip(stranger).cluster().is_some());
        assert!((0..3).all(|by| world.seen(by, "stranger").is_none()));
        let rejects = |by| world.gossip(by).stats().rejects_unauthentic;
        assert!((0..3).map(rejects).sum::<u64>() > 0, "nothing came: the case shows nothing");
    });
}

/// A key is replaced in three rounds over all nodes, in any order in each, and no node loses
/// another on the way.
#[test]
fn keys_rotate_in_a_running_cluster() {
    for_seeds("keys_rotate_in_a_running_cluster", 0..64, |seed| {
        let mut world = World::new(seed, 0.05);
        found(&mut world, 4);
        world.forget_events();
        let rounds = [format!("{ONE}\n{OTHER}"), format!("{OTHER}\n{ONE}"), OTHER.to_owned()];
        for round in rounds {
            for step in 0..4 {
                let index = (step + seed as usize) % 4;
                world.tell(index, |gossip, _| gossip.set_keys(Some(keys(&round))));
                let pause = world.rng.random_range(0..3000);
                world.run(std::time::Duration::from_millis(pause));
            }
        }
        world.run(seconds(10));
        assert_eq!(world.count(piccolo_tests::membership::is_death), 0);
        assert!(world.run_until(seconds(5), World::agrees));
    });
}

/// A node of version N talks to one of N - 1; one that speaks nothing that all speak is told so.
#[test]
fn versions_overlap_or_are_refused() {
    for_seeds("versions_overlap_or_are_refused", 0..64, |seed| {
        let mut world = World::new(seed, 0.1);
        let seeds = [address(1)];
        world.add("old", &[]);
        world.nodes[0].protocol = (1, 1);
        world.start(0, Start::Create(ClusterId(1)));
        let newer = world.add("newer", &seeds);
        world.nodes[newer].protocol = (1, 2);
        world.start(newer, WAITS);
        assert!(world.run_until(seconds(20), World::agrees));
        assert_eq!(world.gossip(newer).versions(), (1, 1));
        let newest = world.add("newest", &seeds);
        world.nodes[newest].protocol = (2, 3);
        world.start(newest, WAITS);
        let refused = |world: &World| !world.nodes[newest].events.is_empty();
        assert!(world.run_until(seconds(20), refused));
        let expected = Fatal::Version { theirs: (1, 1), ours: (2, 3) };
        assert_eq!(world.nodes[newest].events, [Event::Fatal(expected)]);
    });
}

/// Founders that have no version in common make no cluster, however they overlap in pairs.
#[test]
fn founders_without_a_common_version_make_no_cluster() {
    for_seeds("founders_without_a_common_version_make_no_cluster", 0..64, |seed| {
        let ranges = [[(1, 1), (2, 3), (2, 3)], [(2, 3), (1, 2), (3, 4)]][seed as usize / 2 % 2];
        let mut world = World::perhaps_sealed(seed, 0.1);
        let seeds = [1, 2, 3].map(address);
        for (index, protocol) in ranges.into_iter().enumerate() {
            world.add(&format!("n{index}"), &seeds);
            world.nodes[index].protocol = protocol;
            let start = world.expecting(3);
            world.start(index, start);
        }
        world.run(seconds(15));
        assert_eq!(world.clusters(), []);
        // The odd one is upgraded.
        let odd = usize::from(ranges[0] != (1, 1));
        world.crash(odd);
        world.nodes[odd].protocol = (3, 3);
        let start = world.expecting(3);
        world.start(odd, start);
        assert!(world.run_until(seconds(30), World::agrees));
    });
}

/// A member held dead and removed is gone for all; if it comes back after all it is told so and
/// stops, and under its name a new life comes in.
#[test]
fn who_was_removed_never_comes_back() {
    for_seeds("who_was_removed_never_comes_back", 0..64, |seed| {
        let mut world = World::cluster(seed, 4, 0.05);
        world.tell(0, |gossip, now| assert_eq!(gossip.remove(now, "n3"), Err(RemoveError::Live)));
        world.nodes[3].side = 1;
        let dead =
            |world: &World| world.seen(0, "n3").is_some_and(|member| member.state == State::Dead);
        assert!(world.run_until(seconds(40), dead));
        world.tell(0, |gossip, now| assert_eq!(gossip.remove(now, "n3"), Ok(())));
        world.run(seconds(5));
        world.nodes[3].side = 0;
        let stopped = Event::Fatal(Fatal::Removed);
        let told = |world: &World| world.nodes[3].events.contains(&stopped);
        assert!(world.run_until(seconds(60), told), "it goes on");
        for by in 0..3 {
            assert_eq!(world.seen(by, "n3").map(|member| member.state), Some(State::Left));
        }
        world.crash(3);
        world.start(3, WAITS);
        assert!(world.run_until(seconds(20), World::agrees), "its name is not free");
    });
}
