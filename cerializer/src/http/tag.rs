//! Versions as entity tags (RFC 9110, 8.8.3): 16 hex digits in quotes, always strong.

use hyper::header::HeaderValue;

/// Bytes of a tag with its quotes.
const TAG_BYTES: usize = 18;

/// Tags in one header at most; who names more is not comparing but listing.
pub const TAGS_MAX: usize = 64;

/// What `If-Match` or `If-None-Match` names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tags {
    /// `*`: whatever is there.
    Any,
    /// These versions. Tags that are not ours are left out, since they can match nothing.
    Versions(Vec<u64>),
}

/// How weak tags count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// `If-Match`: a weak tag matches nothing.
    Strong,
    /// `If-None-Match`: a weak tag matches as a strong one does.
    Weak,
}

/// The header is no list of entity tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("write * or at most {TAGS_MAX} tags as ETag gave them, in quotes, with commas between")]
pub struct BadTags;

/// `version` as `ETag` says it.
pub fn value(version: u64) -> HeaderValue {
    let mut text = [b'"'; TAG_BYTES];
    let digits = text.iter_mut().skip(1).take(16).enumerate();
    for (at, byte) in digits {
        let nibble = (version >> (60 - 4 * at)) & 0xf;
        *byte = b"0123456789abcdef"[nibble as usize];
    }
    // Hex digits and quotes are always a legal value; an empty one is what cannot happen.
    HeaderValue::from_bytes(&text).unwrap_or(const { HeaderValue::from_static("") })
}

/// `version` as JSON and messages have it: without the quotes.
pub fn text(version: u64) -> String {
    format!("{version:016x}")
}

/// The tags in all lines of one header; `None` without such a line.
///
/// # Errors
///
/// They are no entity tags, or more than [`TAGS_MAX`].
pub fn parse<'a>(
    lines: impl IntoIterator<Item = &'a HeaderValue>,
    compare: Compare,
) -> Result<Option<Tags>, BadTags> {
    let mut tags = None;
    let mut count = 0;
    for line in lines {
        let mut rest = line.as_bytes().trim_ascii();
        if rest == b"*" {
            if tags.replace(Tags::Any).is_some() {
                return Err(BadTags);
            }
            continue;
        }
        let Tags::Versions(versions) = tags.get_or_insert(Tags::Versions(Vec::new())) else {
            return Err(BadTags);
        };
        while !rest.is_empty() {
            let (weak, inside, behind) = one(rest).ok_or(BadTags)?;
            count += 1;
            if count > TAGS_MAX {
                return Err(BadTags);
            }
            if !(weak && compare == Compare::Strong) {
                versions.extend(version(inside));
            }
            rest = behind;
        }
    }
    // A header without a tag in it says nothing that could be meant.
    if count == 0 && tags.as_ref().is_some_and(|tags| *tags != Tags::Any) {
        return Err(BadTags);
    }
    Ok(tags)
}

/// Whether the first tag of `text` is weak, what is in its quotes, and what follows its comma.
fn one(text: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (weak, text) = match text.strip_prefix(b"W/") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let text = text.strip_prefix(b"\"")?;
    let end = text.iter().position(|&byte| byte == b'"')?;
    let (inside, behind) = text.split_at(end);
    let behind = behind.get(1..)?.trim_ascii_start();
    match behind.strip_prefix(b",") {
        Some(next) => Some((weak, inside, next.trim_ascii_start())),
        None if behind.is_empty() => Some((weak, inside, behind)),
        None => None,
    }
}

/// The version that a tag of ours states. No entry has version 0.
fn version(inside: &[u8]) -> Option<u64> {
    let ours = inside.len() == 16 && inside.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let text = std::str::from_utf8(inside).ok().filter(|_| ours)?;
    u64::from_str_radix(text, 16).ok().filter(|&version| version != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(lines: &[&str], compare: Compare) -> Result<Option<Tags>, BadTags> {
        let lines: Vec<HeaderValue> = lines.iter().map(|line| line.parse().unwrap()).collect();
        parse(&lines, compare)
    }

    #[test]
    fn lists_stars_and_foreign_tags_are_understood() {
        use Compare::{Strong, Weak};
        let v = |versions: &[u64]| Ok(Some(Tags::Versions(versions.to_vec())));
        assert_eq!(parsed(&[], Strong), Ok(None));
        assert_eq!(parsed(&[" * "], Strong), Ok(Some(Tags::Any)));
        assert_eq!(parsed(&["\"00000000000000ff\""], Strong), v(&[255]));
        let two = "\"0000000000000001\" ,\"0000000000000002\",";
        assert_eq!(parsed(&[two, "\"0000000000000003\""], Strong), v(&[1, 2, 3]));
        // Foreign tags match nothing: other lengths, other cases, version 0.
        let foreign = "\"abc\", \"00000000000000FF\", \"0000000000000000\", \"a,b\"";
        assert_eq!(parsed(&[foreign], Strong), v(&[]));
        assert_eq!(parsed(&["W/\"0000000000000001\""], Strong), v(&[]));
        assert_eq!(parsed(&["W/\"0000000000000001\""], Weak), v(&[1]));
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for line in ["", "abc", "\"abc", "\"a\" \"b\"", "\"a\";", "w/\"a\"", ",", "*, \"a\""] {
            assert_eq!(parsed(&[line], Compare::Strong), Err(BadTags), "{line}");
        }
        assert_eq!(parsed(&["*", "\"a\""], Compare::Strong), Err(BadTags));
        assert_eq!(parsed(&["\"a\"", "*"], Compare::Strong), Err(BadTags));
        let many = vec!["\"a\""; TAGS_MAX + 1].join(",");
        assert_eq!(parsed(&[&many], Compare::Strong), Err(BadTags));
    }

    proptest! {
        #[test]
        fn a_version_comes_back_from_its_tag(version in 1_u64..) {
            let tag = value(version);
            prop_assert_eq!(tag.to_str().unwrap(), format!("\"{}\"", text(version)));
            let expected = Ok(Some(Tags::Versions(vec![version])));
            prop_assert_eq!(parse([&tag], Compare::Strong), expected);
        }

        #[test]
        fn any_line_is_parsed_or_refused(line in "[\\*W/\",a-f0-9 ]{0,50}") {
            drop(parsed(&[&line], Compare::Weak));
        }
    }
}
