//! One slot as a command sees it: entries that live, and changes that get numbered and kept for
//! those who follow.

use std::ops::Range;

use piccolo_schema::ids::Version;
use piccolo_schema::limits::VALUE_BYTES_MAX;
use piccolo_schema::time::UnixMillis;

use crate::store::record::Record;
use crate::store::{Entry, KeyHasher, SlotTable};

/// A key with its hash, computed once per command.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Up to 64 KiB.
    pub bytes: &'a [u8],
    /// Of the cluster's [`KeyHasher`].
    pub hash: u64,
}

/// What a command changed, as records, with the hash of each record's key: a snapshot under way
/// needs only those behind its cursor.
#[derive(Debug, Default)]
pub struct Changes {
    /// Records, one behind the other.
    pub records: Vec<u8>,
    /// Hash and place of each record. A [`Record::Clear`] has the hash 0.
    pub spans: Vec<(u64, Range<usize>)>,
}

impl Changes {
    fn push(&mut self, hash: u64, record: &Record<'_>) {
        let start = self.records.len();
        record.write(&mut self.records);
        self.spans.push((hash, start..self.records.len()));
    }
}

/// Keys that were looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lookups {
    /// And found.
    pub hits: u64,
    /// And not found.
    pub misses: u64,
}

/// One slot while its leader executes one command, or one unit of several: whatever it changes
/// gets one version.
#[derive(Debug)]
pub struct Keyspace<'a> {
    table: &'a mut SlotTable,
    hasher: KeyHasher,
    now: UnixMillis,
    version: Version,
    changes: Option<&'a mut Changes>,
    dirty: bool,
    expired: u32,
    /// Takes the lookups of what runs now.
    lookups: Option<&'a mut Lookups>,
    /// The same, while what runs does not only read.
    lookups_paused: Option<&'a mut Lookups>,
    value_bytes_max: usize,
    cleared: Vec<SlotTable>,
}

impl<'a> Keyspace<'a> {
    /// Opens a slot for one execution. `version` is what its change will get. `changes` takes the
    /// records if anybody follows.
    pub fn new(
        table: &'a mut SlotTable,
        hasher: KeyHasher,
        now: UnixMillis,
        version: Version,
        changes: Option<&'a mut Changes>,
    ) -> Self {
        Self {
            table,
            hasher,
            now,
            version,
            changes,
            dirty: false,
            expired: 0,
            lookups: None,
            lookups_paused: None,
            value_bytes_max: VALUE_BYTES_MAX,
            cleared: Vec::new(),
        }
    }

    /// The same with values of at most so many bytes, [`VALUE_BYTES_MAX`] unless said. What comes
    /// in one argument is limited by the parser; this limits what grows in place.
    #[must_use]
    pub fn with_value_bytes_max(self, value_bytes_max: usize) -> Self {
        Self { value_bytes_max, ..self }
    }

    /// The same with lookups counted.
    #[must_use]
    #[inline]
    pub fn with_lookups(self, lookups: Option<&'a mut Lookups>) -> Self {
        Self { lookups, ..self }
    }

    /// Says whether what runs from now on only reads: its lookups count, others do not.
    pub fn set_reading(&mut self, reading: bool) {
        let lookups = self.lookups.take().or(self.lookups_paused.take());
        *(if reading { &mut self.lookups } else { &mut self.lookups_paused }) = lookups;
    }

    /// Bytes of a value at most.
    pub fn value_bytes_max(&self) -> usize {
        self.value_bytes_max
    }

    /// Wall time of this execution.
    pub fn now(&self) -> UnixMillis {
        self.now
    }

    /// The version that anything written now gets.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A key with its hash.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, hash: self.hasher.hash(bytes) }
    }

    /// Whether anything was changed.
    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// Number of entries, those included that have ended but were not met since.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes that the live entry under `key` takes from the allocator, as asked for, its place in
    /// the table left out.
    pub fn entry_bytes(&mut self, key: Key<'_>) -> Option<usize> {
        self.expire(key);
        self.table.entry_bytes_of(key.hash, key.bytes)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Entries found expired and deleted.
    pub fn expired(&self) -> u32 {
        self.expired
    }

    /// The live entry under `key`. One found expired is deleted first, as a change.
    #[inline]
    pub fn get(&mut self, key: Key<'_>) -> Option<Entry<'_>> {
        self.expire(key);
        let entry = self.table.get(key.hash, key.bytes);
        if let Some(lookups) = &mut self.lookups {
            match entry {
                Some(_) => lookups.hits += 1,
                None => lookups.misses += 1,
            }
        }
        entry
    }

    /// Deletes the entry under `key` if it has ended, as a change.
    #[inline]
    pub fn expire(&mut self, key: Key<'_>) {
        if self.ended(key) {
            self.remove_stored(key);
            self.expired += 1;
        }
    }

    /// Writes an entry without metadata.
    #[inline]
    pub fn put(&mut self, key: Key<'_>, value: &[u8], expires: Option<UnixMillis>) {
        self.put_meta(key, value, b"", expires);
    }

    /// Writes an entry with metadata of at most 255 bytes.
    ///
    /// # Panics
    ///
    /// If there are more, which is checked where they come in.
    #[inline]
    pub fn put_meta(
        &mut self,
        key: Key<'_>,
        value: &[u8],
        meta: &[u8],
        expires: Option<UnixMillis>,
    ) {
        let entry = Entry { key: key.bytes, value, meta, expires, version: self.version };
        self.table.put(key.hash, &entry);
        self.changed(key.hash, &Record::Put(entry));
    }

    /// Writes an entry, with the metadata of the live one under `key` if there is one.
    pub fn put_value(&mut self, key: Key<'_>, value: &[u8], expires: Option<UnixMillis>) {
        self.expire(key);
        self.table.put_value(key.hash, key.bytes, value, expires, self.version);
        self.changed_as_stored(key);
    }

    /// Writes an entry whose value, `value_bytes` zeros, is filled in by `fill`, with the metadata
    /// of the live one under `key` if there is one.
    pub fn put_with(
        &mut self,
        key: Key<'_>,
        value_bytes: usize,
        expires: Option<UnixMillis>,
        fill: impl FnOnce(&mut [u8]),
    ) {
        self.expire(key);
        self.table.put_with(key.hash, key.bytes, value_bytes, expires, self.version, fill);
        self.changed_as_stored(key);
    }

    /// Changes only when the live entry under `key` ends. Returns whether there is one.
    pub fn set_expires(&mut self, key: Key<'_>, expires: Option<UnixMillis>) -> bool {
        let there = self.get(key).is_some();
        if there {
            self.table.set_expires(key.hash, key.bytes, expires, self.version);
            self.changed_as_stored(key);
        }
        there
    }

    /// Deletes the live entry under `key`. Returns whether there was one.
    pub fn remove(&mut self, key: Key<'_>) -> bool {
        let there = self.get(key).is_some();
        if there {
            self.remove_stored(key);
        }
        there
    }

    /// Deletes the entry under `key`, as a change even if there is none: the version told for it
    /// is nobody else's then.
    pub fn forget(&mut self, key: Key<'_>) {
        self.remove_stored(key);
    }

    /// Deletes every entry; the table that held them is returned, to be dropped in steps.
    pub fn clear(&mut self) -> SlotTable {
        let old = std::mem::take(self.table);
        if !old.is_empty() {
            self.changed(0, &Record::Clear);
        }
        old
    }

    /// Deletes every entry; the table that held them is kept for [`Self::take_cleared`].
    pub fn clear_and_keep(&mut self) {
        let old = self.clear();
        if !old.is_empty() {
            self.cleared.push(old);
        }
    }

    /// The tables emptied in this execution, one per time, to be dropped in steps.
    pub fn take_cleared(&mut self) -> Vec<SlotTable> {
        std::mem::take(&mut self.cleared)
    }

    /// Visits (hash, key) of live entries in the order of their hash, from the first whose hash
    /// is at least `from`, until `visit` returns false or about `entries_max` entries, ended ones
    /// included, were looked at. Entries of equal hash are visited together even then. Returns
    /// the hash to go on from, `None` at the end.
    pub fn walk(
        &self,
        from: u64,
        entries_max: usize,
        mut visit: impl FnMut(u64, &[u8]) -> bool,
    ) -> Option<u64> {
        let (mut seen, mut go_on) = (0, true);
        self.table.walk(&self.hasher, from, |hash, entry| {
            seen += 1;
            if entry.expires.is_none_or(|at| at > self.now) {
                go_on &= visit(hash, entry.key);
            }
            go_on && seen < entries_max
        })
    }

    #[inline]
    fn ended(&self, key: Key<'_>) -> bool {
        self.table.first_expiry().is_some_and(|at| at <= self.now)
            && self
                .table
                .get(key.hash, key.bytes)
                .is_some_and(|entry| entry.expires.is_some_and(|at| at <= self.now))
    }

    fn remove_stored(&mut self, key: Key<'_>) {
        self.table.remove(key.hash, key.bytes);
        self.changed(key.hash, &Record::Delete(key.bytes));
    }

    #[inline]
    fn changed(&mut self, hash: u64, record: &Record<'_>) {
        self.dirty = true;
        if let Some(changes) = &mut self.changes {
            changes.push(hash, record);
        }
    }

    fn changed_as_stored(&mut self, key: Key<'_>) {
        self.dirty = true;
        if let Some(changes) = &mut self.changes
            && let Some(entry) = self.table.get(key.hash, key.bytes)
        {
            changes.push(key.hash, &Record::Put(entry));
        }
    }
}
