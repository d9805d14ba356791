//! Prefixes as the patterns that scans know.

/// The pattern of every key that begins with `prefix`; empty if that is every key.
pub(super) fn glob_of(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if b"*?[]\\^-".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    if !prefix.is_empty() {
        pattern.push(b'*');
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::glob;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_prefix_matches_what_begins_so(
            prefix in prop::collection::vec(prop::sample::select(&b"*?[]\\^-ab"[..]), 1..8),
            text in prop::collection::vec(prop::sample::select(&b"*?[]\\^-ab"[..]), 0..12),
        ) {
            let pattern = glob_of(&prefix);
            prop_assert_eq!(glob::matches(&pattern, &text), text.starts_with(&prefix));
            let longer = [&prefix[..], &text].concat();
            prop_assert!(glob::matches(&pattern, &longer));
        }
    }
}
