//! Commands about keys as such, and the parts of one slot in sweeps over all.

use piccolo_schema::limits::FRAME_BYTES_AIM;

use super::bad_argument::BadArgument;
use super::{glob, key_at};
use crate::keyspace::Keyspace;
use crate::resp::{Args, Reply, number};

/// Entries that one step of a SCAN looks at, at most, whatever COUNT asks for: about a
/// millisecond of work.
const SCAN_ENTRIES_MAX: usize = 4096;

/// Bytes of keys from which on a step of a SCAN finds no more: a page of them goes into one frame.
const SCAN_BYTES_MAX: usize = FRAME_BYTES_AIM;

/// TYPE
pub(super) fn kind(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let there = keyspace.get(key_at(args, keyspace, 1)).is_some();
    reply.status(if there { "string" } else { "none" });
}

/// `EXPECT key version`: 1 if the key has this version, 0 standing for no key; else 0.
pub(super) fn expect(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    match number::parse_i64(args.get(2)) {
        Some(expected) => {
            reply.integer(i64::from(version_of(args, keyspace) == expected as u64));
        }
        None => BadArgument::Integer.write(reply),
    }
}

/// `VERSION key`: the packed version of the key, 0 for no key.
pub(super) fn version(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    reply.integer(version_of(args, keyspace) as i64);
}

/// `SLOT.COUNT`: the number of entries, those that have ended but were not met yet included.
pub(super) fn count(_: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    reply.integer(keyspace.len() as i64);
}

/// `SLOT.SCAN cursor count [MATCH pattern] [TYPE type]`: looks at about `count` entries whose
/// hash is at least `cursor`, fewer if their keys are long; replies the cursor to go on from, null
/// at the end, and the keys.
pub(super) fn scan(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let Some(scan) = Scan::parse(args) else { return BadArgument::Syntax.write(reply) };
    let mut found = Found::default();
    let next = keyspace.walk(scan.from, scan.entries_max, |_, key| {
        if scan.strings && scan.pattern.is_none_or(|pattern| glob::matches(pattern, key)) {
            found.push(key);
        }
        found.bulks.len() < SCAN_BYTES_MAX
    });
    reply.array(2);
    match next {
        Some(hash) => reply.bulk(itoa::Buffer::new().format(hash).as_bytes()),
        None => reply.null(),
    }
    found.write(reply);
}

/// `SLOT.KEYS pattern`
pub(super) fn keys(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let pattern = args.get(1);
    let mut found = Found::default();
    keyspace.walk(0, usize::MAX, |_, key| {
        if glob::matches(pattern, key) {
            found.push(key);
        }
        true
    });
    found.write(reply);
}

/// `SLOT.RANDOM seed`: the key whose hash follows `seed`, a random number of 64 bits; null if
/// there is none.
pub(super) fn random(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let Some(seed) = number::parse_u64(args.get(1)) else {
        return BadArgument::Integer.write(reply);
    };
    let mut chosen = None;
    for from in [seed, 0] {
        keyspace.walk(from, usize::MAX, |_, key| {
            // Entries of equal hash come together even after the first.
            chosen.get_or_insert_with(|| key.to_vec());
            false
        });
        if chosen.is_some() {
            break;
        }
    }
    match chosen {
        Some(key) => reply.bulk(&key),
        None => reply.null(),
    }
}

/// `SLOT.CLEAR`
pub(super) fn clear(_: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    keyspace.clear_and_keep();
    reply.ok();
}

fn version_of(args: &Args<'_>, keyspace: &mut Keyspace<'_>) -> u64 {
    keyspace.get(key_at(args, keyspace, 1)).map_or(0, |entry| entry.version.packed())
}

struct Scan<'a> {
    from: u64,
    entries_max: usize,
    pattern: Option<&'a [u8]>,
    /// Whether the type asked for is the only one there is.
    strings: bool,
}

impl<'a> Scan<'a> {
    fn parse(args: &Args<'a>) -> Option<Self> {
        let from = number::parse_u64(args.get(1))?;
        let count = usize::try_from(number::parse_u64(args.get(2))?).ok()?;
        let entries_max = count.clamp(1, SCAN_ENTRIES_MAX);
        let mut scan = Self { from, entries_max, pattern: None, strings: true };
        for index in (3..args.len()).step_by(2) {
            let (word, operand) = (args.get(index), args.iter().nth(index + 1)?);
            if word.eq_ignore_ascii_case(b"match") {
                scan.pattern = Some(operand);
            } else if word.eq_ignore_ascii_case(b"type") {
                scan.strings = operand.eq_ignore_ascii_case(b"string");
            } else {
                return None;
            }
        }
        Some(scan)
    }
}

/// Keys to be replied, whose number is not known before the last.
#[derive(Default)]
struct Found {
    keys: usize,
    bulks: Vec<u8>,
}

impl Found {
    fn push(&mut self, key: &[u8]) {
        self.keys += 1;
        Reply::new(&mut self.bulks, false).bulk(key);
    }

    fn write(&self, reply: &mut Reply<'_>) {
        reply.array(self.keys);
        reply.raw(&self.bulks);
    }
}
