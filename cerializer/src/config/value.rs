//! Byte counts with suffixes, written as those of `piccolo serve`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written plainly or with a suffix: `k`, `m` or `g` of 1024 each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteCount(pub u64);

impl FromStr for ByteCount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write a number of bytes, such as 1048576, 512m or 4g";
        let shift = match text.as_bytes().last() {
            Some(b'k' | b'K') => 10,
            Some(b'm' | b'M') => 20,
            Some(b'g' | b'G') => 30,
            _ => 0,
        };
        let digits = if shift == 0 { text } else { text.get(..text.len() - 1).ok_or(WRONG)? };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(WRONG);
        }
        let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(1 << shift));
        bytes.map(Self).ok_or("that many bytes do not fit 64 bits")
    }
}

/// With the largest suffix that loses nothing.
impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |shift: u32| self.0 > 0 && self.0.trailing_zeros() >= shift;
        match self.0 {
            bytes if fits(30) => write!(f, "{}g", bytes >> 30),
            bytes if fits(20) => write!(f, "{}m", bytes >> 20),
            bytes if fits(10) => write!(f, "{}k", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_take_suffixes_and_come_back_as_written() {
        for (text, bytes) in
            [("0", 0), ("1023", 1023), ("1k", 1024), ("512M", 512 << 20), ("4g", 4 << 30)]
        {
            let count: ByteCount = text.parse().unwrap();
            assert_eq!(count.0, bytes);
            assert_eq!(count.to_string(), text.to_lowercase());
        }
    }

    #[test]
    fn what_is_no_byte_count_is_refused() {
        for text in ["", "k", "-1", "+1", "1.5g", "10mb", "99999999999999999999", "17179869184g"] {
            assert!(text.parse::<ByteCount>().is_err(), "{text}");
        }
    }
}
