//! A part of a slot's table: open addressing over buckets that stand in the order of the hash.
//!
//! A part of depth `d` holds the hashes that share their top `d` bits. A bucket's tag is the 16
//! bits behind those, and the place where probing for it begins is a function of the tag alone:
//! `tag * buckets / 2^16`. Hence growing, shrinking and closing the gap that a deletion leaves
//! (there are no tombstones) look at buckets only, never at an entry, and any number of buckets
//! will do, not only powers of two. Only a split reads entries, for one more bit of each.

use super::Entry;
use super::raw::{Buckets, Content, Handle};

/// Bits of a tag.
const TAG_BITS: u32 = 16;
/// Buckets of the smallest part that has any: 32 bytes.
const BUCKETS_MIN: u32 = 4;
/// Buckets at most: one per tag.
const BUCKETS_MAX: u32 = 1 << TAG_BITS;
/// Entries above which a part is split, if it can be: 3/4 of 4096 buckets.
pub(super) const ENTRIES_MAX: u16 = 3072;
/// Top bits that the entries of a part share at most: 16384 parts, 25 million entries or more in
/// one slot. Only from there on parts grow beyond [`ENTRIES_MAX`]. An entry keeps 16 bits behind
/// its first tag, so this is at most 16.
pub(super) const DEPTH_MAX: u8 = 14;

/// Entries whose hashes share their top bits.
pub(super) struct Part {
    buckets: Buckets,
    used: u16,
    depth: u8,
    /// No entry ends before; `u64::MAX` if none ever ends.
    first_expiry: u64,
}

/// Where a key is not: the bucket to put it in.
#[derive(Clone, Copy)]
pub(super) struct Vacant(usize);

impl Part {
    /// No entries; allocates nothing.
    pub(super) const fn new(depth: u8) -> Self {
        Self { buckets: Buckets::NONE, used: 0, depth, first_expiry: u64::MAX }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        usize::from(self.used)
    }

    /// Number of top bits of the hash that its entries share.
    pub(super) fn depth(&self) -> u8 {
        self.depth
    }

    /// Makes the part one of a deeper or shallower directory. Only for one without entries.
    pub(super) fn set_depth(&mut self, depth: u8) {
        assert!(self.used == 0, "the tags of entries depend on the depth");
        self.depth = depth;
    }

    /// Bytes of its buckets.
    pub(super) fn bucket_bytes(&self) -> usize {
        Buckets::bytes(self.buckets.len())
    }

    /// No entry ends before; `u64::MAX` if none ever ends.
    pub(super) fn first_expiry(&self) -> u64 {
        self.first_expiry
    }

    /// Sets what [`Self::first_expiry`] says.
    pub(super) fn set_first_expiry(&mut self, at: u64) {
        self.first_expiry = at;
    }

    /// The entry in a bucket that [`Self::gather`] found.
    #[inline]
    pub(super) fn entry(&self, index: usize) -> Option<Entry<'_>> {
        self.buckets[index].as_ref().map(Handle::entry)
    }

    /// Asks the processor for the bucket where probing begins.
    #[inline]
    pub(super) fn prefetch_bucket(&self, hash: u64) {
        self.buckets.prefetch(self.home(self.tag(hash)));
    }

    /// Asks the processor for the first entry that a probe will compare.
    #[inline]
    pub(super) fn prefetch_entry(&self, hash: u64) {
        if let Ok(at) = self.probe(self.tag(hash), |_| true)
            && let Some(handle) = &self.buckets[at]
        {
            handle.prefetch();
        }
    }

    /// The entry under `key`.
    #[inline]
    pub(super) fn get(&self, hash: u64, key: &[u8]) -> Option<Entry<'_>> {
        let at = self.seek(hash, key).ok()?;
        self.entry(at)
    }

    /// Bytes of the entry under `key`.
    pub(super) fn entry_bytes_of(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.buckets[self.seek(hash, key).ok()?].as_ref().map(Handle::bytes)
    }

    /// The entry under `key` to be changed, or where it can be put while the part is not changed:
    /// `None` if [`Self::is_full`].
    #[inline]
    pub(super) fn find(&mut self, hash: u64, key: &[u8]) -> Result<&mut Handle, Option<Vacant>> {
        match self.seek(hash, key) {
            Ok(at) => self.buckets[at].as_mut().ok_or(None),
            Err(vacant) => Err((!self.is_full()).then_some(vacant)),
        }
    }

    /// Where a key that is not there can be put while the part is not changed.
    pub(super) fn vacant(&self, hash: u64) -> Vacant {
        Vacant(self.empty(self.tag(hash)))
    }

    /// Whether one more entry needs [`Self::grow`] or [`Self::split`] first.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        (usize::from(self.used) + 1) * 4 > self.buckets.len() * 3
    }

    /// Puts a new entry into the bucket found for it.
    #[inline]
    pub(super) fn put<F: FnOnce(&mut [u8])>(
        &mut self,
        vacant: Vacant,
        hash: u64,
        key: &[u8],
        content: Content<'_, F>,
    ) -> usize {
        let rest = (hash >> 32) as u16;
        let handle = Handle::new(self.tag(hash), rest, key, content);
        let bytes = handle.bytes();
        self.buckets[vacant.0] = Some(handle);
        self.used += 1;
        bytes
    }

    /// Takes an entry out, which is dropped by the caller. Gives buckets back when few are used.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Handle> {
        let at = self.seek(hash, key).ok()?;
        let handle = self.buckets[at].take()?;
        self.close_gap(at);
        self.used -= 1;
        let count = self.buckets.len() as u32;
        if self.used == 0 {
            (self.buckets, self.first_expiry) = (Buckets::NONE, u64::MAX);
        } else if u32::from(self.used) * 8 < count && count > 2 * BUCKETS_MIN {
            self.resize(count / 2);
        }
        Some(handle)
    }

    /// Drops at most `entries_max` entries, each found by nobody any more, and returns number and
    /// bytes of those dropped. The part is good for nothing else from then on.
    pub(super) fn drop_step(&mut self, entries_max: usize) -> (usize, usize) {
        let (mut dropped, mut bytes) = (0, 0);
        let handles = self.buckets.iter_mut().filter_map(Option::take);
        for handle in handles.take(entries_max) {
            dropped += 1;
            bytes += handle.bytes();
        }
        self.used -= dropped as u16;
        if self.used == 0 {
            (self.buckets, self.first_expiry) = (Buckets::NONE, u64::MAX);
        }
        (dropped, bytes)
    }

    /// Makes room for more entries: 4, 6, 8, 12, 16, 24 .. buckets.
    pub(super) fn grow(&mut self) {
        let count = self.buckets.len() as u32;
        assert!(count < BUCKETS_MAX, "800 million entries, or hashes that are none");
        self.resize(larger(count));
    }

    /// Splits by the next bit of the hash into the lower and the upper half.
    pub(super) fn split(mut self) -> (Self, Self) {
        for handle in self.buckets.iter().flatten() {
            handle.prefetch();
        }
        let upper_count = self.handles().filter(|handle| handle.tag() >> 15 == 1).count();
        let lower_count = usize::from(self.used) - upper_count;
        let mut halves = [lower_count, upper_count].map(|count| Self {
            buckets: Buckets::new(buckets_for(count)),
            used: count as u16,
            depth: self.depth + 1,
            first_expiry: if count == 0 { u64::MAX } else { self.first_expiry },
        });
        let next_bit = 15 - u32::from(self.depth);
        for bucket in self.buckets.iter_mut() {
            if let Some(mut handle) = bucket.take() {
                let tag = handle.tag();
                handle.set_tag((tag << 1) | ((handle.rest() >> next_bit) & 1));
                halves[usize::from(tag >> 15)].place(handle);
            }
        }
        let [lower, upper] = halves;
        (lower, upper)
    }

    /// The bucket where entries of this hash and of all higher ones begin, to [`Self::gather`]
    /// from.
    pub(super) fn position(&self, hash: u64) -> usize {
        self.home(self.tag(hash))
    }

    /// The lowest hash that begins at `position`, less the bits that all entries share; `None`
    /// behind the last bucket.
    pub(super) fn first_hash(&self, position: usize) -> Option<u64> {
        let count = self.buckets.len();
        if position >= count {
            return None;
        }
        let tag = (position << TAG_BITS).div_ceil(count) as u64;
        Some(tag << (u64::BITS - TAG_BITS - u32::from(self.depth)))
    }

    /// Collects into `group` the buckets of the next entries whose home is at `position` or
    /// behind it, such that all further ones have higher hashes than any of these. Returns the
    /// position to go on from, `None` if there were none left.
    ///
    /// Entries stand between their home and the next empty bucket, so those of one run of full
    /// buckets are all lower than those of the next run. The run at the end goes on at the
    /// beginning.
    pub(super) fn gather(&self, position: usize, group: &mut Vec<usize>) -> Option<usize> {
        group.clear();
        let count = self.buckets.len();
        let mut index = position;
        while index < count && (group.is_empty() || self.buckets[index].is_some()) {
            self.gather_one(index, position, false, group);
            index += 1;
        }
        let behind = index;
        if index == count && count > 0 && self.buckets[count - 1].is_some() {
            index = 0;
            while self.buckets[index].is_some() {
                self.gather_one(index, position, true, group);
                index += 1;
            }
        }
        if group.is_empty() { None } else { Some(behind) }
    }

    fn gather_one(&self, index: usize, position: usize, wrapped: bool, group: &mut Vec<usize>) {
        if let Some(handle) = &self.buckets[index] {
            let home = self.home(handle.tag());
            if home >= position && (home > index) == wrapped {
                handle.prefetch();
                group.push(index);
            }
        }
    }

    /// The bits of `hash` that tell buckets of this part apart.
    #[inline]
    fn tag(&self, hash: u64) -> u16 {
        (hash >> (u64::BITS - TAG_BITS - u32::from(self.depth))) as u16
    }

    /// Where probing for `tag` begins: in the order of tags.
    #[inline]
    fn home(&self, tag: u16) -> usize {
        (usize::from(tag) * self.buckets.len()) >> TAG_BITS
    }

    /// Offers entries of that tag until one is taken: its bucket, or the empty one behind them.
    #[inline]
    fn probe(&self, tag: u16, is_it: impl Fn(&Handle) -> bool) -> Result<usize, Vacant> {
        let buckets = &*self.buckets;
        let mut index = self.home(tag);
        if buckets.is_empty() {
            return Err(Vacant(0));
        }
        loop {
            match &buckets[index] {
                None => return Err(Vacant(index)),
                Some(handle) if handle.tag() == tag && is_it(handle) => return Ok(index),
                Some(_) => {}
            }
            index += 1;
            if index == buckets.len() {
                index = 0;
            }
        }
    }

    #[inline]
    fn seek(&self, hash: u64, key: &[u8]) -> Result<usize, Vacant> {
        self.probe(self.tag(hash), |handle| handle.key() == key)
    }

    /// Moves later entries of the run forward over the gap, where that is not before their home.
    fn close_gap(&mut self, mut gap: usize) {
        let count = self.buckets.len();
        let mut index = gap;
        loop {
            index = if index + 1 == count { 0 } else { index + 1 };
            let Some(handle) = &self.buckets[index] else { return };
            let home = self.home(handle.tag());
            let distance =
                |from: usize| if index >= from { index - from } else { index + count - from };
            if distance(home) >= distance(gap) {
                self.buckets.swap(index, gap);
                gap = index;
            }
        }
    }

    fn resize(&mut self, count: u32) {
        let mut old = std::mem::replace(&mut self.buckets, Buckets::new(count));
        for bucket in old.iter_mut() {
            if let Some(handle) = bucket.take() {
                self.place(handle);
            }
        }
    }

    fn place(&mut self, handle: Handle) {
        let at = self.empty(handle.tag());
        self.buckets[at] = Some(handle);
    }

    fn empty(&self, tag: u16) -> usize {
        match self.probe(tag, |_| false) {
            Ok(at) | Err(Vacant(at)) => at,
        }
    }

    fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.buckets.iter().flatten()
    }
}

/// Next number of buckets: powers of two and one and a half times those, since a step of 2 would
/// leave half of the buckets empty too often.
fn larger(count: u32) -> u32 {
    match count {
        0 => BUCKETS_MIN,
        _ if count.is_power_of_two() => count / 2 * 3,
        _ => count / 3 * 4,
    }
}

/// Buckets for so many entries and one more.
fn buckets_for(entries: usize) -> u32 {
    let mut count = 0;
    while (entries + 1) * 4 > count as usize * 3 {
        count = larger(count);
    }
    if entries == 0 { 0 } else { count }
}
