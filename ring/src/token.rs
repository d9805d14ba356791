//! Where on the ring a member's name puts it.

use crate::stable_hash::StableHash;
use hashring::HashRing;
use std::hash::{BuildHasher, Hash, Hasher};

/// Tokens of a node for each unit of its weight. Fewer make a more uneven ring, which the cap on
/// loads then pays for in moves; more make more ranges.
pub const TOKENS_PER_WEIGHT: u32 = 64;

/// The `index`th token of the node `name`: a place on a ring of 2^64, the same in every build.
pub fn token(name: &str, index: u32) -> u64 {
    StableHash::new().field(name.as_bytes()).number(u64::from(index)).finish()
}

/// A token on the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    /// Its place on the ring of 2^64.
    pub(crate) position: u64,
    /// Whose it is: an index into the members, sorted by name.
    pub(crate) node: u16,
}

/// The tokens of all members, in a circle.
pub(crate) struct Ring {
    /// In ring order, no two at one position.
    order: Vec<Token>,
    /// Finds the place in `order` that a walk begins at.
    lookup: HashRing<Mark, Identity>,
}

impl Ring {
    /// The ring of `members` (name and weight, sorted by name).
    pub(crate) fn new<'a>(members: impl Iterator<Item = (&'a str, u16)>) -> Self {
        let tokens = members.zip(0..).flat_map(|((name, weight), node)| {
            let count = TOKENS_PER_WEIGHT * u32::from(weight);
            (0..count).map(move |index| Token { position: token(name, index), node })
        });
        Self::of(tokens.collect())
    }

    /// Of equal tokens the one whose node's name sorts first stays: `hashring` would return
    /// whichever its binary search happens on.
    fn of(mut order: Vec<Token>) -> Self {
        order.sort_unstable_by_key(|token| (token.position, token.node));
        order.dedup_by_key(|token| token.position);
        let mark = |(index, token): (usize, &Token)| Mark { position: token.position, index };
        let mut lookup = HashRing::with_hasher(Identity);
        // One sort for all; `add` sorts for each.
        lookup.batch_add(order.iter().enumerate().map(mark).collect());
        Self { order, lookup }
    }

    /// The nodes of all tokens, once round the ring, from the first token at or after `position`.
    pub(crate) fn walk(&self, position: u64) -> impl Iterator<Item = u16> + Clone {
        let start = self.lookup.get(&position).map_or(0, |mark| mark.index);
        let (before, from) = self.order.split_at(start);
        from.iter().chain(before).map(|token| token.node)
    }
}

/// What `hashring` holds: a token's place on the ring and in [`Ring::order`].
#[derive(Clone, Copy, Debug)]
struct Mark {
    position: u64,
    index: usize,
}

/// By its position and nothing else, the way `u64` itself does it, which is what is looked up.
impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.position);
    }
}

/// Hands `hashring` the position that the token already has.
#[derive(Clone, Copy, Debug)]
struct Identity;

/// What [`Identity`] builds: the last number written.
#[derive(Clone, Copy, Debug)]
struct IdentityHasher(u64);

impl BuildHasher for Identity {
    type Hasher = IdentityHasher;

    fn build_hasher(&self) -> IdentityHasher {
        IdentityHasher(0)
    }
}

impl Hasher for IdentityHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("marks and positions write one u64");
    }

    fn write_u64(&mut self, position: u64) {
        self.0 = position;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, every slot of every cluster would move on an upgrade: see the golden
    /// vectors of the placement.
    #[test]
    fn tokens_never_change() {
        assert_eq!(token("", 0), 0xa5e0_dba6_c385_580a);
        assert_eq!(token("a", 0), 0x4d24_5271_4b8e_0111);
        assert_eq!(token("a", 1), 0x22da_4490_ba0a_0fe8);
        assert_eq!(token("10.0.0.1:7380", 63), 0x6dc7_9614_0bfc_d281);
    }

    #[test]
    fn every_unit_of_weight_is_as_many_tokens() {
        let ring = Ring::new([("a", 1), ("b", 3), ("c", 0)].into_iter());
        let count = |node| ring.walk(0).filter(|&of| of == node).count();
        assert_eq!((count(0), count(1), count(2)), (64, 192, 0));
    }

    #[test]
    fn a_walk_begins_at_the_next_token_and_goes_round() {
        let at = |position, node| Token { position, node };
        let ring = Ring::of(vec![at(30, 2), at(10, 0), at(u64::MAX, 3), at(20, 1)]);
        let walk = |position| ring.walk(position).collect::<Vec<u16>>();
        assert_eq!(walk(0), [0, 1, 2, 3]);
        assert_eq!(walk(10), [0, 1, 2, 3]);
        assert_eq!(walk(11), [1, 2, 3, 0]);
        assert_eq!(walk(u64::MAX), [3, 0, 1, 2]);
        let ring = Ring::of(vec![at(10, 0), at(20, 1)]);
        assert!(ring.walk(21).eq([0, 1]));
    }

    #[test]
    fn equal_tokens_go_to_the_member_that_sorts_first() {
        let at = |position, node| Token { position, node };
        for tokens in [[at(5, 1), at(5, 0), at(9, 1)], [at(9, 1), at(5, 0), at(5, 1)]] {
            assert!(Ring::of(tokens.to_vec()).walk(0).eq([0, 1]));
        }
    }
}
