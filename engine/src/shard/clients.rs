//! CLIENT: what is known of connections.

use std::net::SocketAddr;
use std::time::Duration;

use piccolo_schema::time::Moment;

use super::mesh::Errand;
use super::pause::PAUSE_MILLIS_MAX;
use super::session::{Door, OUTPUT_BYTES_MAX, ReplyMode, Session};
use super::stream::{Role, Stream, StreamKey};
use super::task::Form;
use super::{Action, Shard};
use crate::resp::{Args, Reply, number};

/// A CLIENT command taken apart.
pub(super) enum Client {
    /// About the connection that asks.
    Own(Own),
    /// About all connections of the node.
    Ask(Errand, Form),
}

/// About the connection that asks.
pub(super) enum Own {
    Id,
    Name,
    SetName(Vec<u8>),
    SetLibrary(Option<Vec<u8>>, Option<Vec<u8>>),
    Info,
    Reply(ReplyMode),
    Says(i64),
    SaysOk,
}

/// Which connections CLIENT KILL means: those that match everything stated.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    id: Option<u64>,
    address: Option<String>,
    /// The connection of this id is spared.
    spare: Option<u64>,
}

impl Filter {
    /// Spares the connection `own` unless the filter says otherwise.
    pub(super) fn spare_by_default(&mut self, own: Option<u64>) {
        self.spare = self.spare.or(own);
    }
}

pub(super) const BAD_NAME: &str =
    "ERR Client names cannot contain spaces, newlines or special characters.";

/// Whether a name may be given to a connection: it stands in a line of CLIENT LIST.
pub(super) fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

pub(super) fn parse(args: &Args<'_>, now: Moment) -> Result<Client, String> {
    let sub = args.get(1).to_ascii_lowercase();
    let value = |index: usize| args.get(index).to_vec();
    Ok(match (&sub[..], args.len()) {
        (b"id", 2) => Client::Own(Own::Id),
        (b"getname", 2) => Client::Own(Own::Name),
        (b"info", 2) => Client::Own(Own::Info),
        (b"setname", 3) if is_name(args.get(2)) => Client::Own(Own::SetName(value(2))),
        (b"setname", 3) => return Err(BAD_NAME.into()),
        (b"setinfo", 4) => Client::Own(set_info(args.get(2), args.get(3))?),
        (b"reply", 3) => Client::Own(Own::Reply(match &args.get(2).to_ascii_lowercase()[..] {
            b"on" => ReplyMode::On,
            b"off" => ReplyMode::Off,
            b"skip" => ReplyMode::Skip,
            _ => return Err("ERR syntax error".into()),
        })),
        (b"list", 2) => Client::Ask(Errand::ListClients(None), Form::Text),
        (b"list", 4)
            if args.get(2).eq_ignore_ascii_case(b"type")
                && args.get(3).eq_ignore_ascii_case(b"normal") =>
        {
            Client::Ask(Errand::ListClients(None), Form::Text)
        }
        (b"list", 4) if args.get(2).eq_ignore_ascii_case(b"type") => {
            return Err(unknown_type(args.get(3)));
        }
        (b"list", 4..) if args.get(2).eq_ignore_ascii_case(b"id") => {
            let ids = args.iter().skip(3).map(number::parse_i64);
            // Redis takes any number, and lists nobody for those below 1.
            let ids = ids.map(|id| id.map(|id| u64::try_from(id).unwrap_or(0)));
            let ids: Option<Vec<u64>> = ids.collect();
            let ids = ids.ok_or("ERR Invalid client ID")?;
            Client::Ask(Errand::ListClients(Some(ids)), Form::Text)
        }
        (b"kill", 3) => {
            let address = Some(String::from_utf8_lossy(args.get(2)).into_owned());
            let filter = Filter { address, ..Filter::default() };
            Client::Ask(Errand::KillClients(filter), Form::AtLeastOne)
        }
        (b"kill", 4..) => Client::Ask(Errand::KillClients(filter(args)?), Form::Count),
        // Nothing is redirected, evicted, marked as used, or blocked.
        (b"getredir", _) => Client::Own(Own::Says(-1)),
        (b"no-evict" | b"no-touch", _) => {
            if !matches!(&args.get(2).to_ascii_lowercase()[..], b"on" | b"off") {
                return Err("ERR syntax error".into());
            }
            Client::Own(Own::SaysOk)
        }
        (b"tracking", _) if args.get(2).eq_ignore_ascii_case(b"off") => Client::Own(Own::SaysOk),
        (b"tracking", _) => return Err("ERR CLIENT TRACKING is not supported".into()),
        (b"unblock", _) => unblock(args)?,
        (b"pause", 5..) => return Err(wrong_arguments(args, "CLIENT")),
        (b"pause", _) => Client::Ask(pause(args, now)?, Form::Ok),
        (b"unpause", _) => Client::Ask(Errand::UnpauseClients, Form::Ok),
        _ => return Err("ERR syntax error".into()),
    })
}

/// What is said of a subcommand that is there, but not with so many arguments.
pub(super) fn wrong_arguments(args: &Args<'_>, container: &str) -> String {
    let given = String::from_utf8_lossy(args.get(1));
    format!(
        "ERR unknown subcommand or wrong number of arguments for '{given}'. Try {container} HELP."
    )
}

/// There are no replicas among clients, and no subscribers.
fn unknown_type(name: &[u8]) -> String {
    format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name))
}

fn unblock(args: &Args<'_>) -> Result<Client, String> {
    let reason = args.iter().nth(3).map(<[u8]>::to_ascii_lowercase);
    if args.len() > 4 || !matches!(reason.as_deref(), None | Some(b"timeout" | b"error")) {
        return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into());
    }
    match number::parse_i64(args.get(2)) {
        Some(_) => Ok(Client::Own(Own::Says(0))),
        None => Err("ERR value is not an integer or out of range".into()),
    }
}

fn pause(args: &Args<'_>, now: Moment) -> Result<Errand, String> {
    let all = match args.iter().nth(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => true,
        Some(b"write") => false,
        Some(_) => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
    };
    let millis = number::parse_i64(args.get(2)).ok_or(BAD_TIMEOUT)?;
    let millis = u64::try_from(millis).map_err(|_| "ERR timeout is negative")?;
    if millis > PAUSE_MILLIS_MAX {
        return Err(format!("ERR timeout of {millis} ms; at most {PAUSE_MILLIS_MAX} are taken"));
    }
    Ok(Errand::PauseClients { until: now + Duration::from_millis(millis), all })
}

const BAD_TIMEOUT: &str = "ERR timeout is not an integer or out of range";

fn set_info(option: &[u8], value: &[u8]) -> Result<Own, String> {
    let option = String::from_utf8_lossy(option).to_ascii_lowercase();
    if !is_name(value) {
        return Err(format!("ERR {option} cannot contain spaces, newlines or special characters."));
    }
    match &option[..] {
        "lib-name" => Ok(Own::SetLibrary(Some(value.to_vec()), None)),
        "lib-ver" => Ok(Own::SetLibrary(None, Some(value.to_vec()))),
        _ => Err(format!("ERR Unrecognized option '{option}'")),
    }
}

fn filter(args: &Args<'_>) -> Result<Filter, String> {
    let mut filter = Filter::default();
    let mut rest = args.iter().skip(2);
    while let Some(option) = rest.next() {
        let value = String::from_utf8_lossy(rest.next().ok_or("ERR syntax error")?).into_owned();
        match &option.to_ascii_lowercase()[..] {
            b"id" => {
                let id = number::parse_i64(value.as_bytes()).and_then(|id| u64::try_from(id).ok());
                let id = id.filter(|id| *id > 0);
                filter.id = Some(id.ok_or("ERR client-id should be greater than 0")?);
            }
            b"addr" => filter.address = Some(value),
            b"skipme" if value.eq_ignore_ascii_case("yes") => {}
            b"skipme" if value.eq_ignore_ascii_case("no") => filter.spare = Some(0),
            b"type" if value.eq_ignore_ascii_case("normal") => {}
            b"type" => return Err(unknown_type(value.as_bytes())),
            _ => return Err("ERR syntax error".into()),
        }
    }
    Ok(filter)
}

/// A line of CLIENT LIST.
pub(super) fn line(session: &Session, now: Moment) -> String {
    let text = String::from_utf8_lossy;
    format!(
        "id={} addr={} name={} age={} idle={} flags={} db=0 multi={} watch={} cmd={} resp={} \
         lib-name={} lib-ver={}{}\n",
        session.id,
        session.address,
        text(&session.name),
        now.since(session.opened).as_secs(),
        now.since(session.active).as_secs(),
        if session.transaction.is_some() { "x" } else { "N" },
        session.transaction.as_ref().map_or(-1, |multi| multi.commands.len() as i64),
        session.watched.len(),
        if session.last_command.is_empty() { "NULL" } else { session.last_command },
        if session.resp3 { 3 } else { 2 },
        text(&session.library.0),
        text(&session.library.1),
        if session.native.is_some() { " proto=native" } else { "" },
    )
}

/// Time that a client may read nothing while too many replies wait for it.
const STUCK: Duration = Duration::from_secs(10);

fn stuck_too_long(since: Moment, now: Moment) -> bool {
    now.since(since) > STUCK
}

impl Shard {
    /// Takes in a new client. Its first commands may follow.
    pub fn accept_client(&mut self, address: SocketAddr, door: Door) -> StreamKey {
        self.next_client += 1;
        let id = self.next_client * u64::from(self.shards) + u64::from(self.index);
        let mut session = Session::new(id, (address, door), self.limits, self.now.moment);
        session.authenticated = self.password.is_none();
        self.counters.accepted += 1;
        self.counters.connections += 1;
        self.streams.open(Role::Client(Box::new(session)))
    }

    /// Cuts off clients that have left too many replies unread for too long.
    pub(super) fn tend_sessions(&mut self) {
        let now = self.now.moment;
        let keys: Vec<StreamKey> = self.streams.iter().map(|stream| stream.key).collect();
        for key in keys {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            let Stream { outbox, role: Role::Client(session), .. } = stream else { continue };
            if outbox.unsent().len() <= OUTPUT_BYTES_MAX {
                session.stuck_since = None;
            } else if session.stuck_since.is_none() {
                session.stuck_since = Some(now);
            }
            if session.stuck_since.is_some_and(|since| stuck_too_long(since, now)) {
                let warning = format!("client {} reads nothing: cut off", session.address);
                self.actions.push_back(Action::Warn(warning));
                self.counters.cut_off += 1;
                self.hang_up(key);
            }
        }
    }

    pub(super) fn run_errand(&mut self, errand: &Errand, answer: &mut Vec<u8>) {
        let mut reply = Reply::new(answer, false);
        match errand {
            Errand::ListClients(ids) => {
                let now = self.now.moment;
                let lines: String = self
                    .streams
                    .iter()
                    .filter_map(|stream| match &stream.role {
                        Role::Client(session) => {
                            let wanted = ids.as_ref().is_none_or(|ids| ids.contains(&session.id));
                            wanted.then(|| line(session, now))
                        }
                        Role::Inlink(_) | Role::Outlink(_) => None,
                    })
                    .collect();
                reply.bulk(lines.as_bytes());
            }
            Errand::KillClients(filter) => reply.integer(self.kill_clients(filter)),
            Errand::PauseClients { until, all } => self.pause_clients(*until, *all),
            Errand::UnpauseClients => self.unpause_clients(),
            Errand::Change(settings) => {
                for setting in settings {
                    self.change_setting(setting);
                }
            }
            Errand::CountFrom(counts) => self.counted_from = *counts,
            Errand::Slowlog(count) => self.slowlog.write(*count, &mut reply),
            Errand::SlowlogLength => reply.integer(self.slowlog.len() as i64),
            Errand::SlowlogReset => self.slowlog.clear(),
        }
    }

    fn kill_clients(&mut self, filter: &Filter) -> i64 {
        let matches = |session: &Session| {
            filter.id.is_none_or(|id| id == session.id)
                && filter.address.as_ref().is_none_or(|a| *a == session.address.to_string())
                && filter.spare != Some(session.id)
        };
        let keys: Vec<_> = self
            .streams
            .iter()
            .filter(|stream| matches!(&stream.role, Role::Client(session) if matches(session)))
            .map(|stream| stream.key)
            .collect();
        for key in &keys {
            self.hang_up(*key);
        }
        keys.len() as i64
    }
}
