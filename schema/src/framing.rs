//! A byte stream cut into whole Cap'n Proto messages.
//!
//! A frame is one message in Cap'n Proto's own stream encoding, whose head states its length: a
//! segment count, the segments' lengths in words, then the segments. So any Cap'n Proto tool can
//! read a capture.

use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use capnp::serialize::{BufferSegments, write_message};

use crate::limits::{FRAME_BYTES_MAX, FRAME_SEGMENTS_MAX};

/// Bytes of a Cap'n Proto word.
const WORD_BYTES: usize = 8;

/// Why a stream cannot be cut further. Always the sender's fault: the link is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FramingError {
    /// The head announces more segments than [`FRAME_SEGMENTS_MAX`].
    #[error("a frame of {segments} segments; at most {FRAME_SEGMENTS_MAX} are taken")]
    TooManySegments {
        /// As announced.
        segments: u64,
    },
    /// The head announces more bytes than [`FRAME_BYTES_MAX`].
    #[error("a frame of {bytes} bytes; at most {FRAME_BYTES_MAX} are taken")]
    TooLong {
        /// As announced.
        bytes: u64,
    },
}

/// Length in bytes of the frame at the start of `stream`, or `None` while its head is incomplete.
/// The frame itself may be incomplete still.
///
/// # Errors
///
/// The head announces more than the limits allow.
pub fn frame_bytes(stream: &[u8]) -> Result<Option<usize>, FramingError> {
    let Some(count) = word32(stream, 0) else { return Ok(None) };
    let segments = u64::from(count) + 1;
    if segments > FRAME_SEGMENTS_MAX as u64 {
        return Err(FramingError::TooManySegments { segments });
    }
    let segments = segments as usize;
    // The count and the lengths, padded to a word.
    let head = (4 + 4 * segments).next_multiple_of(WORD_BYTES);
    if stream.len() < head {
        return Ok(None);
    }
    let words: u64 =
        (0..segments).filter_map(|i| word32(stream, 4 + 4 * i)).map(u64::from).sum::<u64>();
    let bytes = head as u64 + words * WORD_BYTES as u64;
    if bytes > FRAME_BYTES_MAX as u64 {
        return Err(FramingError::TooLong { bytes });
    }
    Ok(Some(bytes as usize))
}

fn word32(stream: &[u8], at: usize) -> Option<u32> {
    let bytes = stream.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// Opens one whole frame for reading, with limits on what a hostile sender can make us walk.
///
/// # Errors
///
/// The bytes are not one message.
pub fn open(frame: &[u8]) -> capnp::Result<capnp::message::Reader<BufferSegments<&[u8]>>> {
    // Every word may be read four times over, as lists are counted before they are taken. Elements
    // of no size count as a word each: a short frame must not announce millions of them.
    open_within(frame, 4 * frame.len() / WORD_BYTES + 64)
}

/// The same, of which `words` may be read at most, what is read twice counted twice.
pub(crate) fn open_within(
    frame: &[u8],
    words: usize,
) -> capnp::Result<capnp::message::Reader<BufferSegments<&[u8]>>> {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(words)).nesting_limit(16);
    let segments = BufferSegments::new(frame, options)?;
    Ok(capnp::message::Reader::new(segments, options))
}

/// Appends `message` to `stream` as a frame.
pub fn append(message: &Builder<HeapAllocator>, stream: &mut Vec<u8>) {
    if let Err(error) = write_message(&mut *stream, message) {
        unreachable!("writing into memory failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer_capnp::frame;
    use proptest::prelude::*;

    fn refusal(text: &str) -> Vec<u8> {
        let mut message = Builder::new_default();
        message.init_root::<frame::Builder<'_>>().set_refuse(text);
        let mut stream = Vec::new();
        append(&message, &mut stream);
        stream
    }

    #[test]
    fn a_frame_is_found_however_the_stream_is_cut() {
        let first = refusal("no");
        let mut stream = first.clone();
        stream.extend(refusal("never"));
        for cut in 0..first.len() {
            assert!(frame_bytes(&stream[..cut]).unwrap().is_none_or(|bytes| bytes == first.len()));
        }
        assert_eq!(frame_bytes(&stream), Ok(Some(first.len())));
        open(&stream[..first.len()]).unwrap().get_root::<frame::Reader<'_>>().unwrap();
    }

    #[test]
    fn a_head_that_announces_too_much_is_refused_before_anything_is_allocated() {
        let huge = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f];
        assert!(matches!(frame_bytes(&huge), Err(FramingError::TooLong { .. })));
        assert!(matches!(
            frame_bytes(&[0xff; 8]),
            Err(FramingError::TooManySegments { segments }) if segments == 1 << 32
        ));
    }

    #[test]
    fn a_short_frame_does_not_hand_over_more_items_than_it_has_bytes() {
        let mut message = Builder::new_default();
        message.init_root::<frame::Builder<'_>>().init_batch().init_routes(0);
        let mut stream = Vec::new();
        append(&message, &mut stream);
        // The last word heads the list: how many elements, and of which size.
        let head = stream.len() - WORD_BYTES;
        stream[head..].copy_from_slice(&(1_u64 << 22).to_le_bytes());
        let mut items = 0;
        assert!(crate::link::read(&stream, |_| items += 1).is_err());
        assert!(items <= stream.len(), "{items} items in {} bytes", stream.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_either_refused_or_read_within_bounds(bytes: Vec<u8>) {
            if let Ok(Some(length)) = frame_bytes(&bytes)
                && length <= bytes.len()
                && let Ok(reader) = open(&bytes[..length])
                && let Ok(frame) = reader.get_root::<frame::Reader<'_>>()
            {
                drop(frame.which());
            }
        }
    }
}
