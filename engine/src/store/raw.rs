//! Entries and buckets as they lie in memory: all that is unsafe in the store.
//!
//! An entry is one allocation, without alignment:
//!
//! ```text
//! lengths 2, 4 or 6 | hash bits 2 | version 8 | expiry 8, if any | key | value
//! ```
//!
//! so that it has 12 bytes of header if it is small and does not expire: a key of 16 and a value
//! of 100 bytes fill mimalloc's class of 128 exactly. The lengths are one little-endian word: 2
//! bits for their width, 1 for the expiry, then the bytes of key and value:
//!
//! | width | key below | value below |
//! |---|---|---|
//! | 2 bytes | 64 bytes | 128 bytes |
//! | 4 bytes | 2 KiB | 256 KiB |
//! | 6 bytes | 128 KiB | 256 MiB |
//!
//! A bucket is a pointer to an entry with a tag, 16 bits of hash, in its upper bits.
#![expect(unsafe_code, reason = "entries of any length, and 8 bytes per bucket")]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

use piccolo_schema::ids::Version;
use piccolo_schema::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use piccolo_schema::time::UnixMillis;

use super::Entry;

/// Bits of an address that a process can have: x86-64 and aarch64 give more only to those who
/// ask.
const ADDRESS_BITS: u32 = 48;
const VERSION_BYTES: usize = 8;
const EXPIRES_BYTES: usize = 8;
const HASH_BYTES: usize = 2;

const _: () = assert!(usize::BITS == 64);
const _: () = assert!(KEY_BYTES_MAX < 1 << 17 && VALUE_BYTES_MAX < 1 << 28);

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

/// Lengths of an entry: all that decides where its fields are.
#[derive(Clone, Copy)]
struct Shape {
    key_bytes: usize,
    value_bytes: usize,
    expires: bool,
    /// Of the lengths: 2, 4 or 6.
    width: usize,
}

impl Shape {
    /// # Panics
    ///
    /// If key or value are longer than the limits of the wire, which is checked where they come in.
    fn new(key_bytes: usize, value_bytes: usize, expires: bool) -> Self {
        assert!(key_bytes < 1 << 17 && value_bytes < 1 << 28, "longer than any key or value");
        let width = match (key_bytes, value_bytes) {
            (..0x40, ..0x80) => 2,
            (..0x800, ..0x4_0000) => 4,
            _ => 6,
        };
        Self { key_bytes, value_bytes, expires, width }
    }

    #[inline]
    fn pack(self) -> u64 {
        let key_bits = match self.width {
            2 => 6,
            4 => 11,
            _ => 17,
        };
        ((self.width as u64) / 2 - 1)
            | (u64::from(self.expires) << 2)
            | ((self.key_bytes as u64) << 3)
            | ((self.value_bytes as u64) << (3 + key_bits))
    }

    #[inline]
    fn unpack(word: u64) -> Self {
        let (width, key_bits, value_bits) = match word & 3 {
            0 => (2, 6, 7),
            1 => (4, 11, 18),
            _ => (6, 17, 28),
        };
        let field = |at: u32, bits: u32| ((word >> at) & ((1 << bits) - 1)) as usize;
        Self {
            key_bytes: field(3, key_bits),
            value_bytes: field(3 + key_bits, value_bits),
            expires: word & 4 != 0,
            width,
        }
    }

    #[inline]
    fn version_at(self) -> usize {
        self.width + HASH_BYTES
    }

    #[inline]
    fn expires_at(self) -> usize {
        self.version_at() + VERSION_BYTES
    }

    #[inline]
    fn key_at(self) -> usize {
        self.expires_at() + if self.expires { EXPIRES_BYTES } else { 0 }
    }

    #[inline]
    fn value_at(self) -> usize {
        self.key_at() + self.key_bytes
    }

    #[inline]
    fn bytes(self) -> usize {
        self.value_at() + self.value_bytes
    }

    fn layout(self) -> Layout {
        // SAFETY: 1 is a power of two, and `Shape::new` bounds the size far below `isize::MAX`.
        unsafe { Layout::from_size_align_unchecked(self.bytes(), 1) }
    }
}

/// An entry, owned, and the tag under which its bucket knows it.
///
/// The pointer, less its upper 16 bits, is the start of a live allocation of `shape().bytes()`
/// bytes, all initialized, that nothing else points to.
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
        expires: Option<UnixMillis>,
        version: Version,
        value: Value<'_, F>,
    ) -> Self {
        let shape = Shape::new(key.len(), value.len(), expires.is_some());
        let word = shape.pack() | (u64::from(rest) << (8 * shape.width));
        // SAFETY: the layout is never of size zero: there is a header.
        let start = unsafe { alloc(shape.layout()) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(shape.layout()) };
        assert!(start.addr().get() >> ADDRESS_BITS == 0, "an address of more than 48 bits");
        // SAFETY: the allocation is new, so `key` and the value do not overlap it, and has
        // `shape.bytes()` bytes: at least 12, so that a word fits at its start (its upper bytes,
        // which are spare, are written over by the version), and key and value at their places.
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
        }
        let mut handle = Self(start.map_addr(|address| address | tag_bits(tag)));
        if let Value::Fill(_, fill) = value {
            fill(handle.value_mut());
        }
        handle
    }

    /// Allocates an entry for the same key in its place.
    pub(super) fn replacement<F: FnOnce(&mut [u8])>(
        &self,
        expires: Option<UnixMillis>,
        version: Version,
        value: Value<'_, F>,
    ) -> Self {
        Self::new(self.tag(), self.rest(), self.key(), expires, version, value)
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
                expires: self.expires_of(shape),
                version: Version::unpacked(version),
            }
        }
    }

    /// Bytes of its allocation.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.shape().bytes()
    }

    /// Whether [`Self::rewrite`] can write such a value.
    #[inline]
    pub(super) fn fits(&self, value_bytes: usize, expires: bool) -> bool {
        let shape = self.shape();
        shape.value_bytes == value_bytes && shape.expires == expires
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

    /// Writes another value of the same length in place.
    #[inline]
    pub(super) fn rewrite<F: FnOnce(&mut [u8])>(&mut self, value: Value<'_, F>) {
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
        // SAFETY: allocated by `new` with the layout of this shape, which never changes, and
        // owned: nobody frees it twice.
        unsafe { dealloc(self.start(), self.shape().layout()) }
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
    use super::*;

    type Fill = fn(&mut [u8]);

    /// Lengths at and around every border of the three widths.
    #[test]
    fn an_entry_reads_as_it_was_written() {
        let version = Version::unpacked(7 << 40 | 9);
        for key_bytes in [0, 1, 63, 64, 2047, 2048, KEY_BYTES_MAX] {
            for value_bytes in [0, 1, 127, 128, 0x3_ffff, 0x4_0000, 5 << 20] {
                for expires in [None, Some(UnixMillis(u64::MAX)), Some(UnixMillis(3))] {
                    let (key, value) = (vec![b'k'; key_bytes], vec![b'v'; value_bytes]);
                    let made = Value::<Fill>::Copy(&value);
                    let handle = Handle::new(0xfedc, 0xba98, &key, expires, version, made);
                    let wanted = Entry { key: &key, value: &value, expires, version };
                    assert_eq!(handle.entry(), wanted);
                    assert_eq!((handle.tag(), handle.rest()), (0xfedc, 0xba98));
                }
            }
        }
    }

    #[test]
    fn a_small_entry_has_twelve_bytes_of_header() {
        let made = Value::<Fill>::Copy(&[1; 100]);
        let handle = Handle::new(1, 2, &[0; 16], None, Version::ZERO, made);
        assert_eq!(handle.bytes(), 128);
    }

    #[test]
    fn rewriting_keeps_key_and_place() {
        let (old, new) = (Value::<Fill>::Copy(b"old"), Value::<Fill>::Copy(b"new"));
        let mut handle = Handle::new(1, 2, b"key", None, Version::ZERO, old);
        let place = handle.start();
        assert!(handle.fits(3, false) && !handle.fits(4, false) && !handle.fits(3, true));
        handle.restamp(None, Version::ZERO.next());
        handle.rewrite(new);
        handle.set_tag(0xffff);
        assert_eq!((handle.start(), handle.tag(), handle.rest()), (place, 0xffff, 2));
        assert_eq!(handle.entry().key, b"key");
        assert_eq!(handle.entry().value, b"new");
        assert_eq!(handle.entry().version, Version::ZERO.next());
    }

    #[test]
    fn a_fill_that_panics_leaks_nothing_and_leaves_zeros() {
        let broken = Value::Fill(9, |_: &mut [u8]| panic!("on purpose"));
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            drop(Handle::new(1, 2, b"key", None, Version::ZERO, broken));
        }));
        assert!(made.is_err());
    }
}
