//! The Redis protocol, versions 2 and 3: commands read in place, replies written in place.

pub mod inline;
pub mod number;
pub mod parse;
pub mod reply;
pub mod value;

pub use parse::{Limits, Parsed, Parser, ProtocolError};
pub use reply::Reply;

use crate::keyspace::Key;

/// Where an argument lies in the buffer it was read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Bytes.
    pub bytes: u32,
}

/// The arguments of one command, its name first, in the buffer that they were read from.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    buffer: &'a [u8],
    spans: &'a [Span],
    /// Index and hash of the first key, if the hash is known.
    first: Option<(u16, u64)>,
}

impl<'a> Args<'a> {
    /// The arguments at `spans` of `buffer`.
    pub fn new(buffer: &'a [u8], spans: &'a [Span]) -> Self {
        Self { buffer, spans, first: None }
    }

    /// The same with the hash of the argument at `index` known.
    #[must_use]
    pub fn with_hash(self, index: u16, hash: u64) -> Self {
        Self { first: Some((index, hash)), ..self }
    }

    /// Number of arguments, the name included; never zero.
    #[expect(clippy::len_without_is_empty, reason = "there is always a name")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The argument at `index`, which must be below [`Self::len`].
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        let Span { start, bytes } = self.spans[index];
        &self.buffer[start as usize..start as usize + bytes as usize]
    }

    /// The argument at `index` as a key; `hash` computes its hash unless it is known.
    #[inline]
    pub fn key(&self, index: usize, hash: impl FnOnce(&[u8]) -> u64) -> Key<'a> {
        let bytes = self.get(index);
        let hash = match self.first {
            Some((at, hash)) if usize::from(at) == index => hash,
            _ => hash(bytes),
        };
        Key { bytes, hash }
    }

    /// Every argument, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}
