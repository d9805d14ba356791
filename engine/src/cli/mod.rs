//! The command line of `piccolo`.
//!
//! * [`dev`]: a cluster on this machine, to try.
//! * [`members`], [`ring`], [`locate`]: ask a running node, over its admin listener.
//! * [`leave`], [`remove`]: make it hand over and go; give up one that is dead.
//! * [`http`]: the few lines of HTTP that this takes.
//! * [`error`]: what can go wrong, in one line each.

mod deadline;
pub mod dev;
pub mod error;
pub mod http;
pub mod leave;
pub mod locate;
pub mod logger;
pub mod members;
pub mod remove;
pub mod ring;
mod table;

use std::ffi::OsStr;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{ServeFlags, is_host_and_port};

pub use error::CliError;

/// Where a node's admin listener is unless told otherwise.
const ADMIN_DEFAULT: &str = "127.0.0.1:7381";

/// A distributed key:value store that speaks Redis
#[derive(Parser, Debug)]
#[command(name = "piccolo", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a node: create a cluster, or join one
    Serve(Box<ServeFlags>),
    /// Run a cluster on this machine, to try things out
    Dev(dev::DevFlags),
    /// List the members of the cluster
    Members(AskFlags),
    /// Draw the ring: who should own which slots, and who does
    Ring(AskFlags),
    /// Say where a key lives
    Locate(locate::LocateFlags),
    /// Make a node hand over its keys and go
    Leave(leave::LeaveFlags),
    /// Give up a dead member for good: its id never comes back, its name is free
    ///
    /// Refused while the member lives or is only suspect, some 5 to 20 seconds after its end, and
    /// by a node that sees no majority of the members, since it may be the one that is cut off. The
    /// slots whose only copy it had begin anew at once, empty.
    Remove(remove::RemoveFlags),
}

/// Whom to ask, and how to show the answer.
#[derive(Args, Debug, Clone)]
pub struct AskFlags {
    /// Admin address of the node to ask
    #[arg(long, env = "PICCOLO_ADMIN", value_name = "ADDR", default_value = ADMIN_DEFAULT,
          value_parser = admin_address)]
    pub admin: String,
    /// How to show the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How to show an answer.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// What a person types for help on the command that was called wrongly; `first` is the first
/// argument of the program.
pub fn help_of(first: Option<&OsStr>) -> String {
    let cli = Cli::command();
    let command = first.and_then(|first| cli.find_subcommand(first));
    command
        .map_or("piccolo --help".into(), |command| format!("piccolo {} --help", command.get_name()))
}

fn admin_address(text: &str) -> Result<String, &'static str> {
    let fits = is_host_and_port(text);
    fits.then(|| text.into()).ok_or("write HOST:PORT, such as 127.0.0.1:7381")
}

/// Writes `value` as JSON on lines of its own.
fn write_json(out: &mut dyn std::io::Write, value: &impl serde::Serialize) -> Result<(), CliError> {
    serde_json::to_writer_pretty(&mut *out, value)
        .map_err(std::io::Error::from)
        .and_then(|()| writeln!(out))
        .map_err(CliError::Output)
}

#[cfg(test)]
mod tests;
