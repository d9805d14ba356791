//! Commands that count in the value of one key.

use super::bad_argument::{BadArgument, integer, write_integer};
use super::key_at;
use super::long_double::LongDouble;
use crate::keyspace::{Key, Keyspace};
use crate::resp::{Args, Reply};

pub(super) fn incr(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_integer(add(key_at(args, keyspace, 1), 1, keyspace), reply);
}

pub(super) fn decr(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    write_integer(add(key_at(args, keyspace, 1), -1, keyspace), reply);
}

pub(super) fn incrby(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    write_integer(integer(args.get(2)).and_then(|by| add(key, by, keyspace)), reply);
}

pub(super) fn decrby(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let key = key_at(args, keyspace, 1);
    let by =
        integer(args.get(2)).and_then(|by| by.checked_neg().ok_or(BadArgument::DecrementOverflow));
    write_integer(by.and_then(|by| add(key, by, keyspace)), reply);
}

pub(super) fn incrbyfloat(args: &Args<'_>, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    match add_float(key_at(args, keyspace, 1), args.get(2), keyspace) {
        Ok(text) => reply.bulk(text.as_bytes()),
        Err(error) => error.write(reply),
    }
}

pub(super) fn add(key: Key<'_>, by: i64, keyspace: &mut Keyspace<'_>) -> Result<i64, BadArgument> {
    let (value, expires) = match keyspace.get(key) {
        Some(entry) => (integer(entry.value)?, entry.expires),
        None => (0, None),
    };
    let value = value.checked_add(by).ok_or(BadArgument::Overflow)?;
    keyspace.put_value(key, itoa::Buffer::new().format(value).as_bytes(), expires);
    Ok(value)
}

fn add_float(key: Key<'_>, by: &[u8], keyspace: &mut Keyspace<'_>) -> Result<String, BadArgument> {
    let parse = |text| LongDouble::parse(text).ok_or(BadArgument::Float);
    let (value, expires) = match keyspace.get(key) {
        Some(entry) => (parse(entry.value)?, entry.expires),
        None => (LongDouble::ZERO, None),
    };
    let sum = value.add(parse(by)?).ok_or(BadArgument::NotFinite)?;
    let text = sum.to_decimal();
    keyspace.put_value(key, text.as_bytes(), expires);
    Ok(text)
}
