//! The slot table: a million keys of 16 bytes with values of 100 in 16384 slots, as a node has
//! them. Criterion's figures are per command. Before them, what is measured once: bytes per key,
//! and the longest write while one slot grows to a million keys.

use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput};
use mimalloc::MiMalloc;
use piccolo_engine::store::{Entry, KeyHasher, SlotTable};
use piccolo_schema::ids::{ClusterId, Version};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const HASHER: KeyHasher = KeyHasher::new(ClusterId(0x0123_4567_89ab_cdef));
const SLOTS: usize = 16384;
const KEYS: u64 = 1_000_000;
const BATCH: usize = 64;
const VALUE: [u8; 100] = [b'v'; 100];

type Key = [u8; 16];

/// A command as the shard has it after parsing: which slot, hash and key.
#[derive(Clone, Copy)]
struct Command {
    slot: usize,
    hash: u64,
    key: Key,
}

fn command(number: u64) -> Command {
    let mut key = *b"key:000000000000";
    let (mut rest, mut at) = (number, key.len());
    while rest > 0 {
        at -= 1;
        key[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // Any function of the key will do here, if it knows nothing of the hash.
    Command { slot: (scatter(number) as usize) % SLOTS, hash: HASHER.hash(&key), key }
}

fn scatter(number: u64) -> u64 {
    let x = (number ^ (number >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 20
}

fn entry(key: &Key) -> Entry<'_> {
    Entry { key, value: &VALUE, meta: b"", expires: None, version: Version::ZERO.next() }
}

fn filled() -> Vec<SlotTable> {
    let mut slots: Vec<SlotTable> = (0..SLOTS).map(|_| SlotTable::new()).collect();
    for number in 0..KEYS {
        let Command { slot, hash, key } = command(number);
        slots[slot].put(hash, &entry(&key));
    }
    slots
}

/// Commands on random keys of `first ..`, without end.
fn commands(first: u64) -> impl FnMut() -> Command {
    // Far more than the caches hold, and drawn beforehand: only the table is measured.
    let drawn: Vec<Command> =
        (0..KEYS).map(|i| command(first + scatter(i * 7 + 3) % KEYS)).collect();
    let mut at = 0;
    move || {
        at = (at + 1) % drawn.len();
        drawn[at]
    }
}

fn look_up(slots: &[SlotTable], command: &Command) -> u64 {
    let found = slots[command.slot].get(command.hash, &command.key);
    found.map_or(0, |entry| u64::from(entry.value[0]) + u64::from(entry.value[99]))
}

fn batch(slots: &[SlotTable], commands: &[Command], prefetch: bool) -> u64 {
    if prefetch {
        for command in commands {
            slots[command.slot].prefetch();
        }
        for command in commands {
            slots[command.slot].prefetch_bucket(command.hash);
        }
        for command in commands {
            slots[command.slot].prefetch_entry(command.hash);
        }
    }
    commands.iter().map(|command| look_up(slots, command)).sum()
}

fn gets(c: &mut Criterion, slots: &[SlotTable]) {
    let mut group = c.benchmark_group("table");
    for (name, first) in [("get hit", 0), ("get miss", KEYS)] {
        let mut next = commands(first);
        group.bench_function(name, |b| b.iter(|| look_up(slots, &next())));
    }
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, prefetch) in [("64 gets", false), ("64 gets, prefetched", true)] {
        let mut next = commands(0);
        group.bench_function(name, |b| {
            let draw = || -> [Command; BATCH] { std::array::from_fn(|_| next()) };
            b.iter_batched_ref(draw, |all| batch(slots, all, prefetch), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn puts(c: &mut Criterion, slots: &mut [SlotTable]) {
    let mut group = c.benchmark_group("table");
    let mut next = commands(0);
    group.bench_function("put, overwriting", |b| {
        b.iter(|| {
            let Command { slot, hash, key } = next();
            slots[slot].put(hash, &entry(&key))
        });
    });
    // New keys must go again, or the table would not be the one that is named.
    let mut next = commands(KEYS);
    group.bench_function("put new, then remove", |b| {
        b.iter(|| {
            let Command { slot, hash, key } = next();
            slots[slot].put(hash, &entry(&key));
            slots[slot].remove(hash, &key)
        });
    });
    group.sample_size(10);
    group.bench_function("put a million new", |b| b.iter_with_large_drop(filled));
    group.finish();
}

/// Bytes that the process has in memory (source: proc(5), statm, pages of 4 KiB).
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .map_or(0, |pages: usize| pages * 4096)
}

#[expect(clippy::print_stdout, reason = "what is measured once is told as criterion tells")]
fn report_memory() -> Vec<SlotTable> {
    let before = resident_bytes();
    let slots = filled();
    let resident = (resident_bytes() - before) as f64 / KEYS as f64;
    let asked: usize = slots.iter().map(SlotTable::bytes).sum();
    let asked = asked as f64 / KEYS as f64;
    println!(
        "memory: {resident:.1} resident bytes per key of 116 ({:.1} over), of which {asked:.1} \
         were asked for and {:.2} are slots",
        resident - 116.0,
        (SLOTS * size_of::<SlotTable>()) as f64 / KEYS as f64
    );
    slots
}

/// The work of each put is the same in every run, the machine's other work is not: the shortest of
/// several runs is what the put takes.
#[expect(clippy::print_stdout, reason = "as above")]
fn report_longest_put() {
    let mut shortest = vec![u32::MAX; KEYS as usize];
    for _ in 0..7 {
        let mut table = SlotTable::new();
        time_puts(&mut table, &mut shortest);
        while !table.drop_step(1000) {}
    }
    let mut puts: Vec<(u32, usize)> = shortest.into_iter().zip(1..).collect();
    puts.sort_unstable_by_key(|(nanos, _)| std::cmp::Reverse(*nanos));
    println!("one slot of a million keys: longest puts (nanoseconds, entries) {:?}", &puts[..5]);
}

#[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
fn time_puts(table: &mut SlotTable, shortest: &mut [u32]) {
    for (number, shortest) in (0..).zip(shortest) {
        let Command { hash, key, .. } = command(number);
        let start = Instant::now();
        table.put(hash, &entry(&key));
        *shortest = (*shortest).min(start.elapsed().as_nanos() as u32);
    }
}

fn main() {
    let mut slots = report_memory();
    report_longest_put();
    let mut criterion = Criterion::default().configure_from_args();
    gets(&mut criterion, &slots);
    puts(&mut criterion, &mut slots);
    criterion.final_summary();
}
