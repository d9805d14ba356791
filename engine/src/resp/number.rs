//! Integers as Redis reads them.

/// The integer that `text` spells, if it is the one way to spell it: no spaces, no plus sign, no
/// leading zeros, no `-0`, within 64 bits (source: redis `string2ll`).
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 19 || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits stay below 2^64.
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// The unsigned integer that `text` spells in decimal digits.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_spellings_are_refused() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "00",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "1e3",
            "0x1",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_i64(b"-9223372036854775809"), None);
        assert_eq!(parse_i64(b"99999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(number: i64, unsigned: u64) {
            prop_assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
            prop_assert_eq!(parse_u64(unsigned.to_string().as_bytes()), Some(unsigned));
        }

        #[test]
        fn the_ends_of_the_range_are_read(below in 0..3_i64) {
            for number in [i64::MAX - below, i64::MIN + below, below] {
                prop_assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
            }
        }
    }
}
