//! Percent-decoding (RFC 3986, 2.1).

use std::borrow::Cow;

/// Why text is not percent-encoded: a `%` that two hex digits do not follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("byte {at}: % is not followed by two hex digits; write %25 for a percent sign")]
pub struct BadPercent {
    /// Place of the `%`, from 0.
    pub at: usize,
}

/// The bytes that `text` stands for.
///
/// # Errors
///
/// A `%` that two hex digits do not follow.
pub fn decode(text: &[u8]) -> Result<Cow<'_, [u8]>, BadPercent> {
    let Some(first) = text.iter().position(|&byte| byte == b'%') else {
        return Ok(Cow::Borrowed(text));
    };
    let (plain, mut rest) = text.split_at(first);
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend_from_slice(plain);
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let at = text.len() - behind.len() - 1;
        let digits = behind.split_at_checked(2).ok_or(BadPercent { at })?;
        let (&[high, low], behind) = digits else { return Err(BadPercent { at }) };
        let (Some(high), Some(low)) = (hex(high), hex(low)) else { return Err(BadPercent { at }) };
        bytes.push(high << 4 | low);
        rest = behind;
    }
    Ok(Cow::Owned(bytes))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    #[test]
    fn escapes_become_bytes_and_the_rest_stays() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("a/b+c", b"a/b+c"),
            ("%00%ff%Fe", b"\0\xff\xfe"),
            ("100%25", b"100%"),
            ("%2525", b"%25"),
        ] {
            assert_eq!(decode(text.as_bytes()).unwrap(), bytes, "{text}");
        }
    }

    #[test]
    fn a_broken_escape_is_named_with_its_place() {
        for (text, at) in [("%", 0), ("a%1", 1), ("%41%zz", 3), ("%4", 0), ("%+1", 0)] {
            assert_eq!(decode(text.as_bytes()), Err(BadPercent { at }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(bytes: Vec<u8>, all: bool) {
            let mut text = String::new();
            for &byte in &bytes {
                if byte.is_ascii_alphanumeric() && !all {
                    text.push(char::from(byte));
                } else {
                    write!(text, "%{byte:02x}").unwrap();
                }
            }
            prop_assert_eq!(decode(text.as_bytes()).unwrap().into_owned(), bytes);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused_inside(bytes: Vec<u8>) {
            match decode(&bytes) {
                Ok(decoded) => prop_assert!(decoded.len() <= bytes.len()),
                Err(BadPercent { at }) => prop_assert_eq!(bytes[at], b'%'),
            }
        }
    }
}
