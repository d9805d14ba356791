//! What somebody recorded who has no key, and says again: to the same nodes in a later life, or to
//! another cluster of the same key and names.

use piccolo_gossip::{Event, Start, State};
use piccolo_schema::ids::ClusterId;
use piccolo_tests::for_seeds;
use piccolo_tests::membership::{WAITS, World, address, is_death, is_stop, seconds};

use super::sealed::found;

/// A cluster with a key, and all that its nodes said from the beginning on.
fn recorded(seed: u64, count: u16) -> (World, Vec<Vec<u8>>) {
    let mut world = World::new(seed, 0.0);
    world.recorded = Some(Vec::new());
    found(&mut world, count);
    world.run(seconds(5));
    let recorded = world.recorded.take().unwrap_or_default();
    (world, recorded)
}

/// Says it all again to a node, from the address of one that listens there, or of nobody.
fn play(world: &mut World, to: usize, recorded: &[Vec<u8>]) {
    for (index, datagram) in recorded.iter().enumerate() {
        let from = address(1 + (index % 8) as u16);
        // Rejected is what it should be; what it does is looked at in the end.
        world.tell(to, |gossip, now| drop(gossip.receive(now, from, datagram)));
    }
}

/// A cluster made anew of the same names and key is not stopped by what was said in the one before,
/// neither while it is founded nor later.
#[test]
fn recordings_of_another_cluster_say_nothing() {
    for_seeds("recordings_of_another_cluster_say_nothing", 0..64, |seed| {
        let (old, recorded) = recorded(seed, 3);
        let mut world = World::new(seed + 1000, 0.0);
        world.now = old.now + seconds(10);
        let seeds = [1, 2, 3].map(address);
        for index in 0..3 {
            world.add(&format!("n{index}"), &seeds);
            world.nodes[index].keys.clone_from(&old.nodes[index].keys);
            let start = world.expecting(3);
            world.start(index, start);
            play(&mut world, index, &recorded);
        }
        assert!(world.run_until(seconds(30), World::agrees), "no cluster");
        for index in 0..3 {
            play(&mut world, index, &recorded);
        }
        world.run(seconds(10));
        let created = |event: &Event| matches!(event, Event::Entered { created: true, .. });
        assert_eq!((world.count(created), world.count(is_stop), world.count(is_death)), (1, 0, 0));
        assert!(world.agrees());
    });
}

/// A node that creates a cluster is not stopped by what members of an earlier one said.
#[test]
fn recordings_do_not_refuse_a_new_cluster() {
    let (old, recorded) = recorded(1, 3);
    let mut world = World::new(9, 0.0);
    let node = world.add("n0", &[address(50)]);
    world.nodes[node].keys.clone_from(&old.nodes[node].keys);
    world.start(node, Start::Create(ClusterId(1)));
    play(&mut world, node, &recorded);
    world.run(seconds(10));
    assert_eq!(world.nodes[node].events.first(), Some(&entered(1)));
}

fn entered(cluster: u128) -> Event {
    Event::Entered { cluster: ClusterId(cluster), created: true }
}

/// One that left, and that all have forgotten, is not brought back by its own words, not even to a
/// member that has restarted and has no memory of it.
#[test]
fn recordings_bring_back_nobody_who_left() {
    for_seeds("recordings_bring_back_nobody_who_left", 0..16, |seed| {
        let (mut world, recorded) = recorded(seed, 4);
        // Those who start from now on forget soon.
        world.config.left_memory = seconds(60);
        world.tell(3, piccolo_gossip::Gossip::left);
        world.crash(3);
        for index in 0..3 {
            world.crash(index);
            world.start(index, WAITS);
            assert!(world.run_until(seconds(30), World::agrees));
        }
        world.run(seconds(150));
        assert!((0..3).all(|by| world.seen(by, "n3").is_none()), "not forgotten yet");
        for index in 0..3 {
            play(&mut world, index, &recorded);
        }
        world.run(seconds(30));
        assert!((0..3).all(|by| world.seen(by, "n3").is_none_or(|m| m.state == State::Left)));
        assert!(world.agrees());
    });
}
