//! The slow log: turns that took long, with the last command in each.
//!
//! Commands are not timed one by one: a clock read for each would be felt where a command takes
//! 0.4 us. What is known is how long a whole turn took, and what it ended with: an entry says so.

use std::collections::VecDeque;

use piccolo_schema::time::UnixMillis;

use super::Shard;
use super::session::Session;
use super::stream::{Inbox, Role, StreamKey};
use crate::resp::{Reply, number};

/// Settings as Redis has them at first (source: redis.conf).
const SLOWER_THAN_MICROS: i64 = 10_000;
const ENTRIES: usize = 128;

/// Entries that one shard may be told to keep.
pub(super) const SLOWLOG_ENTRIES_MAX: usize = 16_384;

/// Bytes of a command that are kept, and words of it.
const COMMAND_BYTES_MAX: usize = 256;
const WORDS_MAX: usize = 8;

/// What is told in place of a password, as Redis does.
const REDACTED: &[u8] = b"(redacted)";

/// A turn that took long.
#[derive(Debug)]
struct Entry {
    id: u64,
    at: UnixMillis,
    micros: u64,
    last: Sent,
}

/// A command as it is told, and who sent it: nobody, if that was another shard or node.
#[derive(Debug, Default)]
struct Sent {
    words: Vec<Vec<u8>>,
    address: String,
    name: Vec<u8>,
}

impl Sent {
    /// What a client asked last.
    fn by(session: &Session, inbox: &Inbox) -> Self {
        let command = inbox.last_command();
        let command = if command.is_empty() { session.last_command.as_bytes() } else { command };
        Self {
            words: words_of(&command[..command.len().min(COMMAND_BYTES_MAX)]),
            address: session.address.to_string(),
            name: session.name.clone(),
        }
    }
}

/// What a shard remembers of slow turns, and of the turn under way.
#[derive(Debug)]
pub(super) struct Slowlog {
    /// A turn of so many microseconds is slow; none is if negative.
    pub(super) slower_than_micros: i64,
    entries_max: usize,
    entries: VecDeque<Entry>,
    count: u64,
    /// The beginning of the last command of this turn that came from another shard or node.
    last: Vec<u8>,
    /// Who sent the last command of all, which lies in its inbox; nobody of ours if that came
    /// from elsewhere.
    client: Option<StreamKey>,
    /// What a client sent last that has gone in this turn: if it can be, the one above.
    gone: Option<Box<(StreamKey, Sent)>>,
    /// Work done for other shards and nodes in this turn.
    served: u64,
    /// Commands of clients before this turn.
    commands_before: u64,
}

impl Default for Slowlog {
    fn default() -> Self {
        Self {
            slower_than_micros: SLOWER_THAN_MICROS,
            entries_max: ENTRIES,
            entries: VecDeque::new(),
            count: 0,
            last: Vec::new(),
            client: None,
            gone: None,
            served: 0,
            commands_before: 0,
        }
    }
}

impl Slowlog {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn entries_max(&self) -> usize {
        self.entries_max
    }

    pub(super) fn set_entries_max(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
        self.entries.truncate(entries_max);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// A command of a client was executed or sent on.
    #[inline]
    pub(super) fn saw(&mut self, client: StreamKey) {
        self.client = Some(client);
    }

    /// A connection of a client has ended.
    pub(super) fn closed(&mut self, client: StreamKey, session: &Session, inbox: &Inbox) {
        let kept = self.gone.as_ref().is_some_and(|gone| self.client == Some(gone.0));
        if !kept {
            self.gone = Some(Box::new((client, Sent::by(session, inbox))));
        }
    }

    /// Work was done for another shard or node.
    #[inline]
    pub(super) fn served(&mut self, command: &[u8]) {
        self.served += 1;
        self.client = None;
        self.last.clear();
        self.last.extend_from_slice(&command[..command.len().min(COMMAND_BYTES_MAX)]);
    }

    /// Writes the latest entries, at most `count`, the latest first.
    pub(super) fn write(&self, count: usize, reply: &mut Reply<'_>) {
        reply.array(self.entries.len().min(count));
        for entry in self.entries.iter().take(count) {
            reply.array(6);
            reply.integer(entry.id as i64);
            reply.integer((entry.at.0 / 1000) as i64);
            reply.integer(entry.micros as i64);
            reply.array(entry.last.words.len());
            entry.last.words.iter().for_each(|word| reply.bulk(word));
            reply.bulk(entry.last.address.as_bytes());
            reply.bulk(&entry.last.name);
        }
    }
}

impl Shard {
    /// So long the last turn took: if it was slow, and commands were executed in it, it is noted.
    #[inline]
    pub(super) fn log_turn(&mut self, micros: u64) {
        let slow =
            u64::try_from(self.slowlog.slower_than_micros).is_ok_and(|least| micros >= least);
        if slow && self.slowlog.entries_max > 0 {
            let own = self.counters.commands - self.slowlog.commands_before;
            let commands = own + self.slowlog.served;
            if commands > 0 {
                self.note_turn(micros, commands);
            }
        }
        self.slowlog.commands_before = self.counters.commands;
        self.slowlog.served = 0;
        self.slowlog.client = None;
        if self.slowlog.gone.is_some() {
            self.slowlog.gone = None;
        }
    }

    fn note_turn(&mut self, micros: u64, commands: u64) {
        let client = self.slowlog.client;
        let stream = client.and_then(|client| self.streams.get(client));
        let gone = self.slowlog.gone.take().filter(|gone| client == Some(gone.0));
        let mut last = match (stream.map(|stream| (&stream.role, &stream.inbox)), gone) {
            (Some((Role::Client(session), inbox)), _) => Sent::by(session, inbox),
            (_, Some(gone)) => gone.1,
            _ if client.is_none() && self.slowlog.served > 0 => {
                Sent { words: words_of(&self.slowlog.last), ..Sent::default() }
            }
            _ => Sent::default(),
        };
        let log = &mut self.slowlog;
        if commands > 1 {
            last.words.push(format!("(last of {commands} commands in this turn)").into_bytes());
        }
        let id = log.count * u64::from(self.shards) + u64::from(self.index);
        log.count += 1;
        log.entries.truncate(log.entries_max - 1);
        log.entries.push_front(Entry { id, at: self.now.wall, micros, last });
    }
}

/// The words of a command that may have been cut off: what there is of them, but no password.
fn words_of(command: &[u8]) -> Vec<Vec<u8>> {
    let mut words = plain_words_of(command);
    let is = |at: usize, name: &[u8]| {
        words.get(at).is_some_and(|word: &Vec<u8>| word.eq_ignore_ascii_case(name))
    };
    let behind = |from: usize, names: &[&[u8]], count: usize| {
        let named = (from..words.len()).filter(|at| names.iter().any(|name| is(*at, name)));
        named.flat_map(|at| at + 1..=at + count).collect::<Vec<usize>>()
    };
    let secret = if is(0, b"auth") {
        (1..words.len()).collect()
    } else if is(0, b"hello") {
        // User and password.
        behind(1, &[b"auth"], 2)
    } else if is(0, b"config") && is(1, b"set") {
        behind(2, &[b"requirepass", b"masterauth"], 1)
    } else {
        Vec::new()
    };
    for at in secret {
        if let Some(word) = words.get_mut(at) {
            *word = REDACTED.to_vec();
        }
    }
    words
}

fn plain_words_of(command: &[u8]) -> Vec<Vec<u8>> {
    if command.first() != Some(&b'*') {
        let line = command.split(|byte| *byte == b'\r' || *byte == b'\n').next();
        let words = line.unwrap_or_default().split(|byte| is_space(*byte));
        return words.filter(|word| !word.is_empty()).take(WORDS_MAX).map(<[u8]>::to_vec).collect();
    }
    let mut words = Vec::new();
    let mut rest = behind_line(command).map(|(_, rest)| rest);
    while let Some((head, body)) = rest.and_then(behind_line)
        && words.len() < WORDS_MAX
    {
        let bytes = head.get(1..).and_then(number::parse_u64).unwrap_or(0) as usize;
        let there = bytes.min(body.len());
        words.push(body[..there].to_vec());
        rest = body.get(bytes + 2..);
    }
    words
}

/// What parts the words of a line.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The first line, and what follows it.
fn behind_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::words_of;

    #[test]
    fn words_are_told_as_far_as_they_were_kept() {
        let words = |command: &[u8]| {
            words_of(command).iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(words(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"), ["SET", "k", "v"]);
        assert_eq!(words(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900\r\nlong"), ["SET", "k", "long"]);
        assert_eq!(words(b"*3\r\n$3\r\nSET\r\n$1"), ["SET"]);
        assert_eq!(words(b"GET  k\r\nGET l\r\n"), ["GET", "k"]);
        assert_eq!(words(b""), [""; 0]);
    }

    #[test]
    fn passwords_are_not_told() {
        let words = |line: &str| words_of(line.as_bytes());
        let told = |line: &str| words(line).join(&b' ').escape_ascii().to_string();
        assert_eq!(told("AUTH hush"), "AUTH (redacted)");
        assert_eq!(told("auth\tdefault  hush"), "auth (redacted) (redacted)");
        let hello = "HELLO 3 AUTH (redacted) (redacted) SETNAME me";
        assert_eq!(told("HELLO 3 AUTH default hush SETNAME me"), hello);
        let hello = "hello 3 setname auth (redacted) (redacted) (redacted)";
        assert_eq!(told("hello 3 setname auth auth default hush"), hello);
        let config = "CONFIG SET maxmemory 0 RequirePass (redacted)";
        assert_eq!(told("CONFIG SET maxmemory 0 RequirePass hush"), config);
        assert_eq!(words_of(b"*2\r\n$4\r\nAUTH\r\n$9999\r\nhush"), words("AUTH x"));
        assert_eq!(told("CONFIG GET requirepass"), "CONFIG GET requirepass");
        assert_eq!(told("SET auth requirepass"), "SET auth requirepass");
    }
}
