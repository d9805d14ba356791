//! Who leads each slot, as far as this shard has heard.

use std::time::Duration;

use piccolo_ring::group::Lane;
use piccolo_schema::ids::{Era, NodeId, Slot, Term};
use piccolo_schema::link::ROUTE_RANGES;
use piccolo_schema::slot_message::Route;

use super::Shard;

/// Slots per range over which routes are compared.
const RANGE_SLOTS: usize = Slot::COUNT as usize / ROUTE_RANGES;

/// Time between two statements of route digests to a peer.
const DIGESTS: Duration = Duration::from_millis(500);

/// A route for every slot. The greater (era, term) is right, so the order of news is irrelevant.
#[derive(Debug)]
pub(super) struct Routes {
    table: Vec<Route>,
    digests: [u64; ROUTE_RANGES],
    changes: u64,
}

impl Routes {
    pub(super) fn new() -> Self {
        let nobody = |slot| Route { slot, era: Era(0), term: Term(0), leader: NodeId::NONE };
        Self { table: Slot::all().map(nobody).collect(), digests: [0; ROUTE_RANGES], changes: 0 }
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> &Route {
        &self.table[slot.index()]
    }

    /// Takes in a route; says whether it was news.
    pub(super) fn learn(&mut self, route: &Route) -> bool {
        let known = &mut self.table[route.slot.index()];
        let newer = (route.era, route.term) > (known.era, known.term);
        let names_one = (route.era, route.term) == (known.era, known.term)
            && !known.leader.is_some()
            && route.leader.is_some();
        if !route.leader.is_some() || !(newer || names_one) {
            return false;
        }
        let digest = &mut self.digests[route.slot.index() / RANGE_SLOTS];
        *digest ^= mix(known) ^ mix(route);
        *known = *route;
        self.changes += 1;
        true
    }

    /// Counts every change: equal counts mean equal routes.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn digests(&self) -> &[u64; ROUTE_RANGES] {
        &self.digests
    }

    /// The routes of the ranges in which `theirs` differs.
    pub(super) fn differing<'a>(
        &'a self,
        theirs: &'a [u64; ROUTE_RANGES],
    ) -> impl Iterator<Item = &'a Route> {
        let ranges = (0..ROUTE_RANGES).filter(|range| self.digests[*range] != theirs[*range]);
        ranges
            .flat_map(|range| &self.table[range * RANGE_SLOTS..(range + 1) * RANGE_SLOTS])
            .filter(|route| route.leader.is_some())
    }
}

/// The same on every node: multiplications and shifts by splitmix64's constants.
fn mix(route: &Route) -> u64 {
    if !route.leader.is_some() {
        return 0;
    }
    let leader = (route.leader.0 >> 64) as u64 ^ route.leader.0 as u64;
    let place = u64::from(route.slot.number()) << 32 | u64::from(route.term.0);
    let mut x = leader.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place ^ route.era.0.rotate_left(24);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Shard {
    /// States digests of the routes to one peer after the other: who has others answers with
    /// them.
    pub(super) fn state_routes(&mut self) {
        if self.now.moment.since(self.stated) < DIGESTS {
            return;
        }
        self.stated = self.now.moment;
        for seat in &mut self.seats {
            seat.lower_fences(self.now.moment);
        }
        if self.peers.is_empty() {
            return;
        }
        self.stated_to = (self.stated_to + 1) % self.peers.len();
        let node = self.peers[self.stated_to].id;
        let digests = *self.routes.digests();
        if let Some(end) = self.open_link(node, Lane::Ordinary) {
            end.batch.set_route_digests(digests);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(slot: u16, term: u32, leader: u128) -> Route {
        let slot = Slot::new(slot).unwrap();
        Route { slot, era: Era::FIRST, term: Term(term), leader: NodeId(leader) }
    }

    #[test]
    fn news_in_any_order_gives_the_same_routes_and_digests() {
        let news = [route(5, 1, 7), route(5, 2, 8), route(300, 1, 7), route(5, 1, 7)];
        let (mut forth, mut back) = (Routes::new(), Routes::new());
        assert_eq!(news.map(|route| forth.learn(&route)), [true, true, true, false]);
        let back_again = [news[3], news[2], news[1], news[0]];
        assert_eq!(back_again.map(|route| back.learn(&route)), [true, true, true, false]);
        assert_eq!(forth.table, back.table);
        assert_eq!(forth.digests(), back.digests());
        assert_eq!(forth.differing(back.digests()).count(), 0);
        let empty = Routes::new();
        assert_eq!(
            forth.differing(empty.digests()).copied().collect::<Vec<_>>(),
            [route(5, 2, 8), route(300, 1, 7)]
        );
    }
}
