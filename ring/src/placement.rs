//! Who should own each slot: a pure function of the members' names, weights and zones.

use crate::assignment::{self, Member};
use crate::stable_hash::StableHash;
use crate::token::TOKENS_PER_WEIGHT;
use piccolo_schema::ids::{NodeId, Slot};
use std::ops::RangeInclusive;

/// Number of the scheme that turns members into owners. A change to any of its parts (tokens,
/// cap, walk, zones) needs a new number: nodes that place differently must not agree on a digest.
pub const ALGORITHM: u16 = 1;

/// Weight of a node at most; more counts as this much. It bounds the tokens that one member can
/// make the others hold and sort: 6400.
pub const WEIGHT_MAX: u16 = 100;

/// What placement needs to know of a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its stable name; tokens come from it. No two candidates should share one.
    pub name: String,
    /// Its present id: stands in the answers, changes nothing about them.
    pub id: NodeId,
    /// Where it stands; copies of a slot prefer different zones. Nodes that name no zone share
    /// the zone "".
    pub zone: String,
    /// Its part of the load relative to the others', at most [`WEIGHT_MAX`]. Zero owns nothing.
    pub weight: u16,
}

/// The table slot -> ordered owners. Large: share it behind an `Arc`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    candidates: Vec<Candidate>,
    replicas: usize,
    digest: u64,
    /// Which range each slot lies in.
    range_of: Vec<u16>,
    /// The first slot of each range.
    firsts: Vec<Slot>,
    /// The owners of each range, `owners_each` for each range in turn.
    owners: Vec<NodeId>,
    owners_each: usize,
}

impl Placement {
    /// Places `replicas` copies of each slot on `candidates`, whose order is irrelevant.
    ///
    /// There are fewer copies if there are fewer candidates of nonzero weight, and no owners if
    /// there are none. Of candidates with one name only the one with the lowest id counts.
    ///
    /// # Panics
    ///
    /// If there are more than 65535 candidates.
    pub fn new(candidates: &[Candidate], replicas: usize) -> Self {
        let mut candidates = candidates.to_vec();
        candidates.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        candidates.dedup_by(|later, first| later.name == first.name);
        for candidate in &mut candidates {
            candidate.weight = candidate.weight.min(WEIGHT_MAX);
        }
        let carriers: Vec<&Candidate> = candidates.iter().filter(|of| of.weight > 0).collect();
        assert!(u16::try_from(carriers.len()).is_ok(), "{} members", carriers.len());
        let ids: Vec<NodeId> = carriers.iter().map(|of| of.id).collect();
        let owners_each = replicas.min(carriers.len());
        let members: Vec<Member<'_>> = carriers.into_iter().map(Member::of).collect();
        let table = match owners_each {
            0 => Vec::new(),
            _ => assignment::assign(&members, owners_each),
        };
        let (range_of, firsts, owners) = compress(&table, owners_each, &ids);
        let digest = digest(&candidates, replicas);
        Self { candidates, replicas, digest, range_of, firsts, owners, owners_each }
    }

    /// The nodes that should hold `slot`, the one that should lead it first. All different;
    /// `min(replicas, nodes)` many.
    #[inline]
    pub fn owners(&self, slot: Slot) -> &[NodeId] {
        self.owners_of_range(usize::from(self.range_of[slot.index()]))
    }

    /// The node that should lead `slot`, if there is any node.
    #[inline]
    pub fn primary(&self, slot: Slot) -> Option<NodeId> {
        self.owners(slot).first().copied()
    }

    /// A hash of everything that the table depends on, and of the ids: two nodes whose digests
    /// are equal have equal tables, whatever their builds.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Who was placed on, sorted by name, weights as they count.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Copies of a slot that were asked for; there are fewer if there are fewer nodes.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// Consecutive slots with equal owners, in order, each range as long as can be.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (RangeInclusive<Slot>, &[NodeId])> {
        self.firsts.iter().enumerate().map(|(range, &first)| {
            let end = self.firsts.get(range + 1).map_or(Slot::COUNT, |next| next.number());
            (first..=Slot::of_hash(end - 1), self.owners_of_range(range))
        })
    }

    /// Copies that have to be made to get from this placement to `to`: pairs of slot and node in
    /// `to` that are not in `self`.
    pub fn copies_moved(&self, to: &Self) -> usize {
        let missing = |slot: Slot| {
            let held = self.owners(slot);
            to.owners(slot).iter().filter(|id| !held.contains(id)).count()
        };
        Slot::all().map(missing).sum()
    }

    fn owners_of_range(&self, range: usize) -> &[NodeId] {
        &self.owners[range * self.owners_each..][..self.owners_each]
    }
}

impl<'a> Member<'a> {
    fn of(candidate: &'a Candidate) -> Self {
        Self { name: &candidate.name, zone: &candidate.zone, weight: candidate.weight }
    }
}

/// Runs of slots with equal owners: the range of each slot, and of each range its first slot and
/// its owners. A few hundred ranges stay in a processor's cache, 16384 lists of ids would not.
fn compress(table: &[u16], each: usize, ids: &[NodeId]) -> (Vec<u16>, Vec<Slot>, Vec<NodeId>) {
    let (mut range_of, mut firsts, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    let mut previous = None;
    for slot in Slot::all() {
        let nodes = &table[slot.index() * each..][..each];
        if previous != Some(nodes) {
            firsts.push(slot);
            owners.extend(nodes.iter().map(|&node| ids[usize::from(node)]));
            previous = Some(nodes);
        }
        range_of.push((firsts.len() - 1) as u16);
    }
    (range_of, firsts, owners)
}

fn digest(candidates: &[Candidate], replicas: usize) -> u64 {
    let begun = StableHash::new()
        .number(u64::from(ALGORITHM))
        .number(u64::from(TOKENS_PER_WEIGHT))
        .number(replicas as u64)
        .number(candidates.len() as u64);
    candidates
        .iter()
        .fold(begun, |hash, candidate| {
            hash.field(candidate.name.as_bytes())
                .field(&candidate.id.0.to_le_bytes())
                .field(candidate.zone.as_bytes())
                .number(u64::from(candidate.weight))
        })
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, weight: u16) -> Candidate {
        let id = NodeId(name.bytes().map(u128::from).sum());
        Candidate { name: name.into(), id, zone: String::new(), weight }
    }

    fn trio() -> Vec<Candidate> {
        ["a", "b", "c"].map(|name| candidate(name, 1)).to_vec()
    }

    #[test]
    fn nobody_owns_anything_if_nobody_can() {
        for (candidates, replicas) in
            [(vec![], 3), (vec![candidate("a", 0)], 3), (trio(), 0), (vec![], 0)]
        {
            let placement = Placement::new(&candidates, replicas);
            assert!(Slot::all().all(|slot| placement.owners(slot).is_empty()));
            assert_eq!(placement.primary(Slot::of_hash(7)), None);
            assert_eq!(placement.ranges().len(), 1);
        }
    }

    #[test]
    fn fewer_nodes_than_replicas_hold_everything() {
        let placement = Placement::new(&trio()[..2], 3);
        assert!(Slot::all().all(|slot| placement.owners(slot).len() == 2));
        assert_eq!(placement.replicas(), 3);
    }

    #[test]
    fn weightless_and_repeated_candidates_do_not_count() {
        let mut more = trio();
        more.push(candidate("d", 0));
        let placed = Placement::new(&trio(), 2);
        assert_eq!(placed.copies_moved(&Placement::new(&more, 2)), 0);
        let mut twice = trio();
        twice.insert(0, Candidate { id: NodeId(u128::MAX), ..candidate("b", 9) });
        assert_eq!(Placement::new(&twice, 2), placed);
    }

    #[test]
    fn weights_above_the_highest_count_as_the_highest() {
        let with = |weight| Placement::new(&[candidate("a", weight), candidate("b", 1)], 1);
        assert_eq!(with(WEIGHT_MAX), with(u16::MAX));
        assert_ne!(with(WEIGHT_MAX), with(WEIGHT_MAX - 1));
    }

    #[test]
    fn ranges_cover_every_slot_once_with_its_owners() {
        let placement = Placement::new(&trio(), 2);
        let mut next = 0;
        let mut previous: &[NodeId] = &[];
        for (range, owners) in placement.ranges() {
            assert_eq!(range.start().number(), next);
            assert_ne!(owners, previous, "two ranges at {next} should be one");
            for number in range.start().number()..=range.end().number() {
                assert_eq!(placement.owners(Slot::of_hash(number)), owners);
            }
            (next, previous) = (range.end().number() + 1, owners);
        }
        assert_eq!(next, Slot::COUNT);
    }

    /// An id that changes (a restart without memory) changes the digest and not who is where.
    #[test]
    fn ids_stand_in_the_table_and_do_not_shape_it() {
        let placed = Placement::new(&trio(), 2);
        let mut reborn = trio();
        reborn[1].id = NodeId(0xdead);
        let again = Placement::new(&reborn, 2);
        assert_ne!(placed.digest(), again.digest());
        for slot in Slot::all() {
            let renamed = placed.owners(slot).iter().map(|&id| match id {
                id if id == trio()[1].id => NodeId(0xdead),
                id => id,
            });
            assert!(renamed.eq(again.owners(slot).iter().copied()));
        }
    }

    #[test]
    fn digest_depends_on_every_part() {
        let of = |change: fn(&mut Candidate), replicas| {
            let mut candidates = trio();
            change(&mut candidates[2]);
            Placement::new(&candidates, replicas).digest()
        };
        let digests = [
            of(|_| (), 2),
            of(|_| (), 3),
            of(|c| c.name = "d".into(), 2),
            of(|c| c.id = NodeId(1), 2),
            of(|c| c.zone = "z".into(), 2),
            of(|c| c.weight = 2, 2),
        ];
        let mut distinct = digests.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), digests.len());
    }

    #[test]
    fn copies_moved_counts_what_is_new() {
        let (two, three) = (Placement::new(&trio()[..2], 3), Placement::new(&trio(), 3));
        assert_eq!(two.copies_moved(&three), usize::from(Slot::COUNT));
        assert_eq!(three.copies_moved(&two), 0);
    }
}
