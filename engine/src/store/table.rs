//! The entries of one slot.

use std::collections::BTreeMap;

use piccolo_schema::ids::Version;
use piccolo_schema::time::UnixMillis;

use super::KeyHasher;

/// One key and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Up to 64 KiB.
    pub key: &'a [u8],
    /// Up to 64 MiB.
    pub value: &'a [u8],
    /// When the entry ends, if it does.
    pub expires: Option<UnixMillis>,
    /// Of the change that wrote it.
    pub version: Version,
}

type Stored = (Box<[u8]>, Option<UnixMillis>, Version);

/// The entries of one slot. Every `hash` passed in is that of the key passed with it.
#[derive(Debug, Default)]
pub struct SlotTable {
    entries: BTreeMap<(u64, Box<[u8]>), Stored>,
    bytes: usize,
}

impl SlotTable {
    /// No entries; allocates nothing.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), bytes: 0 }
    }

    /// Number of entries, expired ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that the entries and the table take from the allocator, as asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Asks the processor for the bucket that [`Self::prefetch_entry`] will look at.
    #[inline]
    pub fn prefetch_bucket(&self, _hash: u64) {}

    /// Asks the processor for the entry that [`Self::get`] will compare.
    #[inline]
    pub fn prefetch_entry(&self, _hash: u64) {}

    /// The entry under `key`, expired or not.
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<Entry<'_>> {
        let ((_, key), (value, expires, version)) =
            self.entries.get_key_value(&(hash, Box::from(key)))?;
        Some(Entry { key, value, expires: *expires, version: *version })
    }

    /// Writes an entry, in place of the one under the same key if there is one. Returns whether
    /// there was.
    pub fn put(&mut self, hash: u64, entry: &Entry<'_>) -> bool {
        let Entry { key, value, expires, version } = *entry;
        self.put_with(hash, key, value.len(), expires, version, |to| to.copy_from_slice(value))
    }

    /// Writes an entry whose value of `value_bytes` zeros is then filled in by `fill`. Returns
    /// whether there was one under the same key.
    pub fn put_with(
        &mut self,
        hash: u64,
        key: &[u8],
        value_bytes: usize,
        expires: Option<UnixMillis>,
        version: Version,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let mut value = vec![0; value_bytes].into_boxed_slice();
        fill(&mut value);
        self.bytes += key.len() + value.len();
        let old = self.entries.insert((hash, Box::from(key)), (value, expires, version));
        if let Some((value, ..)) = &old {
            self.bytes -= key.len() + value.len();
        }
        old.is_some()
    }

    /// Changes when an entry ends, and its version. Returns whether there is one.
    pub fn set_expires(
        &mut self,
        hash: u64,
        key: &[u8],
        expires: Option<UnixMillis>,
        version: Version,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&(hash, Box::from(key))) else { return false };
        (entry.1, entry.2) = (expires, version);
        true
    }

    /// Deletes an entry. Returns whether there was one.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> bool {
        let old = self.entries.remove(&(hash, Box::from(key)));
        if let Some((value, ..)) = &old {
            self.bytes -= key.len() + value.len();
        }
        old.is_some()
    }

    /// Drops at most `entries_max` entries and says whether the table is empty now. For a table
    /// that is no longer used: one step of dropping it without a pause.
    pub fn drop_step(&mut self, entries_max: usize) -> bool {
        for _ in 0..entries_max {
            self.entries.pop_first();
        }
        self.entries.is_empty()
    }

    /// Visits entries in the order of their hash, from the first whose hash is at least `from`,
    /// until `visit` returns false or they end. Entries of equal hash are visited together even
    /// then. Returns the hash to go on from, `None` at the end. Costs at most one sort of a part
    /// (4096 entries) more than what it visits.
    pub fn walk(
        &self,
        _hasher: &KeyHasher,
        from: u64,
        mut visit: impl FnMut(u64, Entry<'_>) -> bool,
    ) -> Option<u64> {
        let mut stopped_at = None;
        for ((hash, key), (value, expires, version)) in self.entries.range((from, Box::default())..)
        {
            if stopped_at.is_some_and(|at| at != *hash) {
                return Some(*hash);
            }
            let entry = Entry { key, value, expires: *expires, version: *version };
            if !visit(*hash, entry) {
                stopped_at = Some(*hash);
            }
        }
        None
    }

    /// No entry ends before this: a lower bound, `None` if none ever ends.
    pub fn first_expiry(&self) -> Option<UnixMillis> {
        self.entries.values().filter_map(|(_, expires, _)| *expires).min()
    }

    /// Finds entries that have ended by `now` and hands (hash, key) of each to `take`, looking at
    /// about `entries_max` entries from where the last call stopped. After a whole round without
    /// changes [`Self::first_expiry`] is exact.
    pub fn sweep_expired(
        &mut self,
        _hasher: &KeyHasher,
        now: UnixMillis,
        entries_max: usize,
        mut take: impl FnMut(u64, &[u8]),
    ) {
        self.entries
            .iter()
            .filter(|(_, (_, expires, _))| expires.is_some_and(|at| at <= now))
            .take(entries_max)
            .for_each(|((hash, key), _)| take(*hash, key));
    }
}
