//! The flags of `piccolo serve`. Each flag is also a key of the configuration file and an
//! environment variable: `--max-memory`, `max-memory`, `PICCOLO_MAX_MEMORY`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use log::LevelFilter;

use super::start::StartFlags;
use super::value::{ByteCount, Pin, address, level, whole};

/// What `piccolo serve` was told on its command line and in its environment.
#[derive(Args, Debug, Clone, Default, PartialEq, Eq)]
pub struct ServeFlags {
    /// Settings, each of which may also stand in the file.
    #[command(flatten)]
    pub settings: Settings,
    /// Read more settings from this TOML file; environment and flags go before it
    #[arg(long, env = "PICCOLO_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the settings in effect as TOML, and end
    #[arg(long)]
    pub print_config: bool,
}

/// Settings as given, before anything is checked. `docs/guide/configuration.md` has the unit, the
/// default and the reason of each.
#[derive(Args, Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// How the node comes by its cluster.
    #[command(flatten)]
    pub start: StartFlags,
    /// Stable name, which decides the node's place on the ring [default: advertised peer address]
    #[arg(long, env = "PICCOLO_NAME")]
    pub name: Option<String>,
    /// Listen here for Redis clients, TCP [default: 127.0.0.1:7379]
    #[arg(long, env = "PICCOLO_CLIENT", value_name = "ADDR", value_parser = address)]
    pub client: Option<SocketAddr>,
    /// Listen here for clients of Redis Cluster, TCP [default: --client, port + 3]
    #[arg(long, env = "PICCOLO_CLUSTER_CLIENT", value_name = "ADDR", value_parser = address)]
    pub cluster_client: Option<SocketAddr>,
    /// Listen here for other nodes, TCP and UDP [default: 127.0.0.1:7380]
    #[arg(long, env = "PICCOLO_PEER", value_name = "ADDR", value_parser = address)]
    pub peer: Option<SocketAddr>,
    /// Listen here for health checks and the admin API, HTTP [default: 127.0.0.1:7381]
    #[arg(long, env = "PICCOLO_ADMIN", value_name = "ADDR", value_parser = address)]
    pub admin: Option<SocketAddr>,
    /// Tell clients to come here [default: --client]
    #[arg(long, env = "PICCOLO_ADVERTISE_CLIENT", value_name = "ADDR", value_parser = address)]
    pub advertise_client: Option<SocketAddr>,
    /// Tell cluster clients to come here [default: --cluster-client]
    #[arg(long, env = "PICCOLO_ADVERTISE_CLUSTER_CLIENT", value_name = "ADDR",
          value_parser = address)]
    pub advertise_cluster_client: Option<SocketAddr>,
    /// Tell other nodes to come here [default: --peer]
    #[arg(long, env = "PICCOLO_ADVERTISE_PEER", value_name = "ADDR", value_parser = address)]
    pub advertise_peer: Option<SocketAddr>,
    /// Password that clients must give with AUTH
    #[arg(long, env = "PICCOLO_REQUIREPASS", value_name = "PASSWORD", hide_env_values = true)]
    pub requirepass: Option<String>,
    /// File of the key that nodes prove to each other; read again on SIGHUP
    #[arg(long, env = "PICCOLO_CLUSTER_KEY", value_name = "FILE")]
    pub cluster_key: Option<PathBuf>,
    /// Shards, one thread each [default: number of cores]
    #[arg(long, env = "PICCOLO_SHARDS", value_name = "N",
          value_parser = whole::<u16>("shards, from 1 to 256, such as 4"))]
    pub shards: Option<u16>,
    /// Pin shards to cores: auto, off, or a list such as 0,2,4 [default: auto]
    #[arg(long, env = "PICCOLO_PIN", value_name = "auto|off|LIST")]
    pub pin: Option<Pin>,
    /// Copies of each key; only 1 is built [default: 1]
    #[arg(long, env = "PICCOLO_REPLICAS", value_name = "N",
          value_parser = whole::<u8>("copies, such as 1"))]
    pub replicas: Option<u8>,
    /// Bytes that entries may take, such as 512m; 0 for no limit [default: 0]
    #[arg(long, env = "PICCOLO_MAX_MEMORY", value_name = "BYTES")]
    pub max_memory: Option<ByteCount>,
    /// Bytes of a value at most [default: 64m]
    #[arg(long, env = "PICCOLO_VALUE_BYTES_MAX", value_name = "BYTES")]
    pub value_bytes_max: Option<ByteCount>,
    /// Where the node stands, such as a rack; copies go to different zones
    #[arg(long, env = "PICCOLO_ZONE")]
    pub zone: Option<String>,
    /// Share of the ring relative to other nodes [default: 1]
    #[arg(long, env = "PICCOLO_WEIGHT", value_name = "N",
          value_parser = whole::<u16>("times an ordinary node, from 1 to 100, such as 2"))]
    pub weight: Option<u16>,
    /// Seconds that stopping may take [default: 30]
    #[arg(long, env = "PICCOLO_DRAIN", value_name = "SECONDS",
          value_parser = whole::<u64>("seconds without a unit, from 0 to 3600, such as 30"))]
    pub drain: Option<u64>,
    /// Seconds that a dead node keeps its place on the ring [default: 30]
    #[arg(long, env = "PICCOLO_DOWN_GRACE", value_name = "SECONDS",
          value_parser = whole::<u64>("seconds without a unit, from 1 to 3600, such as 30"))]
    pub down_grace: Option<u64>,
    /// Client connections at most [default: 10000]
    #[arg(long, env = "PICCOLO_CLIENTS_MAX", value_name = "N",
          value_parser = whole::<u32>("connections, from 1 to 1000000, such as 10000"))]
    pub clients_max: Option<u32>,
    /// off, error, warn, info, debug or trace [default: info]
    #[arg(long, env = "PICCOLO_LOG_LEVEL", value_name = "LEVEL", value_parser = level)]
    pub log_level: Option<LevelFilter>,
    /// Refused: comes with a later version
    #[arg(long, env = "PICCOLO_DATA_DIR", value_name = "DIR", hide = true)]
    pub data_dir: Option<PathBuf>,
}

impl Settings {
    /// These settings, and those of `lower` where these say nothing.
    #[must_use]
    pub fn over(self, lower: Self) -> Self {
        Self {
            start: self.start.over(lower.start),
            name: self.name.or(lower.name),
            client: self.client.or(lower.client),
            cluster_client: self.cluster_client.or(lower.cluster_client),
            peer: self.peer.or(lower.peer),
            admin: self.admin.or(lower.admin),
            advertise_client: self.advertise_client.or(lower.advertise_client),
            advertise_cluster_client: self
                .advertise_cluster_client
                .or(lower.advertise_cluster_client),
            advertise_peer: self.advertise_peer.or(lower.advertise_peer),
            requirepass: self.requirepass.or(lower.requirepass),
            cluster_key: self.cluster_key.or(lower.cluster_key),
            shards: self.shards.or(lower.shards),
            pin: self.pin.or(lower.pin),
            replicas: self.replicas.or(lower.replicas),
            max_memory: self.max_memory.or(lower.max_memory),
            value_bytes_max: self.value_bytes_max.or(lower.value_bytes_max),
            zone: self.zone.or(lower.zone),
            weight: self.weight.or(lower.weight),
            drain: self.drain.or(lower.drain),
            down_grace: self.down_grace.or(lower.down_grace),
            clients_max: self.clients_max.or(lower.clients_max),
            log_level: self.log_level.or(lower.log_level),
            data_dir: self.data_dir.or(lower.data_dir),
        }
    }

    /// The word of every setting: flag without dashes, and key of the file.
    pub(super) fn words() -> Vec<String> {
        let command = Self::augment_args(clap::Command::new("settings"));
        command.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned).collect()
    }

    /// Which of the names of environment variables look like those of settings, and are none.
    pub fn misspelt(names: impl Iterator<Item = String>) -> Vec<String> {
        let command = ServeFlags::augment_args(clap::Command::new("serve"));
        let known =
            |name: &str| command.get_arguments().any(|flag| flag.get_env() == Some(name.as_ref()));
        names.filter(|name| name.starts_with("PICCOLO_") && !known(name)).collect()
    }
}
