//! A client that runs beside the case: a program of another language, or a thread.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::rounds::{Api, Rounds};
use crate::harness::Process;
use crate::harness::process::run_well;
use crate::harness::tools::{client_program, node_modules, python};

/// Programs in `tests/clients`.
pub(super) const SCRIPTS: [&str; 5] =
    ["redis_py.py", "redis_cli.py", "redis_benchmark.py", "ioredis.js", "node_redis.js"];

/// How long a program may take from the end of its input to its own.
const END_LIMIT: Duration = Duration::from_mins(1);

/// How a client connects, and so which door it comes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// As to one Redis: the client port.
    Single,
    /// As to a Redis Cluster: the cluster port.
    Cluster,
}

/// What a program did.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) ops: u64,
    pub(super) errors: Vec<String>,
    /// Its counter as it knows it; 0 if it has none.
    pub(super) counter: i64,
    /// Runs of redis-benchmark that the tool itself broke off.
    pub(super) cut: u64,
}

/// What a client finds in the whole cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Count {
    pub(super) dbsize: i64,
    pub(super) scanned: usize,
    /// Different ones among those.
    pub(super) keys: usize,
}

/// A client that runs.
#[derive(Debug)]
pub(super) struct Program {
    client: String,
    mode: Mode,
    runner: Runner,
}

#[derive(Debug)]
enum Runner {
    Script(Process),
    Thread(JoinHandle<Outcome>, Arc<Reins>),
}

/// What a case and a client in a thread tell each other.
#[derive(Debug, Default)]
pub(super) struct Reins {
    pub(super) ops: AtomicU64,
    pub(super) stop: AtomicBool,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Cluster => "cluster",
        }
    }
}

impl Program {
    #[track_caller]
    pub(super) fn start_script(
        script: &str,
        mode: Mode,
        nodes: [SocketAddr; 2],
        folder: &Path,
    ) -> Self {
        let name = name(script, mode);
        let command = command(script, mode, "run", nodes);
        let runner = Runner::Script(Process::start_open(&name, command, folder));
        Self { client: script.to_owned(), mode, runner }
    }

    pub(super) fn start_thread(
        client: &str,
        mode: Mode,
        nodes: [SocketAddr; 2],
        connect: fn(Mode, [SocketAddr; 2]) -> Box<dyn Api>,
    ) -> Self {
        let reins = Arc::new(Reins::default());
        let (name, theirs) = (name(client, mode), Arc::clone(&reins));
        let run = move || Rounds::new(connect(mode, nodes), name).until_stopped(&theirs);
        let runner = Runner::Thread(thread::spawn(run), reins);
        Self { client: client.to_owned(), mode, runner }
    }

    /// Its name, and what its keys begin with.
    pub(super) fn name(&self) -> String {
        name(&self.client, self.mode)
    }

    /// Operations that it has told of.
    pub(super) fn ops(&self) -> u64 {
        match &self.runner {
            Runner::Script(process) => {
                let printed = process.printed();
                let told = printed.lines().rev().find_map(|line| line.strip_prefix("ops "));
                told.map_or(0, |ops| ops.parse().expect("a number"))
            }
            Runner::Thread(_, reins) => reins.ops.load(Ordering::Relaxed),
        }
    }

    /// redis-benchmark reads the map of slots once per run.
    pub(super) fn is_cut_by_changes(&self) -> bool {
        self.mode == Mode::Cluster && !counts(&self.client)
    }

    /// Fails if it has ended by itself, which it does when it met too much.
    #[track_caller]
    pub(super) fn assert_runs(&mut self) {
        let name = self.name();
        match &mut self.runner {
            Runner::Script(process) => {
                let ended = process.ended();
                assert!(ended.is_none(), "{name} ended: {}", last_line(process));
            }
            Runner::Thread(thread, _) => assert!(!thread.is_finished(), "{name} gave up"),
        }
    }

    /// Ends it and says what it did.
    #[track_caller]
    pub(super) fn finish(self) -> Outcome {
        match self.runner {
            Runner::Script(mut process) => {
                process.close_stdin();
                let status = process.wait(END_LIMIT);
                assert!(status.success(), "{}: {status}: {}", self.client, process.printed());
                outcome(&last_line(&process))
            }
            Runner::Thread(thread, reins) => {
                reins.stop.store(true, Ordering::Relaxed);
                thread.join().expect("no panic")
            }
        }
    }
}

/// Whether a program can count keys.
pub(super) fn counts(script: &str) -> bool {
    script != "redis_benchmark.py"
}

/// What a program in `tests/clients` finds.
#[track_caller]
pub(super) fn count_script(script: &str, mode: Mode, nodes: [SocketAddr; 2]) -> Count {
    let said = run_well(&mut command(script, mode, "count", nodes));
    let value = json(said.lines().last().unwrap_or_default());
    let number = |field: &str| value[field].as_i64().unwrap_or_else(|| panic!("{field}: {said}"));
    let (dbsize, scanned, keys) = (number("dbsize"), number("scanned"), number("keys"));
    Count { dbsize, scanned: scanned as usize, keys: keys as usize }
}

fn name(client: &str, mode: Mode) -> String {
    format!("{client}-{}", mode.word())
}

#[track_caller]
fn command(script: &str, mode: Mode, task: &str, nodes: [SocketAddr; 2]) -> Command {
    let in_python = Path::new(script).extension().is_some_and(|extension| extension == "py");
    let mut command = if in_python {
        Command::new(python())
    } else {
        let mut command = Command::new("node");
        command.env("NODE_PATH", node_modules());
        command
    };
    command.arg(client_program(script)).args([mode.word(), task, &name(script, mode)]);
    command.args(nodes.map(|node| node.to_string()));
    command
}

fn last_line(process: &Process) -> String {
    process.printed().lines().last().unwrap_or_default().to_owned()
}

#[track_caller]
fn outcome(line: &str) -> Outcome {
    let value = json(line);
    let number = |field: &str| value[field].as_i64().unwrap_or(0);
    let errors = value["errors"].as_array().cloned().unwrap_or_default();
    Outcome {
        ops: number("ops") as u64,
        errors: errors.iter().map(|error| error.as_str().unwrap_or("?").to_owned()).collect(),
        counter: number("counter"),
        cut: number("cut") as u64,
    }
}

#[track_caller]
fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
