//! Frames of links and of native clients, as strangers may send them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use piccolo_schema::framing::frame_bytes;
use piccolo_schema::{kv, link};

/// Items that a frame may have beyond one for each of its bytes: elements of no size in a tiny one.
/// More, and a short frame would be much work.
const ITEMS_EXTRA: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(length)) = frame_bytes(rest) {
        let Some(frame) = rest.get(..length).filter(|frame| !frame.is_empty()) else { break };
        // A fault is the sender's: the items before it have been handed over.
        let mut items = 0_usize;
        drop(link::read(frame, |_| items += 1));
        assert!(items <= length + ITEMS_EXTRA, "{items} items in {length} bytes");
        let mut items = 0_usize;
        drop(kv::read(frame, |_| items += 1));
        assert!(items <= length + ITEMS_EXTRA, "{items} items in {length} bytes");
        rest = &rest[length..];
    }
});
