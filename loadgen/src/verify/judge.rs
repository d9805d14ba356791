//! Keeps the registers of one worker, and notes what its clients hear.

use std::net::SocketAddr;

use super::findings::Findings;
use super::register::{Known, Register, Verdict};
use super::stamp::Stamp;
use crate::protocol::Answer;

/// One request that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) key: usize,
    pub(super) kind: Kind,
    pub(super) sent: u64,
}

/// What it asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Writes this number.
    Write(u64),
    /// Reads, knowing this.
    Read(Known),
}

/// All keys of one worker.
#[derive(Debug)]
pub(super) struct Judge {
    nonce: u64,
    /// The number of the first key among those of all workers.
    first: u64,
    registers: Vec<Register>,
    texts: Vec<Vec<u8>>,
    /// For each client and key the newest number that it has seen.
    seen: Vec<u64>,
    pub(super) findings: Findings,
    /// Whether all writes are over.
    over: bool,
}

impl Judge {
    pub(super) fn new(nonce: u64, first: u64, keys: u64, clients: usize) -> Self {
        let text = |key| Stamp::key_text(nonce, first + key).into_bytes();
        Self {
            nonce,
            first,
            registers: vec![Register::default(); keys as usize],
            texts: (0..keys).map(text).collect(),
            seen: vec![0; keys as usize * clients],
            findings: Findings::default(),
            over: false,
        }
    }

    pub(super) fn text(&self, key: usize) -> &[u8] {
        &self.texts[key]
    }

    pub(super) fn stamp(&self, key: usize, number: u64) -> Stamp {
        Stamp { nonce: self.nonce, key: self.first + key as u64, number }
    }

    /// From here on reads are those at the end.
    pub(super) fn read_back(&mut self) {
        self.over = true;
    }

    /// Begins a write, if one may begin now.
    pub(super) fn begin(&mut self, key: usize) -> Option<Kind> {
        let number = self.registers[key].begin()?;
        self.findings.attempted += 1;
        Some(Kind::Write(number))
    }

    /// Begins a read by a client.
    pub(super) fn read(&self, key: usize, client: usize) -> Kind {
        let seen = self.seen[client * self.registers.len() + key];
        Kind::Read(Known { floor: self.registers[key].floor(), seen })
    }

    /// Notes what `client` heard from `address`.
    pub(super) fn note(
        &mut self,
        flight: &Flight,
        client: usize,
        address: SocketAddr,
        answer: Answer<'_>,
    ) {
        match (flight.kind, answer) {
            (Kind::Write(_), Answer::Done | Answer::Value(_)) => {
                self.registers[flight.key].acknowledge();
                self.findings.acknowledged += 1;
            }
            (Kind::Write(number), Answer::Refused(_)) => {
                self.findings.refused += 1;
                if self.registers[flight.key].refuse() {
                    self.findings.corrupt += 1;
                    let name = String::from_utf8_lossy(&self.texts[flight.key]);
                    self.findings.fault(format!(
                        "corrupt: write {number} of {name} was seen before {address} refused it"
                    ));
                }
            }
            (Kind::Write(_), _) => {
                self.registers[flight.key].lose();
                self.findings.unknown += 1;
            }
            (Kind::Read(known), Answer::Value(value)) => {
                let number = Stamp::number_of(self.nonce, self.first + flight.key as u64, value);
                self.found(flight.key, client, address, known, number);
            }
            (Kind::Read(known), Answer::Absent) => {
                self.found(flight.key, client, address, known, Some(0));
            }
            (Kind::Read(_), _) => {}
        }
        self.note_error(flight, address, answer);
    }

    fn note_error(&mut self, flight: &Flight, address: SocketAddr, answer: Answer<'_>) {
        let shown = |text: &[u8]| {
            let text = &text[..text.len().min(200)];
            format!("{address}: {}", String::from_utf8_lossy(text).trim())
        };
        match (flight.kind, answer) {
            // What it says is that it cannot tell: no error of its own for a write.
            (Kind::Write(_), Answer::Unknown(text)) => self.findings.note(shown(text)),
            (_, Answer::Refused(text) | Answer::Unknown(text) | Answer::Moved(text)) => {
                self.findings.errors += 1;
                self.findings.note(shown(text));
            }
            (Kind::Write(_), Answer::Absent) | (Kind::Read(_), Answer::Done) => {
                self.findings.errors += 1;
                self.findings.note(shown(b"an answer to another request"));
            }
            _ => {}
        }
    }

    /// A read found a number; nothing if the value is not whole.
    fn found(
        &mut self,
        key: usize,
        client: usize,
        address: SocketAddr,
        known: Known,
        number: Option<u64>,
    ) {
        self.findings.reads += 1;
        self.findings.read_back += u64::from(self.over);
        let judged = number.map(|number| self.registers[key].judge(known, number));
        if let (Some(number), Some(Verdict::Fine)) = (number, judged) {
            let seen = &mut self.seen[client * self.registers.len() + key];
            *seen = number.max(*seen);
            return;
        }
        let findings = &mut self.findings;
        let (count, what) = match judged {
            Some(Verdict::Lost) => (&mut findings.lost, "lost"),
            Some(Verdict::Stale) => (&mut findings.stale, "stale"),
            _ => (&mut findings.corrupt, "corrupt"),
        };
        *count += 1;
        let name = String::from_utf8_lossy(&self.texts[key]);
        let number =
            number.map_or("a value that is not whole".to_owned(), |n| format!("write {n}"));
        let Known { floor, seen } = known;
        findings.fault(format!(
            "{what}: {address} has {number} in {name}; {floor} was acknowledged, {seen} seen before"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    /// A judge of one key and two clients, with three writes acknowledged.
    fn judge() -> Judge {
        let mut judge = Judge::new(7, 0, 1, 2);
        for _ in 0..3 {
            let kind = judge.begin(0).unwrap();
            judge.note(&Flight { key: 0, kind, sent: 0 }, 0, AT, Answer::Done);
        }
        judge
    }

    /// What the judge counts when a client finds `number`: lost, stale, corrupt.
    fn hear(judge: &mut Judge, client: usize, value: &[u8]) -> [u64; 3] {
        let flight = Flight { key: 0, kind: judge.read(0, client), sent: 0 };
        let answer = if value.is_empty() { Answer::Absent } else { Answer::Value(value) };
        judge.note(&flight, client, AT, answer);
        [judge.findings.lost, judge.findings.stale, judge.findings.corrupt]
    }

    fn value(judge: &Judge, number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        judge.stamp(0, number).write(100, &mut out);
        out
    }

    #[test]
    fn whole_and_current_values_are_fine() {
        let mut judge = judge();
        let value = value(&judge, 3);
        assert_eq!(hear(&mut judge, 0, &value), [0, 0, 0]);
        assert!(!judge.findings.broken());
    }

    #[test]
    fn a_key_that_is_gone_is_lost() {
        let mut judge = judge();
        assert_eq!(hear(&mut judge, 0, b""), [1, 0, 0]);
        assert!(judge.findings.faults[0].contains("has write 0"), "{:?}", judge.findings.faults);
    }

    #[test]
    fn staleness_is_told_by_reader() {
        let mut judge = judge();
        let kind = judge.begin(0).unwrap();
        // Client 0 sees write 4 before it is acknowledged; both have sent a read before that.
        let (new, old) = (value(&judge, 4), value(&judge, 3));
        let early = Flight { key: 0, kind: judge.read(0, 1), sent: 0 };
        assert_eq!(hear(&mut judge, 0, &new), [0, 0, 0]);
        judge.note(&early, 1, AT, Answer::Value(&old));
        assert!(!judge.findings.broken());
        judge.note(&Flight { key: 0, kind, sent: 0 }, 0, AT, Answer::Done);
        assert_eq!(hear(&mut judge, 0, &old), [1, 0, 0]);
    }

    #[test]
    fn torn_and_foreign_values_are_corrupt() {
        let mut judge = judge();
        let mut torn = value(&judge, 3);
        torn[60] ^= 1;
        assert_eq!(hear(&mut judge, 0, &torn), [0, 0, 1]);
        let future = value(&judge, 9);
        assert_eq!(hear(&mut judge, 0, &future), [0, 0, 2]);
    }

    #[test]
    fn an_unknown_write_that_appears_is_fine_and_a_refused_one_is_corrupt() {
        let mut judge = judge();
        for answer in [Answer::Refused(b"ERR no"), Answer::Unknown(b"UNKNOWN"), Answer::Lost] {
            let kind = judge.begin(0).unwrap();
            judge.note(&Flight { key: 0, kind, sent: 0 }, 0, AT, answer);
        }
        let Findings { errors, refused, unknown, .. } = judge.findings;
        assert_eq!((errors, refused, unknown), (1, 1, 2));
        for (number, corrupt) in [(3, 0), (5, 0), (6, 0), (4, 1)] {
            let value = value(&judge, number);
            let known = Kind::Read(Known { floor: 3, seen: 0 });
            let flight = Flight { key: 0, kind: known, sent: 0 };
            judge.note(&flight, 0, AT, Answer::Value(&value));
            assert_eq!(judge.findings.corrupt, corrupt, "{:?}", judge.findings.faults);
        }
    }

    #[test]
    fn a_write_that_is_refused_after_it_was_seen_is_corrupt() {
        let mut judge = judge();
        let kind = judge.begin(0).unwrap();
        let value = value(&judge, 4);
        assert_eq!(hear(&mut judge, 0, &value), [0, 0, 0]);
        judge.note(&Flight { key: 0, kind, sent: 0 }, 0, AT, Answer::Refused(b"ERR no"));
        assert_eq!(judge.findings.corrupt, 1);
    }
}
