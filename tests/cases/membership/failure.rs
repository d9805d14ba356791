//! Crashes, pauses, partitions, farewells.

use std::time::Duration;

use piccolo_gossip::{Gossip, State};
use rand::RngExt;

use piccolo_tests::for_seeds;
use piccolo_tests::membership::{WAITS, World, became, is_death, is_stop, seconds};

/// A crash is seen by all within the time that rounds, suspicion and spreading take, and nobody
/// else is held dead.
#[test]
fn a_crash_is_seen_by_all_in_time_and_nobody_else_dies() {
    for_seeds("a_crash_is_seen_by_all_in_time_and_nobody_else_dies", 0..64, |seed| {
        let count = 2 + (seed as usize % 7);
        let mut world = World::cluster(seed, count, 0.05);
        let victim = world.rng.random_range(0..count);
        world.crash(victim);
        let name = format!("n{victim}");
        let dead = |world: &World| {
            let by = world.running();
            by.iter().all(|by| world.seen(*by, &name).is_some_and(|m| m.state == State::Dead))
        };
        // At worst it was just probed by everybody: two rounds, the probe, the suspicion, the news.
        let rounds = world.config.probe_interval * (2 * count as u32);
        let bound = rounds + world.config.probe_interval + seconds(2) + seconds(2);
        assert!(world.run_until(bound, dead), "not seen within {bound:?}");
        world.run(seconds(20));
        let others = world.count(|event| is_death(event) && !became(event, &name, State::Dead));
        assert_eq!(others, 0, "somebody else was held dead");
    });
}

/// A pause of a second may bring suspicion, but no death; what was suspected is refuted, and the
/// paused node does not hold its own pause against others.
#[test]
fn a_short_pause_is_forgiven() {
    let (mut suspected, mut pauses) = (0, 0);
    let whole = for_seeds("a_short_pause_is_forgiven", 0..64, |seed| {
        let mut world = World::cluster(seed, 5, 0.02);
        let paused = world.rng.random_range(0..5);
        world.pause(paused, seconds(1));
        world.run(seconds(10));
        assert_eq!(world.count(is_death), 0, "somebody was held dead");
        assert!(world.run_until(seconds(10), World::agrees), "suspicion stayed");
        suspected += world.count(|event| became(event, &format!("n{paused}"), State::Suspect));
        pauses += world.gossip(paused).stats().pauses;
    });
    if whole {
        assert!(suspected > 50, "only {suspected} suspicions: the case shows nothing");
        assert!(pauses >= 60, "only {pauses} pauses were noticed");
    }
}

/// A node cut off for a minute holds all others dead, they hold it dead, and all agree again soon
/// after.
#[test]
fn a_node_cut_off_for_a_minute_comes_back() {
    for_seeds("a_node_cut_off_for_a_minute_comes_back", 0..64, |seed| {
        let count = 3 + (seed as usize % 4);
        let mut world = World::cluster(seed, count, 0.05);
        let lone = world.rng.random_range(0..count);
        world.nodes[lone].side = 1;
        world.run(seconds(60));
        for other in (0..count).filter(|other| *other != lone) {
            let (there, here) = (format!("n{lone}"), format!("n{other}"));
            assert_eq!(world.seen(other, &there).map(|m| m.state), Some(State::Dead));
            assert_eq!(world.seen(lone, &here).map(|m| m.state), Some(State::Dead));
        }
        world.nodes[lone].side = 0;
        assert!(world.run_until(seconds(30), World::agrees), "did not come together");
    });
}

/// Two halves that held each other dead agree again, without declaring anybody of the own half
/// dead on the word of the other.
#[test]
fn two_halves_come_together() {
    for_seeds("two_halves_come_together", 0..64, |seed| {
        let count = 4 + (seed as usize % 5);
        let mut world = World::cluster(seed, count, 0.03);
        for index in 0..count / 2 {
            world.nodes[index].side = 1;
        }
        world.run(seconds(60));
        for node in &mut world.nodes {
            node.side = 0;
        }
        world.forget_events();
        assert!(world.run_until(seconds(40), World::agrees), "did not come together");
        world.run(seconds(30));
        assert!(world.agrees(), "fell apart again");
        assert_eq!(world.count(is_death), 0, "somebody died of the healing");
    });
}

/// Who leaves is seen leaving, then gone, and never dead; a suspicion on the way does not undo
/// what it said.
#[test]
fn a_leaver_is_never_held_dead() {
    for_seeds("a_leaver_is_never_held_dead", 0..64, |seed| {
        let count = 2 + (seed as usize % 6);
        let mut world = World::cluster(seed, count, 0.05);
        let leaver = world.rng.random_range(0..count);
        let name = format!("n{leaver}");
        world.tell(leaver, Gossip::leave);
        let all = |state| {
            let name = name.clone();
            move |world: &World| {
                let by = world.running();
                by.iter().all(|by| world.seen(*by, &name).is_some_and(|m| m.state == state))
            }
        };
        assert!(world.run_until(seconds(5), all(State::Leaving)), "not seen leaving");
        world.pause(leaver, Duration::from_millis(1200));
        world.run(seconds(5));
        for by in world.running() {
            assert_eq!(world.seen(by, &name).map(|member| member.said), Some(State::Leaving));
        }
        world.tell(leaver, Gossip::left);
        world.crash(leaver);
        assert!(world.run_until(seconds(10), all(State::Left)), "not seen gone");
        world.run(seconds(30));
        assert_eq!(world.count(|event| became(event, &name, State::Dead)), 0, "held dead");
        assert!(world.agrees());
    });
}

/// Who left is forgotten after its time, and nobody reminds the others.
#[test]
fn a_leaver_is_forgotten_in_the_end() {
    let mut world = World::cluster(5, 4, 0.05);
    world.config.left_memory = seconds(60);
    let leaver = world.add("leaver", &[piccolo_tests::membership::address(1)]);
    for index in 0..3 {
        world.crash(index);
        let start = world.expecting(3);
        world.start(index, start);
    }
    world.crash(3);
    let start = world.expecting(3);
    world.start(leaver, start);
    let came = |world: &World| (0..3).all(|by| world.seen(by, "leaver").is_some());
    assert!(world.run_until(seconds(30), came));
    world.tell(leaver, Gossip::left);
    world.crash(leaver);
    world.run(seconds(40));
    assert!(came(&world), "forgotten too early");
    let gone = |world: &World| (0..3).all(|by| world.seen(by, "leaver").is_none());
    assert!(world.run_until(seconds(60), gone), "never forgotten");
    world.run(seconds(120));
    assert!(gone(&world), "remembered again");
}

/// Where nothing happens, a node sends its probes and little else, however long it runs.
#[test]
fn a_quiet_cluster_sends_no_gossip() {
    let mut world = World::cluster(6, 6, 0.0);
    world.run(seconds(30));
    let before = world.gossip(0).stats();
    world.run(seconds(60));
    let after = world.gossip(0).stats();
    let sent = after.datagrams_out - before.datagrams_out;
    // 120 probes, as many answers on average, and a few comparisons of tables.
    assert!((200..=290).contains(&sent), "{sent} datagrams in a minute");
    let bytes = (after.bytes_out - before.bytes_out) / sent;
    assert!(bytes < 150, "{bytes} bytes per datagram with nothing to tell");
}

/// Nodes of one cluster are killed, started again, paused and cut off at random: nobody is ever
/// ended by that, and once it is over all agree.
#[test]
fn random_trouble_in_one_cluster_ends_nobody() {
    for_seeds("random_trouble_in_one_cluster_ends_nobody", 0..64, |seed| {
        let mut world = World::cluster(seed, 5, 0.1);
        let old = world.gossip(0).cluster();
        for _ in 0..60 {
            let node = world.rng.random_range(0..5);
            let time = world.rng.random_range(100..12_000);
            let time = Duration::from_millis(time);
            let running = world.running();
            let members = running.iter().filter(|index| world.gossip(**index).cluster() == old);
            let enough = members.count() > 2;
            match world.rng.random_range(0..5) {
                0 if enough => world.crash(node),
                1 if world.nodes[node].gossip.is_none() => world.start(node, WAITS),
                2 => world.pause(node, time),
                3 => world.nodes[node].side ^= 1,
                _ => world.run(time),
            }
            assert_eq!(world.count(is_stop), 0);
        }
        for node in 0..5 {
            world.nodes[node].side = 0;
            if world.nodes[node].gossip.is_none() {
                world.start(node, WAITS);
            }
        }
        assert!(world.run_until(seconds(60), World::agrees), "they do not agree");
        assert_eq!(world.count(is_stop), 0);
        assert_eq!(world.clusters(), [old]);
    });
}
