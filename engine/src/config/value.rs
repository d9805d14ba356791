//! Values as they are written: byte counts with suffixes, lists of cores, and numbers, addresses
//! and levels that are refused with an example of what is taken.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use log::LevelFilter;

/// Reads whole numbers; `wanted` says what of, and gives an example.
pub(super) fn whole<T: FromStr>(
    wanted: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = plain.then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| format!("write a whole number of {wanted}"))
    }
}

/// Reads an address to listen on, or to tell others.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write IP:PORT, such as 127.0.0.1:7380; names are not looked up here")
}

/// Reads a level of the log.
pub(crate) fn level(text: &str) -> Result<LevelFilter, &'static str> {
    text.parse().map_err(|_| "write off, error, warn, info, debug or trace, such as info")
}

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
        bytes.map(Self).ok_or("that many bytes do not fit 64 bits: write fewer, such as 4g")
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

/// Where the shards' threads run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pin {
    /// Shard `n` on the `n`th core that the process may use, as long as there are enough.
    #[default]
    Auto,
    /// Wherever the system puts them.
    Off,
    /// Shard `n` on the `n`th core of this list.
    Cores(Vec<usize>),
}

impl FromStr for Pin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            list => list
                .split(',')
                .map(|core| core.trim().parse().ok())
                .collect::<Option<Vec<usize>>>()
                .map(Self::Cores)
                .ok_or("write auto, off, or core numbers such as 0,2,4"),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Cores(cores) => {
                for (index, core) in cores.iter().enumerate() {
                    write!(f, "{}{core}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
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

    #[test]
    fn pins_come_back_as_written_and_the_rest_is_refused() {
        for text in ["auto", "off", "3", "0,2,4"] {
            assert_eq!(text.parse::<Pin>().unwrap().to_string(), text);
        }
        for text in ["", "on", "1,,2", "1;2", "-1"] {
            assert!(text.parse::<Pin>().is_err(), "{text}");
        }
    }
}
