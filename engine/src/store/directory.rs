//! The parts of a slot that has more than one: found by the top bits of the hash.

use super::part::{DEPTH_MAX, ENTRIES_MAX, Part};

/// Parts by the top `depth` bits of the hash: one cell for each value of those.
///
/// A part whose own depth is less owns several cells. It stands in the first of them; the others
/// hold an empty part of the same depth, which says where the first one is.
pub(super) struct Directory {
    cells: Vec<Part>,
    /// At least 1.
    depth: u8,
    len: usize,
    bucket_bytes: usize,
    first_expiry: u64,
}

impl Directory {
    /// Splits the only part.
    pub(super) fn new(part: Part) -> Self {
        let (len, first_expiry) = (part.len(), part.first_expiry());
        let (lower, upper) = part.split();
        let bucket_bytes = lower.bucket_bytes() + upper.bucket_bytes();
        Self { cells: vec![lower, upper], depth: 1, len, bucket_bytes, first_expiry }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of all but entries.
    pub(super) fn table_bytes(&self) -> usize {
        self.cells_bytes() + self.bucket_bytes
    }

    /// Bytes of the directory alone.
    pub(super) fn cells_bytes(&self) -> usize {
        size_of::<Self>() + self.cells.capacity() * size_of::<Part>()
    }

    /// A lower bound, `u64::MAX` if no entry ever ends.
    pub(super) fn first_expiry(&self) -> u64 {
        self.first_expiry
    }

    /// Notes that an entry ends.
    pub(super) fn lower_first_expiry(&mut self, at: u64) {
        self.first_expiry = self.first_expiry.min(at);
    }

    /// Makes the bound as exact as those of the parts are.
    pub(super) fn settle_first_expiry(&mut self) {
        let first = self.cells.iter().map(Part::first_expiry).min();
        self.first_expiry = first.unwrap_or(u64::MAX);
    }

    /// The part of a hash.
    #[inline]
    pub(super) fn part(&self, hash: u64) -> &Part {
        &self.cells[self.cell(hash)]
    }

    /// Changes the part of a hash by `change`: its buckets and number of entries are accounted
    /// for.
    #[inline]
    pub(super) fn change<R>(&mut self, hash: u64, change: impl FnOnce(&mut Part) -> R) -> R {
        let cell = self.cell(hash);
        let part = &mut self.cells[cell];
        let (len, bytes) = (part.len(), part.bucket_bytes());
        let result = change(part);
        self.len = self.len - len + part.len();
        self.bucket_bytes = self.bucket_bytes - bytes + part.bucket_bytes();
        result
    }

    /// First hash of the part of `hash`, and first hash of the part behind it.
    pub(super) fn bounds(&self, hash: u64) -> (u64, Option<u64>) {
        let cell = self.cell(hash);
        let width = 1 << (self.depth - self.cells[cell].depth());
        let hash_of = |cell: usize| (cell as u64) << (u64::BITS - u32::from(self.depth));
        let behind = cell + width;
        (hash_of(cell), (behind < self.cells.len()).then(|| hash_of(behind)))
    }

    /// Makes room in the full part of a hash. Costs one split and one growth at most, so that
    /// entries that no bit tells apart cannot make it long.
    pub(super) fn make_room(&mut self, hash: u64) {
        let part = self.part(hash);
        if part.len() >= usize::from(ENTRIES_MAX) && part.depth() < DEPTH_MAX {
            self.split(hash);
        }
        if self.part(hash).is_full() {
            self.change(hash, Part::grow);
        }
    }

    /// Drops at most `entries_max` entries. Returns number and bytes of those dropped.
    pub(super) fn drop_step(&mut self, entries_max: usize) -> (usize, usize) {
        let (mut dropped, mut bytes) = (0, 0);
        while let Some(part) = self.cells.last_mut()
            && dropped < entries_max
        {
            self.bucket_bytes -= part.bucket_bytes();
            let step = part.drop_step(entries_max - dropped);
            (dropped, bytes) = (dropped + step.0, bytes + step.1);
            self.bucket_bytes += part.bucket_bytes();
            if part.len() == 0 {
                self.cells.pop();
            }
        }
        self.len -= dropped;
        (dropped, bytes)
    }

    fn split(&mut self, hash: u64) {
        if self.part(hash).depth() == self.depth {
            self.double();
        }
        let first = self.cell(hash);
        let depth = self.cells[first].depth();
        let cells = &mut self.cells[first..][..1 << (self.depth - depth)];
        let part = std::mem::replace(&mut cells[0], Part::new(depth));
        self.bucket_bytes -= part.bucket_bytes();
        for cell in &mut *cells {
            cell.set_depth(depth + 1);
        }
        let (lower, upper) = part.split();
        self.bucket_bytes += lower.bucket_bytes() + upper.bucket_bytes();
        let half = cells.len() / 2;
        (cells[0], cells[half]) = (lower, upper);
    }

    fn double(&mut self) {
        let mut cells = Vec::with_capacity(2 * self.cells.len());
        for part in self.cells.drain(..) {
            let depth = part.depth();
            cells.extend([part, Part::new(depth)]);
        }
        self.cells = cells;
        self.depth += 1;
    }

    #[inline]
    fn cell(&self, hash: u64) -> usize {
        let cell = (hash >> (u64::BITS - u32::from(self.depth))) as usize;
        let width = 1 << (self.depth - self.cells[cell].depth());
        cell & !(width - 1)
    }
}
