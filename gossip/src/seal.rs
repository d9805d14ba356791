//! Seals: a MAC and a number on every datagram, so that only nodes with the cluster's key can make
//! one, and each is taken once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use piccolo_schema::ids::NodeId;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// Bytes that a seal adds to a datagram: its number, and the MAC.
pub const SEAL_BYTES: usize = 8 + MAC_BYTES;

const MAC_BYTES: usize = 16;
const KEY_BYTES: usize = 16;

/// Keys held at once: the one to seal with, and the one before or after it while rotating.
const KEYS_MAX: usize = 2;

/// Words of a window: datagrams may overtake as many others as it has bits.
const WINDOW_WORDS: usize = 16;
const WINDOW_BITS: u64 = WINDOW_WORDS as u64 * 64;

/// The keys that the nodes of a cluster share. The first one seals; each of them opens.
///
/// The MAC is SipHash-2-4 of 128 bits: it shows that a node with the key made a message, and hides
/// nothing of what the message says.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<[u8; KEY_BYTES]>,
}

/// Never shows a key.
impl fmt::Debug for Keys {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Keys({})", self.keys.len())
    }
}

/// Why a text is no set of keys. The operator's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFault {
    /// A line is not a key.
    #[error("line {line}: a key is {} hexadecimal digits, as `openssl rand -hex {KEY_BYTES}` \
             prints them", KEY_BYTES * 2)]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// No keys, or too many.
    #[error(
        "{count} keys, not 1 or {KEYS_MAX}: write one a line, as `openssl rand -hex \
             {KEY_BYTES}` prints them"
    )]
    Count {
        /// As read.
        count: usize,
    },
    /// The same key twice: whoever rotates forgot to write the new one.
    #[error("line {line}: the second key is the same as the first: give another, or leave it out")]
    Same {
        /// Counted from 1.
        line: usize,
    },
}

/// Why a datagram is not authentic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealFault {
    /// Sealed with none of our keys, or not at all.
    #[error("sealed with none of our keys")]
    Key,
    /// Taken before, or so old that nobody remembers.
    #[error("came before")]
    Replayed,
    /// It may be of any time: we know nothing of its sender, and it is not addressed to this life
    /// of ours. The sender was asked to address us, and what it wants is repeated anyway.
    #[error("perhaps a recording: the sender was asked to show that it is there")]
    Undated,
}

impl Keys {
    /// Reads keys, one in each line; empty lines and what follows a `#` do not count.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let key = parse_key(line).ok_or(KeyFault::Line { line: index + 1 })?;
            if keys == [key] {
                return Err(KeyFault::Same { line: index + 1 });
            }
            keys.push(key);
        }
        if (1..=KEYS_MAX).contains(&keys.len()) {
            Ok(Self { keys })
        } else {
            Err(KeyFault::Count { count: keys.len() })
        }
    }

    /// The MAC of a message with the first key. `purpose` keeps messages of different kinds apart.
    pub fn mac(&self, purpose: u8, message: &[u8]) -> [u8; MAC_BYTES] {
        self.keys.first().map_or([0; MAC_BYTES], |key| mac(key, purpose, message))
    }

    /// Something to tell each key by that does not show it, as 8 hexadecimal digits; equal keys
    /// have equal ones, on every node.
    pub fn fingerprints(&self) -> Vec<String> {
        let of = |key| {
            let [a, b, c, d, ..] = mac(key, FINGERPRINT, b"piccolo key fingerprint");
            format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
        };
        self.keys.iter().map(of).collect()
    }

    /// Whether a MAC was made with one of the keys. Takes the same time wherever it differs.
    pub fn verify(&self, purpose: u8, message: &[u8], given: &[u8]) -> bool {
        self.keys.iter().any(|key| {
            let expected = mac(key, purpose, message);
            given.len() == expected.len()
                && expected.iter().zip(given).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
        })
    }
}

fn parse_key(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != KEY_BYTES * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

fn mac(key: &[u8; KEY_BYTES], purpose: u8, message: &[u8]) -> [u8; MAC_BYTES] {
    let mut hasher = SipHasher24::new_with_key(key);
    hasher.write(&[purpose]);
    hasher.write(message);
    hasher.finish128().as_bytes()
}

/// What a datagram's seal is made for.
const DATAGRAM: u8 = b'd';

/// What a fingerprint is made for, so that it says nothing about any seal.
const FINGERPRINT: u8 = b'f';

/// Seals what this node sends, and opens what comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seal {
    keys: Option<Keys>,
    /// Of the last datagram sealed. An id sends under its own numbers, and never lives twice.
    number: u64,
    windows: BTreeMap<NodeId, Window>,
}

/// Which numbers of one sender have come.
#[derive(Clone, Debug)]
struct Window {
    highest: u64,
    /// Bit `n % WINDOW_BITS` for each number `n` of the window.
    seen: [u64; WINDOW_WORDS],
}

impl Seal {
    pub(crate) fn set_keys(&mut self, keys: Option<Keys>) {
        self.keys = keys;
    }

    /// Bytes that a seal takes of each datagram now.
    pub(crate) const fn bytes(&self) -> usize {
        if self.keys.is_some() { SEAL_BYTES } else { 0 }
    }

    /// Adds number and MAC, if there are keys.
    pub(crate) fn close(&mut self, datagram: &mut Vec<u8>) {
        if let Some(keys) = &self.keys {
            self.number += 1;
            datagram.extend_from_slice(&self.number.to_le_bytes());
            let mac = keys.mac(DATAGRAM, datagram);
            datagram.extend_from_slice(&mac);
        }
    }

    /// What was sealed, and under which number.
    ///
    /// # Errors
    ///
    /// It was not sealed with one of our keys.
    pub(crate) fn open<'a>(&self, datagram: &'a [u8]) -> Result<(&'a [u8], u64), SealFault> {
        let Some(keys) = &self.keys else { return Ok((datagram, 0)) };
        let split = |bytes: &'a [u8], from_end: usize| {
            bytes.len().checked_sub(from_end).and_then(|at| bytes.split_at_checked(at))
        };
        let (sealed, mac) = split(datagram, MAC_BYTES).ok_or(SealFault::Key)?;
        let (message, number) = split(sealed, 8).ok_or(SealFault::Key)?;
        if !keys.verify(DATAGRAM, sealed, mac) {
            return Err(SealFault::Key);
        }
        let number = number.try_into().map_err(|_| SealFault::Key)?;
        Ok((message, u64::from_le_bytes(number)))
    }

    /// Takes in the number of a datagram that was opened. An unknown sender is heard only if it
    /// addressed us: ids are drawn for a life, so that nothing of before ours bears it.
    ///
    /// # Errors
    ///
    /// It came before, or may have.
    pub(crate) fn first_time(
        &mut self,
        from: NodeId,
        number: u64,
        addressed: bool,
    ) -> Result<(), SealFault> {
        if self.keys.is_none() {
            return Ok(());
        }
        let window = match self.windows.entry(from) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if !addressed => return Err(SealFault::Undated),
            // Whatever it said before may be a recording.
            Entry::Vacant(new) => new.insert(Window {
                highest: number.saturating_sub(1),
                seen: [u64::MAX; WINDOW_WORDS],
            }),
        };
        if window.take(number) { Ok(()) } else { Err(SealFault::Replayed) }
    }

    /// Forgets the numbers of ids that are gone, if those of too many are kept.
    pub(crate) fn forget(&mut self, windows_max: usize, lives: impl Fn(NodeId) -> bool) {
        if self.windows.len() > windows_max {
            self.windows.retain(|id, _| lives(*id));
        }
    }
}

impl Window {
    /// Notes a number. Says whether it came for the first time.
    fn take(&mut self, number: u64) -> bool {
        if number > self.highest {
            if number - self.highest >= WINDOW_BITS {
                self.seen = [0; WINDOW_WORDS];
            } else {
                for passed in self.highest + 1..number {
                    self.set(passed, false);
                }
            }
            self.highest = number;
        } else if self.highest - number >= WINDOW_BITS || self.has(number) {
            return false;
        }
        self.set(number, true);
        true
    }

    const fn place(number: u64) -> (usize, u64) {
        let bit = number % WINDOW_BITS;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    const fn has(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.seen[word] & bit != 0
    }

    const fn set(&mut self, number: u64, seen: bool) {
        let (word, bit) = Self::place(number);
        if seen {
            self.seen[word] |= bit;
        } else {
            self.seen[word] &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const OLD: &str = "000102030405060708090a0b0c0d0e0f";
    const NEW: &str = "f00102030405060708090a0b0c0d0e0f";

    fn seal(text: &str) -> Seal {
        Seal { keys: Some(Keys::parse(text).unwrap()), ..Seal::default() }
    }

    #[test]
    fn the_mac_is_that_of_the_reference() {
        // Source: the vectors of SipHash's authors for 128 bits, key 00 to 0f, messages 00 01 ..
        let key: [u8; 16] = std::array::from_fn(|index| index as u8);
        let reference = |length: u8| {
            let mut hasher = SipHasher24::new_with_key(&key);
            hasher.write(&(0..length).collect::<Vec<u8>>());
            hasher.finish128().as_bytes()
        };
        let expected = [
            0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
            0x02, 0x93,
        ];
        assert_eq!(reference(0), expected);
    }

    #[test]
    fn what_is_sealed_opens_and_what_is_changed_does_not() {
        let mut sender = seal(OLD);
        let mut datagram = b"news".to_vec();
        sender.close(&mut datagram);
        assert_eq!(datagram.len(), 4 + SEAL_BYTES);
        assert_eq!(seal(OLD).open(&datagram), Ok((&b"news"[..], 1)));
        assert_eq!(seal(NEW).open(&datagram), Err(SealFault::Key));
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            assert_eq!(seal(OLD).open(&changed), Err(SealFault::Key), "byte {at}");
            assert_eq!(seal(OLD).open(&datagram[..at]), Err(SealFault::Key), "cut at {at}");
        }
        assert_eq!(seal(OLD).open(b"news"), Err(SealFault::Key), "without a seal");
    }

    #[test]
    fn keys_rotate_while_nodes_hold_two() {
        let old_first = format!("{OLD}\n{NEW} # next\n\n");
        let new_first = format!("{NEW}\n{OLD}\n");
        let stages = [OLD, &old_first, &new_first, NEW];
        for pair in stages.windows(2) {
            for (from, to) in [(pair[0], pair[1]), (pair[1], pair[0])] {
                let mut datagram = b"news".to_vec();
                seal(from).close(&mut datagram);
                assert!(seal(to).open(&datagram).is_ok(), "{from} to {to}");
            }
        }
    }

    #[test]
    fn keys_are_one_or_two_of_32_hexadecimal_digits() {
        assert_eq!(Keys::parse("# none\n"), Err(KeyFault::Count { count: 0 }));
        let three = [OLD, NEW, OLD].join("\n");
        assert_eq!(Keys::parse(&three), Err(KeyFault::Count { count: 3 }));
        let twice = format!("{OLD}\n\n{}\n", OLD.to_uppercase());
        assert_eq!(Keys::parse(&twice), Err(KeyFault::Same { line: 3 }));
        let bad =
            [&OLD[1..], "g00102030405060708090a0b0c0d0e0f", "+00102030405060708090a0b0c0d0e0f"];
        for bad in bad {
            assert_eq!(Keys::parse(&format!("\n{bad}")), Err(KeyFault::Line { line: 2 }));
        }
        let shown = format!("{:?}", Keys::parse(OLD).unwrap());
        assert_eq!(shown, "Keys(1)", "a key must not be shown");
    }

    #[test]
    fn fingerprints_tell_keys_apart_and_do_not_show_them() {
        let both = Keys::parse(&format!("{OLD}\n{NEW}")).unwrap().fingerprints();
        let alone = |text| Keys::parse(text).unwrap().fingerprints();
        assert_eq!(both, [alone(OLD), alone(NEW)].concat());
        assert_ne!(both[0], both[1]);
        assert!(both.iter().all(|print| print.len() == 8 && !OLD.contains(print)), "{both:?}");
        // Pinned: nodes of different versions are compared by it while a key is replaced.
        assert_eq!(alone(OLD), ["337aac0f"]);
    }

    #[test]
    fn a_stranger_is_heard_only_if_it_knows_us() {
        let mut seal = seal(OLD);
        assert_eq!(seal.first_time(NodeId(7), 3, false), Err(SealFault::Undated));
        assert_eq!(seal.first_time(NodeId(7), 4, true), Ok(()));
        assert_eq!(seal.first_time(NodeId(7), 5, false), Ok(()), "its numbers are known now");
        for passed in [4, 3, 1, 0] {
            let fault = Err(SealFault::Replayed);
            assert_eq!(seal.first_time(NodeId(7), passed, true), fault, "{passed}");
        }
    }

    proptest! {
        #[test]
        fn each_number_is_taken_once(
            steps in prop::collection::vec(prop_oneof![0..40_u64, 0..3000_u64], 1..400),
        ) {
            let mut seal = seal(OLD);
            prop_assert!(seal.first_time(NodeId(7), 1, true).is_ok());
            let (mut taken, mut highest) = (BTreeSet::from([0, 1]), 1);
            for (index, step) in steps.into_iter().enumerate() {
                let number = if index % 3 == 0 { highest + step } else {
                    u64::saturating_sub(highest, step)
                };
                let old = u64::saturating_sub(highest, number) >= WINDOW_BITS;
                let fresh = !old && taken.insert(number);
                highest = highest.max(number);
                prop_assert_eq!(seal.first_time(NodeId(7), number, true).is_ok(), fresh);
            }
        }
    }
}
