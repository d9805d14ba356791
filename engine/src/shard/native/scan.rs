//! Scans of native clients.

use piccolo_schema::kv::Scan;

use super::answer::Form;
use super::session::Owed;
use crate::shard::Shard;
use crate::shard::stream::StreamKey;
use crate::shard::task::{self, SweepKind, Task};

/// Keys that a page has about, unless the client says otherwise, and at most.
const PAGE_KEYS: (usize, usize) = (100, 10_000);

impl Shard {
    /// Begins a scan; false if it has to wait.
    pub(super) fn take_scan(&mut self, key: StreamKey, id: u64, scan: &Scan<'_>) -> bool {
        let count = if scan.count == 0 { PAGE_KEYS.0 } else { scan.count as usize };
        let pattern =
            if scan.pattern.is_empty() { glob_of(scan.prefix) } else { scan.pattern.to_vec() };
        let filter = if pattern.is_empty() { vec![] } else { vec![b"MATCH".to_vec(), pattern] };
        let kind = SweepKind::Scan {
            cursor: scan.cursor,
            count: count.min(PAGE_KEYS.1),
            filter,
            slot_keys: self.slot_keys(),
        };
        let begun = self.begin_task(key, || Task::Sweep(task::Sweep::new(kind, None)));
        if begun {
            self.owe(key, id, Owed::Answer(Form::Page));
        }
        if let Some(session) = self.streams.session(key) {
            session.last_command = "scan";
        }
        begun
    }
}

/// The pattern of every key that begins with `prefix`; empty if that is every key.
fn glob_of(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if b"*?[]\\^-".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    if !prefix.is_empty() {
        pattern.push(b'*');
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::glob;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_prefix_matches_what_begins_so(
            prefix in prop::collection::vec(prop::sample::select(&b"*?[]\\^-ab"[..]), 1..8),
            text in prop::collection::vec(prop::sample::select(&b"*?[]\\^-ab"[..]), 0..12),
        ) {
            let pattern = glob_of(&prefix);
            prop_assert_eq!(glob::matches(&pattern, &text), text.starts_with(&prefix));
            let longer = [&prefix[..], &text].concat();
            prop_assert!(glob::matches(&pattern, &longer));
        }
    }
}
