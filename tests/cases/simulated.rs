//! Whole clusters under virtual time, many seeds each.

use std::time::Duration;

use piccolo_tests::cluster::Begin;
use piccolo_tests::faults::Weather;
use piccolo_tests::for_seeds;
use piccolo_tests::world::{World, begin_all};

const SECOND: Duration = Duration::from_secs(1);

fn no_errors(world: &World) {
    assert!(world.history.errors.is_empty(), "{}", world.describe());
}

#[test]
fn one_node_alone_serves() {
    for_seeds("one_node_alone_serves", 0..64, |seed| {
        let mut world = World::new(seed, &[1 + (seed % 3) as u16]);
        world.start(0, &Begin::Create);
        world.settle(10 * SECOND);
        world.add_busy_clients(3, &[0], 10);
        world.run(2 * SECOND);
        world.quiet_clients();
        world.audit();
        no_errors(&world);
        assert!(world.history.replies > 100, "{} replies", world.history.replies);
    });
}

#[test]
fn three_nodes_form_a_cluster_and_serve_all() {
    for_seeds("three_nodes_form_a_cluster_and_serve_all", 0..64, |seed| {
        let mut world = World::new(seed, &[1, 2, 1 + (seed % 3) as u16]);
        begin_all(&mut world, 3);
        world.settle(30 * SECOND);
        world.add_busy_clients(6, &[0, 1, 2], 10);
        world.run(2 * SECOND);
        world.quiet_clients();
        world.audit();
        no_errors(&world);
    });
}

/// Three nodes that serve, and clients at them.
fn three_and_clients(seed: u64, shards: &[u16], clients: usize) -> World {
    let mut world = World::new(seed, shards);
    begin_all(&mut world, 3);
    world.settle(30 * SECOND);
    world.add_busy_clients(clients, &[0, 1, 2, 3], 10);
    world.run(SECOND);
    world
}

fn moved(before: &[Option<usize>], after: &[Option<usize>]) -> f64 {
    let differing = before.iter().zip(after).filter(|(before, after)| before != after).count();
    differing as f64 / before.len() as f64
}

#[test]
fn a_node_joins_and_another_leaves_and_no_client_sees_an_error() {
    for_seeds("a_node_joins_and_another_leaves_and_no_client_sees_an_error", 0..64, |seed| {
        let (shards, last) = (1 + (seed % 3) as u16, 1 + (seed / 3 % 3) as u16);
        let mut world = three_and_clients(seed, &[shards, 2, 1, last], 6);
        let before = world.served_by();
        world.start(3, &Begin::Join(vec![0, 1, 2]));
        world.run(3 * SECOND);
        world.settle(60 * SECOND);
        let share = moved(&before, &world.served_by());
        assert!((0.2..=0.3).contains(&share), "{share} of the slots moved on the join");
        no_errors(&world);
        assert!(world.clients.iter().all(|client| client.lost.is_empty()), "a client was cut off");
        world.run(SECOND);
        let leaver = world.time.below(3);
        world.terminate(leaver);
        world.run_until("the leaver is gone", 40 * SECOND, |world| {
            !world.running().contains(&leaver)
        });
        world.settle(60 * SECOND);
        world.run(SECOND);
        world.quiet_clients();
        no_errors(&world);
        for client in &world.clients {
            assert!(client.lost.iter().all(|(host, _)| *host == leaver), "{:?}", client.lost);
        }
        world.audit();
        no_errors(&world);
    });
}

#[test]
fn scans_and_counts_hold_while_slots_move() {
    for_seeds("scans_and_counts_hold_while_slots_move", 0..64, |seed| {
        let mut world = three_and_clients(seed, &[2, 1, 1, 2], 3);
        world.quiet_clients();
        let present = world.present_keys();
        let (keys, _) = world.history.keys();
        assert_eq!(keys, present.len() as u64);
        world.start(3, &Begin::Join(vec![0]));
        world.run(2 * SECOND);
        while let Some(why) = world.unsettled_because() {
            assert!(world.time.now.0 < 200_000_000, "{why}\n{}", world.describe());
            let host = world.time.below(3);
            let (found, size) = world.scan_and_count(host);
            assert_eq!(found, present, "SCAN at host {host}");
            assert_eq!(size, keys as i64, "DBSIZE at host {host}");
        }
        no_errors(&world);
        world.audit();
    });
}

#[test]
fn links_torn_while_nodes_come_and_go_lose_nothing() {
    for_seeds("links_torn_while_nodes_come_and_go_lose_nothing", 0..64, |seed| {
        let mut world = World::new(seed, &[1, 2, 1, 1 + (seed % 3) as u16]);
        world.network.weather = Weather::foul(&mut world.time.rng);
        begin_all(&mut world, 3);
        world.settle(60 * SECOND);
        world.add_busy_clients(5, &[0, 1, 2, 3], 6);
        for _ in 0..2 {
            let running = world.running();
            if running.contains(&3) {
                let leaver = running[world.time.below(running.len())];
                world.terminate(leaver);
            } else if running.len() == 3 && world.hosts[3].life.is_none() {
                world.start(3, &Begin::Join(running));
            }
            for _ in 0..25 {
                let pause = world.time.micros(1000..=300_000);
                world.run(pause);
                world.reset_a_link();
                if world.time.chance(0.1) {
                    let (host, span) = (world.time.below(4), world.time.micros(1000..=300_000));
                    world.pause(host, span);
                }
            }
            if world.running().len() < 3 {
                let away = (0..4).find(|host| world.hosts[*host].life.is_none()).unwrap();
                let seeds = world.running();
                world.start(away, &Begin::Join(seeds));
            }
        }
        world.network.weather = Weather::fair(&mut world.time.rng);
        world.settle(120 * SECOND);
        world.quiet_clients();
        world.audit();
        for (_, _, error) in &world.history.errors {
            let write = error.contains("Wrote");
            assert!(error.starts_with("UNKNOWN") && write, "{error}\n{}", world.describe());
        }
    });
}

#[test]
fn a_node_killed_comes_back_under_its_name() {
    for_seeds("a_node_killed_comes_back_under_its_name", 0..64, |seed| {
        let mut world = three_and_clients(seed, &[1, 2, 1 + (seed % 3) as u16, 1], 5);
        let victim = world.time.below(3);
        let served = world.served_by();
        world.history.forfeit(|slot| served[slot.index()] == Some(victim));
        (world.checkers.slow, world.checkers.split) = (true, true);
        world.kill(victim);
        let away = world.time.micros(100_000..=50_000_000);
        world.run(away);
        let seeds: Vec<usize> = (0..3).filter(|host| *host != victim).collect();
        world.start(victim, &Begin::Join(seeds));
        world.run(2 * SECOND);
        world.settle(120 * SECOND);
        world.quiet_clients();
        world.history.recover();
        let errors = world.history.errors.len();
        world.busy_again();
        world.run(2 * SECOND);
        world.quiet_clients();
        world.audit();
        assert_eq!(world.history.errors.len(), errors, "{}", world.describe());
    });
}

#[test]
fn a_node_cut_off_for_a_minute_converges() {
    for_seeds("a_node_cut_off_for_a_minute_converges", 0..64, |seed| {
        let mut world = three_and_clients(seed, &[1, 2, 1 + (seed % 3) as u16, 1], 4);
        let victim = world.time.below(3);
        let served = world.served_by();
        world.history.forfeit(|slot| served[slot.index()] == Some(victim));
        (world.checkers.slow, world.checkers.split) = (true, true);
        let ways = world.time.below(3);
        for other in (0..3).filter(|host| *host != victim) {
            let (out, back) = ((victim, other), (other, victim));
            world.network.cuts.extend(
                [(ways != 1).then_some(out), (ways != 2).then_some(back)].into_iter().flatten(),
            );
        }
        world.run(60 * SECOND);
        world.network.cuts.clear();
        world.settle(120 * SECOND);
        world.quiet_clients();
        world.history.recover();
        let errors = world.history.errors.len();
        world.busy_again();
        world.run(2 * SECOND);
        world.quiet_clients();
        world.audit();
        assert_eq!(world.history.errors.len(), errors, "{}", world.describe());
    });
}
