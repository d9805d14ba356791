//! The entries of one slot.

use std::{fmt, ptr};

use piccolo_schema::ids::Version;
use piccolo_schema::time::UnixMillis;

use super::KeyHasher;
use super::directory::Directory;
use super::part::{ENTRIES_MAX, Part};
use super::raw::{Content, Meta, Value, prefetch};

/// One key and what it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Up to 64 KiB.
    pub key: &'a [u8],
    /// Up to 64 MiB.
    pub value: &'a [u8],
    /// Metadata, which only the native protocol sees and sets: up to 255 bytes, empty if none.
    pub meta: &'a [u8],
    /// When the entry ends, if it does.
    pub expires: Option<UnixMillis>,
    /// Of the change that wrote it.
    pub version: Version,
}

/// The entries of one slot. Every `hash` passed in is that of the key passed with it: of the same
/// [`KeyHasher`] that [`Self::walk`] and [`Self::sweep_expired`] get, which hash keys anew.
///
/// An empty table allocates nothing. A lookup reads the table itself, one bucket (or a few beside
/// it) and one entry; above 3072 entries, the directory of its parts as well. No change takes
/// longer than splitting 3072 entries, whatever the size of the table.
#[derive(Default)]
pub struct SlotTable {
    parts: Parts,
    entry_bytes: usize,
    /// Where a sweep under way goes on.
    sweep: Option<Box<Sweep>>,
}

const _: () = assert!(size_of::<SlotTable>() == 40);

enum Parts {
    One(Part),
    Many(Box<Directory>),
}

/// A sweep that has not come round yet.
struct Sweep {
    /// Entries of hashes below have been looked at.
    at: u64,
    /// None of those in the part of `at` ends before.
    first_expiry: u64,
}

impl SlotTable {
    /// No entries; allocates nothing.
    pub const fn new() -> Self {
        Self { parts: Parts::One(Part::new(0)), entry_bytes: 0, sweep: None }
    }

    /// Number of entries, expired ones included.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.parts {
            Parts::One(part) => part.len(),
            Parts::Many(directory) => directory.len(),
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the entries and the table take from the allocator, as asked for.
    #[inline]
    pub fn bytes(&self) -> usize {
        let table = match &self.parts {
            Parts::One(part) => part.bucket_bytes(),
            Parts::Many(directory) => directory.table_bytes(),
        };
        let sweep = if self.sweep.is_some() { size_of::<Sweep>() } else { 0 };
        self.entry_bytes + table + sweep
    }

    /// Asks the processor for the table itself, which [`Self::prefetch_bucket`] reads.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(ptr::from_ref(self).cast());
    }

    /// Asks the processor for the bucket that [`Self::prefetch_entry`] will look at.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.parts.part(hash).prefetch_bucket(hash);
    }

    /// Asks the processor for the entry that [`Self::get`] will compare.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        self.parts.part(hash).prefetch_entry(hash);
    }

    /// Bytes that the entry under `key`, expired or not, takes from the allocator, as asked for.
    pub fn entry_bytes_of(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.parts.part(hash).entry_bytes_of(hash, key)
    }

    /// The entry under `key`, expired or not.
    #[inline]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<Entry<'_>> {
        self.parts.part(hash).get(hash, key)
    }

    /// Writes an entry, in place of the one under the same key if there is one. Returns whether
    /// there was.
    #[inline]
    pub fn put(&mut self, hash: u64, entry: &Entry<'_>) -> bool {
        let Entry { key, value, meta, expires, version } = *entry;
        let value = Value::<fn(&mut [u8])>::Copy(value);
        self.write(hash, key, Content { expires, version, meta: Meta::Set(meta), value })
    }

    /// Writes an entry with the metadata of the one under the same key, if there is one. Returns
    /// whether there was.
    pub fn put_value(
        &mut self,
        hash: u64,
        key: &[u8],
        value: &[u8],
        expires: Option<UnixMillis>,
        version: Version,
    ) -> bool {
        let value = Value::<fn(&mut [u8])>::Copy(value);
        self.write(hash, key, Content { expires, version, meta: Meta::Keep, value })
    }

    /// Writes an entry whose value of `value_bytes` zeros is then filled in by `fill`, with the
    /// metadata of the one under the same key, if there is one. Returns whether there was.
    #[inline]
    pub fn put_with(
        &mut self,
        hash: u64,
        key: &[u8],
        value_bytes: usize,
        expires: Option<UnixMillis>,
        version: Version,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let value = Value::Fill(value_bytes, fill);
        self.write(hash, key, Content { expires, version, meta: Meta::Keep, value })
    }

    /// Changes only when an entry ends, and its version. Returns whether there is one.
    pub fn set_expires(
        &mut self,
        hash: u64,
        key: &[u8],
        expires: Option<UnixMillis>,
        version: Version,
    ) -> bool {
        let entry_bytes = &mut self.entry_bytes;
        let there = self.parts.change(hash, |part| {
            let Ok(handle) = part.find(hash, key) else { return false };
            let value = Value::<fn(&mut [u8])>::Copy(handle.entry().value);
            let content = Content { expires, version, meta: Meta::Keep, value };
            if handle.fits(&content) {
                handle.restamp(expires, version);
            } else {
                let new = handle.replacement(content);
                *entry_bytes = *entry_bytes - handle.bytes() + new.bytes();
                *handle = new;
            }
            true
        });
        if there {
            self.lower_first_expiry(hash, expires);
        }
        there
    }

    /// Deletes an entry. Returns whether there was one.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> bool {
        let Some(handle) = self.parts.change(hash, |part| part.remove(hash, key)) else {
            return false;
        };
        self.entry_bytes -= handle.bytes();
        if self.is_empty() {
            *self = Self::new();
        }
        true
    }

    /// Drops at most `entries_max` entries and says whether the table is empty now. For a table
    /// that is no longer used: one step of dropping it without a pause. Until it is empty, only
    /// this, [`Self::len`] and [`Self::bytes`] mean anything.
    pub fn drop_step(&mut self, entries_max: usize) -> bool {
        let (_, bytes) = match &mut self.parts {
            Parts::One(part) => part.drop_step(entries_max),
            Parts::Many(directory) => directory.drop_step(entries_max),
        };
        self.entry_bytes -= bytes;
        let empty = self.is_empty();
        if empty {
            *self = Self::new();
        }
        empty
    }

    /// Visits entries in the order of their hash, from the first whose hash is at least `from`,
    /// until `visit` returns false or they end. Entries of equal hash are visited together even
    /// then. Returns the hash to go on from, `None` at the end. Costs at most one sort of a part
    /// (4096 entries) more than what it visits; usually one of a few entries.
    pub fn walk(
        &self,
        hasher: &KeyHasher,
        from: u64,
        mut visit: impl FnMut(u64, Entry<'_>) -> bool,
    ) -> Option<u64> {
        let (mut at, mut stopped_at) = (from, None);
        let (mut group, mut sorted) = (Vec::new(), Vec::new());
        loop {
            let part = self.parts.part(at);
            let mut position = part.position(at);
            while let Some(next) = part.gather(position, &mut group) {
                position = next;
                sorted.clear();
                let entries = group.iter().filter_map(|index| part.entry(*index));
                sorted.extend(entries.map(|entry| (hasher.hash(entry.key), entry)));
                sorted.sort_unstable_by_key(|(hash, _)| *hash);
                for (hash, entry) in sorted.drain(..).filter(|(hash, _)| *hash >= from) {
                    if stopped_at.is_some_and(|at| at != hash) {
                        return Some(hash);
                    }
                    if !visit(hash, entry) {
                        stopped_at = Some(hash);
                    }
                }
            }
            at = self.parts.bounds(at).1?;
        }
    }

    /// No entry ends before this: a lower bound, `None` if none ever ends.
    #[inline]
    pub fn first_expiry(&self) -> Option<UnixMillis> {
        let first = match &self.parts {
            Parts::One(part) => part.first_expiry(),
            Parts::Many(directory) => directory.first_expiry(),
        };
        if first == u64::MAX { None } else { Some(UnixMillis(first)) }
    }

    /// Finds entries that have ended by `now` and hands (hash, key) of each to `take`, looking at
    /// about `entries_max` entries from where the last call stopped, and at none behind the last.
    /// The caller deletes them; until then they are found again, in the next round. Returns how
    /// many were looked at, a part that is passed over counting as one.
    ///
    /// After a whole round without changes [`Self::first_expiry`] is exact, save that a part of a
    /// large table whose own bound is still ahead of `now` is passed over: then it may be a bound
    /// between `now` and the first expiry. Either way it is later than `now` if nothing that ended
    /// is left.
    pub fn sweep_expired(
        &mut self,
        hasher: &KeyHasher,
        now: UnixMillis,
        entries_max: usize,
        mut take: impl FnMut(u64, &[u8]),
    ) -> usize {
        let begin = Sweep { at: 0, first_expiry: u64::MAX };
        let mut sweep = self.sweep.take().map_or(begin, |sweep| *sweep);
        let entries_max = entries_max.max(1);
        let mut left = entries_max;
        loop {
            let (first, behind) = self.parts.bounds(sweep.at);
            let pass_over = sweep.at == first
                && matches!(self.parts, Parts::Many(_))
                && self.parts.part(first).first_expiry() > now.0;
            if pass_over {
                left = left.saturating_sub(1);
            } else if let Some(at) = self.sweep_part(hasher, now, &mut sweep, &mut left, &mut take)
            {
                sweep.at = at;
                break;
            } else {
                let exact = sweep.first_expiry;
                self.parts.change(first, |part| part.set_first_expiry(exact));
            }
            sweep.first_expiry = u64::MAX;
            let Some(behind) = behind else {
                if let Parts::Many(directory) = &mut self.parts {
                    directory.settle_first_expiry();
                }
                return entries_max - left;
            };
            sweep.at = behind;
            if left == 0 {
                break;
            }
        }
        self.sweep = Some(Box::new(sweep));
        entries_max - left
    }

    /// Sweeps the rest of one part. Returns where to go on, `None` if the part has been looked at
    /// to its end.
    fn sweep_part(
        &self,
        hasher: &KeyHasher,
        now: UnixMillis,
        sweep: &mut Sweep,
        left: &mut usize,
        take: &mut impl FnMut(u64, &[u8]),
    ) -> Option<u64> {
        let part = self.parts.part(sweep.at);
        let mut position = part.position(sweep.at);
        let mut group = Vec::new();
        while let Some(next) = part.gather(position, &mut group) {
            for entry in group.iter().filter_map(|index| part.entry(*index)) {
                let Some(ends) = entry.expires else { continue };
                sweep.first_expiry = sweep.first_expiry.min(ends.0);
                if ends <= now {
                    take(hasher.hash(entry.key), entry.key);
                }
            }
            position = next;
            *left = left.saturating_sub(group.len());
            if *left == 0 {
                let (first, _) = self.parts.bounds(sweep.at);
                return part.first_hash(position).map(|hash| first | hash);
            }
        }
        None
    }

    #[inline]
    fn write<F: FnOnce(&mut [u8])>(
        &mut self,
        hash: u64,
        key: &[u8],
        content: Content<'_, F>,
    ) -> bool {
        self.lower_first_expiry(hash, content.expires);
        let entry_bytes = &mut self.entry_bytes;
        let done = self.parts.change(hash, |part| match part.find(hash, key) {
            Ok(handle) if handle.fits(&content) => {
                handle.restamp(content.expires, content.version);
                handle.rewrite(content.meta, content.value);
                Ok(true)
            }
            Ok(handle) => {
                let new = handle.replacement(content);
                *entry_bytes = *entry_bytes - handle.bytes() + new.bytes();
                *handle = new;
                Ok(true)
            }
            Err(None) => Err(content),
            Err(Some(vacant)) => {
                *entry_bytes += part.put(vacant, hash, key, content);
                Ok(false)
            }
        });
        done.unwrap_or_else(|content| {
            self.parts.make_room(hash);
            self.entry_bytes += self.parts.change(hash, |part| {
                let vacant = part.vacant(hash);
                part.put(vacant, hash, key, content)
            });
            false
        })
    }

    #[inline]
    fn lower_first_expiry(&mut self, hash: u64, expires: Option<UnixMillis>) {
        let Some(UnixMillis(at)) = expires else { return };
        self.parts.change(hash, |part| part.set_first_expiry(part.first_expiry().min(at)));
        if let Parts::Many(directory) = &mut self.parts {
            directory.lower_first_expiry(at);
        }
        if let Some(sweep) = &mut self.sweep {
            sweep.first_expiry = sweep.first_expiry.min(at);
        }
    }
}

impl Parts {
    #[inline]
    fn part(&self, hash: u64) -> &Part {
        match self {
            Self::One(part) => part,
            Self::Many(directory) => directory.part(hash),
        }
    }

    #[inline]
    fn change<R>(&mut self, hash: u64, change: impl FnOnce(&mut Part) -> R) -> R {
        match self {
            Self::One(part) => change(part),
            Self::Many(directory) => directory.change(hash, change),
        }
    }

    /// First hash of the part of `hash`, and first hash of the part behind it.
    fn bounds(&self, hash: u64) -> (u64, Option<u64>) {
        match self {
            Self::One(_) => (0, None),
            Self::Many(directory) => directory.bounds(hash),
        }
    }

    #[cold]
    fn make_room(&mut self, hash: u64) {
        match self {
            Self::One(part) if part.len() < usize::from(ENTRIES_MAX) => part.grow(),
            Self::One(part) => {
                let part = std::mem::replace(part, Part::new(0));
                let mut directory = Box::new(Directory::new(part));
                if directory.part(hash).is_full() {
                    directory.change(hash, Part::grow);
                }
                *self = Self::Many(directory);
            }
            Self::Many(directory) => directory.make_room(hash),
        }
    }
}

impl Default for Parts {
    fn default() -> Self {
        Self::One(Part::new(0))
    }
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SlotTable");
        shown.field("len", &self.len()).field("bytes", &self.bytes());
        shown.field("first_expiry", &self.first_expiry()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
