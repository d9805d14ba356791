//! The hash of a key: one per command, computed once, the same on every node of a cluster.

use piccolo_schema::ids::ClusterId;

/// Hashes keys with a seed that the nodes of a cluster share, so that a SCAN cursor (slot, hash
/// prefix) stays good when its slot moves, and that outsiders do not know, so that they cannot
/// make keys collide.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    seed: u64,
}

impl KeyHasher {
    /// The hasher of a cluster.
    pub fn new(cluster: ClusterId) -> Self {
        Self { seed: (cluster.0 as u64) ^ (cluster.0 >> 64) as u64 }
    }

    /// The hash of `key`.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        rapidhash::v3::rapidhash_v3_seeded(key, &rapidhash::v3::RapidSecrets::seed_cpp(self.seed))
    }
}
