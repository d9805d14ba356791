//! One turn: the commands that came in, read in place, prefetched, and executed in order.

use piccolo_schema::ids::Slot;
use piccolo_schema::key_slot::slot_of;

use super::Shard;
use super::calls::{CallResult, OTHER};
use super::serve::run_command;
use super::session::{OUTPUT_BYTES_MAX, Pause, ReplyMode};
use super::stream::{Role, Stream, StreamKey};
use crate::command::{self, Command, Place};
use crate::resp::parse::{Limits, Parsed, Parser};
use crate::resp::{Args, Reply, Span};

/// Commands that are prefetched and executed together at most: what the first-level cache holds
/// of their entries.
const BATCH_COMMANDS: usize = 128;

/// Commands of one connection in one turn at most, so that others get theirs.
const TURN_COMMANDS: usize = 1024;

/// A command read but not executed.
#[derive(Debug)]
struct Item {
    stream: StreamKey,
    command: Result<&'static Command, String>,
    /// Its arguments among the spans of the batch.
    spans: (u32, u32),
    /// Where it lies in what the connection had unread when the batch began.
    start: u32,
    end: u32,
    /// The slot of its keys and the hash of the first; `None` without keys or with several slots.
    key: Option<(Slot, u64)>,
    /// What follows on the connection cannot be read: it is closed.
    fatal: bool,
}

/// The commands of a batch. Kept between batches for its memory.
#[derive(Debug, Default)]
pub(super) struct Batch {
    items: Vec<Item>,
    spans: Vec<Span>,
}

impl Shard {
    /// Executes what came in on the connections marked ready.
    pub(super) fn run_sessions(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let mut again = Vec::new();
        for key in std::mem::take(&mut self.streams.ready) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.ready = false;
            let Stream { inbox, role: Role::Client(session), .. } = stream else { continue };
            if session.is_native(inbox.unread()) {
                self.run_native(key);
                continue;
            }
            let mut taken = 0;
            loop {
                let (read, whole) = self.read_commands(key, &mut batch);
                taken += read;
                if whole {
                    break;
                }
                // The batch is full: execute it, then read on.
                self.run_batch(&mut batch);
                if taken >= TURN_COMMANDS {
                    again.push(key);
                    break;
                }
            }
        }
        self.run_batch(&mut batch);
        self.batch = batch;
        for key in again {
            self.streams.mark_ready(key);
        }
    }

    /// Reads commands of one connection into the batch. Returns how many, and whether there are
    /// no more to be had now.
    fn read_commands(&mut self, key: StreamKey, batch: &mut Batch) -> (usize, bool) {
        let (hasher, limits, paused) = (self.hasher, self.limits, self.client_pause);
        let Some(stream) = self.streams.get_mut(key) else { return (0, true) };
        let Stream { inbox, outbox, role: Role::Client(session), closing, .. } = stream else {
            return (0, true);
        };
        if *closing || !session.resumes() || outbox.unsent().len() > OUTPUT_BYTES_MAX {
            return (0, true);
        }
        let limits = if session.authenticated { limits } else { Limits::BEFORE_AUTH };
        session.parser.set_limits(limits);
        let (mut at, mut read) = (0, 0);
        loop {
            if batch.items.len() >= BATCH_COMMANDS {
                return (read, false);
            }
            let first = batch.spans.len();
            let parsed = session.parser.next(inbox.unread(), at, &mut batch.spans);
            let (end, count) = match parsed {
                Ok(Parsed::Command { end, arguments }) => (end, arguments),
                Ok(Parsed::Nothing { end }) => {
                    (read, at) = (read + 1, end);
                    batch.items.push(Item::nothing(key, end));
                    continue;
                }
                Ok(Parsed::Rewritten { end, command }) => {
                    if at > 0 {
                        // What lies before it is executed first.
                        return (read, false);
                    }
                    inbox.replace(end, &command);
                    continue;
                }
                Ok(Parsed::Incomplete { bytes_wanted }) => {
                    let bytes = inbox.len() - at + bytes_wanted;
                    if at == 0 {
                        inbox.expect(bytes);
                    }
                    return (read, true);
                }
                Err(error) => {
                    if at > 0 {
                        // What lies before it is executed first: it may be AUTH.
                        session.parser = Parser::new(limits);
                        return (read, false);
                    }
                    let stranger = if session.authenticated { "" } else { " (before AUTH)" };
                    let text = format!("ERR {error}{stranger}");
                    batch.items.push(Item::unreadable(key, (at, inbox.len()), text));
                    return (read + 1, true);
                }
            };
            let args = Args::new(inbox.unread(), &batch.spans[first..first + count]);
            let command = command::resolve(&args).map_err(|refuse| refuse.to_string());
            if paused.is_some_and(|paused| paused.holds_back(&command, session, at == 0)) {
                session.parser = Parser::new(limits);
                batch.spans.truncate(first);
                return (read, at == 0);
            }
            let key_of = command.as_ref().ok().and_then(|command| shared_slot(command, &args));
            let key_of = key_of.map(|(slot, index)| (slot, hasher.hash(args.get(index))));
            batch.items.push(Item::read(key, command, (first, count), (at, end), key_of));
            (read, at) = (read + 1, end);
        }
    }

    /// Touches what the batch will need, then executes it in order.
    fn run_batch(&mut self, batch: &mut Batch) {
        let own = |shard: &Self, item: &Item| match item.key {
            Some((slot, hash)) if shard.shard_of(slot) == shard.index => {
                Some((shard.place(slot), hash))
            }
            _ => None,
        };
        for (place, hash) in batch.items.iter().filter_map(|item| own(self, item)) {
            self.seats[place].table.prefetch_bucket(hash);
        }
        for (place, hash) in batch.items.iter().filter_map(|item| own(self, item)) {
            self.seats[place].table.prefetch_entry(hash);
        }
        // Commands behind one that pauses its connection are read again later.
        let mut skipped: Option<StreamKey> = None;
        let mut current: Option<(StreamKey, (u32, u32))> = None;
        for item in &batch.items {
            if skipped == Some(item.stream) {
                continue;
            }
            if let Some((stream, used)) = current
                && stream != item.stream
            {
                self.consume(stream, used);
                current = None;
            }
            let done = self.run_item(item, &batch.spans);
            if done {
                current = Some((item.stream, (item.start, item.end)));
            }
            if !done || self.is_paused(item.stream) {
                skipped = Some(item.stream);
                // It may have begun to read what is not executed now.
                self.restart_parser(item.stream);
            }
        }
        if let Some((stream, used)) = current {
            self.consume(stream, used);
        }
        batch.items.clear();
        batch.spans.clear();
        self.run_tasks();
    }

    /// The commands of a connection are done, up to the end of the one that lies at `last`.
    fn consume(&mut self, key: StreamKey, last: (u32, u32)) {
        // It may have ended its own connection.
        self.slowlog.saw(key);
        if let Some(stream) = self.streams.get_mut(key) {
            let (start, end) = (last.0 as usize, last.1 as usize);
            stream.inbox.consume_command((start, end));
            self.streams.mark_dirty(key);
        }
    }

    fn restart_parser(&mut self, key: StreamKey) {
        let limits = self.limits;
        if let Some(session) = self.streams.session(key) {
            session.parser = Parser::new(limits);
        }
    }

    fn is_paused(&self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get(key) else { return true };
        // What a client sent behind QUIT is not executed.
        let Role::Client(session) = &stream.role else { return true };
        stream.closing || session.pause != Pause::No
    }

    /// Executes one command or sends it on. Returns false if it has to wait: it is read again.
    #[inline]
    fn run_item(&mut self, item: &Item, spans: &[Span]) -> bool {
        let Some(stream) = self.streams.get_mut(item.stream) else { return true };
        let Stream { inbox, outbox, role: Role::Client(session), .. } = stream else {
            return true;
        };
        if outbox.unsent().len() > OUTPUT_BYTES_MAX {
            // Read again once the client has taken some.
            return false;
        }
        let Ok(command) = item.command else { return self.run_odd(item, spans) };
        let spans_of = &spans[item.spans.0 as usize..(item.spans.0 + item.spans.1) as usize];
        let open = session.authenticated
            && session.transaction.is_none()
            && session.reply_mode == ReplyMode::On;
        if let (Some((slot, hash)), true) = (item.key, open)
            && session.pending.is_empty()
            && slot.number() % self.shards == self.index
            && let place = slot.index() / usize::from(self.shards)
            && let Some((group, table)) = self.seats[place].plain()
        {
            // The plain path: led here, alone, and nothing is waited for.
            self.counters.commands += 1;
            session.last_command = command.name;
            session.active = self.now.moment;
            let args =
                Args::new(inbox.unread(), spans_of).with_hash(u16::from(command.keys.first), hash);
            let before = (table.len(), table.bytes());
            let version = group.next_version();
            let mut keyspace =
                crate::keyspace::Keyspace::new(table, self.hasher, self.now.wall, version, None)
                    .with_value_bytes_max(self.limits.bulk_bytes_max)
                    .with_lookups((!command.is_write()).then_some(&mut self.counters.lookups));
            let start = outbox.bytes.len();
            let mut reply = Reply::new(&mut outbox.bytes, session.resp3);
            let full = self.counters.bytes > self.bytes_max;
            run_command(command, &args, full, &mut keyspace, &mut reply);
            let (dirty, expired) = (keyspace.dirty(), keyspace.expired());
            drop(keyspace);
            match outbox.bytes.get(start) {
                Some(b'-') => {
                    self.counters.calls.count_error(command.number, &outbox.bytes[start..]);
                }
                _ => self.counters.calls.count_ok(command.number),
            }
            if dirty {
                self.counters.expired += u64::from(expired);
                group.advance_alone(version);
                self.counters.account(before, (table.len(), table.bytes()));
            }
            return true;
        }
        self.run_odd(item, spans)
    }

    /// Everything but the plain path.
    fn run_odd(&mut self, item: &Item, spans: &[Span]) -> bool {
        let key = item.stream;
        let Some(stream) = self.streams.get_mut(key) else { return true };
        let Stream { inbox, role: Role::Client(session), .. } = stream else { return true };
        session.active = self.now.moment;
        let command = match &item.command {
            Ok(command) => *command,
            Err(text) => {
                if !text.is_empty() {
                    if let Some(transaction) = &mut session.transaction {
                        transaction.failed = true;
                    }
                    self.say(key, |reply| reply.error(text));
                    self.counters.calls.count(OTHER, CallResult::Error);
                    self.end_skip(key);
                }
                if item.fatal {
                    self.close_after_replies(key);
                }
                return true;
            }
        };
        session.last_command = command.name;
        (session.calling, session.said) = (Some(command.number), CallResult::Ok);
        // Taken out for as long as arguments point into it.
        let inbox = std::mem::take(inbox);
        let spans = &spans[item.spans.0 as usize..(item.spans.0 + item.spans.1) as usize];
        let args = Args::new(inbox.unread(), spans);
        let body = &inbox.unread()[item.start as usize..item.end as usize];
        let done = self.run_session_item(key, command, &args, item.key, body);
        if let Some(stream) = self.streams.get_mut(key) {
            stream.inbox = inbox;
        }
        if done {
            self.counters.commands += 1;
            self.count_call(key);
            self.end_skip(key);
        }
        done
    }

    /// Counts the command just run, unless it is counted once its answer comes.
    fn count_call(&mut self, key: StreamKey) {
        if let Some(session) = self.streams.session(key)
            && let Some(number) = session.calling.take()
        {
            let result = session.said;
            self.counters.calls.count(number, result);
        }
    }

    /// CLIENT REPLY SKIP covers the one command after it, whatever becomes of that.
    fn end_skip(&mut self, key: StreamKey) {
        if let Some(session) = self.streams.session(key) {
            session.reply_mode = match session.reply_mode {
                ReplyMode::Skip => ReplyMode::Skipping,
                ReplyMode::Skipping => ReplyMode::On,
                mode => mode,
            };
        }
    }

    /// Whether this shard holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.counters.bytes > self.bytes_max
    }
}

/// The slot that all keys of a command share, with the index of the first. None for a command that
/// is not executed in its slot, such as WATCH.
#[inline]
fn shared_slot(command: &Command, args: &Args<'_>) -> Option<(Slot, usize)> {
    let first = usize::from(command.keys.first);
    if first == 0 || !matches!(command.place, Place::Slot(_) | Place::Split(..)) {
        return None;
    }
    let mut keys = command.keys(args.len());
    let slot = slot_of(args.get(keys.next()?));
    keys.all(|index| slot_of(args.get(index)) == slot).then_some((slot, first))
}

impl Item {
    /// A command, its arguments among the spans of the batch, and where it lies.
    #[inline]
    fn read(
        stream: StreamKey,
        command: Result<&'static Command, String>,
        (first, count): (usize, usize),
        (start, end): (usize, usize),
        key: Option<(Slot, u64)>,
    ) -> Self {
        let spans = (first as u32, count as u32);
        let (start, end) = (start as u32, end as u32);
        Self { stream, command, spans, start, end, key, fatal: false }
    }

    /// No command at all, but bytes to be consumed.
    fn nothing(stream: StreamKey, end: usize) -> Self {
        Self::fault(stream, (end, end), String::new())
    }

    fn unreadable(stream: StreamKey, place: (usize, usize), text: String) -> Self {
        Self { fatal: true, ..Self::fault(stream, place, text) }
    }

    fn fault(stream: StreamKey, (start, end): (usize, usize), text: String) -> Self {
        let (start, end) = (start as u32, end as u32);
        Self { stream, command: Err(text), spans: (0, 0), start, end, key: None, fatal: false }
    }
}
