//! Frames of links and of native clients, as strangers may send them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use piccolo_schema::framing::frame_bytes;
use piccolo_schema::{kv, link};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some(length)) = frame_bytes(rest) {
        let Some(frame) = rest.get(..length).filter(|frame| !frame.is_empty()) else { break };
        // A fault is the sender's: the items before it have been handed over.
        let mut items = 0_usize;
        drop(link::read(frame, |_| items += 1));
        assert!(items <= bytes.len(), "{items} items in {} bytes", bytes.len());
        let mut items = 0_usize;
        drop(kv::read(frame, |_| items += 1));
        assert!(items <= bytes.len(), "{items} items in {} bytes", bytes.len());
        rest = &rest[length..];
    }
});
