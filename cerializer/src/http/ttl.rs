//! Times to live, such as `60s`.

/// Milliseconds of the longest time to live: 100 years, below what overflows anywhere.
pub const TTL_MS_MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1000;

/// Units and how many milliseconds each has; `ms` before `m` and `s`, which end like it.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The text is no time to live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("write a number and its unit, ms, s, m, h or d, such as 60s; at most 36500d")]
pub struct BadTtl;

/// Milliseconds that `text` says: a whole number from 1 and a unit.
///
/// # Errors
///
/// It is something else, zero, or more than [`TTL_MS_MAX`].
pub fn parse(text: &[u8]) -> Result<u64, BadTtl> {
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit.as_bytes())?, *factor)))
        .ok_or(BadTtl)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadTtl);
    }
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
    let ms = number.and_then(|number| number.checked_mul(factor)).ok_or(BadTtl)?;
    if (1..=TTL_MS_MAX).contains(&ms) { Ok(ms) } else { Err(BadTtl) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_is_known() {
        for (text, ms) in [
            ("1ms", 1),
            ("60s", 60_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
            ("36500d", TTL_MS_MAX),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(ms), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "60",
            "s",
            "ms",
            "0s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "60S",
            "1w",
            "36501d",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(BadTtl), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_number_with_a_unit_is_its_product_or_refused(number: u64, unit in 0_usize..5) {
            let (name, factor) = UNITS[unit];
            let product = u128::from(number) * u128::from(factor);
            let expected = (1..=u128::from(TTL_MS_MAX)).contains(&product);
            let expected = if expected { Ok(product) } else { Err(BadTtl) };
            let parsed = parse(format!("{number}{name}").as_bytes());
            prop_assert_eq!(parsed.map(u128::from), expected);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes).is_ok_and(|ms| ms > 0) || parse(&bytes) == Err(BadTtl));
        }
    }
}
