//! Replies taken apart again: what a shard does with the parts of a reply that others wrote.

use super::number;

/// The bytes are not a reply of version 2 or 3 of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a reply")]
pub struct NotAReply;

/// Bytes of the first whole value of `bytes`, whatever is nested in it; `None` if it does not
/// end in them. Counts what is still to come instead of descending, so that no nesting is too
/// deep for it.
///
/// # Errors
///
/// The bytes do not start like a value.
pub fn skip(bytes: &[u8]) -> Result<Option<usize>, NotAReply> {
    let mut at = 0;
    let mut values = 1_u64;
    while values > 0 {
        let Some((header, end)) = line(bytes, at)? else { return Ok(None) };
        values -= 1;
        at = end;
        match header {
            Header::Scalar => {}
            Header::Bulk(length) => {
                let Some(end) = usize::try_from(length).ok().and_then(|l| at.checked_add(l + 2))
                else {
                    return Ok(None);
                };
                match bytes.get(end - 2..end) {
                    Some(b"\r\n") => at = end,
                    Some(_) => return Err(NotAReply),
                    None => return Ok(None),
                }
            }
            Header::Values(more) => values = values.checked_add(more).ok_or(NotAReply)?,
        }
    }
    Ok(Some(at))
}

/// The items of the array or set that is the whole of `array`, each as it was written; `None` if
/// it is none.
pub fn array_items(array: &[u8]) -> Option<Items<'_>> {
    let (b'*' | b'~', Ok(Some((Header::Values(_), end)))) = (array.first()?, line(array, 0)) else {
        return None;
    };
    Some(Items { rest: &array[end..] })
}

/// See [`array_items`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let bytes = skip(self.rest).ok().flatten()?;
        let item;
        (item, self.rest) = self.rest.split_at(bytes);
        Some(item)
    }
}

/// The integer that is the whole of `reply`, if it is one.
pub fn integer(reply: &[u8]) -> Option<i64> {
    number::parse_i64(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes that are the whole of `reply`, if it is a bulk string.
pub fn bulk(reply: &[u8]) -> Option<&[u8]> {
    match (reply.first()?, line(reply, 0)) {
        (b'$', Ok(Some((Header::Bulk(_), end)))) => reply[end..].strip_suffix(b"\r\n"),
        _ => None,
    }
}

enum Header {
    /// The line is the value.
    Scalar,
    /// So many bytes follow, and a line end.
    Bulk(u64),
    /// So many values follow.
    Values(u64),
}

/// The line at `bytes[at..]` and the first byte behind it; `None` if it does not end.
fn line(bytes: &[u8], at: usize) -> Result<Option<(Header, usize)>, NotAReply> {
    let Some((kind, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    if !b"+-:$*_#,(!=%~>|".contains(kind) {
        return Err(NotAReply);
    }
    let Some(length) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let text = rest[..length].strip_suffix(b"\r").ok_or(NotAReply)?;
    let count = || match number::parse_i64(text) {
        // No bytes, or no array, of version 2.
        Some(-1) => Ok(None),
        Some(count) => u64::try_from(count).map(Some).map_err(|_| NotAReply),
        None => Err(NotAReply),
    };
    let header = match kind {
        b'$' | b'!' | b'=' => count()?.map_or(Header::Scalar, Header::Bulk),
        b'*' | b'~' | b'>' => count()?.map_or(Header::Scalar, Header::Values),
        b'%' => Header::Values(pairs(count()?)?),
        // Attributes stand in front of the value that they belong to.
        b'|' => Header::Values(pairs(count()?)?.checked_add(1).ok_or(NotAReply)?),
        _ => Header::Scalar,
    };
    Ok(Some((header, at + 1 + length + 1)))
}

fn pairs(count: Option<u64>) -> Result<u64, NotAReply> {
    count.and_then(|pairs| pairs.checked_mul(2)).ok_or(NotAReply)
}
