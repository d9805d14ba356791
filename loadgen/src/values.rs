//! Values to write, made before the run.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;

/// Lengths of values in bytes, each between both bounds equally often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) least: usize,
    pub(crate) most: usize,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no size of values: give bytes, or from..to, up to {VALUE_BYTES_MAX}"
            )
        };
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let (least, most) = (number(least)?, number(most)?);
        let fits = least <= most && most <= VALUE_BYTES_MAX;
        if fits { Ok(Self { least, most }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            return write!(f, "{}", self.least);
        }
        write!(f, "{}..{}", self.least, self.most)
    }
}

/// The longest value that Piccolo stores.
pub(crate) const VALUE_BYTES_MAX: usize = 64 << 20;

/// Random letters and digits, from which every value is a piece.
#[derive(Debug)]
pub(crate) struct Values {
    pool: Vec<u8>,
    sizes: Sizes,
}

impl Values {
    pub(crate) fn new(sizes: Sizes, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let letters = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
        let count = sizes.most + OFFSETS as usize;
        let pool = (0..count).map(|_| letters[random.random_range(0..letters.len())]).collect();
        Self { pool, sizes }
    }

    /// The value that `random` stands for.
    #[inline]
    pub(crate) fn pick(&self, random: u64) -> &[u8] {
        let from = (random & (OFFSETS - 1)) as usize;
        let choices = (self.sizes.most - self.sizes.least + 1) as u64;
        let more = (((random >> 32) * choices) >> 32) as usize;
        &self.pool[from..from + self.sizes.least + more]
    }
}

/// Places at which a value may begin: different enough, and little enough to stay in the cache.
const OFFSETS: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_within_their_sizes_and_reach_both_ends() {
        let values = Values::new("3..5".parse().unwrap(), 1);
        let random = (0..3000_u64).map(|at| at * (u64::MAX / 3000) + at);
        let mut counts = [0; 6];
        random.for_each(|random| counts[values.pick(random).len()] += 1);
        assert!(counts[3..].iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert_eq!(Values::new("0".parse().unwrap(), 1).pick(u64::MAX), b"");
    }

    #[test]
    fn one_seed_gives_one_set_of_values() {
        let values = |seed| Values::new("64".parse().unwrap(), seed).pick(99).to_vec();
        assert_eq!(values(5), values(5));
        assert_ne!(values(5), values(6));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "a", "5..3", "1..", "-1", "67108865"] {
            assert!(text.parse::<Sizes>().is_err(), "{text:?} was taken");
        }
        assert_eq!("64..4096".parse::<Sizes>().unwrap().to_string(), "64..4096");
    }
}
