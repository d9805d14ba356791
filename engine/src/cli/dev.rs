//! `piccolo dev`: a cluster on this machine, of nodes as processes, to try things out.

mod child;
mod ports;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use clap::Args;
use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::child::{Child, Plan};
use self::ports::{Ports, check_free, local};
use super::deadline::Deadline;
use super::error::CliError;
use super::http;
use crate::config::Pin;
use crate::config::value::level;
use crate::plural::counted;

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
    /// Port of REST; 0: none
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub rest_port: u16,
    /// Shards of each node
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX))]
    pub shards: u16,
    /// Pin shards to cores: auto or off; nodes on one machine would share the same cores
    #[arg(long, value_name = "auto|off", default_value = "off")]
    pub pin: Pin,
    /// What the nodes log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = level)]
    pub log_level: LevelFilter,
}

/// What can happen while the cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// Somebody wants it to end.
    Signal,
    /// The node of this index closed its output, which is its end.
    Ended {
        index: usize,
        /// Whether there was any output.
        spoke: bool,
    },
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

/// The nodes, and what happens to them. Whoever lets them run stops them too, after saying why
/// they have to end: stopping takes its time.
#[derive(Debug)]
pub struct Cluster {
    flags: DevFlags,
    ports: Vec<Ports>,
    /// The nodes in the order of their ports, then cerializer, if it is there.
    children: Vec<Child>,
    sender: SyncSender<Event>,
    events: Receiver<Event>,
}

impl Cluster {
    /// One of which nothing runs yet. From now on, signals end [`Cluster::run`].
    ///
    /// # Errors
    ///
    /// If signals cannot be watched for.
    pub fn of(flags: DevFlags) -> Result<Self, CliError> {
        let (sender, events) = sync_channel(64);
        watch_signals(sender.clone())?;
        Ok(Self { flags, ports: Vec::new(), children: Vec::new(), sender, events })
    }

    /// Starts the nodes and stays until somebody ends it. Nodes may run yet when this returns.
    ///
    /// # Errors
    ///
    /// Before anything is started: a port that is taken. After that: a node that ended by itself
    /// or did not become ready.
    pub fn run(&mut self, out: &mut dyn Write) -> Result<(), CliError> {
        match self.start().and_then(|()| self.stay(out)) {
            Ok(()) | Err(End::Asked) => Ok(()),
            Err(End::Failed(error)) => Err(error),
        }
    }

    fn start(&mut self) -> Result<(), End> {
        self.ports = Ports::of_nodes(self.flags.base_port, self.flags.nodes)?;
        for ports in &self.ports {
            ports.check_free()?;
        }
        if let Some(rest) = self.rest() {
            check_free(rest, "rest-port")?;
        }
        for (index, own) in self.ports.clone().into_iter().enumerate() {
            let seed = self.ports.first().filter(|_| index > 0).map(|first| first.peer());
            self.add(Plan::node(index, own, seed, &self.flags)?)?;
        }
        Ok(())
    }

    fn add(&mut self, plan: Plan) -> Result<(), CliError> {
        let (index, ended) = (self.children.len(), self.sender.clone());
        let tell = move |spoke| ended.send(Event::Ended { index, spoke }).unwrap_or_default();
        self.children.push(Child::start(plan, tell)?);
        Ok(())
    }

    /// Where REST is to be.
    fn rest(&self) -> Option<SocketAddr> {
        Some(self.flags.rest_port).filter(|port| *port != 0).map(local)
    }

    fn stay(&mut self, out: &mut dyn Write) -> Result<(), End> {
        self.await_ready()?;
        if let Some(listen) = self.rest() {
            if let Some(plan) = Plan::cerializer(listen, &self.ports, self.flags.log_level)? {
                self.add(plan)?;
                self.await_ready()?;
            } else {
                let text = "no REST: there is no program `cerializer` beside this one";
                writeln!(out, "{text}").map_err(CliError::Output)?;
            }
        }
        self.greet(out).map_err(CliError::Output)?;
        self.await_end()
    }

    /// Waits until every node has every seat that is meant for it.
    fn await_ready(&mut self) -> Result<(), End> {
        let deadline = Deadline::after(READY_PATIENCE);
        for index in 0..self.children.len() {
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
        let address = self.children.get(index)?.health.to_string();
        match http::exchange("GET", &address, "/readyz", http::PATIENCE) {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(http::detail(&answer.body).unwrap_or_default()),
            Err(error) => Some(error.to_string()),
        }
    }

    fn await_end(&mut self) -> Result<(), End> {
        while self.nodes().iter_mut().any(Child::is_running) {
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
            Ok(Event::Ended { index, spoke }) => {
                match self.children.get_mut(index).map(Child::wait) {
                    // It left, as it was asked to by `piccolo leave`.
                    Some(Ok(())) | None => Ok(()),
                    Some(Err(status)) => {
                        Err(CliError::NodeEnded { node: self.name(index), status, spoke }.into())
                    }
                }
            }
        }
    }

    fn name(&self, index: usize) -> String {
        self.children.get(index).map_or_else(String::new, |child| child.name.clone())
    }

    fn nodes(&mut self) -> &mut [Child] {
        let count = self.children.len().min(self.ports.len());
        &mut self.children[..count]
    }

    /// Says where the nodes are and what to try.
    fn greet(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let ready = counted(self.ports.len(), "node is ready", "nodes are ready");
        writeln!(out, "{ready}:\n")?;
        for (child, ports) in self.children.iter().zip(&self.ports) {
            writeln!(
                out,
                "  {}  clients {}  cluster clients {}  admin {}",
                child.name,
                ports.client(),
                ports.cluster_client(),
                ports.admin()
            )?;
        }
        let (Some(first), Some(last)) = (self.ports.first(), self.ports.last()) else {
            return Ok(());
        };
        let rest = self.children.get(self.ports.len()).map(|child| child.health);
        let admin = first.admin();
        writeln!(out, "\nTry, in another terminal:\n")?;
        writeln!(out, "  redis-cli -p {} set greeting hello", first.client().port())?;
        writeln!(out, "  redis-cli -p {} get greeting", last.client().port())?;
        writeln!(out, "  redis-cli -c -p {} get greeting", first.cluster_client().port())?;
        if let Some(rest) = rest {
            writeln!(out, "  curl http://{rest}/v1/kv/greeting")?;
        }
        for command in ["members", "ring", "locate greeting"] {
            writeln!(out, "  piccolo {command} --admin {admin}")?;
        }
        writeln!(out, "\nCtrl-C ends it.")?;
        out.flush()
    }

    /// Asks every node to stop and waits for it; kills them after a while or a second signal.
    pub fn stop(mut self, out: &mut dyn Write) {
        let mut running: Vec<usize> = Vec::new();
        for (index, child) in self.children.iter_mut().enumerate() {
            if child.is_running() {
                child.terminate();
                running.push(index);
            }
        }
        if !running.is_empty() {
            // A terminal that has gone must not keep the nodes alive.
            writeln!(out, "processes to stop: {} (Ctrl-C again kills them)", running.len())
                .unwrap_or_default();
        }
        let deadline = Deadline::after(STOP_PATIENCE);
        while !running.is_empty() {
            let Some(left) = deadline.left() else { break };
            match self.events.recv_timeout(left) {
                Ok(Event::Ended { index: ended, .. }) => running.retain(|&index| index != ended),
                Ok(Event::Signal) | Err(_) => break,
            }
        }
        for child in &mut self.children {
            child.kill();
            child.wait().unwrap_or_default();
        }
    }
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
