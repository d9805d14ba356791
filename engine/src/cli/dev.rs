//! `piccolo dev`: a cluster on this machine, of nodes as processes, to try things out.

mod child;
mod ports;

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use clap::Args;
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::child::Child;
use self::ports::Ports;
use super::deadline::Deadline;
use super::error::CliError;
use super::http;
use crate::config::Pin;

/// Nodes at most: more say nothing that these do not, and each takes three ports.
const NODES_MAX: i64 = 32;

/// How long all nodes together may take to become ready.
const READY_PATIENCE: Duration = Duration::from_mins(1);

/// How often a node is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long is waited for the nodes after SIGTERM, before they are killed. Short: all stop at
/// once, so that there is nobody to hand anything over to.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// As clap wants it.
const SHARDS_MAX: i64 = crate::config::Config::SHARDS_MAX as i64;

/// How large a cluster, and where.
#[derive(Args, Debug, Clone)]
pub struct DevFlags {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    pub nodes: u16,
    /// Client port of the first node; its peer and admin ports follow, the next node is 10 higher
    #[arg(long, value_name = "PORT", default_value_t = 7379,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub base_port: u16,
    /// Shards of each node
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX))]
    pub shards: u16,
    /// Pin shards to cores: auto or off; nodes on one machine would share the same cores
    #[arg(long, value_name = "auto|off", default_value = "off")]
    pub pin: Pin,
    /// What the nodes log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub log_level: LevelFilter,
}

/// What can happen while the cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// Somebody wants it to end.
    Signal,
    /// The node of this index closed its output, which is its end.
    Ended(usize),
}

/// Starts the nodes and stays until somebody ends it.
///
/// # Errors
///
/// Before anything is started: a port that is taken. After that: a node that ended by itself or
/// did not become ready; the others are stopped.
pub fn run(flags: &DevFlags, out: &mut dyn Write) -> Result<(), CliError> {
    let ports = Ports::of_nodes(flags.base_port, flags.nodes)?;
    for ports in &ports {
        ports.check_free()?;
    }
    let (sender, events) = sync_channel(64);
    watch_signals(sender.clone())?;
    let mut cluster = Cluster { nodes: Vec::new(), events };
    let outcome = cluster.start(flags, &ports, &sender).and_then(|()| {
        cluster.await_ready()?;
        greet(&cluster.nodes, out).map_err(CliError::Output)?;
        cluster.await_end()
    });
    cluster.stop(out);
    outcome.or_else(|end| match end {
        End::Asked => Ok(()),
        End::Failed(error) => Err(error),
    })
}

/// Why waiting ended.
#[derive(Debug)]
enum End {
    /// By a signal.
    Asked,
    /// By itself.
    Failed(CliError),
}

impl From<CliError> for End {
    fn from(error: CliError) -> Self {
        Self::Failed(error)
    }
}

/// The nodes, and what happens to them.
struct Cluster {
    nodes: Vec<Child>,
    events: Receiver<Event>,
}

impl Cluster {
    fn start(
        &mut self,
        flags: &DevFlags,
        ports: &[Ports],
        sender: &SyncSender<Event>,
    ) -> Result<(), End> {
        for (index, &own) in ports.iter().enumerate() {
            let seed = ports.first().filter(|_| index > 0).map(|first| first.peer());
            let ended = sender.clone();
            let tell = move || ended.send(Event::Ended(index)).unwrap_or_default();
            self.nodes.push(Child::start(index, own, seed, flags, tell)?);
        }
        Ok(())
    }

    /// Waits until every node has every seat that is meant for it.
    fn await_ready(&mut self) -> Result<(), End> {
        let deadline = Deadline::after(READY_PATIENCE);
        for index in 0..self.nodes.len() {
            while let Some(reason) = self.not_ready(index) {
                if deadline.left().is_none() {
                    let node = self.name(index);
                    let seconds = READY_PATIENCE.as_secs();
                    return Err(CliError::NotReady { node, seconds, reason }.into());
                }
                self.next(Some(ASK_EVERY))?;
            }
        }
        Ok(())
    }

    /// What a node that is not ready waits for.
    fn not_ready(&self, index: usize) -> Option<String> {
        let admin = self.nodes.get(index)?.ports.admin().to_string();
        match http::exchange("GET", &admin, "/readyz", http::PATIENCE) {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(http::detail(&answer.body).unwrap_or_default()),
            Err(error) => Some(error.to_string()),
        }
    }

    fn await_end(&mut self) -> Result<(), End> {
        while self.nodes.iter_mut().any(Child::is_running) {
            self.next(None)?;
        }
        Ok(())
    }

    /// Waits for an event, for `patience` at most.
    fn next(&mut self, patience: Option<Duration>) -> Result<(), End> {
        let event = match patience {
            Some(patience) => self.events.recv_timeout(patience),
            None => self.events.recv().map_err(RecvTimeoutError::from),
        };
        match event {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(Event::Signal) | Err(RecvTimeoutError::Disconnected) => Err(End::Asked),
            Ok(Event::Ended(index)) => match self.nodes.get_mut(index).map(Child::wait) {
                // It left, as it was asked to by `piccolo leave`.
                Some(Ok(())) | None => Ok(()),
                Some(Err(status)) => {
                    Err(CliError::NodeEnded { node: self.name(index), status }.into())
                }
            },
        }
    }

    fn name(&self, index: usize) -> String {
        self.nodes.get(index).map_or_else(String::new, |node| node.name.clone())
    }

    /// Asks every node to stop and waits for it; kills them after a while or a second signal.
    fn stop(&mut self, out: &mut dyn Write) {
        let mut running: Vec<usize> = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            if node.is_running() {
                node.terminate();
                running.push(index);
            }
        }
        if !running.is_empty() {
            // A terminal that has gone must not keep the nodes alive.
            writeln!(out, "nodes to stop: {} (Ctrl-C again kills them)", running.len())
                .unwrap_or_default();
        }
        let deadline = Deadline::after(STOP_PATIENCE);
        while !running.is_empty() {
            let Some(left) = deadline.left() else { break };
            match self.events.recv_timeout(left) {
                Ok(Event::Ended(ended)) => running.retain(|&index| index != ended),
                Ok(Event::Signal) | Err(_) => break,
            }
        }
        for node in &mut self.nodes {
            node.kill();
            node.wait().unwrap_or_default();
        }
    }
}

/// Says where the nodes are and what to try.
fn greet(nodes: &[Child], out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{} nodes are ready:\n", nodes.len())?;
    for node in nodes {
        let ports = node.ports;
        writeln!(out, "  {}  clients {}  admin {}", node.name, ports.client(), ports.admin())?;
    }
    let (Some(first), Some(last)) = (nodes.first(), nodes.last()) else { return Ok(()) };
    let (one, other) = (first.ports.client().port(), last.ports.client().port());
    let admin = first.ports.admin();
    writeln!(out, "\nTry, in another terminal:\n")?;
    writeln!(out, "  redis-cli -p {one} set greeting hello")?;
    writeln!(out, "  redis-cli -p {other} get greeting")?;
    for command in ["members", "ring", "locate greeting"] {
        writeln!(out, "  piccolo {command} --admin {admin}")?;
    }
    writeln!(out, "\nCtrl-C ends it.")?;
    out.flush()
}

/// Makes what ends a program of the terminal an event, read from a pipe in a thread of its own.
fn watch_signals(events: SyncSender<Event>) -> Result<(), CliError> {
    let failed = |error| CliError::System { what: "watch for signals", error };
    let (mut read, write) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let write = write.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, write).map_err(failed)?;
    }
    let forward = move || {
        let mut byte = [0];
        while std::io::Read::read_exact(&mut read, &mut byte).is_ok() {
            if events.send(Event::Signal).is_err() {
                break;
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(forward).map_err(failed)?;
    Ok(())
}
