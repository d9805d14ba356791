//! Which slot a key belongs to: exactly as Redis Cluster has it, so that its clients agree.

use crate::ids::Slot;

/// The slot of `key`: CRC16 of its hashtag if it has one, else of the whole key.
#[inline]
pub fn slot_of(key: &[u8]) -> Slot {
    Slot::of_hash(crc16(hashtag(key)))
}

/// What is hashed of `key`: the bytes between the first `{` and the first `}` after it, if there
/// are any, else all of it (source: Redis Cluster specification, "Hash tags").
#[inline]
pub fn hashtag(key: &[u8]) -> &[u8] {
    // Most keys have no brace; `contains` finds that out a word at a time.
    if !key.contains(&b'{') {
        return key;
    }
    let tag = key
        .iter()
        .position(|&byte| byte == b'{')
        .and_then(|open| key.get(open + 1..))
        .and_then(|rest| rest.get(..rest.iter().position(|&byte| byte == b'}')?));
    match tag {
        Some(tag) if !tag.is_empty() => tag,
        _ => key,
    }
}

/// CRC16-XMODEM: polynomial 0x1021, from 0, nothing reflected, nothing inverted.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    let (chunks, tail) = bytes.as_chunks::<STRIDE>();
    let mut crc = 0_u16;
    for chunk in chunks {
        let [high, low] = crc.to_be_bytes();
        // Eight lookups that do not wait for each other, in place of eight that do.
        crc = after(7, chunk[0] ^ high)
            ^ after(6, chunk[1] ^ low)
            ^ after(5, chunk[2])
            ^ after(4, chunk[3])
            ^ after(3, chunk[4])
            ^ after(2, chunk[5])
            ^ after(1, chunk[6])
            ^ after(0, chunk[7]);
    }
    tail.iter().fold(crc, |crc, &byte| (crc << 8) ^ after(0, byte ^ (crc >> 8) as u8))
}

/// The CRC of `byte` and `zeros` zero bytes behind it.
#[inline]
fn after(zeros: usize, byte: u8) -> u16 {
    TABLES[zeros][usize::from(byte)]
}

/// Bytes taken in one step. The tables are 512 bytes for each.
const STRIDE: usize = 8;

/// [`after`], worked out by the compiler.
static TABLES: [[u16; 256]; STRIDE] = tables();

const fn tables() -> [[u16; 256]; STRIDE] {
    let mut tables = [[0; 256]; STRIDE];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < STRIDE {
            crc = shift_byte(crc);
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

/// Eight steps of the division by the polynomial, bit by bit.
const fn shift_byte(mut crc: u16) -> u16 {
    let mut bit = 0;
    while bit < 8 {
        crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        bit += 1;
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, with no table.
    fn bitwise(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |mut crc: u16, &byte| {
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            }
            crc
        })
    }

    #[test]
    fn vectors_of_the_specification_hold() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
        assert_eq!(slot_of(b"").number(), 0);
        // From CLUSTER KEYSLOT of a Redis Cluster.
        assert_eq!(slot_of(b"foo").number(), 12182);
        assert_eq!(slot_of(b"bar").number(), 5061);
        assert_eq!(slot_of(b"somekey").number(), 11058);
        assert_eq!(slot_of(b"foo{hash_tag}").number(), 2515);
        assert_eq!(slot_of(b"hash_tag").number(), 2515);
    }

    /// The examples of the specification, then the corners beside them.
    #[test]
    fn hashtag_is_between_the_first_brace_and_the_first_that_closes_it() {
        let cases: [(&[u8], &[u8]); 13] = [
            (b"{user1000}.following", b"user1000"),
            (b"foo{}{bar}", b"foo{}{bar}"),
            (b"foo{{bar}}zap", b"{bar"),
            (b"foo{bar}{zap}", b"bar"),
            (b"{}", b"{}"),
            (b"{", b"{"),
            (b"}", b"}"),
            (b"}{", b"}{"),
            (b"}a{b}", b"b"),
            (b"a{b", b"a{b"),
            (b"{a}", b"a"),
            (b"a{b}", b"b"),
            (b"", b""),
        ];
        for (key, tag) in cases {
            assert_eq!(hashtag(key), tag, "key {:?}", key.escape_ascii().to_string());
        }
    }

    proptest! {
        #[test]
        fn tables_agree_with_the_division(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(crc16(&bytes), bitwise(&bytes));
        }

        #[test]
        fn keys_with_one_tag_share_a_slot(
            before in "[a-z}]{0,9}", tag in "[^{}]{1,20}", after in "[a-z{}]{0,9}",
        ) {
            let key = format!("{before}{{{tag}}}{after}");
            prop_assert_eq!(slot_of(key.as_bytes()), slot_of(tag.as_bytes()));
        }
    }
}
