//! Answers that depend on no connection.

use super::cluster::DISABLED;
use super::session::Door;
use super::{Shard, info, latency, settings};
use crate::command::{self, SessionCommand};
use crate::resp::{Args, Reply, number};

impl Shard {
    /// Answers that depend on no connection: these may stand in a transaction, too.
    pub(super) fn plain_answer(
        &self,
        command: SessionCommand,
        args: &Args<'_>,
        door: Door,
        reply: &mut Reply<'_>,
    ) {
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
            SessionCommand::Config => settings::get(self, args, door, reply),
            SessionCommand::Info => {
                let text = info::info(self, args, door);
                reply.verbatim(*b"txt", &text);
            }
            SessionCommand::Help => command::help::write(args, reply),
            SessionCommand::Latency => latency::answer(args, reply),
            SessionCommand::Wait => wait(args, reply),
            SessionCommand::WaitAof => reply.error(NO_DISK),
            // Nobody is ever sent here by ASK, and every copy that answers is the leader.
            SessionCommand::Readonly | SessionCommand::Readwrite | SessionCommand::Asking => {
                match door {
                    Door::Cluster => reply.ok(),
                    Door::Client => reply.error(DISABLED),
                }
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
}

/// WAIT: 0 at once, whatever it waits for, as no key has a second copy.
fn wait(args: &Args<'_>, reply: &mut Reply<'_>) {
    let millis = number::parse_i64(args.get(2));
    if number::parse_i64(args.get(1)).is_none() {
        return reply.error("ERR value is not an integer or out of range");
    }
    match millis {
        None => reply.error("ERR timeout is not an integer or out of range"),
        Some(..0) => reply.error("ERR timeout is negative"),
        Some(_) => reply.integer(0),
    }
}

const NO_DISK: &str = "ERR WAITAOF cannot be used: no appendonly file is kept here";
