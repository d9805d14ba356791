//! Values that say who wrote them, and whether they are whole.

/// Begins every value of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// Of this run alone, so that nothing of another run is taken for ours.
    pub(crate) nonce: u64,
    pub(crate) key: u64,
    pub(crate) number: u64,
}

/// Bytes of a value at least: the head and the checksum.
pub(crate) const STAMP_BYTES_MIN: usize = HEAD_BYTES + SUM_BYTES;

impl Stamp {
    /// The key that it belongs to, as the store has it.
    pub(crate) fn key_text(nonce: u64, key: u64) -> String {
        format!("verify:{nonce:016x}:{key:08}")
    }

    /// A value of `length` bytes, at least [`STAMP_BYTES_MIN`].
    pub(crate) fn write(&self, length: usize, out: &mut Vec<u8>) {
        out.clear();
        let head = format!("{MARK}{:016x}:{:016x}:{:016x}:", self.nonce, self.key, self.number);
        out.extend_from_slice(head.as_bytes());
        // Padding that differs from write to write, so that mixed halves are seen.
        let letter = b'a' + (self.number % 26) as u8;
        out.resize(length.saturating_sub(SUM_BYTES).max(HEAD_BYTES), letter);
        let sum = checksum(out);
        out.extend_from_slice(format!("{sum:016x}").as_bytes());
    }

    /// The number in a value of key `key`, if it is whole and of this run.
    pub(crate) fn number_of(nonce: u64, key: u64, value: &[u8]) -> Option<u64> {
        let (body, sum) = value.split_at_checked(value.len().checked_sub(SUM_BYTES)?)?;
        let head = body.get(MARK.len()..HEAD_BYTES)?;
        let mut parts = head.split(|byte| *byte == b':').map(hex);
        let whole = body.starts_with(MARK.as_bytes()) && hex(sum)? == checksum(body);
        let ours = parts.next()?? == nonce && parts.next()?? == key;
        (whole && ours).then(|| parts.next())??
    }
}

const MARK: &str = "v:";
const HEAD_BYTES: usize = MARK.len() + 3 * 17;
const SUM_BYTES: usize = 16;

fn hex(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(text).ok()?, 16).ok()
}

/// FNV-1a (source: draft-eastlake-fnv).
fn checksum(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(number: u64, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        Stamp { nonce: 7, key: 3, number }.write(length, &mut out);
        out
    }

    #[test]
    fn a_value_of_another_run_or_key_is_not_ours() {
        let value = value(9, 100);
        assert_eq!(Stamp::number_of(7, 3, &value), Some(9));
        assert_eq!(Stamp::number_of(8, 3, &value), None);
        assert_eq!(Stamp::number_of(7, 4, &value), None);
        assert_eq!(Stamp::number_of(7, 3, b""), None);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(number: u64, length in STAMP_BYTES_MIN..500) {
            let value = value(number, length);
            prop_assert_eq!(value.len(), length);
            prop_assert_eq!(Stamp::number_of(7, 3, &value), Some(number));
        }

        #[test]
        fn a_changed_byte_is_seen(place in 0_usize..100, change in 1_u8..) {
            let mut value = value(12, 100);
            value[place] ^= change;
            // The case of a letter in hexadecimal is no change.
            prop_assume!(!value[place].is_ascii_uppercase());
            prop_assert_eq!(Stamp::number_of(7, 3, &value), None);
        }

        #[test]
        fn a_cut_value_is_seen(length in 0_usize..100) {
            prop_assert_eq!(Stamp::number_of(7, 3, &value(12, 100)[..length]), None);
        }
    }
}
