//! Commands that carry an entry from one key to another of its slot.

use piccolo_schema::time::UnixMillis;

use super::bad_argument::{BadArgument, integer};
use super::key_at;
use crate::keyspace::{Key, Keyspace};
use crate::resp::{Args, Reply};

pub(super) fn rename(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let (from, to) = both(args, keyspace);
    match held(from, keyspace) {
        Some(_) if from.bytes == to.bytes => reply.ok(),
        Some(held) => {
            keyspace.remove(from);
            held.put(to, keyspace);
            reply.ok();
        }
        None => BadArgument::NoSuchKey.write(reply),
    }
}

pub(super) fn renamenx(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let (from, to) = both(args, keyspace);
    let Some(held) = held(from, keyspace) else {
        return BadArgument::NoSuchKey.write(reply);
    };
    let free = keyspace.get(to).is_none();
    if free {
        keyspace.remove(from);
        held.put(to, keyspace);
    }
    reply.integer(i64::from(free));
}

pub(super) fn copy(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let (from, to) = both(args, keyspace);
    let replace = match copy_options(args) {
        Ok(replace) => replace,
        Err(error) => return error.write(reply),
    };
    if from.bytes == to.bytes {
        return BadArgument::SameKey.write(reply);
    }
    let Some(held) = held(from, keyspace) else { return reply.integer(0) };
    let free = replace || keyspace.get(to).is_none();
    if free {
        held.put(to, keyspace);
    }
    reply.integer(i64::from(free));
}

fn both<'a>(args: &Args<'a>, keyspace: &Keyspace<'_>) -> (Key<'a>, Key<'a>) {
    (key_at(args, keyspace, 1), key_at(args, keyspace, 2))
}

/// What a key holds. Copied: writing the one key may move the other's entry.
struct Held {
    value: Vec<u8>,
    meta: Vec<u8>,
    expires: Option<UnixMillis>,
}

impl Held {
    fn put(&self, to: Key<'_>, keyspace: &mut Keyspace<'_>) {
        keyspace.put_meta(to, &self.value, &self.meta, self.expires);
    }
}

fn held(key: Key<'_>, keyspace: &mut Keyspace<'_>) -> Option<Held> {
    keyspace.get(key).map(|entry| Held {
        value: entry.value.to_vec(),
        meta: entry.meta.to_vec(),
        expires: entry.expires,
    })
}

/// Reads `[DB 0] [REPLACE]` and returns whether what the other key holds may be written over.
fn copy_options(args: &Args<'_>) -> Result<bool, BadArgument> {
    let (mut replace, mut index) = (false, 3);
    while index < args.len() {
        let word = args.get(index);
        if word.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if word.eq_ignore_ascii_case(b"db") && index + 1 < args.len() {
            index += 1;
            if integer(args.get(index))? != 0 {
                return Err(BadArgument::Database);
            }
        } else {
            return Err(BadArgument::Syntax);
        }
        index += 1;
    }
    Ok(replace)
}
