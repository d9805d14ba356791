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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Reply;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Value {
        Status(String),
        Error(String),
        Bulk(Vec<u8>),
        Null,
        NullArray,
        Integer(i64),
        Boolean(bool),
        Double(f64),
        Verbatim(String),
        Array(Vec<Value>),
        Set(Vec<Value>),
        Map(Vec<(Value, Value)>),
    }

    fn write(value: &Value, reply: &mut Reply<'_>) {
        match value {
            Value::Status(text) => reply.status(text),
            Value::Error(text) => reply.error(text),
            Value::Bulk(bytes) => reply.bulk(bytes),
            Value::Null => reply.null(),
            Value::NullArray => reply.null_array(),
            Value::Integer(integer) => reply.integer(*integer),
            Value::Boolean(boolean) => reply.boolean(*boolean),
            Value::Double(double) => reply.double(*double),
            Value::Verbatim(text) => reply.verbatim(*b"txt", text),
            Value::Array(items) => {
                reply.array(items.len());
                for item in items {
                    write(item, reply);
                }
            }
            Value::Set(items) => {
                reply.set(items.len());
                for item in items {
                    write(item, reply);
                }
            }
            Value::Map(pairs) => {
                reply.map(pairs.len());
                for (key, value) in pairs {
                    write(key, reply);
                    write(value, reply);
                }
            }
        }
    }

    fn written(value: &Value, resp3: bool) -> Vec<u8> {
        let mut out = Vec::new();
        write(value, &mut Reply::new(&mut out, resp3));
        out
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            "[a-z ]{0,9}".prop_map(Value::Status),
            any::<String>().prop_map(Value::Error),
            any::<Vec<u8>>().prop_map(Value::Bulk),
            Just(Value::Null),
            Just(Value::NullArray),
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Boolean),
            any::<f64>().prop_map(Value::Double),
            any::<String>().prop_map(Value::Verbatim),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Set),
                prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_length_is_that_written(value in value(), resp3: bool, behind: Vec<u8>) {
            let mut bytes = written(&value, resp3);
            let length = bytes.len();
            for cut in 0..length {
                prop_assert_eq!(skip(&bytes[..cut]), Ok(None));
            }
            bytes.extend(behind);
            prop_assert_eq!(skip(&bytes), Ok(Some(length)));
        }

        #[test]
        fn items_are_those_written(items in prop::collection::vec(value(), 0..5), resp3: bool) {
            let each: Vec<_> = items.iter().map(|item| written(item, resp3)).collect();
            let array = written(&Value::Array(items), resp3);
            prop_assert_eq!(array_items(&array).unwrap().collect::<Vec<_>>(), each);
        }

        #[test]
        fn any_bytes_are_measured_or_refused(bytes in prop::collection::vec(
            prop::sample::select(&b"+-:$*_#,(!=%~>|0123456789\r\na"[..]), 0..40,
        )) {
            if let Ok(Some(length)) = skip(&bytes) {
                prop_assert!(length <= bytes.len());
            }
            let _ = array_items(&bytes).map(Iterator::count);
            let _ = (integer(&bytes), bulk(&bytes));
        }
    }

    /// A line as deep as this would end a program that descends into it.
    #[test]
    fn no_nesting_is_too_deep() {
        let mut bytes = b"*1\r\n".repeat(1_000_000);
        assert_eq!(skip(&bytes), Ok(None));
        bytes.extend(b":1\r\n");
        assert_eq!(skip(&bytes), Ok(Some(bytes.len())));
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for bytes in ["$-2\r\n", "*-2\r\n", "$x\r\n", "%-1\r\n", "x\r\n", ":1\n", "$1\r\naxx"] {
            assert_eq!(skip(bytes.as_bytes()), Err(NotAReply), "{bytes:?}");
        }
        assert_eq!(skip(b"$9223372036854775807\r\n"), Ok(None));
        assert_eq!(skip(b"|1\r\n+a\r\n+b\r\n:1\r\n"), Ok(Some(16)));
    }
}
