//! What clients wrote and were told: enough to say of each value read whether it may be.

use std::collections::BTreeSet;

use piccolo_schema::ids::Slot;
use piccolo_schema::key_slot::slot_of;

/// Bytes of padding from which on a register is large.
const LARGE_BYTES: usize = 10_000;

/// What large values are padded with, apart from all others: it shows where they have got to.
pub const LARGE_PADDING: u8 = b'L';

/// How a register is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// SET to numbered values; each seventh time deleted.
    Number,
    /// INCR.
    Counter,
    /// Two keys of one slot, INCR of both in MULTI.
    Pair,
}

/// A key that one client writes, in order, each time with the next number.
#[derive(Clone, Debug)]
pub struct Register {
    /// How it is written.
    pub kind: Kind,
    /// The key; the first of two.
    pub key: Vec<u8>,
    /// The last write acknowledged; 0 for none.
    pub low: u64,
    /// The last write attempted.
    pub high: u64,
    /// The fate of some write is not known: its owner writes it no more.
    pub doubtful: bool,
    /// Its slot was lost with a node: nothing may be found, or any write of this register.
    pub lost: bool,
    /// A read found this write before its turn: its fate must turn out not to be known. A read
    /// whose link was torn is asked again, after the writes behind it that were under way.
    pub ahead: u64,
    /// Bytes that values are padded with.
    padding: usize,
}

impl Register {
    /// A key never written.
    pub fn new(kind: Kind, name: &str, padding: usize) -> Self {
        let key = match kind {
            Kind::Number => format!("n:{name}"),
            Kind::Counter => format!("c:{name}"),
            Kind::Pair => format!("{{{name}}}:a"),
        };
        let key = key.into_bytes();
        Self { kind, key, low: 0, high: 0, doubtful: false, lost: false, ahead: 0, padding }
    }

    /// The second key of a pair.
    pub fn second(&self) -> Vec<u8> {
        let mut key = self.key.clone();
        if let Some(last) = key.last_mut() {
            *last = b'b';
        }
        key
    }

    /// Whether its values are so large that clients leave it alone unless told to read it.
    pub fn is_large(&self) -> bool {
        self.padding >= LARGE_BYTES
    }

    /// The slot.
    pub fn slot(&self) -> Slot {
        slot_of(&self.key)
    }

    /// Keys that exist after the write of this number.
    pub fn keys_after(&self, number: u64) -> u64 {
        match self.kind {
            Kind::Number => u64::from(!Self::deletes(number)),
            Kind::Counter => u64::from(number > 0),
            Kind::Pair => 2 * u64::from(number > 0),
        }
    }

    /// Whether the write of this number is a deletion.
    pub fn deletes(number: u64) -> bool {
        number.is_multiple_of(7)
    }

    /// The value after the write of this number.
    pub fn value(&self, number: u64) -> Option<Vec<u8>> {
        match self.kind {
            Kind::Number if Self::deletes(number) => None,
            Kind::Number => {
                let padding = self.padding * (number as usize % 4);
                let byte = if self.is_large() { LARGE_PADDING } else { b'x' };
                let mut value = format!("{number}:").into_bytes();
                value.resize(value.len() + padding, byte);
                Some(value)
            }
            Kind::Counter | Kind::Pair if number == 0 => None,
            Kind::Counter | Kind::Pair => Some(number.to_string().into_bytes()),
        }
    }

    /// The write after `number` that made a value.
    pub fn number_of(&self, number: u64, read: Option<&[u8]>) -> Option<u64> {
        (number + 1..=self.high).find(|number| self.value(*number).as_deref() == read)
    }

    /// Says what is wrong with a value read, if none of these writes made it.
    pub fn judge(&self, low: u64, high: u64, read: Option<&[u8]>) -> Option<String> {
        let (low, high) = if self.lost { (0, self.high) } else { (low, high) };
        if (low..=high).any(|number| self.value(number).as_deref() == read) {
            return None;
        }
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned();
        Some(format!(
            "{} (slot {}) reads {:?}, but writes {low} to {high} were to be found",
            text(&self.key),
            self.slot(),
            read.map(text)
        ))
    }
}

/// All registers.
#[derive(Debug, Default)]
pub struct History {
    /// By their number.
    pub registers: Vec<Register>,
    /// Error replies: (client, host, text).
    pub errors: Vec<(usize, usize, String)>,
    /// Slots of which new registers are lost as well.
    forfeited: BTreeSet<Slot>,
    /// Replies checked.
    pub replies: u64,
}

impl History {
    /// A write's fate will never be known.
    pub fn doubt(&mut self, register: usize) {
        self.registers[register].doubtful = true;
    }

    /// A write that did not depend on what was there is done, and no other is under way: what
    /// the register holds is known, even if it was lost.
    pub fn know(&mut self, register: usize, number: u64) {
        let known = &mut self.registers[register];
        (known.low, known.lost, known.doubtful) = (number, false, false);
    }

    /// Everything in these slots is lost, and whatever is written there from now on.
    pub fn forfeit(&mut self, lost: impl Fn(Slot) -> bool) {
        self.forfeited = Slot::all().filter(|slot| lost(*slot)).collect();
        for register in &mut self.registers {
            if lost(register.slot()) {
                (register.lost, register.doubtful) = (true, true);
            }
        }
    }

    /// What is written from now on must be found again.
    pub fn recover(&mut self) {
        self.forfeited.clear();
        // Nobody goes on with registers that may have been lost.
        self.registers.iter_mut().filter(|r| r.lost).for_each(|r| r.doubtful = true);
    }

    /// A register that nobody has written. Returns its number.
    pub fn add(&mut self, mut register: Register) -> usize {
        register.lost = self.forfeited.contains(&register.slot());
        self.registers.push(register);
        self.registers.len() - 1
    }

    /// Keys that must exist, and keys that may: equal unless some write is in doubt.
    pub fn keys(&self) -> (u64, u64) {
        let counts = self.registers.iter().map(|register| {
            let all = || (register.low..=register.high).map(|number| register.keys_after(number));
            let least = if register.lost { 0 } else { all().min().unwrap_or(0) };
            (least, all().max().unwrap_or(0))
        });
        counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}
