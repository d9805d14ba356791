//! What a node is told when it starts: flags before environment before file, all checked.
//!
//! * [`flags`]: the words, once for flag, environment and file.
//! * [`StartFlags`]: the three words that say how a node comes by its cluster.
//! * [`mod@file`]: the configuration file.
//! * [`value`]: byte counts and core lists.
//! * [`error`]: what is wrong, and what to do about it.
//!
//! The guide's page `docs/guide/configuration.md` is checked against [`flags`] by a test.

pub mod error;
pub mod file;
pub mod flags;
mod print;
mod start;
pub mod value;
mod verify;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

pub use error::ConfigError;
pub use flags::{ServeFlags, Settings};
pub use start::StartFlags;
pub use value::Pin;
pub(crate) use verify::is_host_and_port;

/// How a node comes by its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It begins one, and owns every slot.
    Create,
    /// It enters one.
    Join {
        /// Peer addresses as `HOST:PORT`, at least one, resolved anew on every try. May name the
        /// node itself.
        seeds: Vec<String>,
        /// If given: the lowest name among this many nodes without a cluster creates it. More
        /// than half of `seeds`, so that two halves cannot both do so.
        expect: Option<usize>,
    },
}

/// Everything a node needs to know to start; nothing in it contradicts anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How the node comes by its cluster. No default: a cluster is never created by accident.
    pub start: Start,
    /// Stable name, from which the node's place on the ring comes: printable ASCII without
    /// spaces, at most 64 bytes. Default: `advertise_peer`, since that is unique.
    pub name: String,
    /// Where Redis clients are listened for. Default 127.0.0.1:7379: nobody else on the network
    /// can reach it, and Redis itself may have 6379.
    pub client: SocketAddr,
    /// Where clients of Redis Cluster are listened for. Default: the address of `client`, its port
    /// and 3.
    pub cluster_client: SocketAddr,
    /// Where other nodes are listened for, by TCP and UDP. Default 127.0.0.1:7380.
    pub peer: SocketAddr,
    /// Where the admin listener is. Default 127.0.0.1:7381; always on this machine, since it asks
    /// for no password.
    pub admin: SocketAddr,
    /// Where clients are told to come. Default: `client`.
    pub advertise_client: SocketAddr,
    /// Where cluster clients are told to come. Default: `cluster_client`.
    pub advertise_cluster_client: SocketAddr,
    /// Where other nodes are told to come. Default: `peer`.
    pub advertise_peer: SocketAddr,
    /// Password of `AUTH`. Default none, which only a client address on this machine may have.
    pub requirepass: Option<String>,
    /// File of the keys that nodes prove to each other. Default none: whoever reaches `peer` can
    /// join.
    pub cluster_key: Option<PathBuf>,
    /// Number of shards, each a thread, at most [`Config::SHARDS_MAX`]. Default: one per core in
    /// the list of `pin` if it is one, else per core of the machine.
    pub shards: NonZeroU16,
    /// Where the shards' threads run. Default: each on its own core, which keeps caches warm.
    pub pin: Pin,
    /// Copies of each key. Only 1 in this version.
    pub replicas: u8,
    /// Bytes that entries may take in this node; above it, writes are refused. Default 0: no
    /// limit, since only the operator knows what else runs here. Else at least 1 MiB.
    pub max_memory: u64,
    /// Bytes of a value at most. Default and highest: 64 MiB (`limits::VALUE_BYTES_MAX`).
    pub value_bytes_max: usize,
    /// Where the node stands; copies of a slot go to different zones. Default empty: every node
    /// in the same one. Same characters as a name.
    pub zone: String,
    /// Share of the ring relative to other nodes, 1 to [`Config::WEIGHT_MAX`]. Default 1.
    pub weight: u16,
    /// How long stopping may take, at most an hour; 0 stops at once. Default 30 s: moving out
    /// takes seconds, and most supervisors kill later than that.
    pub drain: Duration,
    /// How long a dead node keeps its place on the ring, 1 s to an hour. Default 30 s: longer
    /// than a restart, so that a restart moves no keys.
    pub down_grace: Duration,
    /// Client connections at most, 1 to 1,000,000. Default 10,000 (source: redis `maxclients`).
    pub clients_max: u32,
    /// What is logged to standard error. Default: info.
    pub log_level: LevelFilter,
}

impl Config {
    /// Shards at most: the protocol counts them in 16 bits, and the mesh between them grows with
    /// their square; 256 shards are 65,536 queues.
    pub const SHARDS_MAX: u16 = 256;
    /// Weight at most: 64 tokens for each, of which the ring keeps all in memory.
    pub const WEIGHT_MAX: u16 = 100;

    /// Whether other machines reach the listeners for clients.
    pub fn is_open(&self) -> bool {
        [self.client, self.cluster_client].iter().any(|address| !address.ip().is_loopback())
    }

    /// Puts together what the flags and their file say. `cores` is the number of cores that
    /// the process may use.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in one line that says what to do.
    pub fn load(flags: ServeFlags, cores: usize) -> Result<Self, ConfigError> {
        let lower = flags.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        Self::of(flags.settings.over(lower), cores)
    }
}

/// What clap has to say about a wrong command line, in one line without its "error: ".
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let told: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let joined = told.join(" ").replace(" tip: ", "; ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

#[cfg(test)]
mod tests;
