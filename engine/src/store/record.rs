//! Entries as they travel: in changes to followers and in snapshots.
//!
//! A record is a tag, then for an entry written: flags, packed version (8 bytes LE), expiry (8
//! bytes LE, only if flagged), key length and value length (4 bytes LE each), length of the
//! metadata (1 byte, only if flagged), key, value, metadata; for one deleted: key length, key; for
//! a slot emptied: nothing.

use piccolo_schema::ids::Version;
use piccolo_schema::limits::{KEY_BYTES_MAX, META_BYTES_MAX, VALUE_BYTES_MAX};
use piccolo_schema::time::UnixMillis;

use super::Entry;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const CLEAR: u8 = 3;
const EXPIRES: u8 = 1;
const META: u8 = 2;

/// What one record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// The key holds this.
    Put(Entry<'a>),
    /// The key holds nothing.
    Delete(&'a [u8]),
    /// No key of the slot holds anything.
    Clear,
}

impl Record<'_> {
    /// Appends the record to `to`.
    pub fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Put(entry) => write_put(entry, to),
            Self::Delete(key) => {
                to.push(DELETE);
                to.extend((key.len() as u32).to_le_bytes());
                to.extend_from_slice(key);
            }
            Self::Clear => to.push(CLEAR),
        }
    }
}

fn write_put(entry: &Entry<'_>, to: &mut Vec<u8>) {
    debug_assert!(entry.meta.len() <= META_BYTES_MAX, "longer than any metadata");
    let expires = if entry.expires.is_some() { EXPIRES } else { 0 };
    let meta = if entry.meta.is_empty() { 0 } else { META };
    to.extend([PUT, expires | meta]);
    to.extend(entry.version.packed().to_le_bytes());
    if let Some(UnixMillis(at)) = entry.expires {
        to.extend(at.to_le_bytes());
    }
    to.extend((entry.key.len() as u32).to_le_bytes());
    to.extend((entry.value.len() as u32).to_le_bytes());
    if meta != 0 {
        to.push(entry.meta.len() as u8);
    }
    to.extend_from_slice(entry.key);
    to.extend_from_slice(entry.value);
    to.extend_from_slice(entry.meta);
}

/// The bytes do not continue with a whole record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a record")]
pub struct NotARecord;

/// Takes the record at the start of `bytes` and returns it with the bytes behind it; `None` at
/// the end.
///
/// # Errors
///
/// The bytes do not start with a whole record.
pub fn read(bytes: &[u8]) -> Result<Option<(Record<'_>, &[u8])>, NotARecord> {
    let Some((tag, rest)) = bytes.split_first() else { return Ok(None) };
    let (record, rest) = match *tag {
        PUT => read_put(rest)?,
        DELETE => {
            let (length, rest) = take_u32(rest)?;
            let (key, rest) = take(rest, length)?;
            (Record::Delete(key), rest)
        }
        CLEAR => (Record::Clear, rest),
        _ => return Err(NotARecord),
    };
    Ok(Some((record, rest)))
}

fn read_put(bytes: &[u8]) -> Result<(Record<'_>, &[u8]), NotARecord> {
    let (flags, rest) = bytes.split_first().ok_or(NotARecord)?;
    let (version, mut rest) = take_u64(rest)?;
    let mut expires = None;
    if flags & EXPIRES != 0 {
        let (at, behind) = take_u64(rest)?;
        (expires, rest) = (Some(UnixMillis(at)), behind);
    }
    let (key_length, rest) = take_u32(rest)?;
    let (value_length, mut rest) = take_u32(rest)?;
    let mut meta_length = 0;
    if flags & META != 0 {
        (meta_length, rest) =
            rest.split_first().map(|(length, rest)| (*length, rest)).ok_or(NotARecord)?;
    }
    if key_length as usize > KEY_BYTES_MAX || value_length as usize > VALUE_BYTES_MAX {
        return Err(NotARecord);
    }
    let (key, rest) = take(rest, key_length)?;
    let (value, rest) = take(rest, value_length)?;
    let (meta, rest) = take(rest, u32::from(meta_length))?;
    let version = Version::unpacked(version);
    Ok((Record::Put(Entry { key, value, meta, expires, version }), rest))
}

fn take(bytes: &[u8], length: u32) -> Result<(&[u8], &[u8]), NotARecord> {
    bytes.split_at_checked(length as usize).ok_or(NotARecord)
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), NotARecord> {
    let (head, rest) = bytes.split_first_chunk().ok_or(NotARecord)?;
    Ok((u32::from_le_bytes(*head), rest))
}

fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), NotARecord> {
    let (head, rest) = bytes.split_first_chunk().ok_or(NotARecord)?;
    Ok((u64::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_reads_as_it_was_written(
            key: Vec<u8>, value: Vec<u8>, expires: Option<u64>, behind: Vec<u8>,
            meta in proptest::collection::vec(any::<u8>(), 0..=META_BYTES_MAX),
        ) {
            let version = Version::unpacked(77 << 40 | 5);
            let expires = expires.map(UnixMillis);
            let entry = Entry { key: &key, value: &value, meta: &meta, expires, version };
            for record in [Record::Put(entry), Record::Delete(&key), Record::Clear] {
                let mut bytes = Vec::new();
                record.write(&mut bytes);
                let whole = bytes.len();
                bytes.extend(&behind);
                prop_assert_eq!(read(&bytes), Ok(Some((record, &behind[..]))));
                prop_assert_eq!(read(&bytes[..whole - 1]).is_ok_and(|r| r.is_some()), false);
            }
        }

        #[test]
        fn a_key_that_no_table_holds_is_no_record(more in 1_usize..100) {
            let key = vec![b'k'; KEY_BYTES_MAX + more];
            let version = Version::ZERO;
            let entry = Entry { key: &key, value: b"", meta: b"", expires: None, version };
            let mut bytes = Vec::new();
            Record::Put(entry).write(&mut bytes);
            prop_assert_eq!(read(&bytes), Err(NotARecord));
        }

        /// Whoever knows no metadata reads and writes what has none as before.
        #[test]
        fn metadata_costs_only_those_that_have_it(key: Vec<u8>, value: Vec<u8>, meta: [u8; 9]) {
            let version = Version::ZERO;
            let bytes = |meta| {
                let entry = Entry { key: &key, value: &value, meta, expires: None, version };
                let mut bytes = Vec::new();
                Record::Put(entry).write(&mut bytes);
                bytes.len()
            };
            prop_assert_eq!(bytes(&[]), 18 + key.len() + value.len());
            prop_assert_eq!(bytes(&meta), bytes(&[]) + 1 + meta.len());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while let Ok(Some((_, behind))) = read(rest) {
                prop_assert!(behind.len() < rest.len());
                rest = behind;
            }
        }
    }
}
