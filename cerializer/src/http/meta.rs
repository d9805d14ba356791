//! The type of a value, kept with it in the at most 255 bytes of metadata that an entry may have:
//! `Content-Type`, and behind a line feed `Content-Encoding`, if the value has one.

use bytes::Bytes;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use piccolo_schema::limits::META_BYTES_MAX;

/// What a value without a stated type is given out as.
const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Both headers together are longer than [`META_BYTES_MAX`], or one of them stands twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Content-Type and Content-Encoding: each once, {META_BYTES_MAX} bytes together at most")]
pub struct BadMeta;

/// The metadata that `headers` ask for; empty without a type and an encoding.
///
/// # Errors
///
/// They are too long, or stand twice.
pub fn of(headers: &HeaderMap) -> Result<Bytes, BadMeta> {
    let (kind, encoding) = (once(headers, CONTENT_TYPE)?, once(headers, CONTENT_ENCODING)?);
    let mut meta = kind.map(HeaderValue::as_bytes).unwrap_or_default().to_vec();
    if let Some(encoding) = encoding.filter(|encoding| !encoding.is_empty()) {
        meta.push(b'\n');
        meta.extend_from_slice(encoding.as_bytes());
    }
    if meta.len() > META_BYTES_MAX { Err(BadMeta) } else { Ok(meta.into()) }
}

fn once(
    headers: &HeaderMap,
    name: hyper::header::HeaderName,
) -> Result<Option<&HeaderValue>, BadMeta> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next();
    if lines.next().is_some() { Err(BadMeta) } else { Ok(first) }
}

/// Type and encoding out of `meta`. What another client wrote there and no header could carry
/// counts as none.
pub fn headers(meta: &[u8]) -> (HeaderValue, Option<HeaderValue>) {
    let mut lines = meta.split(|&byte| byte == b'\n');
    let mut next = || {
        let line = lines.next().filter(|line| !line.is_empty())?;
        HeaderValue::from_bytes(line).ok()
    };
    let kind = next().unwrap_or(UNKNOWN_TYPE);
    (kind, next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(lines: &[(&'static str, &str)]) -> Result<Bytes, BadMeta> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        of(&headers)
    }

    #[test]
    fn type_and_encoding_come_back() {
        let meta = kept(&[("content-type", "text/css"), ("content-encoding", "gzip")]).unwrap();
        assert_eq!(meta, "text/css\ngzip");
        let (kind, encoding) = headers(&meta);
        assert_eq!(
            (kind.to_str().unwrap(), encoding.unwrap().to_str().unwrap()),
            ("text/css", "gzip")
        );
        let (kind, encoding) = headers(&kept(&[("content-encoding", "br")]).unwrap());
        assert_eq!((kind, encoding.unwrap().to_str().unwrap()), (UNKNOWN_TYPE, "br"));
        assert_eq!(kept(&[]).unwrap(), "");
        assert_eq!(headers(b""), (UNKNOWN_TYPE, None));
    }

    #[test]
    fn what_is_too_long_or_twice_is_refused() {
        let long = "x".repeat(META_BYTES_MAX);
        assert_eq!(kept(&[("content-type", &long)]).unwrap().len(), META_BYTES_MAX);
        let both = [("content-type", long.as_str()), ("content-encoding", "gzip")];
        assert_eq!(kept(&both), Err(BadMeta));
        assert_eq!(kept(&[("content-type", "a/b"), ("content-type", "a/c")]), Err(BadMeta));
    }

    proptest! {
        #[test]
        fn any_metadata_gives_some_headers(meta: Vec<u8>) {
            drop(headers(&meta));
        }

        #[test]
        fn a_type_comes_back_as_it_was(kind in "[!-~]{1,255}") {
            let meta = kept(&[("content-type", &kind)]).unwrap();
            let (found, _) = headers(&meta);
            prop_assert_eq!(found.to_str().unwrap(), kind);
        }
    }
}
