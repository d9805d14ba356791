//! From settings as given to a configuration that holds together.

use std::net::SocketAddr;
use std::time::Duration;

use log::LevelFilter;
use piccolo_schema::limits::VALUE_BYTES_MAX;

use super::Config;
use super::error::ConfigError;
use super::flags::Settings;

/// Seconds that any time limit may be at most: longer is a typing error.
const SECONDS_MAX: u64 = 3600;

/// Bytes below which `--body-bytes-max` must be a forgotten suffix.
const BODY_BYTES_MAX_LOWEST: u64 = 1 << 10;

/// Bytes of a token or password at most: fits a head with room to spare.
const SECRET_BYTES_MAX: usize = 1024;

/// Requests that one connection to a node holds.
const REQUESTS_MAX: u64 = piccolo_client::UNANSWERED_MAX as u64;

/// Seconds that a node is given at least: for 5 it holds what it cannot serve, and then says so.
/// Who gave up before that would take its connection, and every write on it, for lost.
const NODE_TIMEOUT_LOWEST: u64 = 6;

/// Addresses in `--nodes` at most: they are only where to begin.
const NODES_MAX: usize = 256;

impl Config {
    /// Checks `settings` and fills in what they leave out.
    pub(super) fn of(settings: Settings) -> Result<Self, ConfigError> {
        let listen = settings.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        if listen.port() == 0 {
            return Err(ConfigError::NoPort { address: listen });
        }
        let token = secret("token", settings.token)?;
        if !listen.ip().is_loopback() && token.is_none() {
            return Err(ConfigError::Open { address: listen });
        }
        let bytes = settings.body_bytes_max.map_or(VALUE_BYTES_MAX as u64, |count| count.0);
        let unit = "bytes, with a suffix k or m if you like";
        within("body-bytes-max", bytes, BODY_BYTES_MAX_LOWEST, VALUE_BYTES_MAX as u64, unit)?;
        let count = |flag, given: Option<u32>, default: u32, highest: u64, unit| {
            let given = given.unwrap_or(default);
            within(flag, given.into(), 1, highest, unit).map(|()| given)
        };
        let connections =
            count("connections-max", settings.connections_max, 10_000, 1_000_000, "connections")?;
        let requests =
            count("requests-max", settings.requests_max, 4096, REQUESTS_MAX, "requests")?;
        let bodies = count("bodies-max", settings.bodies_max, 64, 4096, "bodies")?;
        Ok(Self {
            listen,
            nodes: nodes(settings.nodes)?,
            token,
            node_password: secret("node-password", settings.node_password)?,
            body_bytes_max: bytes,
            connections_max: connections,
            requests_max: requests,
            bodies_max: bodies,
            first_byte_timeout: seconds("first-byte-timeout", settings.first_byte_timeout, 10, 1)?,
            head_timeout: seconds("head-timeout", settings.head_timeout, 10, 1)?,
            idle_timeout: seconds("idle-timeout", settings.idle_timeout, 60, 1)?,
            body_timeout: seconds("body-timeout", settings.body_timeout, 30, 1)?,
            node_timeout: seconds("node-timeout", settings.node_timeout, 10, NODE_TIMEOUT_LOWEST)?,
            drain: seconds("drain", settings.drain, 30, 0)?,
            log_level: settings.log_level.unwrap_or(LevelFilter::Info),
        })
    }
}

fn secret(flag: &'static str, given: Option<String>) -> Result<Option<String>, ConfigError> {
    let fits = |text: &String| {
        (1..=SECRET_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if given.as_ref().is_none_or(fits) {
        Ok(given)
    } else {
        Err(ConfigError::BadSecret { flag, bytes_max: SECRET_BYTES_MAX })
    }
}

fn nodes(given: Option<Vec<String>>) -> Result<Vec<String>, ConfigError> {
    let given = given.unwrap_or_else(|| vec!["127.0.0.1:7379".to_owned()]);
    let nodes: Vec<String> = given.iter().map(|node| node.trim().to_owned()).collect();
    if nodes.is_empty() || nodes.len() > NODES_MAX {
        return Err(ConfigError::BadNode { given: given.join(",") });
    }
    match nodes.iter().find(|node| !is_host_and_port(node)) {
        Some(bad) => Err(ConfigError::BadNode { given: bad.clone() }),
        None => Ok(nodes),
    }
}

/// Whether this can be resolved at all; an address of IPv6 has its brackets.
fn is_host_and_port(node: &str) -> bool {
    node.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0)
        || node.rsplit_once(':').is_some_and(|(host, port)| {
            let host_fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty()
                && host.bytes().all(host_fits)
                && port.parse::<u16>().is_ok_and(|port| port != 0)
        })
}

fn seconds(
    flag: &'static str,
    given: Option<u64>,
    default: u64,
    lowest: u64,
) -> Result<Duration, ConfigError> {
    let seconds = given.unwrap_or(default);
    within(flag, seconds, lowest, SECONDS_MAX, "seconds")?;
    Ok(Duration::from_secs(seconds))
}

fn within(
    flag: &'static str,
    given: u64,
    lowest: u64,
    highest: u64,
    unit: &'static str,
) -> Result<(), ConfigError> {
    if (lowest..=highest).contains(&given) {
        Ok(())
    } else {
        Err(ConfigError::OutOfRange { flag, given, lowest, highest, unit })
    }
}
