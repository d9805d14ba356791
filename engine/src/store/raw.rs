//! Entries and buckets as they lie in memory: all that is unsafe in the store.
//!
//! A bucket is a pointer to an entry with a tag, 16 bits of hash, in its upper bits.
#![expect(unsafe_code, reason = "entries of any length, and 8 bytes per bucket")]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

use piccolo_schema::ids::Version;
use piccolo_schema::limits::META_BYTES_MAX;
use piccolo_schema::time::UnixMillis;

use super::Entry;
use super::shape::Shape;

/// Bits of an address that a process can have: x86-64 and aarch64 give more only to those who
/// ask.
const ADDRESS_BITS: u32 = 48;

const _: () = assert!(usize::BITS == 64);

/// What a value is written from.
pub(super) enum Value<'a, F> {
    /// These bytes.
    Copy(&'a [u8]),
    /// So many zeros, then filled in.
    Fill(usize, F),
}

impl<F> Value<'_, F> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Copy(bytes) => bytes.len(),
            Self::Fill(bytes, _) => *bytes,
        }
    }
}

/// What becomes of an entry's metadata when it is written.
#[derive(Clone, Copy)]
pub(super) enum Meta<'a> {
    /// The metadata of the entry in whose place it is written; a new entry has none.
    Keep,
    /// These bytes, at most 255; none if empty.
    Set(&'a [u8]),
}

/// All of an entry but its key, to be written.
pub(super) struct Content<'a, F> {
    pub(super) expires: Option<UnixMillis>,
    pub(super) version: Version,
    pub(super) meta: Meta<'a>,
    pub(super) value: Value<'a, F>,
}

/// An entry, owned, and the tag under which its bucket knows it.
///
/// The pointer, less its upper 16 bits, is the start of a live allocation of [`Self::bytes`]
/// bytes, all initialized, that nothing else points to. Its lengths, that of the metadata
/// included, never change.
#[repr(transparent)]
pub(super) struct Handle(NonNull<u8>);

// SAFETY: the allocation is owned and has no interior mutability, like a `Box<[u8]>`.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// Allocates an entry. `rest` is kept for [`Self::rest`].
    #[inline]
    pub(super) fn new<F: FnOnce(&mut [u8])>(
        tag: u16,
        rest: u16,
        key: &[u8],
        content: Content<'_, F>,
    ) -> Self {
        let Content { expires, version, meta, value } = content;
        let meta = if let Meta::Set(bytes) = meta { bytes } else { &[] };
        assert!(meta.len() <= META_BYTES_MAX, "longer than any metadata");
        let shape = Shape::new(key.len(), value.len(), expires.is_some(), !meta.is_empty());
        let word = shape.pack() | (u64::from(rest) << (8 * shape.width));
        let layout = layout_of(shape.value_end() + if shape.meta { 1 + meta.len() } else { 0 });
        // SAFETY: the layout is never of size zero: there is a header.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        assert!(start.addr().get() >> ADDRESS_BITS == 0, "an address of more than 48 bits");
        // SAFETY: the allocation is new, so key, value and metadata do not overlap it. It has at
        // least 12 bytes, so that a word fits at its start (its upper bytes, which are spare, are
        // written over by the version), `shape.value_end()` bytes, so that key and value fit at
        // their places, and behind these, if there is metadata, just its bytes and one of length.
        // After this all of it is initialized.
        unsafe {
            let at = start.as_ptr();
            at.cast::<u64>().write_unaligned(word.to_le());
            at.add(shape.key_at()).copy_from_nonoverlapping(key.as_ptr(), key.len());
            match &value {
                Value::Copy(bytes) => {
                    at.add(shape.value_at()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                }
                Value::Fill(bytes, _) => at.add(shape.value_at()).write_bytes(0, *bytes),
            }
            at.add(shape.version_at()).cast::<u64>().write_unaligned(version.packed());
            if let Some(UnixMillis(ends)) = expires {
                at.add(shape.expires_at()).cast::<u64>().write_unaligned(ends);
            }
            if shape.meta {
                let at = at.add(shape.value_end());
                at.write(meta.len() as u8);
                at.add(1).copy_from_nonoverlapping(meta.as_ptr(), meta.len());
            }
        }
        let mut handle = Self(start.map_addr(|address| address | tag_bits(tag)));
        if let Value::Fill(_, fill) = value {
            fill(handle.value_mut());
        }
        handle
    }

    /// Allocates an entry for the same key in its place.
    pub(super) fn replacement<F: FnOnce(&mut [u8])>(&self, content: Content<'_, F>) -> Self {
        let Content { expires, version, meta, value } = content;
        let meta = match meta {
            Meta::Keep => Meta::Set(self.meta()),
            Meta::Set(bytes) => Meta::Set(bytes),
        };
        let content = Content { expires, version, meta, value };
        Self::new(self.tag(), self.rest(), self.key(), content)
    }

    /// The 16 bits of hash that its bucket knows.
    #[inline]
    pub(super) fn tag(&self) -> u16 {
        (self.0.addr().get() >> ADDRESS_BITS) as u16
    }

    /// Changes the tag.
    pub(super) fn set_tag(&mut self, tag: u16) {
        let start = self.start();
        // SAFETY: the start of an allocation is not null, and setting bits does not make it so.
        self.0 = unsafe { NonNull::new_unchecked(start.map_addr(|a| a | tag_bits(tag))) };
    }

    /// Further 16 bits of hash.
    pub(super) fn rest(&self) -> u16 {
        let word = self.word();
        (word >> (8 * Shape::unpack(word).width)) as u16
    }

    /// Its key.
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: the key lies within the allocation, which lives as long as `self`.
        unsafe { slice::from_raw_parts(self.start().add(shape.key_at()), shape.key_bytes) }
    }

    /// All of it.
    #[inline]
    pub(super) fn entry(&self) -> Entry<'_> {
        let shape = self.shape();
        let at = self.start().cast_const();
        // SAFETY: fields and slices lie within the allocation, which is initialized, lives as
        // long as `self` and is not written to while `self` is borrowed.
        unsafe {
            let version = at.add(shape.version_at()).cast::<u64>().read_unaligned();
            Entry {
                key: slice::from_raw_parts(at.add(shape.key_at()), shape.key_bytes),
                value: slice::from_raw_parts(at.add(shape.value_at()), shape.value_bytes),
                meta: self.meta(),
                expires: self.expires_of(shape),
                version: Version::unpacked(version),
            }
        }
    }

    /// Bytes of its allocation.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        let shape = self.shape();
        shape.value_end() + if shape.meta { 1 + self.meta().len() } else { 0 }
    }

    /// Whether [`Self::restamp`] and [`Self::rewrite`] can write this.
    #[inline]
    pub(super) fn fits<F: FnOnce(&mut [u8])>(&self, content: &Content<'_, F>) -> bool {
        let shape = self.shape();
        shape.value_bytes == content.value.len()
            && shape.expires == content.expires.is_some()
            && match content.meta {
                Meta::Keep => true,
                Meta::Set(meta) => self.meta().len() == meta.len(),
            }
    }

    /// Changes version and expiry in place.
    ///
    /// # Panics
    ///
    /// If expiry is given and there is no room for it, or the reverse.
    #[inline]
    pub(super) fn restamp(&mut self, expires: Option<UnixMillis>, version: Version) {
        let shape = self.shape();
        assert!(shape.expires == expires.is_some(), "room for an expiry");
        let at = self.start();
        // SAFETY: both fields lie within the allocation, which `self` owns: the shape has an
        // expiry if there is one to write.
        unsafe {
            at.add(shape.version_at()).cast::<u64>().write_unaligned(version.packed());
            if let Some(UnixMillis(ends)) = expires {
                at.add(shape.expires_at()).cast::<u64>().write_unaligned(ends);
            }
        }
    }

    /// Writes value and metadata of the same lengths in place.
    #[inline]
    pub(super) fn rewrite<F: FnOnce(&mut [u8])>(&mut self, meta: Meta<'_>, value: Value<'_, F>) {
        if let Meta::Set(meta @ [_, ..]) = meta {
            self.meta_mut().copy_from_slice(meta);
        }
        let to = self.value_mut();
        match value {
            Value::Copy(bytes) => to.copy_from_slice(bytes),
            Value::Fill(_, fill) => {
                to.fill(0);
                fill(to);
            }
        }
    }

    /// Asks the processor for its first two cache lines: what is compared, and most of what a
    /// reply of usual size copies.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(self.start());
        prefetch(self.start().wrapping_add(64));
    }

    #[inline]
    fn value_mut(&mut self) -> &mut [u8] {
        let shape = self.shape();
        // SAFETY: the value lies within the allocation, is initialized, and is borrowed as long
        // as `self`, which owns it.
        unsafe { slice::from_raw_parts_mut(self.start().add(shape.value_at()), shape.value_bytes) }
    }

    #[inline]
    fn meta(&self) -> &[u8] {
        let shape = self.shape();
        if !shape.meta {
            return &[];
        }
        // SAFETY: the shape says that there is metadata, so behind the value lie its length and
        // so many bytes, within the allocation, which is initialized and lives as long as `self`.
        unsafe {
            let at = self.start().add(shape.value_end());
            slice::from_raw_parts(at.add(1), usize::from(at.read()))
        }
    }

    #[inline]
    fn meta_mut(&mut self) -> &mut [u8] {
        let (shape, bytes) = (self.shape(), self.meta().len());
        if bytes == 0 {
            return &mut [];
        }
        // SAFETY: there are so many bytes of metadata behind the byte of their length, within the
        // allocation, initialized, and borrowed as long as `self`, which owns it.
        unsafe { slice::from_raw_parts_mut(self.start().add(shape.value_end() + 1), bytes) }
    }

    #[inline]
    fn expires_of(&self, shape: Shape) -> Option<UnixMillis> {
        if !shape.expires {
            return None;
        }
        // SAFETY: the shape says that there is an expiry, so it lies within the allocation.
        let ends = unsafe { self.start().add(shape.expires_at()).cast::<u64>().read_unaligned() };
        Some(UnixMillis(ends))
    }

    #[inline]
    fn shape(&self) -> Shape {
        Shape::unpack(self.word())
    }

    #[inline]
    fn word(&self) -> u64 {
        // SAFETY: an entry has at least 12 bytes, all initialized.
        u64::from_le(unsafe { self.start().cast::<u64>().read_unaligned() })
    }

    #[inline]
    fn start(&self) -> *mut u8 {
        self.0.as_ptr().map_addr(|address| address & ((1 << ADDRESS_BITS) - 1))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with the layout of these lengths, which never change, and
        // owned: nobody frees it twice.
        unsafe { dealloc(self.start(), layout_of(self.bytes())) }
    }
}

/// An array of buckets, owned. Twelve bytes, so that its owner has four for other uses.
///
/// `first` is the start of a live allocation of `count` initialized buckets, or dangling if that
/// is zero.
#[repr(C, packed(4))]
pub(super) struct Buckets {
    first: NonNull<Option<Handle>>,
    count: u32,
}

// SAFETY: owns its allocation and the entries in it, which are `Send`.
unsafe impl Send for Buckets {}
// SAFETY: as above: they are `Sync`.
unsafe impl Sync for Buckets {}

impl Buckets {
    /// No bucket; allocates nothing.
    pub(super) const NONE: Self = Self { first: NonNull::dangling(), count: 0 };

    /// So many empty buckets.
    pub(super) fn new(count: u32) -> Self {
        if count == 0 {
            return Self::NONE;
        }
        let layout = Self::layout(count);
        // SAFETY: the size is not zero. Zeros are `None`, since `Handle` is a transparent
        // `NonNull`, so the array is initialized.
        let first = unsafe { alloc_zeroed(layout) };
        let Some(first) = NonNull::new(first.cast()) else { handle_alloc_error(layout) };
        Self { first, count }
    }

    /// Bytes of so many.
    pub(super) const fn bytes(count: usize) -> usize {
        count * size_of::<Option<Handle>>()
    }

    /// Asks the processor for one of them.
    #[inline]
    pub(super) fn prefetch(&self, index: usize) {
        let first = self.first;
        prefetch(first.as_ptr().wrapping_add(index).cast());
    }

    fn layout(count: u32) -> Layout {
        let align = align_of::<Option<Handle>>();
        // SAFETY: the alignment is that of a type, and 8 * 2^32 is below `isize::MAX`.
        unsafe { Layout::from_size_align_unchecked(Self::bytes(count as usize), align) }
    }
}

impl Deref for Buckets {
    type Target = [Option<Handle>];

    #[inline]
    fn deref(&self) -> &Self::Target {
        let first = self.first;
        // SAFETY: `first` and `count` describe the array that `self` owns.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.count as usize) }
    }
}

impl DerefMut for Buckets {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        let first = self.first;
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), self.count as usize) }
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        let (first, count) = (self.first, self.count);
        if count == 0 {
            return;
        }
        // SAFETY: the array is owned, its buckets are dropped once, and it was allocated by `new`
        // with this layout.
        unsafe {
            ptr::drop_in_place(&raw mut **self);
            dealloc(first.as_ptr().cast(), Self::layout(count));
        }
    }
}

fn layout_of(entry_bytes: usize) -> Layout {
    // SAFETY: 1 is a power of two, and `Shape::new` bounds the size far below `isize::MAX`: to a
    // header, a key below 2^17, a value below 2^28 and 256 bytes.
    unsafe { Layout::from_size_align_unchecked(entry_bytes, 1) }
}

#[inline]
fn tag_bits(tag: u16) -> usize {
    usize::from(tag) << ADDRESS_BITS
}

/// Asks the processor for the cache line of an address.
#[inline]
#[cfg(target_arch = "x86_64")]
pub(super) fn prefetch(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch of any address, mapped or not, has no effect that can be seen.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
}

/// Asks the processor for the cache line of an address.
#[inline]
#[cfg(target_arch = "aarch64")]
pub(super) fn prefetch(address: *const u8) {
    // SAFETY: a prefetch of any address, mapped or not, has no effect that can be seen.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address,
            options(nostack, readonly, preserves_flags));
    }
}

/// Does nothing: no prefetch is known here.
#[inline]
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn prefetch(_address: *const u8) {}

#[cfg(test)]
mod tests {
    use piccolo_schema::limits::KEY_BYTES_MAX;

    use super::*;

    type Fill = fn(&mut [u8]);

    fn content<'a>(
        value: &'a [u8],
        meta: &'a [u8],
        expires: Option<UnixMillis>,
    ) -> Content<'a, Fill> {
        let (version, meta) = (Version::unpacked(7 << 40 | 9), Meta::Set(meta));
        Content { expires, version, meta, value: Value::Copy(value) }
    }

    /// Lengths at and around every border of the three widths and of the metadata.
    #[test]
    fn an_entry_reads_as_it_was_written() {
        let version = Version::unpacked(7 << 40 | 9);
        let borders = [0, 1, 127, 128, 0x3_ffff, 0x4_0000, 5 << 20];
        for (key_bytes, value_bytes) in [0, 1, 63, 64, 2047, 2048, KEY_BYTES_MAX]
            .into_iter()
            .flat_map(|key_bytes| borders.map(|value_bytes| (key_bytes, value_bytes)))
        {
            for expires in [None, Some(UnixMillis(u64::MAX)), Some(UnixMillis(3))] {
                for meta_bytes in [0, 1, 254, 255] {
                    let (key, value) = (vec![b'k'; key_bytes], vec![b'v'; value_bytes]);
                    let meta = vec![b'm'; meta_bytes];
                    let made = content(&value, &meta, expires);
                    let handle = Handle::new(0xfedc, 0xba98, &key, made);
                    let entry = Entry { key: &key, value: &value, meta: &meta, expires, version };
                    assert_eq!(handle.entry(), entry);
                    assert_eq!((handle.tag(), handle.rest()), (0xfedc, 0xba98));
                }
            }
        }
    }

    #[test]
    fn a_small_entry_has_twelve_bytes_of_header() {
        let handle = Handle::new(1, 2, &[0; 16], content(&[1; 100], b"", None));
        assert_eq!(handle.bytes(), 128);
    }

    #[test]
    fn metadata_costs_its_bytes_one_of_length_and_the_widest_lengths() {
        for (meta_bytes, bytes) in [(0, 128), (1, 128 + 4 + 2), (255, 128 + 4 + 256)] {
            let handle =
                Handle::new(1, 2, &[0; 16], content(&[1; 100], &[2; 255][..meta_bytes], None));
            assert_eq!(handle.bytes(), bytes);
        }
    }

    #[test]
    #[should_panic(expected = "longer than any metadata")]
    fn longer_metadata_is_refused() {
        Handle::new(1, 2, b"key", content(b"", &[0; META_BYTES_MAX + 1], None));
    }

    #[test]
    fn rewriting_keeps_key_and_place() {
        let mut handle = Handle::new(1, 2, b"key", content(b"old", b"text", None));
        let place = handle.start();
        let fits = |value, meta, expires| handle.fits(&content(value, meta, expires));
        assert!(fits(b"new", b"html", None) && !fits(b"four", b"html", None));
        assert!(!fits(b"new", b"html", Some(UnixMillis(3))));
        assert!(!fits(b"new", b"", None) && !fits(b"new", b"plain", None));
        handle.restamp(None, Version::ZERO.next());
        handle.rewrite(Meta::Set(b"html"), Value::<Fill>::Copy(b"new"));
        handle.set_tag(0xffff);
        assert_eq!((handle.start(), handle.tag(), handle.rest()), (place, 0xffff, 2));
        let version = Version::ZERO.next();
        let entry = Entry { key: b"key", value: b"new", meta: b"html", expires: None, version };
        assert_eq!(handle.entry(), entry);
        handle.rewrite(Meta::Keep, Value::<Fill>::Copy(b"one"));
        assert_eq!(handle.entry(), Entry { value: b"one", ..entry });
    }

    #[test]
    fn a_replacement_keeps_metadata_if_told_so() {
        for meta in [&b""[..], b"m", &[7; META_BYTES_MAX]] {
            let old = Handle::new(1, 2, b"key", content(b"old", meta, None));
            let kept =
                old.replacement(Content { meta: Meta::Keep, ..content(b"longer", b"", None) });
            assert_eq!((kept.entry().value, kept.entry().meta), (&b"longer"[..], meta));
            let cleared = kept.replacement(content(b"new", b"", None));
            assert_eq!((cleared.entry().meta, cleared.bytes()), (&b""[..], 12 + 6));
        }
    }

    #[test]
    fn a_fill_that_panics_leaks_nothing_and_leaves_zeros() {
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let value = Value::Fill(9, |_: &mut [u8]| panic!("on purpose"));
            let (expires, version, meta) = (None, Version::ZERO, Meta::Set(b"m"));
            drop(Handle::new(1, 2, b"key", Content { expires, version, meta, value }));
        }));
        assert!(made.is_err());
    }
}
