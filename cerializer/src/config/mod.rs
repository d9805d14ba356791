//! What cerializer is told when it starts: flags before environment before file, all checked.
//!
//! * [`flags`]: the words, once for flag, environment and file.
//! * [`mod@file`]: the configuration file.
//! * [`value`]: byte counts.
//! * [`error`]: what is wrong, and what to do about it.

pub mod error;
pub mod file;
pub mod flags;
mod print;
pub mod value;
mod verify;

use std::net::SocketAddr;
use std::time::Duration;

use log::LevelFilter;

pub use error::ConfigError;
pub use flags::{Flags, Settings};

/// Everything cerializer needs to know to start; nothing in it contradicts anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where HTTP is listened for. Default 127.0.0.1:8080: nobody else on the network can reach it.
    pub listen: SocketAddr,
    /// Client addresses of nodes as `HOST:PORT`, resolved on every try. The others are learnt
    /// from whoever answers. Default 127.0.0.1:7379.
    pub nodes: Vec<String>,
    /// What `Authorization: Bearer` must carry. Default none, which only an address on this
    /// machine may have.
    pub token: Option<String>,
    /// What the nodes' `--requirepass` says. Default none.
    pub node_password: Option<String>,
    /// Bytes of a value at most, 1 KiB to 64 MiB (`limits::VALUE_BYTES_MAX`). Default 64 MiB.
    pub body_bytes_max: u64,
    /// HTTP connections at most, 1 to 1,000,000; more are answered 503. Default 10,000.
    pub connections_max: u32,
    /// Requests that wait for one node at most, 1 to 4096; more are answered 503. Default 4096: a
    /// node keeps no more of one connection.
    pub requests_max: u32,
    /// Bodies above 64 KiB under way at most, 1 to 4096; more wait. Default 64: each takes up to
    /// 128 KiB of buffers and a connection to a node.
    pub bodies_max: u32,
    /// How long a new connection may be silent. Default 10 s.
    pub first_byte_timeout: Duration,
    /// How long the head of a request may take from its first byte. Default 10 s.
    pub head_timeout: Duration,
    /// How long a connection may be silent between requests. Default 60 s.
    pub idle_timeout: Duration,
    /// How long nothing may move in a body under way. Default 30 s.
    pub body_timeout: Duration,
    /// How long a node may take to answer. Default 10 s: longer than the 5 s after which a node
    /// itself gives a request up.
    pub node_timeout: Duration,
    /// How long stopping may wait for what is in flight, at most an hour; 0 stops at once.
    /// Default 30 s.
    pub drain: Duration,
    /// What is logged to standard error. Default: info.
    pub log_level: LevelFilter,
}

impl Config {
    /// Puts together what the flags and their file say.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in one line that says what to do.
    pub fn load(flags: Flags) -> Result<Self, ConfigError> {
        let lower = flags.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
        Self::of(flags.settings.over(lower))
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
