//! Replies as a client reads them. Written apart from the engine's own code on purpose: a checker
//! that shares the code it checks finds nothing.

/// A reply in RESP2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// `+OK` and the like.
    Status(String),
    /// An error and its text.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes, or none.
    Bulk(Option<Vec<u8>>),
    /// Several, or none.
    Array(Option<Vec<Value>>),
}

/// Reads the reply that `bytes` begin with. Returns it and its length, or `None` if it has not
/// come whole.
///
/// # Panics
///
/// If this is no reply at all.
pub fn read(bytes: &[u8]) -> Option<(Value, usize)> {
    let line_end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[1..line_end]).expect("a reply's first line is text");
    let mut at = line_end + 2;
    let number = || line.parse::<i64>().unwrap_or_else(|_| panic!("{line:?} is no number"));
    let value = match bytes[0] {
        b'+' => Value::Status(line.to_owned()),
        b'-' => Value::Error(line.to_owned()),
        b':' => Value::Integer(number()),
        b'$' => match usize::try_from(number()) {
            Err(_) => Value::Bulk(None),
            Ok(length) => {
                let content = bytes.get(at..at + length)?.to_vec();
                assert!(b"\r\n".starts_with(&bytes[(at + length).min(bytes.len())..][..0]));
                bytes.get(at + length..at + length + 2)?;
                at += length + 2;
                Value::Bulk(Some(content))
            }
        },
        b'*' => match usize::try_from(number()) {
            Err(_) => Value::Array(None),
            Ok(count) => {
                let mut items = Vec::new();
                for _ in 0..count {
                    let (item, length) = read(&bytes[at..])?;
                    items.push(item);
                    at += length;
                }
                Value::Array(Some(items))
            }
        },
        other => panic!("a reply begins with byte {other}"),
    };
    Some((value, at))
}

/// A command in RESP.
pub fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).into_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let bytes = b"*3\r\n:7\r\n$-1\r\n$2\r\nab\r\n+OK\r\n";
        for cut in 0..bytes.len() - 5 {
            assert_eq!(read(&bytes[..cut]), None, "cut at {cut}");
        }
        let items = vec![Value::Integer(7), Value::Bulk(None), Value::Bulk(Some(b"ab".to_vec()))];
        assert_eq!(read(bytes), Some((Value::Array(Some(items)), bytes.len() - 5)));
    }
}
