//! Datagrams that nobody honest sends.

use std::sync::OnceLock;

use piccolo_gossip::{Action, Gossip, Member};
use piccolo_schema::time::Moment;
use proptest::prelude::*;

use piccolo_tests::membership::{World, address, seconds};

/// Datagrams of every kind, from a cluster that was founded, lost a node and got it back.
fn recorded() -> &'static [Vec<u8>] {
    static RECORDED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let mut world = World::new(1, 0.2);
        world.recorded = Some(Vec::new());
        let seeds = [1, 2, 3].map(address);
        for index in 0..3 {
            world.add(&format!("n{index}"), &seeds);
            let start = world.expecting(2);
            world.start(index, start);
        }
        world.run(seconds(10));
        world.nodes[2].side = 1;
        world.run(seconds(10));
        world.nodes[2].side = 0;
        world.run(seconds(20));
        world.recorded.take().unwrap_or_default()
    })
}

/// A member of the cluster whose datagrams were recorded, and one node without a cluster.
fn targets() -> (World, [usize; 2]) {
    let mut world = World::new(1, 0.2);
    let seeds = [1, 2, 3].map(address);
    for index in 0..3 {
        world.add(&format!("n{index}"), &seeds);
        let start = world.expecting(2);
        world.start(index, start);
    }
    world.run(seconds(10));
    let seeker = world.add("seeker", &[]);
    let start = world.expecting(2);
    world.start(seeker, start);
    (world, [0, seeker])
}

fn members(gossip: &Gossip) -> Vec<Member> {
    gossip.members().cloned().collect()
}

/// Whether a datagram was rejected; if so, the members must be unchanged.
fn offer(gossip: &mut Gossip, now: Moment, datagram: &[u8]) -> bool {
    let (before, cluster) = (members(gossip), gossip.cluster());
    let rejected = gossip.receive(now, address(2), datagram).is_err();
    if rejected {
        assert_eq!(members(gossip), before, "a rejected datagram changed the members");
        assert_eq!(gossip.cluster(), cluster);
    }
    while let Some(action) = gossip.next_action() {
        if let Action::Send { datagram, .. } = action {
            assert!(datagram.len() <= 1400);
        }
    }
    rejected
}

proptest! {
    #[test]
    fn random_bytes_are_rejected_and_change_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..1600),
    ) {
        let (mut world, targets) = targets();
        let now = world.now;
        for target in targets {
            let gossip = world.nodes[target].gossip.as_mut().expect("runs");
            prop_assert!(offer(gossip, now, &bytes));
        }
    }

    /// Real datagrams with bytes changed, cut off or added neither panic nor, if rejected, change
    /// anything; and the node goes on.
    #[test]
    fn damaged_datagrams_never_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (mut world, targets) = targets();
        let now = world.now;
        let mut datagram = recorded()[which.index(recorded().len())].clone();
        for (at, value) in changes {
            let at = at.index(datagram.len());
            datagram[at] = value;
        }
        if let Some(end) = end {
            datagram.truncate(end.index(datagram.len()));
        }
        for target in targets {
            let gossip = world.nodes[target].gossip.as_mut().expect("runs");
            offer(gossip, now, &datagram);
            let later = gossip.deadline();
            if later != Moment::NEVER {
                gossip.advance(later);
                prop_assert!(gossip.deadline() > later);
            }
        }
    }
}

/// Only whole datagrams count: no real one is taken when it is cut anywhere.
#[test]
fn a_datagram_cut_off_is_rejected() {
    let (mut world, [member, _]) = targets();
    let now = world.now;
    let gossip = world.nodes[member].gossip.as_mut().expect("runs");
    for datagram in recorded().iter().step_by(40) {
        for end in 0..datagram.len() {
            assert!(offer(gossip, now, &datagram[..end]), "taken though cut at {end}");
        }
    }
}
