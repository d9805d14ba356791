//! What clients wrote and were told: enough to say of each value read whether it may be.

use std::collections::BTreeSet;

use piccolo_ring::key_slot::slot_of;
use piccolo_schema::ids::Slot;

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
    /// Its slot was lost with a node: anything may be found.
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
                Some(format!("{number}:{}", "x".repeat(padding)).into_bytes())
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
        let fits = (low..=high).any(|number| self.value(number).as_deref() == read);
        if fits || self.lost {
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
