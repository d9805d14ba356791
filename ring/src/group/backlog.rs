//! Changes kept until every follower has acknowledged them.

use std::collections::VecDeque;

use piccolo_schema::ids::Version;
use piccolo_schema::slot_message::{Change, ChangeKind};

/// Bytes of changes that a slot keeps for its followers at most. A follower that needs more gets
/// the slot again; at 61 keys of some hundred bytes per slot a snapshot is smaller than this.
const BACKLOG_BYTES_MAX: usize = 256 << 10;

/// The last changes of a slot, each with the version before it.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    changes: VecDeque<(Version, Change)>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn push(&mut self, prev: Version, change: Change) {
        self.bytes += weight(&change);
        self.changes.push_back((prev, change));
        while self.bytes > BACKLOG_BYTES_MAX {
            self.pop();
        }
    }

    /// Forgets what everybody has.
    pub(super) fn trim(&mut self, acked_by_all: Version) {
        while self.changes.front().is_some_and(|(_, change)| change.version <= acked_by_all) {
            self.pop();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The changes that follow `last`, if all of them are here.
    pub(super) fn after(&self, last: Version) -> Option<Vec<Change>> {
        let start = self.changes.iter().position(|(prev, _)| *prev == last)?;
        Some(self.changes.range(start..).map(|(_, change)| change.clone()).collect())
    }

    fn pop(&mut self) {
        if let Some((_, change)) = self.changes.pop_front() {
            self.bytes -= weight(&change);
        }
    }
}

fn weight(change: &Change) -> usize {
    64 + match &change.kind {
        ChangeKind::Data(records) => records.len(),
        ChangeKind::Empty | ChangeKind::Config(_) => 0,
    }
}
