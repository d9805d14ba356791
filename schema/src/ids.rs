//! The numbers that travel. Each is a newtype, so that one cannot be taken for another.

use std::fmt;

/// One life of a node: 128 random bits, drawn anew whenever the node cannot prove that it kept
/// its memory. Zero means "nobody".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u128);

/// A cluster: 128 random bits, drawn by the node that creates it. Zero means "none yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClusterId(pub u128);

impl NodeId {
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// Whether this names a node at all.
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

impl ClusterId {
    /// No cluster yet.
    pub const NONE: Self = Self(0);

    /// Whether this names a cluster at all.
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {self}")
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {self}")
    }
}

/// The first 8 of 32 hex digits: enough for a person to tell nodes apart.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", (self.0 >> 96) as u32)
    }
}

/// The first 8 of 32 hex digits.
impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", (self.0 >> 96) as u32)
    }
}

/// A sixteen-thousandth of the key space: `0 .. Slot::COUNT`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot(u16);

impl Slot {
    /// Number of slots (source: Redis Cluster specification).
    pub const COUNT: u16 = 16384;

    /// The slot of that number, if there is one.
    pub const fn new(number: u16) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The slot of a CRC16 of a key.
    pub const fn of_hash(crc16: u16) -> Self {
        Self(crc16 & (Self::COUNT - 1))
    }

    /// Its number, `0 .. Slot::COUNT`.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Every slot, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..Self::COUNT).map(Self)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {}", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One reign in a slot: at most one leader per slot, era and term. 24 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Term(pub u32);

impl Term {
    /// The highest term: what 24 bits of a packed [`Version`] can hold.
    pub const MAX: Self = Self((1 << 24) - 1);

    /// The term after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        assert!(self.0 < Self::MAX.0, "a slot has had 16 million leaders");
        Self(self.0 + 1)
    }
}

/// A fence above terms: compared before them. A slot that lost its majority comes back in a
/// higher era. The low half tells apart two nodes that claim the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Era(pub u64);

impl Era {
    /// The era in which a cluster begins.
    pub const FIRST: Self = Self(1 << 32);

    /// The era that `claimant` may open after this one: higher than it, and different for
    /// different claimants.
    #[must_use]
    pub const fn next(self, claimant: NodeId) -> Self {
        Self((((self.0 >> 32) + 1) << 32) | (claimant.0 as u32) as u64)
    }
}

/// The place of a change in its slot: ordered by term, then by number within the term. Also the
/// version of the entries that the change wrote, which clients see as an ETag or CAS token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Version {
    /// The term in which the change was made.
    pub term: Term,
    /// Number of the change in its term, from 1. 40 bits.
    pub seq: u64,
}

impl Version {
    /// Before the first change.
    pub const ZERO: Self = Self { term: Term(0), seq: 0 };

    /// The change after this one in the same term.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { term: self.term, seq: self.seq + 1 }
    }

    /// 24 bits of term above 40 bits of number.
    pub const fn packed(self) -> u64 {
        debug_assert!(self.seq < 1 << 40 && self.term.0 <= Term::MAX.0);
        ((self.term.0 as u64) << 40) | self.seq
    }

    /// The version that was packed.
    pub const fn unpacked(packed: u64) -> Self {
        Self { term: Term((packed >> 40) as u32), seq: packed & ((1 << 40) - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_versions_keep_their_order() {
        let low = Version { term: Term(1), seq: (1 << 40) - 1 };
        let high = Version { term: Term(2), seq: 0 };
        assert!(low < high && low.packed() < high.packed());
        assert_eq!(Version::unpacked(low.packed()), low);
    }

    #[test]
    fn eras_of_two_claimants_differ_and_rise() {
        let (a, b) = (NodeId(7), NodeId(8));
        assert_ne!(Era::FIRST.next(a), Era::FIRST.next(b));
        assert!(Era::FIRST.next(a) > Era::FIRST && Era::FIRST.next(b).next(a) > Era::FIRST.next(b));
    }
}
