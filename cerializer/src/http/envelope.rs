//! A value in JSON, and keys in JSON.

use serde::Serialize;

use super::{base64, tag};

/// A value with what belongs to it.
#[derive(Debug, Serialize)]
struct Envelope<'a> {
    key: Text<'a>,
    value: &'a str,
    encoding: &'static str,
    version: String,
    ttl_ms: Option<u64>,
}

/// Bytes as JSON has them: a string if they are UTF-8, else `{"base64": "..."}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub enum Text<'a> {
    /// UTF-8.
    Plain(&'a str),
    /// Anything else.
    Bytes {
        /// Encoded.
        base64: String,
    },
}

impl<'a> Text<'a> {
    /// `bytes` in one of the two ways.
    pub fn of(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Plain(text),
            Err(_) => Self::Bytes { base64: base64::encode(bytes) },
        }
    }
}

/// The envelope of one value: `{"key","value","encoding","version","ttl_ms"}`.
pub fn write(key: &[u8], value: &[u8], version: u64, ttl_ms: Option<u64>) -> Vec<u8> {
    let encoded;
    let (value, encoding) = if let Ok(text) = std::str::from_utf8(value) {
        (text, "utf-8")
    } else {
        encoded = base64::encode(value);
        (encoded.as_str(), "base64")
    };
    let key = Text::of(key);
    json(&Envelope { key, value, encoding, version: tag::text(version), ttl_ms })
}

/// Bytes that [`write()`] makes of a key and a value at most.
pub fn bytes_max(key: &[u8], value: &[u8]) -> usize {
    text_bytes(key) + text_bytes(value) + AROUND_BYTES
}

/// Bytes of a string of JSON, or of base64 if it is no text.
fn text_bytes(bytes: &[u8]) -> usize {
    if std::str::from_utf8(bytes).is_err() {
        return bytes.len().div_ceil(3) * 4;
    }
    let escaped = |byte: &u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    bytes.iter().map(escaped).sum()
}

/// Bytes of names, numbers and marks around a key and a value, at most.
const AROUND_BYTES: usize = 128;

/// `body` in JSON, with the line feed that people at a terminal like.
pub fn json(body: &impl Serialize) -> Vec<u8> {
    // Our own types of strings and numbers: there is nothing that JSON could not hold.
    let mut text = serde_json::to_vec(body).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_text_and_the_rest_is_base64() {
        let text =
            |key: &[u8], value: &[u8], ttl| String::from_utf8(write(key, value, 255, ttl)).unwrap();
        assert_eq!(
            text(b"a/b", b"h\"i", Some(9)),
            "{\"key\":\"a/b\",\"value\":\"h\\\"i\",\"encoding\":\"utf-8\",\
             \"version\":\"00000000000000ff\",\"ttl_ms\":9}\n"
        );
        assert_eq!(
            text(b"\xff", b"\xff\xfe", None),
            "{\"key\":{\"base64\":\"/w==\"},\"value\":\"//4=\",\"encoding\":\"base64\",\
             \"version\":\"00000000000000ff\",\"ttl_ms\":null}\n"
        );
    }

    #[test]
    fn the_bound_on_bytes_knows_of_escapes() {
        let (key, value) = (&[b'"'; 100], [1; 1000]);
        let bytes = write(key, &value, u64::MAX, Some(u64::MAX)).len();
        assert!((bytes..bytes + 64).contains(&bytes_max(key, &value)), "{bytes}");
    }

    proptest! {
        #[test]
        fn any_value_gives_json_that_tells_it(key: Vec<u8>, value: Vec<u8>, version: u64) {
            let text = write(&key, &value, version, None);
            prop_assert!(text.len() <= bytes_max(&key, &value));
            let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let shown = read["value"].as_str().unwrap();
            if read["encoding"] == "utf-8" {
                prop_assert_eq!(shown.as_bytes(), &value);
            } else {
                prop_assert_eq!(shown, base64::encode(&value));
            }
        }
    }
}
