//! Base64 (RFC 4648, 4) for bytes that JSON cannot hold.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` in base64, padded.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * place)) as usize & 63];
            // One byte gives two digits, two give three.
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, bit by bit.
    fn decode(text: &str) -> Vec<u8> {
        let digits = text.trim_end_matches('=').bytes();
        let values = digits.map(|digit| DIGITS.iter().position(|&known| known == digit).unwrap());
        let bits: Vec<bool> =
            values.flat_map(|value| (0..6).rev().map(move |bit| value >> bit & 1 == 1)).collect();
        bits.chunks_exact(8)
            .map(|byte| byte.iter().fold(0, |sum, &bit| sum << 1 | u8::from(bit)))
            .collect()
    }

    #[test]
    fn vectors_of_the_rfc_hold() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            let text = encode(&bytes);
            prop_assert_eq!(text.len() % 4, 0);
            prop_assert_eq!(decode(&text), bytes);
        }
    }
}
