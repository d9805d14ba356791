//! Whole clusters under virtual time, many seeds each.

use std::time::Duration;

use piccolo_tests::cluster::Begin;
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
