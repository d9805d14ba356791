//! A hash that never changes: what tokens and digests are made of.

/// FNV-1a of 64 bits (source: RFC 9923), then the finaliser of MurmurHash3 (`fmix64`), since the
/// high bits of FNV-1a of two similar short names differ little, and tokens are ordered by them.
///
/// Not `std::hash::Hasher`: that invites `Hash`, whose bytes differ between machines and versions
/// of Rust. Not a defence against names that somebody chose to collide.
#[derive(Clone, Copy, Debug)]
pub struct StableHash(u64);

impl StableHash {
    /// The hash of nothing so far.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in `bytes`. Two calls are the same as one with both: lengths are the caller's task.
    #[must_use]
    pub const fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut at = 0;
        while at < bytes.len() {
            self.0 = (self.0 ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            at += 1;
        }
        self
    }

    /// Takes in a number as 8 bytes, lowest first.
    #[must_use]
    pub const fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Takes in `bytes` behind their length, so that no two lists of fields look alike.
    #[must_use]
    pub const fn field(self, bytes: &[u8]) -> Self {
        self.number(bytes.len() as u64).bytes(bytes)
    }

    /// The hash of what was taken in.
    pub const fn finish(self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

impl Default for StableHash {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of FNV-1a (RFC 9923), before the finaliser.
    #[test]
    fn fnv_1a_is_the_published_one() {
        assert_eq!(StableHash::new().bytes(b"").0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(StableHash::new().bytes(b"a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(StableHash::new().bytes(b"foobar").0, 0x8594_4171_f739_67e8);
    }

    /// `fmix64(1)`, as MurmurHash3 has it.
    #[test]
    fn finaliser_is_the_published_one() {
        assert_eq!(StableHash(0).finish(), 0);
        assert_eq!(StableHash(1).finish(), 0xb456_bcfc_34c2_cb2c);
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let hash = |a: &[u8], b: &[u8]| StableHash::new().field(a).field(b).finish();
        assert_ne!(hash(b"ab", b"c"), hash(b"a", b"bc"));
    }
}
