//! All members that this node knows, one entry per name.

use std::collections::BTreeMap;
use std::collections::btree_map::Values;

use piccolo_schema::ids::NodeId;

use crate::member::{Member, State};

/// The members by name.
#[derive(Debug, Default)]
pub(crate) struct Table {
    members: BTreeMap<String, Member>,
}

impl Table {
    pub(crate) fn get(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    pub(crate) fn with_id(&self, id: NodeId) -> Option<&Member> {
        self.members.values().find(|member| member.id == id)
    }

    /// Puts in a member in place of what was known under its name.
    pub(crate) fn put(&mut self, member: Member) {
        self.members.insert(member.name.clone(), member);
    }

    pub(crate) fn forget(&mut self, mut unwanted: impl FnMut(&Member) -> bool) {
        self.members.retain(|_, member| !unwanted(member));
    }

    /// By name.
    pub(crate) fn iter(&self) -> Values<'_, String, Member> {
        self.members.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Members that may answer: neither dead nor left.
    pub(crate) fn live(&self) -> usize {
        self.iter().filter(|member| member.state.is_live()).count()
    }

    /// Equal for equal tables, save those who left, which nodes forget at different times.
    /// FNV-1a, 64 bits: it guards against loss, not against malice.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = Fnv::default();
        for member in self.iter().filter(|member| member.state != State::Left) {
            digest.take(member.name.as_bytes());
            digest.take(&[0]);
            digest.take(&member.id.0.to_le_bytes());
            digest.take(&member.generation.to_le_bytes());
            digest.take(&member.incarnation.to_le_bytes());
            digest.take(&[member.state as u8]);
        }
        digest.0
    }
}

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
        table.put(Member { state: State::Left, ..member("b", 2) });
        assert_eq!(table.digest(), before);
        table.put(member("b", 2));
        assert_ne!(table.digest(), before);
    }
}
