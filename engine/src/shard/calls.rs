//! How often each command was called, and what became of it.

use super::counters::Gauge;

/// What became of a command, as its reply tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CallResult {
    /// Executed; or queued, in a transaction.
    #[default]
    Ok,
    /// Refused, for a fault of the client or because a limit is reached.
    Error,
    /// Nobody who leads the key answered in time: CLUSTERDOWN or UNKNOWN.
    Unserved,
}

impl CallResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Ok, Self::Error, Self::Unserved];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Unserved => "unserved",
        }
    }

    /// What a whole reply in RESP tells.
    pub(super) fn of(reply: &[u8]) -> Self {
        if reply.first() == Some(&b'-') { Self::of_error(reply) } else { Self::Ok }
    }

    fn of_error(reply: &[u8]) -> Self {
        let unserved = reply.starts_with(b"-CLUSTERDOWN ") || reply.starts_with(b"-UNKNOWN ");
        if unserved { Self::Unserved } else { Self::Error }
    }
}

/// The number of what is no command, or is called wrongly.
pub const OTHER: u8 = u8::MAX;

/// The number of a scan by a native client: no command of one slot.
pub const NATIVE_SCAN: u8 = u8::MAX - 1;

/// The number of a native client's question who leads what.
pub const NATIVE_TOPOLOGY: u8 = u8::MAX - 2;

/// No command has this number, or a greater one.
pub(crate) const RESERVED: u8 = NATIVE_TOPOLOGY;

/// Numbers that a command may have: every one of eight bits, so that no index needs a check.
const NUMBERS: usize = 1 << 8;

/// Calls by the number of the command and by result.
#[derive(Debug)]
pub(super) struct Calls {
    /// By themselves, where the next command finds its count with one instruction.
    ok: [u64; NUMBERS],
    others: Box<[[u64; CallResult::ALL.len()]; NUMBERS]>,
}

impl Calls {
    #[inline]
    pub(super) fn count_ok(&mut self, number: u8) {
        self.ok[usize::from(number)] += 1;
    }

    #[cold]
    pub(super) fn count_error(&mut self, number: u8, reply: &[u8]) {
        self.others[usize::from(number)][CallResult::of_error(reply) as usize] += 1;
    }

    pub(super) fn count(&mut self, number: u8, result: CallResult) {
        match result {
            CallResult::Ok => self.count_ok(number),
            other => self.others[usize::from(number)][other as usize] += 1,
        }
    }

    fn get(&self, number: usize, result: CallResult) -> u64 {
        match result {
            CallResult::Ok => self.ok[number],
            other => self.others[number][other as usize],
        }
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self { ok: [0; NUMBERS], others: Box::new([[0; CallResult::ALL.len()]; NUMBERS]) }
    }
}

/// The same as others see it.
#[derive(Debug)]
pub struct SharedCalls(Box<[[Gauge; CallResult::ALL.len()]]>);

impl SharedCalls {
    /// Calls so far of the command of this number that ended so.
    pub fn get(&self, number: u8, result: CallResult) -> u64 {
        self.0[usize::from(number)][result as usize].get()
    }

    pub(super) fn publish(&self, calls: &Calls) {
        for (number, gauges) in self.0.iter().enumerate() {
            for result in CallResult::ALL {
                gauges[result as usize].set(calls.get(number, result));
            }
        }
    }
}

impl Default for SharedCalls {
    fn default() -> Self {
        Self((0..NUMBERS).map(|_| Default::default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::replies;

    #[test]
    fn the_reply_tells_the_result() {
        for reply in ["+OK\r\n", "$-1\r\n", "_\r\n", "*1\r\n-ERR inside\r\n", ""] {
            assert_eq!(CallResult::of(reply.as_bytes()), CallResult::Ok, "{reply}");
        }
        let unserved = replies::not_served(piccolo_schema::ids::Slot::default());
        for text in [replies::UNKNOWN, replies::READ_LOST, &unserved] {
            assert_eq!(CallResult::of(format!("-{text}").as_bytes()), CallResult::Unserved);
        }
        for text in [replies::BUSY, replies::OUT_OF_MEMORY, "ERR syntax error"] {
            assert_eq!(CallResult::of(format!("-{text}").as_bytes()), CallResult::Error);
        }
    }

    #[test]
    fn each_command_has_a_number_of_its_own() {
        let mut numbers: Vec<u8> = Vec::new();
        for command in crate::command::all() {
            numbers.push(command.number);
            numbers.extend(command.subcommands().iter().map(|sub| sub.number));
        }
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
        assert!(numbers.iter().all(|number| *number < RESERVED), "{numbers:?}");
    }
}
