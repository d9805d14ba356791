//! Commands about the connection or the node, answered by the connection's own shard.

use piccolo_ring::key_slot::slot_of;
use piccolo_schema::ids::Version;

use super::mesh::{Address, Errand};
use super::session::{Pause, ReplyMode, State, Transaction, Watched};
use super::stream::{Role, Stream, StreamKey};
use super::task::{self, Exec, Form, Local, Shards, SweepKind, Task, Watch};
use super::{Shard, clients, info};
use crate::command::{self, Place, SessionCommand, Sweep};
use crate::resp::{Args, Reply, number};

/// The version of Redis whose commands and replies are spoken. Clients look at it.
pub(super) const REDIS_VERSION: &str = "7.2.4";

impl Shard {
    /// Returns false if the command has to wait for what was asked before it.
    pub(super) fn run_session_command(
        &mut self,
        key: StreamKey,
        command: SessionCommand,
        args: &Args<'_>,
    ) -> bool {
        use SessionCommand as C;
        match command {
            C::Multi => self.multi(key),
            C::Exec => return self.exec(key),
            C::Discard => self.discard(key),
            C::Watch => return self.watch(key, args),
            C::Unwatch => {
                if let Some(session) = self.streams.session(key) {
                    session.watched.clear();
                }
                self.say_ok(key);
            }
            C::Quit => {
                self.say_ok(key);
                self.close_after_replies(key);
            }
            C::Client => return self.client(key, args),
            C::Hello => self.hello(key, args),
            C::Auth => self.auth(key, args),
            C::Reset => {
                let open = self.password.is_none();
                self.say(key, |reply| reply.status("RESET"));
                if let Some(session) = self.streams.session(key) {
                    session.reset();
                    session.authenticated = open;
                }
            }
            C::Ping | C::Echo | C::Select | C::Command | C::Config | C::Info | C::Time => {
                let mut bytes = Vec::new();
                let resp3 = self.streams.session(key).is_some_and(|session| session.resp3);
                self.plain_answer(command, args, &mut Reply::new(&mut bytes, resp3));
                self.say(key, |reply| reply.raw(&bytes));
            }
        }
        true
    }

    /// Answers that depend on no connection: these may stand in a transaction, too.
    fn plain_answer(&self, command: SessionCommand, args: &Args<'_>, reply: &mut Reply<'_>) {
        match command {
            SessionCommand::Ping if args.len() == 1 => reply.status("PONG"),
            SessionCommand::Ping if args.len() > 2 => {
                reply.error("ERR wrong number of arguments for 'ping' command");
            }
            SessionCommand::Ping | SessionCommand::Echo => reply.bulk(args.get(1)),
            SessionCommand::Select if args.get(1) == b"0" => reply.ok(),
            SessionCommand::Select if number::parse_i64(args.get(1)).is_none() => {
                reply.error("ERR value is not an integer or out of range");
            }
            SessionCommand::Select => reply.error("ERR DB index is out of range"),
            SessionCommand::Command => command::docs::command(args, reply),
            // EXEC forgets what was watched, whatever is queued.
            SessionCommand::Unwatch => reply.ok(),
            SessionCommand::Config => info::config(self, args, reply),
            SessionCommand::Info => {
                let text = info::info(self, args);
                reply.verbatim(*b"txt", &text);
            }
            SessionCommand::Time => {
                let wall = self.now.wall.0;
                reply.array(2);
                reply.bulk((wall / 1000).to_string().as_bytes());
                reply.bulk((wall % 1000 * 1000).to_string().as_bytes());
            }
            _ => reply.error("ERR Command not allowed inside a transaction"),
        }
    }

    fn hello(&mut self, key: StreamKey, args: &Args<'_>) {
        let Some(session) = self.streams.session(key) else { return };
        let mut resp3 = session.resp3;
        let mut rest = args.iter().skip(1);
        match rest.next() {
            None => {}
            Some(b"2") => resp3 = false,
            Some(b"3") => resp3 = true,
            Some(version) if version.iter().all(u8::is_ascii_digit) => {
                return self.say(key, |r| r.error("NOPROTO unsupported protocol version"));
            }
            Some(_) => {
                let text = "ERR Protocol version is not an integer or out of range";
                return self.say(key, |reply| reply.error(text));
            }
        }
        let (mut name, mut granted) = (None, session.authenticated);
        while let Some(option) = rest.next() {
            if option.eq_ignore_ascii_case(b"auth") {
                let (Some(user), Some(password)) = (rest.next(), rest.next()) else {
                    return self.say(key, |reply| reply.error("ERR Syntax error in HELLO option"));
                };
                if !self.grants(user, password) {
                    return self.say(key, |reply| reply.error(WRONG_PASSWORD));
                }
                granted = true;
            } else if option.eq_ignore_ascii_case(b"setname")
                && let Some(given) = rest.next()
            {
                name = Some(given.to_vec());
            } else {
                return self.say(key, |reply| reply.error("ERR Syntax error in HELLO option"));
            }
        }
        if !granted {
            return self.say(key, |reply| reply.error(NO_AUTH_HELLO));
        }
        if name.as_deref().is_some_and(|name| !clients::is_name(name)) {
            return self.say(key, |reply| reply.error(clients::BAD_NAME));
        }
        let Some(session) = self.streams.session(key) else { return };
        (session.authenticated, session.resp3) = (true, resp3);
        if let Some(name) = name {
            session.name = name;
        }
        let id = session.id;
        self.say(key, |reply| write_hello(id, resp3, reply));
    }

    fn auth(&mut self, key: StreamKey, args: &Args<'_>) {
        if self.password.is_none() {
            return self.say(key, |reply| reply.error(NO_PASSWORD));
        }
        let (user, password) = match args.len() {
            2 => (&b"default"[..], args.get(1)),
            3 => (args.get(1), args.get(2)),
            _ => return self.say(key, |reply| reply.error("ERR syntax error")),
        };
        if !self.grants(user, password) {
            return self.say(key, |reply| reply.error(WRONG_PASSWORD));
        }
        if let Some(session) = self.streams.session(key) {
            session.authenticated = true;
        }
        self.say_ok(key);
    }

    fn grants(&self, user: &[u8], password: &[u8]) -> bool {
        let Some(wanted) = &self.password else { return user == b"default" };
        // As long for a wrong password as for the right one.
        let differing = wanted.iter().zip(password).fold(0, |sum, (a, b)| sum | (a ^ b));
        user == b"default" && wanted.len() == password.len() && differing == 0
    }

    fn multi(&mut self, key: StreamKey) {
        let Some(session) = self.streams.session(key) else { return };
        if session.transaction.is_some() {
            return self.say(key, |reply| reply.error("ERR MULTI calls can not be nested"));
        }
        session.transaction = Some(Transaction::default());
        self.say_ok(key);
    }

    fn discard(&mut self, key: StreamKey) {
        let Some(session) = self.streams.session(key) else { return };
        session.watched.clear();
        if session.transaction.take().is_none() {
            return self.say(key, |reply| reply.error("ERR DISCARD without MULTI"));
        }
        self.say_ok(key);
    }

    fn exec(&mut self, key: StreamKey) -> bool {
        let Some(session) = self.streams.session(key) else { return true };
        let resp3 = session.resp3;
        match &session.transaction {
            None => {
                self.say(key, |reply| reply.error("ERR EXEC without MULTI"));
                return true;
            }
            Some(transaction) if transaction.failed => {
                session.transaction = None;
                session.watched.clear();
                self.say(key, |reply| {
                    reply.error("EXECABORT Transaction discarded because of previous errors.");
                });
                return true;
            }
            Some(_) if !session.pending.is_empty() => {
                session.pause = Pause::UntilAnswered;
                return false;
            }
            Some(_) => {}
        }
        let watched = std::mem::take(&mut session.watched);
        let queue = session.transaction.take().unwrap_or_default().commands;
        let local = self.local_replies(&queue, resp3);
        let exec = Exec::new(queue, watched, local, resp3, |queued| match queued.command.place {
            Place::Sweep(sweep) => task::with_args(queued, |args| {
                self.sweep_kind(sweep, args).ok().map(|kind| Task::Sweep(task::Sweep::new(kind)))
            }),
            _ => task::split_queued(queued),
        });
        self.begin_task(key, || Task::Exec(exec))
    }

    /// The replies of a transaction that ask no slot.
    fn local_replies(&self, queue: &[super::session::Queued], resp3: bool) -> Vec<Local> {
        let mut local = Vec::new();
        for (place, queued) in queue.iter().enumerate() {
            let mut bytes = Vec::new();
            let reply = &mut Reply::new(&mut bytes, resp3);
            task::with_args(queued, |args| match queued.command.place {
                Place::Session(command) => self.plain_answer(command, args, reply),
                Place::Sweep(sweep) => {
                    if let Err(text) = self.sweep_kind(sweep, args) {
                        reply.error(text);
                    }
                }
                Place::Slot(_) if spans_slots(queued, args) => {
                    reply.error("CROSSSLOT Keys in request don't hash to the same slot");
                }
                Place::Slot(_) | Place::Split(..) => {}
            });
            if !bytes.is_empty() {
                local.push((place, bytes));
            }
        }
        local
    }

    fn watch(&mut self, key: StreamKey, args: &Args<'_>) -> bool {
        let Some(session) = self.streams.session(key) else { return true };
        if session.transaction.is_some() {
            self.say(key, |reply| reply.error("ERR WATCH inside MULTI is not allowed"));
            return true;
        }
        let watched =
            |key: &[u8]| Watched { key: key.to_vec(), slot: slot_of(key), version: Version::ZERO };
        self.begin_task(key, || Task::Watch(Watch::new(args.iter().skip(1).map(watched).collect())))
    }

    pub(super) fn run_sweep(&mut self, key: StreamKey, sweep: Sweep, args: &Args<'_>) -> bool {
        match self.sweep_kind(sweep, args) {
            Ok(kind) => self.begin_task(key, || Task::Sweep(task::Sweep::new(kind))),
            Err(text) => {
                self.say(key, |reply| reply.error(text));
                true
            }
        }
    }

    fn sweep_kind(&self, sweep: Sweep, args: &Args<'_>) -> Result<SweepKind, &'static str> {
        const SYNTAX: &str = "ERR syntax error";
        Ok(match sweep {
            Sweep::DbSize => SweepKind::DbSize,
            Sweep::FlushAll => match args.len() {
                1 => SweepKind::FlushAll,
                2 if args.get(1).eq_ignore_ascii_case(b"sync")
                    || args.get(1).eq_ignore_ascii_case(b"async") =>
                {
                    SweepKind::FlushAll
                }
                _ => return Err(SYNTAX),
            },
            Sweep::Keys => SweepKind::Keys { pattern: args.get(1).to_vec() },
            // Different for every command, the same in a replay.
            Sweep::RandomKey => SweepKind::RandomKey {
                seed: self.hasher.hash(&self.counters.commands.to_le_bytes()),
            },
            Sweep::Scan => {
                let cursor = number::parse_u64(args.get(1)).ok_or("ERR invalid cursor")?;
                let (mut count, mut filter) = (Some(10), Vec::new());
                let mut rest = args.iter().skip(2);
                while let (Some(option), value) = (rest.next(), rest.next()) {
                    let value = value.ok_or(SYNTAX)?;
                    if option.eq_ignore_ascii_case(b"count") {
                        let given = number::parse_i64(value)
                            .ok_or("ERR value is not an integer or out of range")?;
                        count = usize::try_from(given).ok().filter(|count| *count > 0);
                        let Some(_) = count else { return Err(SYNTAX) };
                    } else if option.eq_ignore_ascii_case(b"match")
                        || option.eq_ignore_ascii_case(b"type")
                    {
                        filter.extend([option.to_vec(), value.to_vec()]);
                    } else {
                        return Err(SYNTAX);
                    }
                }
                let led = (self.counters.slots_led as usize).max(1);
                let slot_keys = self.counters.keys as usize / led;
                SweepKind::Scan { cursor, count: count.unwrap_or(10), filter, slot_keys }
            }
        })
    }

    fn client(&mut self, key: StreamKey, args: &Args<'_>) -> bool {
        match clients::parse(args) {
            Ok(clients::Client::Own(own)) => self.client_own(key, own),
            Ok(clients::Client::Ask(mut errand, form)) => {
                let own = self.streams.session(key).map(|session| session.id);
                if let (Errand::KillClients(filter), Form::Count) = (&mut errand, form) {
                    // The old form, by address alone, may end the asker's own connection.
                    filter.spare_by_default(own);
                }
                return self.ask_shards(key, &errand, form);
            }
            Err(text) => self.say(key, |reply| reply.error(&text)),
        }
        true
    }

    fn client_own(&mut self, key: StreamKey, own: clients::Own) {
        use clients::Own;
        let now = self.now.moment;
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Stream { role: Role::Client(session), .. } = &mut *stream else { return };
        match own {
            Own::Id => {
                let id = session.id;
                self.say(key, |reply| reply.integer(id as i64));
            }
            Own::Name => {
                let name = session.name.clone();
                self.say(key, |reply| match &name[..] {
                    b"" => reply.null(),
                    name => reply.bulk(name),
                });
            }
            Own::SetName(name) => {
                session.name = name;
                self.say_ok(key);
            }
            Own::SetLibrary(name, version) => {
                session.library.0 = name.unwrap_or(std::mem::take(&mut session.library.0));
                session.library.1 = version.unwrap_or(std::mem::take(&mut session.library.1));
                self.say_ok(key);
            }
            Own::Info => {
                let line = clients::line(session, now);
                self.say(key, |reply| reply.verbatim(*b"txt", &line));
            }
            Own::Reply(ReplyMode::Skip) if session.reply_mode == ReplyMode::Off => {}
            Own::Reply(mode) => {
                session.reply_mode = mode;
                if mode == ReplyMode::On {
                    self.say_ok(key);
                }
            }
        }
    }

    /// Asks every shard of this node.
    fn ask_shards(&mut self, key: StreamKey, errand: &Errand, form: Form) -> bool {
        let shards = usize::from(self.shards);
        let Some(session) = self.streams.session(key) else { return true };
        session.pause = Pause::UntilAnswered;
        if !session.pending.is_empty() {
            return false;
        }
        let task = Task::Shards(Shards::new(shards, form));
        let ticket = self.expect_reply(key, State::Task(Box::new(task)), None);
        for shard in 0..self.shards {
            let packed = self.errands_out.insert((key, ticket)) as u64;
            if shard == self.index {
                let mut answer = Vec::new();
                self.run_errand(errand, &mut answer);
                self.errand_answered(packed, &answer);
            } else {
                self.outbound[usize::from(shard)]
                    .errands
                    .push((Address::Own(packed), errand.clone()));
            }
        }
        true
    }

    pub(super) fn errand_answered(&mut self, packed: u64, answer: &[u8]) {
        if let Some((key, ticket)) = self.errands_out.try_remove(packed as usize) {
            self.task_inputs.push_back((key, ticket, Some((0, answer.to_vec()))));
        }
    }

    fn say_ok(&mut self, key: StreamKey) {
        let ok: fn(&mut Reply<'_>) = |reply| reply.ok();
        self.say(key, ok);
    }

    pub(super) fn close_after_replies(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.closing = true;
        }
        self.streams.mark_dirty(key);
    }
}

fn spans_slots(queued: &super::session::Queued, args: &Args<'_>) -> bool {
    let mut slots = queued.command.keys(args.len()).map(|index| slot_of(args.get(index)));
    slots.next().is_some_and(|first| slots.any(|slot| slot != first))
}

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the \
     default user. Are you sure your configuration is correct?";

const NO_AUTH_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, \
     otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the \
     client and select the RESP protocol version at the same time";

fn write_hello(id: u64, resp3: bool, reply: &mut Reply<'_>) {
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(id as i64);
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}
