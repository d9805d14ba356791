//! Commands about the connection or the node, answered by the connection's own shard.

use piccolo_schema::ids::Version;
use piccolo_schema::key_slot::slot_of;

use super::cluster::CROSS_SLOT;
use super::mesh::{Address, Errand};
use super::session::{Door, Pause, Queued, ReplyMode, State, Transaction, Watched};
use super::stream::{Role, Stream, StreamKey};
use super::task::{self, Exec, Form, Local, Shards, Slots, SweepKind, Task, Watch};
use super::{Shard, clients};
use crate::command::{Place, SessionCommand, Sweep};
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
            C::Configure => return self.configure(key, args),
            C::Slowlog => return self.slowlog_command(key, args),
            C::Shutdown => self.shutdown(key, args),
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
            C::Cluster => return self.run_cluster_command(key, args),
            _ => {
                let Some(session) = self.streams.session(key) else { return true };
                let (resp3, door) = (session.resp3, session.door);
                let mut bytes = Vec::new();
                self.plain_answer(command, args, door, &mut Reply::new(&mut bytes, resp3));
                self.say(key, |reply| reply.raw(&bytes));
            }
        }
        true
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
        let (resp3, door) = (session.resp3, session.door);
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
        let mut slots = queue.iter().filter_map(|queued| queued.slot);
        if door == Door::Cluster && slots.next().is_some_and(|one| slots.any(|slot| slot != one)) {
            self.say(key, |reply| reply.error(CROSS_SLOT));
            return true;
        }
        let only = self.swept_slots(door);
        let local = self.local_replies(&queue, resp3, door);
        let exec = Exec::new(queue, watched, local, resp3, |queued| match queued.command.place {
            Place::Sweep(sweep) => task::with_args(queued, |args| {
                let kind = self.sweep_kind(sweep, args).ok()?;
                Some(Task::Sweep(task::Sweep::new(kind, only.clone())))
            }),
            _ => task::split_queued(queued),
        });
        self.begin_task(key, || Task::Exec(exec))
    }

    /// The replies of a transaction that ask no slot.
    fn local_replies(&self, queue: &[Queued], resp3: bool, door: Door) -> Vec<Local> {
        let mut local = Vec::new();
        for (place, queued) in queue.iter().enumerate() {
            let mut bytes = Vec::new();
            let reply = &mut Reply::new(&mut bytes, resp3);
            task::with_args(queued, |args| match queued.command.place {
                Place::Session(command) => self.plain_answer(command, args, door, reply),
                Place::Container(_) => {
                    self.plain_answer(SessionCommand::Command, args, door, reply);
                }
                Place::Sweep(sweep) => {
                    if let Err(text) = self.sweep_kind(sweep, args) {
                        reply.error(text);
                    }
                }
                Place::Slot(_) if queued.slot.is_none() => {
                    reply.error(CROSS_SLOT);
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
        let door = session.door;
        if let Some(text) = self.misplaced(door, args.iter().skip(1).map(slot_of)) {
            self.say(key, |reply| reply.error(&text));
            return true;
        }
        let watched =
            |key: &[u8]| Watched { key: key.to_vec(), slot: slot_of(key), version: Version::ZERO };
        self.begin_task(key, || Task::Watch(Watch::new(args.iter().skip(1).map(watched).collect())))
    }

    pub(super) fn run_sweep(&mut self, key: StreamKey, sweep: Sweep, args: &Args<'_>) -> bool {
        let Some(door) = self.streams.session(key).map(|session| session.door) else { return true };
        let only = self.swept_slots(door);
        match self.sweep_kind(sweep, args) {
            Ok(kind) => self.begin_task(key, || Task::Sweep(task::Sweep::new(kind, only))),
            Err(text) => {
                self.say(key, |reply| reply.error(text));
                true
            }
        }
    }

    /// What a command without a key is about at a door: every slot, or those led by this node.
    fn swept_slots(&self, door: Door) -> Option<Slots> {
        (door == Door::Cluster)
            .then(|| Slots::those(|slot| self.routes.get(slot).leader == self.me))
    }

    /// Keys of a slot led here, on average.
    pub(super) fn slot_keys(&self) -> usize {
        self.counters.keys as usize / (self.counters.slots_led as usize).max(1)
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
                let slot_keys = self.slot_keys();
                SweepKind::Scan { cursor, count: count.unwrap_or(10), filter, slot_keys }
            }
        })
    }

    fn client(&mut self, key: StreamKey, args: &Args<'_>) -> bool {
        match clients::parse(args, self.now.moment) {
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
            Own::Says(number) => self.say(key, |reply| reply.integer(number)),
            Own::SaysOk => self.say_ok(key),
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
    pub(super) fn ask_shards(&mut self, key: StreamKey, errand: &Errand, form: Form) -> bool {
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

    fn slowlog_command(&mut self, key: StreamKey, args: &Args<'_>) -> bool {
        let (errand, form) = match args.get(1).to_ascii_lowercase().as_slice() {
            b"len" => (Errand::SlowlogLength, Form::Count),
            b"reset" => (Errand::SlowlogReset, Form::Ok),
            _ if args.len() > 3 => {
                let text = clients::wrong_arguments(args, "SLOWLOG");
                self.say(key, |reply| reply.error(&text));
                return true;
            }
            _ => {
                let count = args.iter().nth(2).map_or(Some(10), number::parse_i64);
                let count = match count {
                    Some(-1) => usize::MAX,
                    Some(count @ 0..) => usize::try_from(count).unwrap_or(usize::MAX),
                    _ => {
                        let text = "ERR count should be greater than or equal to -1";
                        self.say(key, |reply| reply.error(text));
                        return true;
                    }
                };
                (Errand::Slowlog(count), Form::Latest(count))
            }
        };
        self.ask_shards(key, &errand, form)
    }

    pub(super) fn errand_answered(&mut self, packed: u64, answer: &[u8]) {
        if let Some((key, ticket)) = self.errands_out.try_remove(packed as usize) {
            self.task_inputs.push_back((key, ticket, Some((0, answer.to_vec()))));
        }
    }

    pub(super) fn say_ok(&mut self, key: StreamKey) {
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
