//! The flags of `cerializer`. Each is also a key of the configuration file and an environment
//! variable: `--body-bytes-max`, `body-bytes-max`, `CERIALIZER_BODY_BYTES_MAX`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser};
use log::LevelFilter;

use super::value::ByteCount;

/// REST and JSON in front of Piccolo
#[derive(Parser, Debug, Clone, Default, PartialEq, Eq)]
#[command(name = "cerializer", version)]
pub struct Flags {
    /// Settings, each of which may also stand in the file.
    #[command(flatten)]
    pub settings: Settings,
    /// Read more settings from this TOML file; environment and flags go before it
    #[arg(long, env = "CERIALIZER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the settings in effect as TOML, and end
    #[arg(long)]
    pub print_config: bool,
}

/// Settings as given, before anything is checked. `docs/guide/rest.md` has them all.
#[derive(Args, Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Listen here for HTTP [default: 127.0.0.1:8080]
    #[arg(long, env = "CERIALIZER_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Client addresses of nodes; one that answers is enough [default: 127.0.0.1:7379]
    #[arg(long, env = "CERIALIZER_NODES", value_name = "ADDR,..", value_delimiter = ',')]
    pub nodes: Option<Vec<String>>,
    /// Bearer token that requests must carry
    #[arg(long, env = "CERIALIZER_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Password that the nodes ask for
    #[arg(long, env = "CERIALIZER_NODE_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub node_password: Option<String>,
    /// Bytes of a value at most [default: 64m]
    #[arg(long, env = "CERIALIZER_BODY_BYTES_MAX", value_name = "BYTES")]
    pub body_bytes_max: Option<ByteCount>,
    /// HTTP connections at most [default: 10000]
    #[arg(long, env = "CERIALIZER_CONNECTIONS_MAX", value_name = "N")]
    pub connections_max: Option<u32>,
    /// Requests that wait for one node at most [default: 4096]
    #[arg(long, env = "CERIALIZER_REQUESTS_MAX", value_name = "N")]
    pub requests_max: Option<u32>,
    /// Bodies above 64 KiB under way at most [default: 64]
    #[arg(long, env = "CERIALIZER_BODIES_MAX", value_name = "N")]
    pub bodies_max: Option<u32>,
    /// Seconds that a new connection may be silent [default: 10]
    #[arg(long, env = "CERIALIZER_FIRST_BYTE_TIMEOUT", value_name = "SECONDS")]
    pub first_byte_timeout: Option<u64>,
    /// Seconds that the head of a request may take [default: 10]
    #[arg(long, env = "CERIALIZER_HEAD_TIMEOUT", value_name = "SECONDS")]
    pub head_timeout: Option<u64>,
    /// Seconds that a connection may be silent between requests [default: 60]
    #[arg(long, env = "CERIALIZER_IDLE_TIMEOUT", value_name = "SECONDS")]
    pub idle_timeout: Option<u64>,
    /// Seconds that nothing may move in a body under way [default: 30]
    #[arg(long, env = "CERIALIZER_BODY_TIMEOUT", value_name = "SECONDS")]
    pub body_timeout: Option<u64>,
    /// Seconds that a node may take to answer [default: 10]
    #[arg(long, env = "CERIALIZER_NODE_TIMEOUT", value_name = "SECONDS")]
    pub node_timeout: Option<u64>,
    /// Seconds that stopping may take [default: 30]
    #[arg(long, env = "CERIALIZER_DRAIN", value_name = "SECONDS")]
    pub drain: Option<u64>,
    /// off, error, warn, info, debug or trace [default: info]
    #[arg(long, env = "CERIALIZER_LOG_LEVEL", value_name = "LEVEL")]
    pub log_level: Option<LevelFilter>,
}

impl Settings {
    /// These settings, and those of `lower` where these say nothing.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            listen: self.listen.or(lower.listen),
            nodes: self.nodes.or(lower.nodes),
            token: self.token.or(lower.token),
            node_password: self.node_password.or(lower.node_password),
            body_bytes_max: self.body_bytes_max.or(lower.body_bytes_max),
            connections_max: self.connections_max.or(lower.connections_max),
            requests_max: self.requests_max.or(lower.requests_max),
            bodies_max: self.bodies_max.or(lower.bodies_max),
            first_byte_timeout: self.first_byte_timeout.or(lower.first_byte_timeout),
            head_timeout: self.head_timeout.or(lower.head_timeout),
            idle_timeout: self.idle_timeout.or(lower.idle_timeout),
            body_timeout: self.body_timeout.or(lower.body_timeout),
            node_timeout: self.node_timeout.or(lower.node_timeout),
            drain: self.drain.or(lower.drain),
            log_level: self.log_level.or(lower.log_level),
        }
    }

    /// The word of every setting: flag without dashes, and key of the file.
    pub(super) fn words() -> Vec<String> {
        let command = Self::augment_args(clap::Command::new("settings"));
        command.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned).collect()
    }
}
