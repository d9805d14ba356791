//! Commands over any number of keys. Executed per slot, on the keys that lie in it.

use super::bad_argument::BadArgument;
use super::key_at;
use crate::keyspace::{Key, Keyspace};
use crate::resp::{Args, Reply};

pub(super) fn mget(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    reply.array(args.len() - 1);
    for index in 1..args.len() {
        match keyspace.get(key_at(args, keyspace, index)) {
            Some(entry) => reply.bulk(entry.value),
            None => reply.null(),
        }
    }
}

pub(super) fn mset(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    if args.len().is_multiple_of(2) {
        return BadArgument::Arity("mset").write(reply);
    }
    put_all(args, keyspace);
    reply.ok();
}

/// All keys are in one slot, so that this is atomic.
pub(super) fn msetnx(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let free = (1..args.len())
        .step_by(2)
        .all(|index| keyspace.get(key_at(args, keyspace, index)).is_none());
    if free {
        put_all(args, keyspace);
    }
    reply.integer(i64::from(free));
}

pub(super) fn del(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    count(args, keyspace, reply, remove);
}

/// Entries are small enough to be dropped at once, so this is DEL.
pub(super) fn unlink(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    del(args, keyspace, reply);
}

pub(super) fn exists(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    count(args, keyspace, reply, holds);
}

/// Reading marks an entry as used, so this is EXISTS.
pub(super) fn touch(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    exists(args, keyspace, reply);
}

fn put_all(args: &Args<'_>, keyspace: &mut Keyspace<'_>) {
    for index in (1..args.len()).step_by(2) {
        keyspace.put(key_at(args, keyspace, index), args.get(index + 1), None);
    }
}

fn remove(keyspace: &mut Keyspace<'_>, key: Key<'_>) -> bool {
    keyspace.remove(key)
}

fn holds(keyspace: &mut Keyspace<'_>, key: Key<'_>) -> bool {
    keyspace.get(key).is_some()
}

/// Replies how many keys `of` is true for, one named twice counting twice.
fn count(
    args: &Args<'_>,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
    of: impl Fn(&mut Keyspace<'_>, Key<'_>) -> bool,
) {
    let mut sum = 0;
    for index in 1..args.len() {
        let key = key_at(args, keyspace, index);
        sum += i64::from(of(keyspace, key));
    }
    reply.integer(sum);
}
