//! Questions to every slot, window after window, so that no shard ever has thousands at once.
//!
//! Each slot is answered by its leader, once, so that even while slots move DBSIZE counts each
//! key exactly once and SCAN misses none.

use std::collections::BTreeMap;

use piccolo_schema::ids::Slot;
use piccolo_schema::limits::FRAME_BYTES_AIM;
use piccolo_schema::link::RequestKind;

use super::{Ask, command, is_error};
use crate::resp::{Reply, value};

/// Slots asked at once at most.
const WINDOW_SLOTS: u16 = 256;

/// Slots that one SCAN looks at most: a call over an empty cluster must return, too.
const SCAN_SLOTS_MAX: u16 = 1024;

/// Bytes of keys from which on a page of a SCAN takes in no further slot, whatever COUNT asks for:
/// it is far below what a frame may hold.
const PAGE_BYTES_MAX: usize = FRAME_BYTES_AIM;

/// Bits of a SCAN cursor that say where in its slot the walk goes on: the top ones of a hash.
const CURSOR_HASH_BITS: u32 = 48;

/// What is asked.
#[derive(Debug)]
pub(in crate::shard) enum SweepKind {
    DbSize,
    FlushAll,
    Keys { pattern: Vec<u8> },
    RandomKey { seed: u64 },
    Scan { cursor: u64, count: usize, filter: Vec<Vec<u8>>, slot_keys: usize },
}

/// A set of slots.
#[derive(Clone, Debug)]
pub(in crate::shard) struct Slots(Box<[u64; Slot::COUNT as usize / 64]>);

impl Slots {
    pub(in crate::shard) fn those(matches: impl Fn(Slot) -> bool) -> Self {
        let mut bits = Box::new([0; Slot::COUNT as usize / 64]);
        for slot in Slot::all().filter(|slot| matches(*slot)) {
            bits[slot.index() / 64] |= 1 << (slot.index() % 64);
        }
        Self(bits)
    }

    fn contains(&self, slot: Slot) -> bool {
        self.0[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }
}

/// A question to every slot.
#[derive(Debug)]
pub(in crate::shard) struct Sweep {
    kind: SweepKind,
    /// Which slots are asked; `None`: all.
    only: Option<Slots>,
    /// The next slot to ask; `Slot::COUNT` when all have been.
    next: u16,
    asked: u16,
    missing: usize,
    /// Answers of the window in order of slots, for those whose order matters.
    answers: BTreeMap<u16, Vec<u8>>,
    total: i64,
    keys: Vec<u8>,
    keys_count: usize,
    cursor: u64,
    finished: bool,
    error: Option<Vec<u8>>,
}

impl Sweep {
    pub(in crate::shard) fn new(kind: SweepKind, only: Option<Slots>) -> Self {
        let next = match kind {
            SweepKind::Scan { cursor, .. } => (cursor >> CURSOR_HASH_BITS) as u16,
            _ => 0,
        };
        Self {
            kind,
            only,
            next,
            asked: 0,
            missing: 0,
            answers: BTreeMap::new(),
            total: 0,
            keys: Vec::new(),
            keys_count: 0,
            cursor: 0,
            finished: false,
            error: None,
        }
    }

    pub(super) fn done(&self) -> bool {
        self.missing == 0 && (self.finished || self.error.is_some())
    }

    pub(super) fn poll(&mut self) -> Vec<Ask> {
        if self.missing > 0 || self.done() {
            return Vec::new();
        }
        if self.next >= Slot::COUNT && !matches!(self.kind, SweepKind::RandomKey { .. }) {
            self.finished = true;
            return Vec::new();
        }
        let window = self.window().min(Slot::COUNT - self.asked.min(Slot::COUNT));
        if window == 0 {
            self.finished = true;
            return Vec::new();
        }
        let asks: Vec<Ask> = (0..window).filter_map(|_| self.ask_next()).collect();
        self.missing = asks.len();
        if asks.is_empty() {
            // The last slots were none of those to ask.
            (self.cursor, self.finished) = (0, true);
        }
        asks
    }

    fn window(&self) -> u16 {
        match &self.kind {
            SweepKind::Scan { count, slot_keys, .. } => {
                (count / slot_keys.max(&1)).min(63) as u16 + 1
            }
            SweepKind::RandomKey { .. } => 32,
            _ => WINDOW_SLOTS,
        }
    }

    fn ask_next(&mut self) -> Option<Ask> {
        let slot = loop {
            let number = match self.kind {
                // From a random slot on, round the ring.
                SweepKind::RandomKey { seed } => self.next.wrapping_add(seed as u16) % Slot::COUNT,
                _ => self.next,
            };
            let slot = Slot::new(number).filter(|_| self.next < Slot::COUNT)?;
            self.next += 1;
            if self.only.as_ref().is_none_or(|only| only.contains(slot)) {
                break slot;
            }
        };
        let number = slot.number();
        let body = self.body(number);
        self.asked += 1;
        let write = matches!(self.kind, SweepKind::FlushAll);
        Some(Ask { part: u32::from(number), slot, kind: RequestKind::Sweep, write, body })
    }

    fn body(&self, number: u16) -> Vec<u8> {
        match &self.kind {
            SweepKind::DbSize => command(&[b"SLOT.COUNT"]),
            SweepKind::FlushAll => command(&[b"SLOT.CLEAR"]),
            SweepKind::Keys { pattern } => command(&[b"SLOT.KEYS", pattern]),
            SweepKind::RandomKey { seed } => {
                command(&[b"SLOT.RANDOM", seed.to_string().as_bytes()])
            }
            SweepKind::Scan { cursor, count, filter, .. } => {
                let first = (cursor >> CURSOR_HASH_BITS) as u16 == number;
                let hash = if first { cursor << (64 - CURSOR_HASH_BITS) } else { 0 };
                let (hash, count) = (hash.to_string(), count.to_string());
                let mut args: Vec<&[u8]> = vec![b"SLOT.SCAN", hash.as_bytes(), count.as_bytes()];
                args.extend(filter.iter().map(Vec::as_slice));
                command(&args)
            }
        }
    }

    pub(super) fn take(&mut self, part: u32, answer: &[u8]) {
        self.missing -= 1;
        if is_error(answer) {
            self.error.get_or_insert_with(|| answer.to_vec());
            return;
        }
        match self.kind {
            SweepKind::DbSize => self.total += value::integer(answer).unwrap_or(0),
            SweepKind::FlushAll => {}
            SweepKind::Keys { .. } => {
                for item in value::array_items(answer).into_iter().flatten() {
                    self.keys.extend_from_slice(item);
                    self.keys_count += 1;
                }
            }
            SweepKind::RandomKey { .. } => {
                if value::bulk(answer).is_some() {
                    (self.keys, self.finished) = (answer.to_vec(), true);
                }
            }
            SweepKind::Scan { .. } => {
                self.answers.insert(part as u16, answer.to_vec());
            }
        }
        if self.missing == 0 && matches!(self.kind, SweepKind::Scan { .. }) {
            self.join_window();
        }
    }

    /// Joins the answers of a window in the order of slots, up to the count wanted or to the bytes
    /// of a page; what lies behind that is asked again by the next call.
    fn join_window(&mut self) {
        let SweepKind::Scan { count, .. } = self.kind else { return };
        for (number, answer) in std::mem::take(&mut self.answers) {
            let mut parts = value::array_items(&answer).into_iter().flatten();
            let next = parts.next().and_then(value::bulk).and_then(parse_u64);
            for item in parts.next().and_then(value::array_items).into_iter().flatten() {
                self.keys.extend_from_slice(item);
                self.keys_count += 1;
            }
            self.cursor = match next {
                // Rounded down: keys of one prefix are told again rather than missed.
                Some(hash) => {
                    u64::from(number) << CURSOR_HASH_BITS | hash >> (64 - CURSOR_HASH_BITS)
                }
                None => (u64::from(number) + 1) << CURSOR_HASH_BITS,
            };
            let full = self.keys_count >= count || self.keys.len() >= PAGE_BYTES_MAX;
            if next.is_some() || full {
                self.finished = true;
                break;
            }
        }
        if self.cursor >> CURSOR_HASH_BITS >= u64::from(Slot::COUNT) {
            (self.cursor, self.finished) = (0, true);
        }
        self.finished |= self.asked >= SCAN_SLOTS_MAX;
    }

    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        if let Some(error) = &self.error {
            return reply.raw(error);
        }
        match self.kind {
            SweepKind::DbSize => reply.integer(self.total),
            SweepKind::FlushAll => reply.ok(),
            SweepKind::RandomKey { .. } if self.keys.is_empty() => reply.null(),
            SweepKind::RandomKey { .. } => reply.raw(&self.keys),
            SweepKind::Keys { .. } => {
                reply.array(self.keys_count);
                reply.raw(&self.keys);
            }
            SweepKind::Scan { .. } => {
                reply.array(2);
                reply.bulk(self.cursor.to_string().as_bytes());
                reply.array(self.keys_count);
                reply.raw(&self.keys);
            }
        }
    }
}

fn parse_u64(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
