//! The command line.

use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::bench::plan::{ANSWER_LIMIT, Length, Plan};
use crate::clock::{MILLISECOND, SECOND};
use crate::keys::Dist;
use crate::mix::{Mix, Op};
use crate::protocol::Setup;
use crate::target::Target;
use crate::values::Sizes;

/// Measures key:value servers, and counts what they lose.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 ok, 1 the target or this machine fails, 2 wrong command \
line, 4 verify found something lost, stale or corrupt.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends load and measures latency, throughput and CPU
    Run(RunFlags),
    /// Writes every key once
    Load(LoadFlags),
    /// Writes, reads, and counts what is lost, stale or corrupt (exit code 4 if anything is)
    Verify(VerifyFlags),
    /// Runs the same load on several targets in turn, and prints medians and ratios
    Compare(CompareFlags),
    /// Prints a script that completes these commands
    Completions {
        /// The shell it is for: bash, zsh or fish
        shell: Shell,
    },
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunFlags {
    /// resp://HOST:PORT, resp+cluster://HOST:PORT, http://HOST:PORT or capnp://HOST:PORT
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Processes of the server, whose CPU per operation is reported
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub(crate) pid: Vec<u32>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// What load to send.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) data: Data,
    /// Operations: get, set, incr, del, each with its part
    #[arg(long, default_value = "get=9,set=1", value_name = "OP=N,...")]
    pub(crate) ratio: Mix,
    /// Which keys: uniform, zipf:EXPONENT or seq
    #[arg(long, default_value = "uniform")]
    pub(crate) dist: Dist,
    /// Length of the measured part, e.g. 500ms, 30s, 2m [default: 10s]
    #[arg(long, value_name = "TIME", conflicts_with = "requests")]
    pub(crate) duration: Option<Nanos>,
    /// Ends the measured part after so many requests instead
    #[arg(long, value_name = "N", value_parser = number)]
    pub(crate) requests: Option<u64>,
    /// Time before the measured part
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub(crate) warmup: Nanos,
    /// Sends per second by the clock (open loop), over all connections, e.g. 50k
    #[arg(long, value_name = "N", value_parser = number)]
    pub(crate) rate: Option<u64>,
}

/// How many clients, and how they introduce themselves.
#[derive(Clone, Debug, Args)]
pub(crate) struct Clients {
    /// Clients; in a cluster each has a connection to every node
    #[arg(short, long, default_value_t = 50, value_name = "N", value_parser = range(10_000))]
    pub(crate) connections: u32,
    /// Requests that a client has in flight at most
    #[arg(short = 'P', long, default_value_t = 1, value_name = "N", value_parser = range(100_000))]
    pub(crate) pipeline: u32,
    /// Threads
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = range(1024))]
    pub(crate) threads: u32,
    /// AUTH of Redis, or the bearer token of HTTP
    #[arg(long, env = "LOADGEN_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
}

/// Keys and values.
#[derive(Clone, Debug, Args)]
pub(crate) struct Data {
    /// Number of keys, e.g. 1m
    #[arg(long, default_value = "1m", value_name = "N", value_parser = number)]
    pub(crate) keys: u64,
    /// Bytes of a key
    #[arg(long, default_value_t = 16, value_name = "BYTES", value_parser = range(4096))]
    pub(crate) key_size: u32,
    /// Bytes of a value, or a range such as 64..4096
    #[arg(long, default_value = "100", value_name = "BYTES")]
    pub(crate) value_size: Sizes,
    /// Seconds that written keys live; 0 for ever
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) ttl: u32,
    /// What chance begins with; the same seed sends the same
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Flags of `load`.
#[derive(Debug, Args)]
pub(crate) struct LoadFlags {
    /// resp://HOST:PORT, resp+cluster://HOST:PORT, http://HOST:PORT or capnp://HOST:PORT
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) clients: Clients,
    #[command(flatten)]
    pub(crate) data: Data,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyFlags {
    /// Targets of one protocol and one store; connections go to them in turn
    #[arg(required = true)]
    pub(crate) targets: Vec<Target>,
    #[command(flatten)]
    pub(crate) clients: Clients,
    /// Number of keys
    #[arg(long, default_value = "1k", value_name = "N", value_parser = number)]
    pub(crate) keys: u64,
    /// Bytes of a value; 69 at least
    #[arg(long, default_value_t = 100, value_name = "BYTES", value_parser = range(1 << 20))]
    pub(crate) value_size: u32,
    /// How long to write and read before everything is read back; Ctrl-C ends it earlier
    #[arg(long, default_value = "30s", value_name = "TIME")]
    pub(crate) duration: Nanos,
    /// A request without an answer for so long ends its connection
    #[arg(long, default_value = "10s", value_name = "TIME")]
    pub(crate) timeout: Nanos,
    /// What chance begins with
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// Flags of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareFlags {
    /// A target and its name; ratios are to the first
    #[arg(long = "target", required = true, value_name = "NAME=URL", value_parser = named)]
    pub(crate) targets: Vec<(String, Target)>,
    /// Processes of a target's server: NAME=PID,PID
    #[arg(long = "pid", value_name = "NAME=PID,...", value_parser = pids)]
    pub(crate) pids: Vec<(String, Vec<u32>)>,
    /// Runs of each target
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = range(1000))]
    pub(crate) repeat: u32,
    /// One run of each target, then the next of each; not all runs of one in a row
    #[arg(long)]
    pub(crate) interleave: bool,
    #[command(flatten)]
    pub(crate) load: Load,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Clients {
    pub(crate) fn setup(&self, target: &Target) -> Setup {
        Setup { password: self.password.clone(), authority: target.authority.clone() }
    }
}

impl Load {
    /// The plan for one target.
    pub(crate) fn plan(&self, target: &Target, pids: Vec<u32>) -> Plan {
        let length = match self.requests {
            Some(count) => Length::Requests(count),
            None => Length::Time(self.duration.unwrap_or(Nanos(10 * SECOND)).0),
        };
        Plan {
            mix: self.ratio.clone(),
            dist: self.dist,
            length,
            warmup: self.warmup.0,
            rate: self.rate,
            pids,
            ..plan(target, &self.clients, &self.data)
        }
    }
}

impl LoadFlags {
    pub(crate) fn plan(&self) -> Plan {
        plan(&self.target, &self.clients, &self.data)
    }
}

/// Every key written once.
fn plan(target: &Target, clients: &Clients, data: &Data) -> Plan {
    Plan {
        target: target.clone(),
        setup: clients.setup(target),
        connections: clients.connections as usize,
        pipeline: clients.pipeline,
        threads: clients.threads as usize,
        mix: Mix::only(Op::Set),
        keys: data.keys,
        key_size: data.key_size as usize,
        dist: Dist::Sequence,
        value_size: data.value_size,
        ttl: data.ttl,
        seed: data.seed,
        length: Length::Requests(data.keys),
        warmup: 0,
        rate: None,
        pids: Vec::new(),
        answer_limit: ANSWER_LIMIT,
    }
}

/// A time on the command line, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nanos(pub(crate) u64);

impl FromStr for Nanos {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "ms" => MILLISECOND,
            "s" | "" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return Err(format!("{text:?} is no time: give e.g. 500ms, 30s, 2m or 1h")),
        };
        let number: u64 =
            digits.parse().map_err(|_| format!("{text:?} is no time: give e.g. 500ms or 30s"))?;
        let most = u64::from(DAYS_MAX) * 24 * 3600 * SECOND;
        let nanos = number.checked_mul(unit).filter(|nanos| *nanos <= most);
        nanos.map(Self).ok_or_else(|| format!("{text:?} is longer than {DAYS_MAX} days"))
    }
}

const DAYS_MAX: u32 = 365;

/// A number from one up, with k for a thousand, m for a million.
fn number(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1000),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let number = number.filter(|number| (1..=NUMBER_MAX).contains(number));
    number.ok_or_else(|| format!("{text:?} is no number from 1 to {NUMBER_MAX}, e.g. 1000 or 50k"))
}

const NUMBER_MAX: u64 = 1 << 40;

fn range(most: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(most))
}

fn named(text: &str) -> Result<(String, Target), String> {
    let (name, target) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("{text:?} has no name: give e.g. piccolo=resp://127.0.0.1:7379"))?;
    Ok((name.to_owned(), target.parse()?))
}

fn pids(text: &str) -> Result<(String, Vec<u32>), String> {
    let wrong = || format!("{text:?} does not say whose process: give e.g. piccolo=1234,1235");
    let (name, list) = text.split_once('=').ok_or_else(wrong)?;
    let list: Result<Vec<u32>, _> = list.split(',').map(str::parse).collect();
    Ok((name.to_owned(), list.map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_numbers_have_units_and_bounds() {
        assert_eq!("500ms".parse(), Ok(Nanos(SECOND / 2)));
        assert_eq!("2m".parse(), Ok(Nanos(120 * SECOND)));
        assert_eq!("3".parse(), Ok(Nanos(3 * SECOND)));
        for text in ["", "s", "1d", "-1s", "99999h", "18446744073709551615s"] {
            assert!(text.parse::<Nanos>().is_err(), "{text:?} was taken");
        }
        assert_eq!((number("50k"), number("2M"), number("7")), (Ok(50_000), Ok(2_000_000), Ok(7)));
        assert!(["", "0", "k", "1.5k", "99999999999m"].iter().all(|text| number(text).is_err()));
    }

    #[test]
    fn targets_and_processes_are_named() {
        assert_eq!(named("a=resp://h:1").unwrap().0, "a");
        assert!(named("resp://h:1").is_err() && named("=resp://h:1").is_err());
        assert_eq!(pids("a=1,2"), Ok(("a".to_owned(), vec![1, 2])));
        assert!(pids("1").is_err() && pids("a=").is_err());
    }
}
