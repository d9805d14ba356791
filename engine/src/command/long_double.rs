//! Numbers with a fraction, as INCRBYFLOAT of Redis computes with them: the 80-bit format of x87,
//! 64 bits of mantissa, rounded to nearest and then to even. In integers, so that every machine
//! gets what every client got before.

use std::cmp::Ordering;

use natural::Natural;

/// Bytes of a spelling at most (source: redis `MAX_LONG_DOUBLE_CHARS`).
const TEXT_BYTES_MAX: usize = 5 * 1024;

/// Of the largest number's first bit.
const EXPONENT_MAX: i32 = 16_383;

/// Of the smallest number's only bit, less one: what rounds to it.
const EXPONENT_MIN: i32 = -16_446;

/// Digits behind the point that are written.
const FRACTION_DIGITS: u32 = 17;

/// A number, or infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LongDouble {
    Infinite,
    /// `mantissa * 2^exponent`; the highest bit of the mantissa is set, except for zero.
    Finite {
        negative: bool,
        mantissa: u64,
        exponent: i32,
    },
}

impl LongDouble {
    pub(super) const ZERO: Self = Self::Finite { negative: false, mantissa: 0, exponent: 0 };

    /// The number nearest to what `text` spells in decimal: `-1.5e3`, or `inf`. `None` if it
    /// spells none, or one out of range.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if [&b"inf"[..], b"infinity"].iter().any(|name| unsigned.eq_ignore_ascii_case(name)) {
            return Some(Self::Infinite);
        }
        let (digits, exponent) = split_decimal(unsigned)?;
        let significant = digits.iter().position(|digit| *digit != b'0');
        let Some(start) = significant else { return Some(Self::ZERO) };
        let digits = &digits[start..];
        // Far outside of the range, and too large to compute.
        let magnitude = exponent + digits.len() as i64;
        if !(-5_000..=5_000).contains(&magnitude) {
            return None;
        }
        let (mut above, mut below) = (Natural::from_decimal(digits), Natural::from_decimal(b"1"));
        let scaled = if exponent < 0 { &mut below } else { &mut above };
        scaled.scale_by_ten(exponent.unsigned_abs());
        let (quotient, sticky, exponent) = above.divide(below);
        match Self::rounded(negative, quotient, sticky, exponent) {
            Some(Self::Finite { exponent, .. }) if exponent + 63 < EXPONENT_MIN => None,
            number => number,
        }
    }

    /// The number nearest to the sum; `None` if that is infinite or none.
    pub(super) fn add(self, other: Self) -> Option<Self> {
        let (
            Self::Finite { negative: n1, mantissa: m1, exponent: e1 },
            Self::Finite { negative: n2, mantissa: m2, exponent: e2 },
        ) = (self, other)
        else {
            return None;
        };
        if m1 == 0 || m2 == 0 {
            return Some(if m1 == 0 { other } else { self });
        }
        if (e1, m1) < (e2, m2) {
            return other.add(self);
        }
        // 63 bits below the larger one: what falls off even those only decides ties.
        let (larger, aligned) = (u128::from(m1) << 63, u128::from(m2) << 63);
        let smaller = aligned.checked_shr(e1.abs_diff(e2)).unwrap_or(0);
        let sticky = smaller.checked_shl(e1.abs_diff(e2)) != Some(aligned);
        let sum = if n1 == n2 { larger + smaller } else { larger - smaller - u128::from(sticky) };
        Self::rounded(n1, sum, sticky, e1 - 63)
    }

    /// With 17 digits behind the point, less the zeros at the end.
    pub(super) fn to_decimal(self) -> String {
        let Self::Finite { negative, mantissa, exponent } = self else { return "inf".to_owned() };
        let sign = if negative { "-" } else { "" };
        let Some(shift) = exponent.checked_neg().filter(|shift| *shift > 0) else {
            let mut integer = Natural::from_u64(mantissa);
            integer.shift_left(exponent.unsigned_abs() as usize);
            return format!("{sign}{}", integer.into_decimal());
        };
        let (integer, fraction) = fixed_point(mantissa, shift.unsigned_abs());
        let text = format!("{sign}{integer}.{fraction:017}");
        match text.trim_end_matches('0').trim_end_matches('.') {
            "-0" => "0".to_owned(),
            trimmed => trimmed.to_owned(),
        }
    }

    /// `magnitude * 2^exponent`, and a little more if `sticky`, with 64 bits of mantissa.
    fn rounded(negative: bool, magnitude: u128, sticky: bool, exponent: i32) -> Option<Self> {
        if magnitude == 0 {
            return Some(Self::ZERO);
        }
        let top = magnitude << magnitude.leading_zeros();
        let exponent = exponent - magnitude.leading_zeros() as i32 + 64;
        let (mantissa, cut) = ((top >> 64) as u64, top as u64);
        let up = match cut.cmp(&(1 << 63)) {
            Ordering::Less => false,
            Ordering::Equal => sticky || mantissa & 1 == 1,
            Ordering::Greater => true,
        };
        let (mantissa, exponent) = match mantissa.checked_add(u64::from(up)) {
            Some(mantissa) => (mantissa, exponent),
            None => (1 << 63, exponent + 1),
        };
        (exponent + 63 <= EXPONENT_MAX).then_some(Self::Finite { negative, mantissa, exponent })
    }
}

/// The integer and the 17 digits of fraction nearest to `mantissa / 2^shift`.
fn fixed_point(mantissa: u64, shift: u32) -> (u128, u128) {
    const ONE: u128 = 10_u128.pow(FRACTION_DIGITS);
    // Below 2^-64, all 17 digits are zero.
    if shift > 127 {
        return (0, 0);
    }
    let integer = u128::from(mantissa) >> shift;
    let scaled = (u128::from(mantissa) - (integer << shift)) * ONE;
    let (fraction, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
    let up = match rest.cmp(&(1 << (shift - 1))) {
        Ordering::Less => false,
        Ordering::Equal => fraction & 1 == 1,
        Ordering::Greater => true,
    };
    let fraction = fraction + u128::from(up);
    (integer + fraction / ONE, fraction % ONE)
}

/// The digits of `12.5e3` without the point, and the power of ten that makes up for it.
fn split_decimal(text: &[u8]) -> Option<(Vec<u8>, i64)> {
    let e = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (number, exponent) = match e {
        Some(e) => (&text[..e], parse_exponent(&text[e + 1..])?),
        None => (text, 0),
    };
    let point = number.iter().position(|byte| *byte == b'.').unwrap_or(number.len());
    let (integer, fraction) = (&number[..point], number.get(point + 1..).unwrap_or_default());
    let digits = [integer, fraction].concat();
    let well_formed = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    well_formed.then_some((digits, exponent - fraction.len() as i64))
}

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Larger ones are all out of range.
    let add = |sum: i64, digit: &u8| (sum * 10 + i64::from(digit - b'0')).min(1_000_000);
    Some(sign * digits.iter().fold(0, add))
}

/// Integers of any size, as far as decimal conversion needs them.
mod natural {
    use std::cmp::Ordering;

    const CHUNK: u32 = 1_000_000_000;
    const CHUNK_DIGITS: usize = 9;

    /// Limbs of 32 bits, the lowest first, the highest not zero.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub(super) struct Natural(Vec<u32>);

    impl Natural {
        pub(super) fn from_u64(value: u64) -> Self {
            Self(vec![value as u32, (value >> 32) as u32]).trimmed()
        }

        /// From decimal digits, which must be nothing else.
        pub(super) fn from_decimal(digits: &[u8]) -> Self {
            let mut number = Self(Vec::new());
            for chunk in digits.chunks(CHUNK_DIGITS) {
                let value = chunk.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
                number.multiply_add(10_u32.pow(chunk.len() as u32), value);
            }
            number
        }

        pub(super) fn into_decimal(mut self) -> String {
            let mut chunks = Vec::new();
            while !self.0.is_empty() {
                chunks.push(self.divide_small(CHUNK));
            }
            let highest = chunks.pop().unwrap_or(0).to_string();
            let others = chunks.iter().rev().map(|chunk| format!("{chunk:09}"));
            std::iter::once(highest).chain(others).collect()
        }

        /// Multiplies by ten to the power of `by`.
        pub(super) fn scale_by_ten(&mut self, by: u64) {
            for _ in 0..by / CHUNK_DIGITS as u64 {
                self.multiply_add(CHUNK, 0);
            }
            self.multiply_add(10_u32.pow((by % CHUNK_DIGITS as u64) as u32), 0);
        }

        pub(super) fn shift_left(&mut self, bits: usize) {
            self.multiply_add(1 << (bits % 32), 0);
            self.0.splice(0..0, std::iter::repeat_n(0, bits / 32));
        }

        /// Divides, neither being zero. Returns at least 66 bits of the quotient, whether there
        /// is more of it, and the power of two by which they are too large.
        pub(super) fn divide(mut self, mut by: Self) -> (u128, bool, i32) {
            const BITS: i32 = 67;
            // So that `by` gets BITS - 1 bits longer than `self`'s last bit of the quotient.
            let shift = BITS - (self.bits() as i32 - by.bits() as i32);
            if shift >= 0 {
                self.shift_left(shift as usize);
            } else {
                by.shift_left(shift.unsigned_abs() as usize);
            }
            by.shift_left(BITS as usize);
            let mut quotient = 0;
            for _ in 0..=BITS {
                quotient <<= 1;
                if self.compare(&by) != Ordering::Less {
                    self.subtract(&by);
                    quotient |= 1;
                }
                self.shift_left(1);
            }
            (quotient, !self.0.is_empty(), -shift)
        }

        fn bits(&self) -> usize {
            let last = self.0.last().map_or(0, |limb| limb.leading_zeros() as usize);
            self.0.len() * 32 - last
        }

        fn multiply_add(&mut self, factor: u32, summand: u32) {
            let mut carry = u64::from(summand);
            for limb in &mut self.0 {
                carry += u64::from(*limb) * u64::from(factor);
                *limb = carry as u32;
                carry >>= 32;
            }
            if carry > 0 {
                self.0.push(carry as u32);
            }
        }

        /// Divides and returns the rest.
        fn divide_small(&mut self, by: u32) -> u32 {
            let mut rest = 0;
            for limb in self.0.iter_mut().rev() {
                rest = rest << 32 | u64::from(*limb);
                *limb = (rest / u64::from(by)) as u32;
                rest %= u64::from(by);
            }
            self.trim();
            rest as u32
        }

        fn compare(&self, other: &Self) -> Ordering {
            let lengths = self.0.len().cmp(&other.0.len());
            lengths.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
        }

        /// Subtracts `other`, which is not larger.
        fn subtract(&mut self, other: &Self) {
            let mut borrow = false;
            let others = other.0.iter().copied().chain(std::iter::repeat(0));
            for (limb, other) in self.0.iter_mut().zip(others) {
                let (less, first) = limb.overflowing_sub(other);
                let (less, second) = less.overflowing_sub(u32::from(borrow));
                (*limb, borrow) = (less, first || second);
            }
            self.trim();
        }

        fn trim(&mut self) {
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
        }

        fn trimmed(mut self) -> Self {
            self.trim();
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        let parse = |text: &str| LongDouble::parse(text.as_bytes());
        Some(parse(a)?.add(parse(b)?)?.to_decimal())
    }

    /// What redis 7.0 on x86-64 replied.
    #[test]
    fn sums_are_those_of_redis() {
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("3", "1.23456789012345678901", "4.23456789012345679"),
            ("1e18", "0.5", "1000000000000000000.5"),
            ("-1e-20", "0", "0"),
            ("1", "-1", "0"),
            ("+1.", ".5", "1.5"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in
            ["", " 1", "1 ", "1e", "e1", ".", "-", "nan", "1.2.3", "0x", "1e5000", "1e-5000"]
        {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
        assert_eq!(LongDouble::parse(&[b'1'; TEXT_BYTES_MAX]), None);
    }

    proptest! {
        /// An f64 is a long double exactly, so printing it exactly must agree.
        #[test]
        fn every_double_reads_and_writes_itself(bits: u64) {
            let double = f64::from_bits(bits);
            prop_assume!(double.is_finite());
            let read = LongDouble::parse(format!("{double:?}").as_bytes());
            let read = read.map(LongDouble::to_decimal);
            // Only 17 digits behind the point are written.
            prop_assume!(double.abs() >= 1.0);
            prop_assert_eq!(read.unwrap().parse().map(f64::to_bits), Ok(bits));
        }

        #[test]
        fn integers_of_63_bits_are_added_exactly(
            a in -(1_i64 << 62)..1 << 62,
            b in -(1_i64 << 62)..1 << 62,
        ) {
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), Some((a + b).to_string()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(text: Vec<u8>) {
            let _ = LongDouble::parse(&text);
        }
    }
}
