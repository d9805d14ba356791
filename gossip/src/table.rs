//! All members that this node knows, one entry per name, with digests kept up as they change.

use std::collections::BTreeMap;
use std::collections::btree_map::Values;

use piccolo_schema::ids::NodeId;

use crate::member::{Member, State};

/// Parts of a table that are compared one by one where whole tables differ. With 1000 members each
/// holds 16, which is what one datagram carries.
pub(crate) const RANGES: usize = 64;

/// The members by name.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    members: BTreeMap<String, Member>,
    /// The same by id.
    names: BTreeMap<NodeId, String>,
    live: usize,
    left: usize,
    digests: [u64; RANGES],
}

impl Default for Table {
    fn default() -> Self {
        let (members, names) = (BTreeMap::new(), BTreeMap::new());
        Self { members, names, live: 0, left: 0, digests: [0; RANGES] }
    }
}

impl Table {
    pub(crate) fn get(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    pub(crate) fn with_id(&self, id: NodeId) -> Option<&Member> {
        self.members.get(self.names.get(&id)?)
    }

    /// Puts in a member in place of what was known under its name.
    pub(crate) fn put(&mut self, member: Member) {
        self.count(&member, true);
        let (name, id) = (member.name.clone(), member.id);
        if let Some(old) = self.members.insert(name.clone(), member) {
            self.count(&old, false);
            if old.id == id {
                return;
            }
            self.names.remove(&old.id);
        }
        self.names.insert(id, name);
    }

    /// Forgets members that no digest counts.
    pub(crate) fn forget(&mut self, mut unwanted: impl FnMut(&Member) -> bool) {
        let Self { names, left, .. } = self;
        self.members.retain(|_, member| {
            let stays = is_compared(member) || !unwanted(member);
            if !stays {
                names.remove(&member.id);
                *left -= 1;
            }
            stays
        });
    }

    /// By name.
    pub(crate) fn iter(&self) -> Values<'_, String, Member> {
        self.members.values()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether one more fits where `members_max` are taken. Who left takes no place; of those, too,
    /// no more are remembered.
    pub(crate) fn has_room(&self, members_max: usize) -> bool {
        self.members.len() - self.left < members_max && self.left <= members_max
    }

    /// Members that may answer: neither dead nor left.
    pub(crate) const fn live(&self) -> usize {
        self.live
    }

    /// Equal for equal tables, save those who left, which nodes forget at different times.
    pub(crate) fn digest(&self) -> u64 {
        self.digests.iter().fold(0, |all, range| all ^ range)
    }

    /// The digest of each range.
    pub(crate) const fn digests(&self) -> &[u64; RANGES] {
        &self.digests
    }

    fn count(&mut self, member: &Member, comes: bool) {
        if member.state.is_live() {
            self.live = if comes { self.live + 1 } else { self.live - 1 };
        }
        if member.state == State::Left {
            self.left = if comes { self.left + 1 } else { self.left - 1 };
        }
        if is_compared(member) {
            self.digests[range(&member.name)] ^= digest(member);
        }
    }
}

/// Who said good-bye is forgotten by each node at its own time, and not compared; who was removed
/// is never forgotten.
fn is_compared(member: &Member) -> bool {
    member.state != State::Left || member.said != State::Left
}

/// The range that a name falls into.
pub(crate) fn range(name: &str) -> usize {
    let mut hash = Fnv::default();
    hash.take(name.as_bytes());
    hash.mixed() as usize % RANGES
}

/// Of everything that ranks a claim. It guards against loss, not against malice.
fn digest(member: &Member) -> u64 {
    let mut hash = Fnv::default();
    hash.take(member.name.as_bytes());
    hash.take(&[0]);
    hash.take(&member.id.0.to_le_bytes());
    hash.take(&member.generation.to_le_bytes());
    hash.take(&member.incarnation.to_le_bytes());
    hash.take(&[member.state as u8]);
    hash.mixed()
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// Every bit of the result depends on every bit taken in, so that digests may be combined by
    /// exclusive or (source: the finalizer of SplitMix64).
    const fn mixed(&self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::tests::member;

    #[test]
    fn the_digest_sees_every_field_that_ranks_a_claim_and_skips_those_who_left() {
        let mut table = Table::default();
        table.put(member("a", 1));
        let before = table.digest();
        for changed in [
            Member { id: NodeId(2), ..member("a", 1) },
            Member { generation: 2, ..member("a", 1) },
            Member { incarnation: 1, ..member("a", 1) },
            Member { state: State::Suspect, ..member("a", 1) },
        ] {
            table.put(changed);
            assert_ne!(table.digest(), before);
        }
        table.put(member("a", 1));
        table.put(Member { state: State::Left, said: State::Left, ..member("b", 2) });
        assert_eq!(table.digest(), before);
        table.put(Member { state: State::Left, ..member("b", 2) });
        assert_ne!(table.digest(), before, "one that was removed counts");
        table.put(member("b", 2));
        assert_ne!(table.digest(), before);
    }

    #[test]
    fn digests_and_the_count_of_the_live_follow_every_change() {
        let mut table = Table::default();
        for id in 0..200 {
            table.put(member(&format!("n{id}"), id + 1));
        }
        let (all, ranges) = (table.digest(), *table.digests());
        assert_eq!(table.live(), 200);
        table.put(Member { state: State::Dead, ..member("n7", 8) });
        let differ = |(a, b): &(&u64, &u64)| a != b;
        let changed = ranges.iter().zip(table.digests()).filter(differ).count();
        assert_eq!((table.live(), changed), (199, 1));
        table.put(member("n7", 8));
        assert_eq!((table.live(), table.digest(), table.digests()), (200, all, &ranges));
        table.forget(|_| true);
        assert_eq!(table.len(), 200, "only those who left are forgotten");
    }

    #[test]
    fn names_are_spread_over_all_ranges() {
        let mut counts = [0; RANGES];
        for number in 0..6400 {
            counts[range(&format!("node-{number}:7380"))] += 1;
        }
        assert!(counts.iter().all(|count| (60..150).contains(count)), "{counts:?}");
    }
}
