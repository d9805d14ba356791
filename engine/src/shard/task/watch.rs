//! WATCH: the versions that keys have now.

use piccolo_schema::ids::Version;
use piccolo_schema::link::RequestKind;

use super::{Ask, command, is_error};
use crate::resp::{Reply, value};
use crate::shard::session::Watched;

/// What to ask to learn the versions that keys have now.
pub(super) fn ask_versions(keys: &[Watched]) -> Vec<Ask> {
    let ask = |(part, watched): (usize, &Watched)| Ask {
        part: part as u32,
        slot: watched.slot,
        kind: RequestKind::Sweep,
        write: false,
        body: command(&[b"VERSION", &watched.key]),
    };
    keys.iter().enumerate().map(ask).collect()
}

/// Keys being asked for their versions.
#[derive(Debug)]
pub(in crate::shard) struct Watch {
    pub(in crate::shard) keys: Vec<Watched>,
    asked: bool,
    missing: usize,
    pub(in crate::shard) error: Option<Vec<u8>>,
}

impl Watch {
    pub(in crate::shard) fn new(keys: Vec<Watched>) -> Self {
        Self { missing: keys.len(), keys, asked: false, error: None }
    }

    pub(super) fn poll(&mut self) -> Vec<Ask> {
        if std::mem::replace(&mut self.asked, true) {
            return Vec::new();
        }
        ask_versions(&self.keys)
    }

    pub(super) fn take(&mut self, part: u32, answer: &[u8]) {
        self.missing -= 1;
        if is_error(answer) {
            self.error = Some(answer.to_vec());
        } else if let Some(version) = value::integer(answer) {
            self.keys[part as usize].version = Version::unpacked(version as u64);
        }
    }

    pub(super) fn done(&self) -> bool {
        self.missing == 0
    }

    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        match &self.error {
            Some(error) => reply.raw(error),
            None => reply.ok(),
        }
    }
}
