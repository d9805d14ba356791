//! Parameters behind the `?`: known by name, at most once each.

use std::borrow::Cow;

use super::percent::{self, BadPercent};

/// Why parameters are refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadQuery {
    /// A parameter that the path does not take.
    #[error("unknown parameter {name:?}: this takes {known}")]
    Unknown {
        /// As given.
        name: String,
        /// What the path takes.
        known: String,
    },
    /// A parameter that stands twice.
    #[error("parameter {name:?} stands twice: give it once")]
    Twice {
        /// Its name.
        name: &'static str,
    },
    /// A broken escape.
    #[error("parameter {name:?} is not percent-encoded: {error}")]
    Percent {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        error: BadPercent,
    },
    /// A value that the parameter does not take.
    #[error("{name}={given:?}: {wanted}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// As given.
        given: String,
        /// What to write.
        wanted: &'static str,
    },
}

/// Values of the parameters `known`, in their order; decoded, with `+` for a space as forms have
/// it.
///
/// # Errors
///
/// A parameter that is not known, stands twice, or is not percent-encoded.
pub fn parse<'a, const N: usize>(
    query: Option<&'a str>,
    known: [&'static str; N],
) -> Result<[Option<Cow<'a, [u8]>>; N], BadQuery> {
    let mut found = [const { None }; N];
    let Some(query) = query else { return Ok(found) };
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let Some(at) = known.iter().position(|&word| word == name) else {
            return Err(BadQuery::Unknown { name: shown(name.as_bytes()), known: listed(&known) });
        };
        let (Some(place), Some(&name)) = (found.get_mut(at), known.get(at)) else { continue };
        let value = decode(value).map_err(|error| BadQuery::Percent { name, error })?;
        if place.replace(value).is_some() {
            return Err(BadQuery::Twice { name });
        }
    }
    Ok(found)
}

/// A whole number out of `value`, or `default` without one.
///
/// # Errors
///
/// The value is no decimal number of 64 bits; `wanted` says what to write.
pub fn number(
    name: &'static str,
    value: Option<&[u8]>,
    default: u64,
    wanted: &'static str,
) -> Result<u64, BadQuery> {
    let Some(value) = value else { return Ok(default) };
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| BadQuery::Value { name, given: shown(value), wanted })
}

/// What a message may show of somebody else's bytes.
pub fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 60;
    let cut = bytes.get(..SHOWN_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(cut).into_owned()
}

fn decode(value: &str) -> Result<Cow<'_, [u8]>, BadPercent> {
    if !value.contains('+') {
        return percent::decode(value.as_bytes());
    }
    // An escaped plus is %2B, so what is bare is a space.
    let spaced = value.replace('+', " ");
    percent::decode(spaced.as_bytes()).map(|bytes| Cow::Owned(bytes.into_owned()))
}

fn listed(known: &[&str]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: [&str; 3] = ["prefix", "limit", "cursor"];

    #[test]
    fn parameters_are_found_by_name_and_decoded() {
        let [prefix, limit, cursor] = parse(Some("limit=5&prefix=a%2fb+c%2B&"), KNOWN).unwrap();
        assert_eq!(prefix.unwrap(), &b"a/b c+"[..]);
        assert_eq!(limit.unwrap(), &b"5"[..]);
        assert_eq!(cursor, None);
        assert_eq!(parse(None, KNOWN), Ok([None, None, None]));
        assert_eq!(parse(Some("prefix"), KNOWN).unwrap()[0].as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_is_unknown_twice_or_broken_is_refused() {
        let unknown = parse(Some("limt=5"), KNOWN).unwrap_err().to_string();
        assert_eq!(unknown, "unknown parameter \"limt\": this takes prefix, limit, cursor");
        assert!(parse(Some("x=1"), []).unwrap_err().to_string().ends_with("takes none"));
        assert_eq!(parse(Some("limit=1&limit=2"), KNOWN), Err(BadQuery::Twice { name: "limit" }));
        assert!(matches!(parse(Some("prefix=%"), KNOWN), Err(BadQuery::Percent { .. })));
    }

    #[test]
    fn numbers_are_digits_alone() {
        let number = |text: &str| number("limit", Some(text.as_bytes()), 7, "write 1 to 1000");
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        for wrong in ["", "-1", "+1", "1e3", "18446744073709551616", " 1"] {
            assert!(number(wrong).unwrap_err().to_string().ends_with("write 1 to 1000"), "{wrong}");
        }
        assert_eq!(super::number("limit", None, 7, ""), Ok(7));
    }

    proptest! {
        #[test]
        fn any_query_is_parsed_or_refused(query in "[a-z=&%+0-9]{0,60}") {
            drop(parse(Some(&query), KNOWN));
        }
    }
}
