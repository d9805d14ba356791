//! Where the fields of an entry lie.
//!
//! An entry is one allocation, without alignment:
//!
//! ```text
//! lengths 2, 4 or 6 | hash bits 2 | version 8 | expiry 8, if any | key | value | metadata, if any
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
//! The fourth code of the width says 6 bytes, too, and that there is metadata: one byte of its
//! length, then its bytes. They lie at the end, so that nothing else has its place behind them,
//! and whoever reads key and value does not read their length.

use piccolo_schema::limits::{KEY_BYTES_MAX, META_BYTES_MAX, VALUE_BYTES_MAX};

const VERSION_BYTES: usize = 8;
const EXPIRES_BYTES: usize = 8;
const HASH_BYTES: usize = 2;

const _: () = assert!(KEY_BYTES_MAX < 1 << 17 && VALUE_BYTES_MAX < 1 << 28);
const _: () = assert!(META_BYTES_MAX == u8::MAX as usize);

/// What the width says if there is metadata.
const META_CODE: u64 = 3;

/// Lengths of an entry without metadata: all that decides where its fields are.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) key_bytes: usize,
    pub(super) value_bytes: usize,
    pub(super) expires: bool,
    /// Of the lengths: 2, 4 or 6.
    pub(super) width: usize,
    /// Whether metadata lies behind the value: its length stands there.
    pub(super) meta: bool,
}

impl Shape {
    /// # Panics
    ///
    /// If key or value are longer than the limits of the wire, which is checked where they come in.
    pub(super) fn new(key_bytes: usize, value_bytes: usize, expires: bool, meta: bool) -> Self {
        assert!(key_bytes < 1 << 17 && value_bytes < 1 << 28, "longer than any key or value");
        let width = match (key_bytes, value_bytes) {
            (..0x40, ..0x80) if !meta => 2,
            (..0x800, ..0x4_0000) if !meta => 4,
            _ => 6,
        };
        Self { key_bytes, value_bytes, expires, width, meta }
    }

    #[inline]
    pub(super) fn pack(self) -> u64 {
        let key_bits = match self.width {
            2 => 6,
            4 => 11,
            _ => 17,
        };
        let code = if self.meta { META_CODE } else { (self.width as u64) / 2 - 1 };
        code | (u64::from(self.expires) << 2)
            | ((self.key_bytes as u64) << 3)
            | ((self.value_bytes as u64) << (3 + key_bits))
    }

    #[inline]
    pub(super) fn unpack(word: u64) -> Self {
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
            meta: word & 3 == META_CODE,
        }
    }

    #[inline]
    pub(super) fn version_at(self) -> usize {
        self.width + HASH_BYTES
    }

    #[inline]
    pub(super) fn expires_at(self) -> usize {
        self.version_at() + VERSION_BYTES
    }

    #[inline]
    pub(super) fn key_at(self) -> usize {
        self.expires_at() + if self.expires { EXPIRES_BYTES } else { 0 }
    }

    #[inline]
    pub(super) fn value_at(self) -> usize {
        self.key_at() + self.key_bytes
    }

    /// Where the entry ends or, if there is metadata, its length stands.
    #[inline]
    pub(super) fn value_end(self) -> usize {
        self.value_at() + self.value_bytes
    }
}
