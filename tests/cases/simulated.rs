//! Whole clusters under virtual time, many seeds each.

use std::ops::Range;
use std::time::Duration;

use piccolo_gossip::RemoveError;
use piccolo_ring::group::Support as _;
use piccolo_schema::ids::Slot;
use piccolo_tests::cluster::Begin;
use piccolo_tests::faults::Weather;
use piccolo_tests::for_seeds;
use piccolo_tests::world::{World, begin_all};

const SECOND: Duration = Duration::from_secs(1);

/// What two cores play in some four minutes; the long set has more.
const SEEDS: Range<u64> = 0..20;

fn no_errors(world: &World) {
    assert!(world.history.errors.is_empty(), "{}", world.describe());
}

/// Clients finish what they are at; then everything written is found, and no error was heard.
fn all_is_found(world: &mut World) {
    world.quiet_clients();
    world.audit();
    no_errors(world);
}

/// A settled cluster serves again without an error; what is written from now on is found.
fn all_is_found_after_a_loss(world: &mut World) {
    world.history.recover();
    let errors = world.history.errors.len();
    world.busy_again();
    world.run(2 * SECOND);
    world.quiet_clients();
    world.audit();
    assert_eq!(world.history.errors.len(), errors, "{}", world.describe());
}

/// What a node serves may be lost with it, or served elsewhere meanwhile.
fn give_up_on(world: &mut World, victim: usize) {
    let served = world.served_by();
    world.history.forfeit(|slot| served[slot.index()] == Some(victim));
    (world.checkers.slow, world.checkers.split) = (true, true);
}

#[test]
fn one_node_alone_serves() {
    for_seeds("one_node_alone_serves", SEEDS, |seed| {
        let mut world = World::new(seed, &[1 + (seed % 3) as u16]);
        world.start(0, &Begin::Create);
        world.settle(10 * SECOND);
        world.add_busy_clients(3, &[0], 10);
        world.run(2 * SECOND);
        all_is_found(&mut world);
        assert!(world.history.replies > 100, "{} replies", world.history.replies);
    });
}

#[test]
fn three_nodes_form_a_cluster_and_serve_all() {
    for_seeds("three_nodes_form_a_cluster_and_serve_all", SEEDS, |seed| {
        let mut world = World::new(seed, &[1, 2, 1 + (seed % 3) as u16]);
        begin_all(&mut world, 3);
        world.settle(30 * SECOND);
        world.add_busy_clients(6, &[0, 1, 2], 10);
        world.run(2 * SECOND);
        all_is_found(&mut world);
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
    for_seeds("a_node_joins_and_another_leaves_and_no_client_sees_an_error", SEEDS, |seed| {
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

/// Large values take another link between nodes than small ones. Every other seed moves slots
/// meanwhile, and every fourth tears links.
#[test]
fn large_and_small_values_of_a_key_keep_their_order_in_one_pipeline() {
    let name = "large_and_small_values_of_a_key_keep_their_order_in_one_pipeline";
    for_seeds(name, SEEDS, |seed| {
        let (moves, tears) = (seed % 2 == 1, seed % 4 == 3);
        let mut world = World::new(seed, &[1 + (seed % 3) as u16, 2, 1, 1]);
        begin_all(&mut world, 3);
        world.settle(30 * SECOND);
        if moves {
            world.start(3, &Begin::Join(vec![0, 1, 2]));
            let pause = world.time.micros(2_000_000..=3_000_000);
            world.run(pause);
        }
        for client in 0..6 {
            world.add_mixed_client(client % 3, 8);
        }
        for _ in 0..if tears { 10 } else { 0 } {
            let pause = world.time.micros(100..=5_000);
            world.run(pause);
            world.reset_a_link();
        }
        world.quiet_clients();
        world.settle(60 * SECOND);
        world.audit();
        for (_, _, error) in &world.history.errors {
            let unknown = error.starts_with("UNKNOWN") && error.contains("Wrote");
            assert!(tears && unknown, "{error}\n{}", world.describe());
        }
    });
}

#[test]
fn scans_and_counts_hold_while_slots_move() {
    for_seeds("scans_and_counts_hold_while_slots_move", SEEDS, |seed| {
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
    for_seeds("links_torn_while_nodes_come_and_go_lose_nothing", SEEDS, |seed| {
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
    for_seeds("a_node_killed_comes_back_under_its_name", SEEDS, |seed| {
        let mut world = three_and_clients(seed, &[1, 2, 1 + (seed % 3) as u16, 1], 5);
        let victim = world.time.below(3);
        give_up_on(&mut world, victim);
        world.kill(victim);
        let away = world.time.micros(100_000..=50_000_000);
        world.run(away);
        let seeds: Vec<usize> = (0..3).filter(|host| *host != victim).collect();
        world.start(victim, &Begin::Join(seeds));
        world.run(2 * SECOND);
        world.settle(120 * SECOND);
        world.quiet_clients();
        all_is_found_after_a_loss(&mut world);
    });
}

#[test]
fn a_node_cut_off_for_a_minute_converges() {
    for_seeds("a_node_cut_off_for_a_minute_converges", SEEDS, |seed| {
        let mut world = three_and_clients(seed, &[1, 2, 1 + (seed % 3) as u16, 1], 4);
        let victim = world.time.below(3);
        give_up_on(&mut world, victim);
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
        all_is_found_after_a_loss(&mut world);
    });
}

/// The ring is about to change, and a slot of `leader`'s is to move to the host returned; nothing
/// moves yet.
fn slot_about_to_move(world: &mut World, leader: usize, candidates: usize) -> (Slot, usize) {
    world.run_until("all see the ring that is to be", 10 * SECOND, |world| {
        world.hosts.iter().filter_map(|host| host.life.as_ref()).all(|life| {
            !life.node.wish().settled && life.node.wish().placement.candidates().len() == candidates
        })
    });
    let (served, wished) = (world.served_by(), world.wished_by(leader));
    let at_leader = |hosts: &[Option<usize>], slot: &Slot| hosts[slot.index()] == Some(leader);
    let moving = Slot::all().filter(|slot| at_leader(&served, slot) && !at_leader(&wished, slot));
    let moving: Vec<Slot> = moving.collect();
    let slot = moving[world.time.below(moving.len())];
    (slot, wished[slot.index()].expect("who is to own a slot runs"))
}

/// Runs until so many bytes of a slot, the only one with large values, have been learned, and
/// asserts that these are not all.
fn until_a_part_is_learned(world: &mut World, slot: Slot, ends: (usize, usize), bytes: usize) {
    let (until, (leader, learner)) = (world.time.now + 30 * SECOND, ends);
    while world.network.carried(leader, learner) < bytes {
        assert!(world.time.now < until, "{slot} is not learned\n{}", world.describe());
        world.run(Duration::from_millis(1));
    }
    let half = world.is_half_learned(slot, leader, learner);
    assert!(half, "{slot} is no longer just being learned\n{}", world.describe());
}

/// A learner with a part of a slot has no vote and never will: whoever is to own the slot begins
/// it anew.
#[test]
fn a_leader_lost_in_the_middle_of_a_snapshot_leaves_no_slot_without_one() {
    let name = "a_leader_lost_in_the_middle_of_a_snapshot_leaves_no_slot_without_one";
    for_seeds(name, SEEDS, |seed| {
        let (shards, last) = (1 + (seed % 3) as u16, 1 + (seed / 3 % 2) as u16);
        let mut world = three_and_clients(seed, &[1, 2, shards, last], 4);
        let victim = world.time.below(3);
        let candidates = if seed % 4 == 3 {
            world.terminate(victim);
            2
        } else {
            world.start(3, &Begin::Join(vec![0, 1, 2]));
            4
        };
        let (slot, learner) = slot_about_to_move(&mut world, victim, candidates);
        let bytes = (1 << 20) + world.time.below(2 << 20);
        world.fill(slot, bytes, learner);
        let fair = world.network.weather;
        // Slow enough that a snapshot takes many turns.
        world.network.weather.window_bytes = 16 << 10;
        world.network.weather.delay_micros = (30, 3000);
        let part = bytes / 4 + world.time.below(bytes / 2);
        until_a_part_is_learned(&mut world, slot, (victim, learner), part);
        no_errors(&world);
        let lost: Vec<bool> = Slot::all().map(|slot| world.is_only_copy(slot, victim)).collect();
        assert!(lost[slot.index()], "the leader of {slot} alone has it whole");
        world.history.forfeit(|slot| lost[slot.index()]);
        world.checkers.slow = true;
        world.kill(victim);
        world.network.weather = fair;
        world.settle(120 * SECOND);
        world.quiet_clients();
        world.history.recover();
        let errors = world.history.errors.len();
        let writer = world.running()[world.time.below(world.running().len())];
        world.overwrite_all(writer);
        assert_eq!(world.history.errors.len(), errors, "{}", world.describe());
        all_is_found_after_a_loss(&mut world);
    });
}

#[test]
fn cluster_clients_are_sent_on_and_meet_no_error() {
    for_seeds("cluster_clients_are_sent_on_and_meet_no_error", SEEDS, |seed| {
        let mut world = three_and_clients(seed, &[1 + (seed % 3) as u16, 2, 1, 2], 2);
        world.add_cluster_clients(4, &[0, 1, 2, 3], 10);
        world.run(SECOND);
        world.start(3, &Begin::Join(vec![0, 1, 2]));
        world.run(3 * SECOND);
        world.settle(60 * SECOND);
        let leaver = world.time.below(3);
        world.terminate(leaver);
        world.run_until("the leaver is gone", 40 * SECOND, |world| {
            !world.running().contains(&leaver)
        });
        world.settle(60 * SECOND);
        world.run(SECOND);
        world.quiet_clients();
        no_errors(&world);
        let moved: usize = world.clients.iter().map(|client| client.moved).sum();
        assert!(moved > 100, "only {moved} times sent on");
        world.audit();
        no_errors(&world);
    });
}

/// The ring keeps a place for the dead in their grace; who leaves meanwhile must not wait for them.
#[test]
fn a_node_that_leaves_while_another_is_dead_loses_nothing_of_its_own() {
    let name = "a_node_that_leaves_while_another_is_dead_loses_nothing_of_its_own";
    for_seeds(name, SEEDS, |seed| {
        let mut world = three_and_clients(seed, &[1, 2, 1 + (seed % 3) as u16, 1], 4);
        let victim = world.time.below(3);
        give_up_on(&mut world, victim);
        world.kill(victim);
        let wait = world.time.micros(0..=12_000_000);
        world.run(wait);
        let leaver = (victim + 1 + world.time.below(2)) % 3;
        let before = world.served_by();
        world.terminate(leaver);
        world.run_until("the leaver is gone", 25 * SECOND, |world| {
            !world.running().contains(&leaver)
        });
        let (after, heir) = (world.served_by(), world.running());
        assert_eq!(heir.len(), 1);
        let lost = Slot::all().filter(|slot| {
            before[slot.index()] == Some(leaver) && after[slot.index()] != Some(heir[0])
        });
        assert_eq!(lost.count(), 0, "slots of the leaver are gone\n{}", world.describe());
        world.start(victim, &Begin::Join(heir));
        world.settle(120 * SECOND);
        world.quiet_clients();
        all_is_found_after_a_loss(&mut world);
    });
}

/// Nodes are replaced one by one without a good-bye. Those long dead must not count against the
/// majority that brings slots back. Four graces long each, and so played for fewer seeds.
#[test]
fn nodes_lost_one_after_another_leave_no_slot_away() {
    for_seeds("nodes_lost_one_after_another_leave_no_slot_away", 0..16, |seed| {
        let mut world = World::new(seed, &[1, 1 + (seed % 2) as u16, 1, 1]);
        begin_all(&mut world, 2);
        world.settle(30 * SECOND);
        for victim in 0..2 {
            let seeds = world.running();
            world.start(victim + 2, &Begin::Join(seeds));
            world.run(3 * SECOND);
            world.settle(60 * SECOND);
            world.kill(victim);
            world.settle(120 * SECOND);
        }
    });
}

/// An operator need not wait for the grace: what a dead member led is served again within seconds
/// of its removal, and a later life of its name comes in. Of two, either may go.
#[test]
fn the_slots_of_a_removed_member_are_served_at_once() {
    for_seeds("the_slots_of_a_removed_member_are_served_at_once", SEEDS, |seed| {
        let mut world = World::new(seed, &[1, 2, 1 + (seed % 3) as u16]);
        let nodes = 2 + (seed / 2 % 2) as usize;
        begin_all(&mut world, nodes);
        world.settle(30 * SECOND);
        let victim = world.time.below(nodes);
        let other = (victim + 1) % nodes;
        assert_eq!(world.remove(other, victim), Err(RemoveError::Live));
        give_up_on(&mut world, victim);
        world.kill(victim);
        world.run(8 * SECOND);
        assert_eq!(world.remove(other, victim), Ok(()), "{}", world.describe());
        // Well within the grace of 30 s: quiet, and the slots begun anew.
        world.settle(10 * SECOND);
        assert_eq!(world.remove(other, victim), Err(RemoveError::Gone));
        let seeds = world.running();
        world.start(victim, &Begin::Join(seeds));
        world.run(2 * SECOND);
        world.settle(60 * SECOND);
    });
}

/// The creator is gone before anybody has heard from it who leads what.
#[test]
fn a_cluster_whose_creator_is_lost_at_once_begins_without_it() {
    for_seeds("a_cluster_whose_creator_is_lost_at_once_begins_without_it", SEEDS, |seed| {
        let mut world = World::new(seed, &[1, 2, 1 + (seed % 3) as u16]);
        for host in 0..3 {
            let begin = if host == 0 { Begin::Create } else { Begin::Join(vec![0, 1, 2]) };
            world.start(host, &begin);
        }
        let entered = |world: &World| (1..3).all(|host| world.has_said(host, "entered"));
        while !entered(&world) {
            assert!(world.time.now.0 < 60_000_000, "nobody came in\n{}", world.describe());
            world.run(Duration::from_millis(1));
        }
        world.kill(0);
        world.settle(120 * SECOND);
        world.start(0, &Begin::Join(vec![1, 2]));
        world.run(3 * SECOND);
        world.settle(120 * SECOND);
    });
}

/// Each node supports each other one. Who is cut off, if only in one direction, is supported by
/// nobody within a second, and the others are free to vote against it within another; it is
/// supported again as soon as it is back, though by then nobody holds it dead.
#[test]
fn nodes_support_whom_they_hear_and_nobody_else() {
    for_seeds("nodes_support_whom_they_hear_and_nobody_else", SEEDS, |seed| {
        let mut world = World::new(seed, &[1, 2, 1 + (seed % 3) as u16]);
        begin_all(&mut world, 3);
        world.settle(30 * SECOND);
        assert_eq!(supporters(&mut world), [2, 2, 2]);
        let victim = (seed % 3) as usize;
        let others = [(victim + 1) % 3, (victim + 2) % 3];
        for other in others {
            // In one direction, the other, or both.
            if seed % 4 != 0 {
                world.network.cuts.insert((victim, other));
            }
            if seed % 4 != 1 {
                world.network.cuts.insert((other, victim));
            }
        }
        world.run(SECOND);
        let mut expected = [1; 3];
        expected[victim] = 0;
        assert_eq!(supporters(&mut world), expected);
        world.run(2 * SECOND);
        for other in others {
            assert!(is_free(&mut world, other, victim), "{other} still stands behind {victim}");
        }
        world.network.cuts.clear();
        world.run(SECOND / 2);
        assert_eq!(supporters(&mut world), [2, 2, 2]);
    });
}

fn supporters(world: &mut World) -> Vec<usize> {
    let now = world.time.now;
    let of = |host| {
        let life = world.life(host);
        let moment = life.clock(now).moment;
        life.node.supporters(moment)
    };
    (0..3).map(of).collect()
}

/// Whether nothing binds a node to another as a supporter.
fn is_free(world: &mut World, host: usize, leader: usize) -> bool {
    let leader = world.life(leader).node.me();
    let now = world.time.now;
    let life = world.life(host);
    let moment = life.clock(now).moment;
    life.node.bonds().at(moment).has_lapsed(leader, u64::MAX)
}
