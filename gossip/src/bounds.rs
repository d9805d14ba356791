//! Whatever is remembered has a limit: what fills it, and what happens then.

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;

use crate::founding::FOUNDERS_MAX;
use crate::member::Member;
use crate::member::tests::{alone, member, seeking};
use crate::message::{Ballot, Join};
use crate::probe::ASKED_MAX;
use crate::relay::RELAYS_MAX;
use crate::trial::TRIALS_MAX;

#[test]
fn pings_for_others_and_outside_the_round_push_out_the_oldest() {
    let mut gossip = alone("me");
    let address = member("x", 1).peer;
    for number in 0..RELAYS_MAX.max(ASKED_MAX) as u32 + 50 {
        gossip.relay(Moment(1), (address, NodeId(2), number), NodeId(3), address);
        gossip.ping(Moment(1), address, NodeId(3));
    }
    assert_eq!(gossip.probing.relays.len(), RELAYS_MAX);
    assert_eq!(gossip.probing.asked(), ASKED_MAX);
}

#[test]
fn trials_and_founders_beyond_the_limit_have_to_ask_again() {
    let mut gossip = alone("me");
    gossip.mark(Moment(1), member("x", 1));
    for id in 0..TRIALS_MAX as u128 + 10 {
        let newcomer = Member { generation: 9, ..member("x", 1000 + id) };
        let from = newcomer.peer;
        gossip.put_to_test(Moment(2), NodeId(1), newcomer, from);
    }
    assert_eq!(gossip.trials.len(), TRIALS_MAX);

    let mut gossip = seeking("me");
    let mut refused = 0;
    for id in 1..=FOUNDERS_MAX as u128 + 10 {
        let claim = member(&format!("n{id}"), id);
        let from = claim.peer;
        refused += usize::from(gossip.found(Moment(1), from, claim, &[], Join::default()).is_err());
    }
    assert_eq!((gossip.founding.claims().count(), refused), (FOUNDERS_MAX, 10));
}

#[test]
fn datagrams_beyond_the_limit_of_actions_are_dropped_and_counted() {
    let mut gossip = alone("me");
    let address = member("x", 1).peer;
    let limit = gossip.config.actions_max;
    for _ in 0..limit + 10 {
        gossip.ping(Moment(1), address, NodeId(3));
    }
    assert_eq!(std::iter::from_fn(|| gossip.next_action()).count(), limit);
    assert_eq!(gossip.stats.datagrams_dropped, 10);
}

/// An answer is taken only from the one who was asked.
#[test]
fn nobody_answers_for_another() {
    let mut gossip = alone("me");
    gossip.ping(Moment(1), member("x", 1).peer, NodeId(3));
    let sequence = gossip.probing.number().wrapping_sub(1);
    assert!(gossip.probing.expects(sequence, NodeId(3)));
    assert!(!gossip.probing.expects(sequence, NodeId(4)));
    gossip.ping(Moment(1), member("x", 1).peer, NodeId::NONE);
    let sequence = gossip.probing.number().wrapping_sub(1);
    assert!(gossip.probing.expects(sequence, NodeId(4)), "a seed's id is not known");
}

/// What a founder says of a ballot that is not its own changes nothing.
#[test]
fn a_founder_speaks_for_itself() {
    let mut gossip = seeking("me");
    let claim = member("a", 1);
    let foreign = Ballot { round: 7, node: NodeId(2) };
    let join =
        Join { expect: 3, promised: foreign, proposed: Some(ClusterId(9)), ..Join::default() };
    let from = claim.peer;
    assert_eq!(gossip.found(Moment(1), from, claim, &[], join), Ok(()));
    assert_eq!(gossip.founding.join(3, false, ClusterId::NONE).accepted, None);
}
