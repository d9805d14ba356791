//! The hash of a key: one per command, computed once, the same on every node of a cluster.

use piccolo_schema::ids::ClusterId;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_nano_inline};

/// Hashes keys with secrets that the nodes of a cluster share, so that a SCAN cursor (slot, hash
/// prefix) stays good when its slot moves, and that outsiders do not know, so that they cannot
/// make keys collide.
///
/// The function is rapidhash v3 in its "nano" form: the fastest one up to 48 bytes, and it reads
/// four words of secrets, so that this is 32 bytes to copy. Its results never change: cursors and
/// snapshots outlive a build.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    seed: u64,
    secrets: [u64; 3],
    /// Forces collisions, in full and on any bits, through everything that hashes.
    #[cfg(test)]
    forced: (u64, u64),
}

impl KeyHasher {
    /// The hasher of a cluster. Every secret depends on all 128 bits of its id: a known seed
    /// with secret constants, or the reverse, can be attacked.
    pub const fn new(cluster: ClusterId) -> Self {
        let high = RapidSecrets::seed((cluster.0 >> 64) as u64);
        let low = RapidSecrets::seed(cluster.0 as u64 ^ high.seed);
        let last = RapidSecrets::seed(low.seed ^ high.secrets[6]);
        Self {
            seed: last.seed,
            secrets: [last.secrets[0], last.secrets[1] ^ high.secrets[1], low.secrets[2]],
            #[cfg(test)]
            forced: (u64::MAX, 0),
        }
    }

    /// The hash of `key`.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let [a, b, c] = self.secrets;
        // The nano form reads no other secret; the optimizer drops the zeros.
        let secrets = RapidSecrets { seed: self.seed, secrets: [a, b, c, 0, 0, 0, 0] };
        let hash = rapidhash_v3_nano_inline::<true, true>(key, &secrets);
        #[cfg(test)]
        let hash = (hash & self.forced.0) | self.forced.1;
        hash
    }

    /// The same hasher, with only the masked bits of each hash left.
    #[cfg(test)]
    pub(crate) const fn masked(mut self, mask: u64) -> Self {
        self.forced.0 = mask;
        self
    }

    /// The same hasher, with these bits of each hash set.
    #[cfg(test)]
    pub(crate) const fn or(mut self, bits: u64) -> Self {
        self.forced.1 = bits;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978);

    /// Two builds must agree: a cursor or a snapshot of one is read by the other.
    #[test]
    fn hashes_stay_what_they_were() {
        let long: Vec<u8> = (0..=255).collect();
        let golden: [(&[u8], u64); 6] = [
            (b"", 0x4a69_e109_7eec_3e7a),
            (b"a", 0x7681_1326_f15e_9eb9),
            (b"user:1", 0x6007_2929_a33e_697c),
            (b"key:000000000042", 0x8c3d_2d9c_d31c_f3b3),
            (b"{tag}:a key of forty-eight bytes, then no more.", 0xa92a_fb3b_c6f3_6d02),
            (&long, 0x3661_56ee_45fd_c329),
        ];
        let hasher = KeyHasher::new(CLUSTER);
        let found = golden.map(|(key, _)| hasher.hash(key));
        assert_eq!(found, golden.map(|(_, hash)| hash), "{found:#018x?}");
        assert_eq!(KeyHasher::new(ClusterId(1)).hash(b"user:1"), 0x5351_0c25_0f65_9b38);
    }

    #[test]
    fn every_bit_of_the_cluster_id_changes_every_secret() {
        let base = KeyHasher::new(CLUSTER);
        for bit in 0..128 {
            let other = KeyHasher::new(ClusterId(CLUSTER.0 ^ (1 << bit)));
            assert_ne!(base.seed, other.seed, "bit {bit}");
            for (a, b) in base.secrets.iter().zip(other.secrets) {
                assert_ne!(*a, b, "bit {bit}");
            }
        }
    }

    /// The top bits choose part and bucket.
    #[test]
    fn the_top_bits_of_like_keys_spread_evenly() {
        let hasher = KeyHasher::new(CLUSTER);
        let mut counts = [0u32; 256];
        for i in 0..256_000 {
            counts[(hasher.hash(format!("key:{i:012}").as_bytes()) >> 56) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
