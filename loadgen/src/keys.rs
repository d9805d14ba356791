//! Which keys are used how often, and how they are written.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution as _, Zipf};

/// How keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Dist {
    /// All equally often.
    Uniform,
    /// The k-th most popular key in proportion to `k^-exponent`.
    Zipf(f64),
    /// One after the other, over and over.
    Sequence,
}

impl FromStr for Dist {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no distribution: give uniform, zipf:0.99 or seq");
        match text {
            "uniform" => Ok(Self::Uniform),
            "seq" => Ok(Self::Sequence),
            _ => {
                let exponent = text.strip_prefix("zipf:").ok_or_else(wrong)?;
                let exponent: f64 = exponent.parse().map_err(|_| wrong())?;
                let fits = (EXPONENT_MIN..=EXPONENT_MAX).contains(&exponent);
                if fits { Ok(Self::Zipf(exponent)) } else { Err(wrong()) }
            }
        }
    }
}

impl fmt::Display for Dist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
            Self::Sequence => f.write_str("seq"),
        }
    }
}

const EXPONENT_MIN: f64 = 0.01;
const EXPONENT_MAX: f64 = 10.0;

/// Draws numbers of keys, from 0 up to one less than their count.
#[derive(Debug)]
pub(crate) enum Picker {
    Uniform { keys: u64 },
    Zipf { ranks: Zipf<f64>, keys: u64, spread: u64 },
    Sequence { next: u64, step: u64, keys: u64 },
}

impl Picker {
    /// For worker `worker` of `workers`: in sequence each takes its share of the keys.
    pub(crate) fn new(dist: Dist, keys: u64, worker: u64, workers: u64) -> Self {
        let sequence = Self::Sequence { next: worker % keys, step: workers, keys };
        match dist {
            Dist::Uniform => Self::Uniform { keys },
            Dist::Sequence => sequence,
            Dist::Zipf(exponent) => match Zipf::new(keys as f64, exponent) {
                Ok(ranks) => Self::Zipf { ranks, keys, spread: spread(keys) },
                // Only no keys or a negative exponent, which the command line refuses.
                Err(_) => Self::Uniform { keys },
            },
        }
    }

    #[inline]
    pub(crate) fn draw(&mut self, random: &mut Xoshiro256PlusPlus) -> u64 {
        match self {
            Self::Uniform { keys } => random.random_range(0..*keys),
            Self::Zipf { ranks, keys, spread } => {
                // Popular keys lie far apart, as popular things do: not the first in every order.
                let rank = (ranks.sample(random) as u64 - 1).min(*keys - 1);
                (u128::from(rank) * u128::from(*spread) % u128::from(*keys)) as u64
            }
            Self::Sequence { next, step, keys } => {
                let key = *next;
                *next += *step;
                if *next >= *keys {
                    *next %= *keys;
                }
                key
            }
        }
    }
}

/// A factor near the golden ratio that shares no divisor with `keys`: multiplying by it, modulo
/// `keys`, gives every key another place and neighbours far ones.
fn spread(keys: u64) -> u64 {
    let golden = (keys as f64 * 0.618_033_988_749_895) as u64;
    let from = golden.max(1);
    (from..=from + keys).find(|factor| divisor(*factor, keys) == 1).unwrap_or(1)
}

fn divisor(mut one: u64, mut other: u64) -> u64 {
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// Writes keys of one length: a prefix, then the number with leading zeros.
#[derive(Clone, Debug)]
pub(crate) struct KeyText {
    bytes: Vec<u8>,
    digits: usize,
}

impl KeyText {
    /// Keys of `length` bytes that begin with `prefix`, for numbers below `keys`.
    ///
    /// # Errors
    ///
    /// Says how long keys must be if the prefix and the digits do not fit.
    pub(crate) fn new(prefix: &str, length: usize, keys: u64) -> Result<Self, String> {
        let digits = (keys.max(2) - 1).to_string().len();
        let least = prefix.len() + digits;
        if length < least {
            return Err(format!("keys of {length} bytes are too short: give --key-size {least}"));
        }
        let mut bytes = vec![b'0'; length];
        bytes[..prefix.len()].copy_from_slice(prefix.as_bytes());
        Ok(Self { bytes, digits })
    }

    /// The key of `number`, until the next call.
    #[inline]
    pub(crate) fn render(&mut self, mut number: u64) -> &[u8] {
        let from = self.bytes.len() - self.digits;
        for place in self.bytes[from..].iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            number /= 10;
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use std::collections::BTreeSet;

    fn counts(dist: Dist, keys: u64, draws: usize) -> Vec<usize> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut picker = Picker::new(dist, keys, 0, 1);
        let mut counts = vec![0; keys as usize];
        for _ in 0..draws {
            counts[picker.draw(&mut random) as usize] += 1;
        }
        counts
    }

    #[test]
    fn uniform_draws_all_about_equally_often() {
        let counts = counts(Dist::Uniform, 100, 100_000);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn zipf_follows_its_law_and_scatters_the_popular() {
        let counts = counts(Dist::Zipf(1.0), 1000, 200_000);
        let mut order: Vec<usize> = (0..1000).collect();
        order.sort_by_key(|key| std::cmp::Reverse(counts[*key]));
        // 1 / H(1000) of the draws fall on the first, half as many on the second.
        assert!((24_500..29_000).contains(&counts[order[0]]), "{}", counts[order[0]]);
        let ratio = counts[order[0]] as f64 / counts[order[1]] as f64;
        assert!((1.8..2.2).contains(&ratio), "{ratio}");
        let near = order[..8].windows(2).filter(|two| two[0].abs_diff(two[1]) < 10).count();
        assert_eq!(near, 0, "popular keys are neighbours: {:?}", &order[..8]);
    }

    #[test]
    fn seeds_repeat_what_is_drawn() {
        let dist = Dist::Zipf(0.99);
        assert_eq!(counts(dist, 50, 1000), counts(dist, 50, 1000));
    }

    #[test]
    fn workers_in_sequence_share_the_keys() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut seen = BTreeSet::new();
        for (worker, share) in [(0, 4), (1, 3), (2, 3)] {
            let mut picker = Picker::new(Dist::Sequence, 10, worker, 3);
            seen.extend((0..share).map(|_| picker.draw(&mut random)));
        }
        assert_eq!(seen, (0..10).collect());
    }

    #[test]
    fn keys_have_one_length_and_say_when_they_cannot() {
        let mut text = KeyText::new("key:", 16, 1000).unwrap();
        assert_eq!(text.render(42), b"key:000000000042");
        assert_eq!(text.render(999), b"key:000000000999");
        let error = KeyText::new("key:", 6, 1000).unwrap_err();
        assert!(error.contains("--key-size 7"), "{error}");
    }

    #[test]
    fn distributions_are_read_and_printed_alike() {
        for text in ["uniform", "seq", "zipf:0.99"] {
            assert_eq!(text.parse::<Dist>().unwrap().to_string(), text);
        }
        for text in ["", "zipf", "zipf:", "zipf:0", "zipf:-1", "zipf:NaN", "zipf:11", "gauss"] {
            assert!(text.parse::<Dist>().is_err(), "{text:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn no_key_is_out_of_range(keys in 1_u64..1 << 40, exponent in 0.01_f64..3.0, seed: u64) {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            for dist in [Dist::Uniform, Dist::Zipf(exponent), Dist::Sequence] {
                let mut picker = Picker::new(dist, keys, seed % 5, 5);
                for _ in 0..20 {
                    prop_assert!(picker.draw(&mut random) < keys);
                }
            }
        }

        #[test]
        fn spreading_gives_every_key_one_place(keys in 1_u64..3000) {
            let factor = spread(keys);
            let places: BTreeSet<u64> = (0..keys).map(|rank| rank * factor % keys).collect();
            prop_assert_eq!(places.len() as u64, keys);
        }
    }
}
