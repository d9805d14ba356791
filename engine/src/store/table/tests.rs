//! The table against a `BTreeMap`, with hashes that spread, collide in part, and collide in full.

use std::collections::{BTreeMap, BTreeSet};

use piccolo_schema::ids::ClusterId;
use proptest::prelude::*;

use super::*;

const HASHER: KeyHasher = KeyHasher::new(ClusterId(0x5eed));

/// As they are; 256 values of the top byte; all at home in the last bucket; in the first, and
/// told apart by low bits alone; all the same.
const MASKS: [u64; 5] = [u64::MAX, 0xff << 56, u64::MAX, 0xff, 0];
const LAST_BUCKET: usize = 2;

#[derive(Clone)]
struct Held {
    value: Vec<u8>,
    meta: Vec<u8>,
    expires: Option<UnixMillis>,
    version: Version,
}

/// What is said of the metadata with a value.
#[derive(Clone, Debug)]
enum Said {
    /// These.
    Set(Vec<u8>),
    /// Nothing: those there stay.
    Keep,
    /// Nothing, and the value is filled in.
    KeepFill,
}

#[derive(Clone, Debug)]
enum Op {
    Put { key: u16, value_bytes: usize, said: Said, expires: Option<u64> },
    PutMany { first: u16, count: u16 },
    SetExpires { key: u16, expires: Option<u64> },
    Remove { key: u16 },
    RemoveMany { first: u16, count: u16 },
    Walk { from: u64, visits: usize },
    Sweep { now: u64, entries_max: usize, delete: bool },
    Clear { step: usize },
}

fn expiry() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(prop_oneof![8 => 0..1000u64, 1 => Just(1 << 47)])
}

fn value_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..20usize, 4 => 120..136usize, 1 => 0..5000usize, 1 => 262_140..262_150usize]
}

fn said() -> impl Strategy<Value = Said> {
    let meta_bytes = prop_oneof![8 => 0..4usize, 2 => 0..256usize, 1 => Just(255)];
    let set = (meta_bytes, any::<u8>()).prop_map(|(bytes, byte)| Said::Set(vec![byte; bytes]));
    prop_oneof![4 => Just(Said::Set(Vec::new())), 6 => set, 3 => Just(Said::Keep),
        3 => Just(Said::KeepFill)]
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..300u16;
    prop_oneof![
        12 => (key(), value_bytes(), said(), expiry()).prop_map(
            |(key, value_bytes, said, expires)| Op::Put { key, value_bytes, said, expires }
        ),
        1 => (0..10_000u16, 1..4000u16)
            .prop_map(|(first, count)| Op::PutMany { first, count }),
        4 => (key(), expiry()).prop_map(|(key, expires)| Op::SetExpires { key, expires }),
        8 => key().prop_map(|key| Op::Remove { key }),
        1 => (0..10_000u16, 1..4000u16)
            .prop_map(|(first, count)| Op::RemoveMany { first, count }),
        2 => (any::<u64>(), 1..50usize).prop_map(|(from, visits)| Op::Walk { from, visits }),
        3 => (0..1000u64, 1..500usize, any::<bool>())
            .prop_map(|(now, entries_max, delete)| Op::Sweep { now, entries_max, delete }),
        1 => (1..2000usize).prop_map(|step| Op::Clear { step }),
    ]
}

/// Keys of different lengths, some empty or long.
fn key_of(number: u16) -> Vec<u8> {
    match number {
        0 => Vec::new(),
        1..8 => vec![b'x'; usize::from(number) * 9000],
        _ => format!("{number}:{}", "k".repeat(usize::from(number % 80))).into_bytes(),
    }
}

struct Pair {
    table: SlotTable,
    model: BTreeMap<Vec<u8>, Held>,
    hasher: KeyHasher,
    /// Keys whose hashes collide cost the square of their number.
    many_max: u16,
    version: Version,
}

impl Pair {
    fn new(mask: usize) -> Self {
        let hasher = HASHER.masked(MASKS[mask]);
        let hasher = if mask == LAST_BUCKET { hasher.or(0xffff << 48) } else { hasher };
        let many_max = if mask == 0 { u16::MAX } else { 200 };
        let (table, model) = (SlotTable::new(), BTreeMap::new());
        Self { table, model, hasher, many_max, version: Version::ZERO }
    }

    fn put(&mut self, key: &[u8], value: Vec<u8>, expires: Option<UnixMillis>, said: &Said) {
        self.version = self.version.next();
        let (hash, version) = (self.hasher.hash(key), self.version);
        let there = match said {
            Said::Set(meta) => {
                self.table.put(hash, &Entry { key, value: &value, meta, expires, version })
            }
            Said::Keep => self.table.put_value(hash, key, &value, expires, version),
            Said::KeepFill => self.table.put_with(hash, key, value.len(), expires, version, |to| {
                assert!(to.iter().all(|byte| *byte == 0), "not zeros");
                to.copy_from_slice(&value);
            }),
        };
        let meta = match said {
            Said::Set(meta) => meta.clone(),
            _ => self.model.get(key).map_or(Vec::new(), |held| held.meta.clone()),
        };
        let held = Held { value, meta, expires, version };
        assert_eq!(there, self.model.insert(key.to_vec(), held).is_some());
    }

    fn put_plain(&mut self, key: &[u8], value: Vec<u8>, expires: Option<UnixMillis>) {
        self.put(key, value, expires, &Said::Set(Vec::new()));
    }

    fn remove(&mut self, key: &[u8]) {
        let there = self.table.remove(self.hasher.hash(key), key);
        assert_eq!(there, self.model.remove(key).is_some());
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Put { key, value_bytes, ref said, expires } => {
                let value = vec![key as u8; value_bytes];
                self.put(&key_of(key), value, expires.map(UnixMillis), said);
            }
            Op::PutMany { first, count } => {
                for key in first..first + count.min(self.many_max) {
                    let expires = (key % 3 == 0).then_some(UnixMillis(u64::from(key) + 300));
                    self.put_plain(&key_of(key), key.to_le_bytes().to_vec(), expires);
                }
            }
            Op::SetExpires { key, expires } => self.set_expires(&key_of(key), expires),
            Op::Remove { key } => self.remove(&key_of(key)),
            Op::RemoveMany { first, count } => {
                (first..first + count).for_each(|key| self.remove(&key_of(key)));
            }
            Op::Walk { from, visits } => self.walk(from, visits),
            Op::Sweep { now, entries_max, delete } => self.sweep(now, entries_max, delete),
            Op::Clear { step } => {
                let mut old = std::mem::take(&mut self.table);
                let mut left = std::mem::take(&mut self.model).len();
                while !old.drop_step(step) {
                    left -= step;
                    assert_eq!(old.len(), left);
                }
                assert_eq!((old.len(), old.bytes()), (0, 0));
            }
        }
    }

    fn set_expires(&mut self, key: &[u8], expires: Option<u64>) {
        self.version = self.version.next();
        let expires = expires.map(UnixMillis);
        let hash = self.hasher.hash(key);
        let there = self.table.set_expires(hash, key, expires, self.version);
        let held = self.model.get_mut(key);
        assert_eq!(there, held.is_some());
        if let Some(held) = held {
            (held.expires, held.version) = (expires, self.version);
        }
    }

    /// Everything that `visits` promises, beside what the model says.
    fn walk(&self, from: u64, visits: usize) {
        let mut wanted: BTreeSet<(u64, Vec<u8>)> = BTreeSet::new();
        wanted.extend(self.model.keys().map(|key| (self.hasher.hash(key), key.clone())));
        let mut wanted = wanted.split_off(&(from, Vec::new()));
        let (mut seen, mut last) = (0, from);
        let next = self.table.walk(&self.hasher, from, |hash, entry| {
            assert!(hash >= last, "out of order");
            assert!(wanted.remove(&(hash, entry.key.to_vec())), "visited twice, or not there");
            assert!(seen < visits || hash == last, "visited after the stop");
            (seen, last) = (seen + 1, hash);
            seen < visits
        });
        assert_eq!(next, wanted.first().map(|(hash, _)| *hash));
        assert!(next.is_none_or(|next| next > last && seen >= visits));
    }

    fn sweep(&mut self, now: u64, entries_max: usize, delete: bool) {
        let mut found = BTreeSet::new();
        self.table.sweep_expired(&self.hasher, UnixMillis(now), entries_max, |hash, key| {
            assert_eq!(hash, self.hasher.hash(key));
            assert!(self.model[key].expires.is_some_and(|at| at.0 <= now));
            assert!(found.insert(key.to_vec()), "found twice in one call");
        });
        if delete {
            for key in &found {
                self.remove(key);
            }
        }
    }

    /// Sweeps until the bound says that nothing is due, which takes two rounds at most.
    fn sweep_all(&mut self, now: u64) {
        let entries_max = 100;
        for _ in 0..2 * (self.model.len() / entries_max + 2) + 2000 {
            if self.table.first_expiry().is_none_or(|at| at.0 > now) {
                break;
            }
            self.sweep(now, entries_max, true);
        }
        assert!(self.table.first_expiry().is_none_or(|at| at.0 > now), "the bound never rises");
        assert!(self.model.values().all(|held| held.expires.is_none_or(|at| at.0 > now)));
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len());
        assert_eq!(self.table.is_empty(), self.model.is_empty());
        let first = self.model.values().filter_map(|held| held.expires).min();
        let bound = self.table.first_expiry();
        assert!(first.is_none_or(|first| bound.is_some_and(|bound| bound <= first)));
        if self.model.is_empty() {
            assert_eq!((self.table.bytes(), bound), (0, None));
        }
        for (key, held) in &self.model {
            let hash = self.hasher.hash(key);
            self.table.prefetch_bucket(hash);
            self.table.prefetch_entry(hash);
            let Held { value, meta, expires, version } = held;
            let (expires, version) = (*expires, *version);
            let entry = Entry { key, value, meta, expires, version };
            assert_eq!(self.table.get(hash, key), Some(entry));
        }
        assert_eq!(self.table.bytes(), self.bytes_counted());
    }

    /// Bytes as the layout has them, counted anew.
    fn bytes_counted(&self) -> usize {
        let entries = self.model.iter().map(|(key, held)| {
            let (value_bytes, meta_bytes) = (held.value.len(), held.meta.len());
            let lengths = match (key.len(), value_bytes, meta_bytes) {
                (..64, ..128, 0) => 2,
                (..2048, ..262_144, 0) => 4,
                (_, _, 0) => 6,
                _ => 7,
            };
            let expiry = if held.expires.is_some() { 8 } else { 0 };
            lengths + 2 + 8 + expiry + key.len() + value_bytes + meta_bytes
        });
        let (mut table, mut at) = (0, 0);
        loop {
            let part = self.table.parts.part(at);
            assert!(part.len() * 8 <= part.bucket_bytes() * 3 / 4, "overloaded");
            table += part.bucket_bytes();
            match self.table.parts.bounds(at).1 {
                Some(behind) => at = behind,
                None => break,
            }
        }
        if let Parts::Many(directory) = &self.table.parts {
            table += directory.cells_bytes();
        }
        let sweep = if self.table.sweep.is_some() { 16 } else { 0 };
        entries.sum::<usize>() + table + sweep
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn the_table_holds_what_a_map_holds(
        mask in 0..MASKS.len(),
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let mut pair = Pair::new(mask);
        for op in &ops {
            pair.apply(op);
            assert_eq!(pair.table.len(), pair.model.len());
        }
        pair.check();
        pair.walk(0, usize::MAX);
        pair.sweep_all(700);
        pair.check();
    }

    /// What SCAN and snapshots promise: an entry that is there from start to end is visited once,
    /// and no entry twice, while others come and go and parts grow, split and shrink.
    #[test]
    fn a_walk_in_steps_visits_once_what_stays(
        mask in 0..MASKS.len(),
        stay in 1..2000u16,
        visits in 1..300usize,
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let mut pair = Pair::new(mask);
        let stay = 0..stay.min(pair.many_max);
        let stay: BTreeSet<_> = stay.map(|n| format!("stays {n}")).collect();
        for key in &stay {
            pair.put_plain(key.as_bytes(), vec![1; 9], None);
        }
        let mut seen = BTreeSet::new();
        let mut from = Some(0);
        let mut ops = ops.iter().filter(|op| !matches!(op, Op::Clear { .. }));
        while let Some(at) = from {
            let mut left = visits;
            from = pair.table.walk(&pair.hasher, at, |_, entry| {
                assert!(seen.insert(entry.key.to_vec()), "visited twice");
                left = left.saturating_sub(1);
                left > 0
            });
            ops.next().into_iter().for_each(|op| pair.apply(op));
        }
        prop_assert!(stay.iter().all(|key| seen.contains(key.as_bytes())));
    }
}

/// Far above one part: directory, splits at different depths, and all of it back again.
#[test]
fn a_giant_slot_grows_and_empties() {
    let mut pair = Pair::new(0);
    for key in 0..40_000u32 {
        pair.put_plain(&key.to_le_bytes(), vec![2; 3], Some(UnixMillis(u64::from(key) + 1000)));
    }
    pair.check();
    pair.walk(0, usize::MAX);
    pair.walk(0xabcd << 48, 7000);
    pair.sweep_all(1500);
    assert_eq!(pair.model.len(), 40_000 - 501);
    pair.check();
    for key in 0..40_000u32 {
        pair.remove(&key.to_le_bytes());
    }
    pair.check();
}

/// No bit tells the entries apart, so splitting is of no use, and must end.
#[test]
fn more_equal_hashes_than_a_part_holds_are_still_found() {
    let (mut table, hash) = (SlotTable::new(), 0x0123_4567_89ab_cdef);
    let key_of = |n: u16| n.to_le_bytes();
    for n in 0..=2 * ENTRIES_MAX {
        let (key, version) = (&key_of(n), Version::ZERO.next());
        let entry = Entry { key, value: &[3], meta: b"", expires: None, version };
        assert!(!table.put(hash, &entry));
    }
    for n in 0..=2 * ENTRIES_MAX {
        assert!(table.get(hash, &key_of(n)).is_some());
        assert_eq!(table.get(hash ^ 1, &key_of(n)), table.get(hash, &key_of(n)));
    }
    assert!(table.bytes() < 1 << 20, "the directory does not grow without end");
}

#[test]
fn longest_key_and_large_values_are_kept() {
    let mut pair = Pair::new(0);
    for bytes in [0, 127, 128, 1 << 18, 5 << 20, 3] {
        let key = vec![b'k'; 64 << 10];
        pair.put_plain(&key, vec![7; bytes], None);
        pair.check();
        pair.put(&key, vec![8; bytes], Some(UnixMillis(9)), &Said::KeepFill);
        pair.check();
        pair.put(&key, vec![9; bytes], None, &Said::Set(vec![5; 255]));
        pair.check();
    }
}

#[test]
fn a_value_of_the_same_size_is_written_in_place() {
    let (mut table, key) = (SlotTable::new(), b"key");
    let hash = HASHER.hash(key);
    let mut places = BTreeSet::new();
    for value in [b"one", b"two"] {
        let version = Version::ZERO;
        table.put(hash, &Entry { key, value, meta: b"", expires: None, version });
        places.extend(table.get(hash, key).map(|entry| entry.value.as_ptr()));
    }
    assert_eq!(places.len(), 1);
    assert_eq!(table.get(hash, key).map(|entry| entry.value), Some(&b"two"[..]));
}

/// A caller compares the bound with the time: it must rise when the first to end is deleted.
#[test]
fn a_whole_round_makes_the_bound_exact() {
    let mut pair = Pair::new(0);
    for (key, at) in [(10, 100), (11, 200), (12, 300)] {
        pair.put_plain(&key_of(key), vec![], Some(UnixMillis(at)));
    }
    pair.remove(&key_of(10));
    assert_eq!(pair.table.first_expiry(), Some(UnixMillis(100)));
    for _ in 0..3 {
        pair.sweep(150, 1, true);
    }
    pair.sweep(150, 100, true);
    assert_eq!(pair.table.first_expiry(), Some(UnixMillis(200)));
    pair.set_expires(&key_of(11), None);
    pair.set_expires(&key_of(12), None);
    pair.sweep(150, 100, true);
    assert_eq!(pair.table.first_expiry(), None);
}

/// An entry written behind a sweep under way counts.
#[test]
fn a_sweep_under_way_does_not_forget_what_comes_behind_it() {
    let mut pair = Pair::new(0);
    for key in 100..200 {
        pair.put_plain(&key_of(key), vec![], Some(UnixMillis(5000)));
    }
    pair.sweep(1, 50, true);
    for key in 200..300 {
        pair.put_plain(&key_of(key), vec![], Some(UnixMillis(4000)));
    }
    for _ in 0..8 {
        pair.sweep(1, 50, true);
        pair.check();
    }
}
