//! From settings as given to a configuration that holds together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use log::LevelFilter;
use piccolo_schema::limits::{NAME_BYTES_MAX, VALUE_BYTES_MAX};

use super::error::ConfigError;
use super::flags::Settings;
use super::start::StartFlags;
use super::value::{ByteCount, Pin};
use super::{Config, Start};

const CLIENT_PORT: u16 = 7379;
const PEER_PORT: u16 = 7380;
const ADMIN_PORT: u16 = 7381;

/// Seconds that `--drain` and `--down-grace` may be at most: longer is a typing error.
const SECONDS_MAX: u64 = 3600;

/// Bytes below which `--max-memory` must be a forgotten suffix.
const MAX_MEMORY_LOWEST: u64 = 1 << 20;

/// Bytes below which `--value-bytes-max` must be a forgotten suffix.
const VALUE_BYTES_MAX_LOWEST: u64 = 1 << 10;

impl Config {
    /// Checks `settings` and fills in what they leave out.
    pub(super) fn of(settings: Settings, cores: usize) -> Result<Self, ConfigError> {
        refuse_unbuilt(&settings)?;
        let start = start(&settings.start)?;
        let addresses = Addresses::of(&settings)?;
        let name = settings.name.unwrap_or_else(|| addresses.advertise_peer.to_string());
        if settings.requirepass.as_ref().is_some_and(String::is_empty) {
            return Err(ConfigError::EmptyPassword);
        }
        let zone = settings.zone.unwrap_or_default();
        let pin = settings.pin.unwrap_or_default();
        let bytes = |given: Option<ByteCount>, default: u64| given.map_or(default, |count| count.0);
        let max_memory = bytes(settings.max_memory, 0);
        if max_memory != 0 {
            within("max-memory", max_memory, MAX_MEMORY_LOWEST, 1 << 50, BYTES)?;
        }
        let value_bytes_max = bytes(settings.value_bytes_max, VALUE_BYTES_MAX as u64);
        within("value-bytes-max", value_bytes_max, VALUE_BYTES_MAX_LOWEST, HIGHEST_VALUE, BYTES)?;
        let weight = settings.weight.unwrap_or(1);
        within("weight", weight.into(), 1, Self::WEIGHT_MAX.into(), "times an ordinary node")?;
        let clients_max = settings.clients_max.unwrap_or(10_000);
        within("clients-max", clients_max.into(), 1, 1_000_000, "connections")?;
        Ok(Self {
            start,
            name: printable("name", name)?,
            client: addresses.client,
            cluster_client: addresses.cluster_client,
            peer: addresses.peer,
            admin: addresses.admin,
            advertise_client: addresses.advertise_client,
            advertise_cluster_client: addresses.advertise_cluster_client,
            advertise_peer: addresses.advertise_peer,
            requirepass: settings.requirepass,
            cluster_key: settings.cluster_key,
            shards: shards(settings.shards, &pin, cores)?,
            pin,
            replicas: 1,
            max_memory,
            value_bytes_max: value_bytes_max as usize,
            zone: if zone.is_empty() { zone } else { printable("zone", zone)? },
            weight,
            drain: seconds("drain", settings.drain, 0)?,
            down_grace: seconds("down-grace", settings.down_grace, 1)?,
            clients_max,
            log_level: settings.log_level.unwrap_or(LevelFilter::Info),
        })
    }
}

const BYTES: &str = "bytes, with a suffix k, m or g if you like";
const HIGHEST_VALUE: u64 = VALUE_BYTES_MAX as u64;

/// What has a flag, so that somebody who knows it from elsewhere learns why it is not there.
fn refuse_unbuilt(settings: &Settings) -> Result<(), ConfigError> {
    match settings {
        Settings { data_dir: Some(_), .. } => Err(ConfigError::DataDir),
        &Settings { replicas: Some(given), .. } if given != 1 => {
            Err(ConfigError::Replicas { given })
        }
        _ => Ok(()),
    }
}

fn start(flags: &StartFlags) -> Result<Start, ConfigError> {
    match (flags.create == Some(true), &flags.join, flags.expect) {
        (true, Some(_), _) => Err(ConfigError::TwoStarts),
        (false, None, None) => Err(ConfigError::NoStart),
        (_, None, Some(_)) => Err(ConfigError::ExpectWithoutJoin),
        (true, None, None) => Ok(Start::Create),
        (false, Some(seeds), expect) => {
            let seeds: Vec<String> = seeds.iter().map(|seed| seed.trim().to_owned()).collect();
            if let Some(bad) = seeds.iter().find(|seed| !is_host_and_port(seed)) {
                return Err(ConfigError::BadSeed { seed: bad.clone() });
            }
            match expect {
                Some(expect) if expect <= seeds.len() / 2 => {
                    Err(ConfigError::ExpectTooFew { expect, seeds: seeds.len() })
                }
                Some(expect) if expect > seeds.len() => {
                    Err(ConfigError::ExpectTooMany { expect, seeds: seeds.len() })
                }
                _ => Ok(Start::Join { seeds, expect }),
            }
        }
    }
}

/// Whether this can be resolved at all; an address of IPv6 has its brackets.
pub(crate) fn is_host_and_port(seed: &str) -> bool {
    seed.parse::<SocketAddr>().is_ok_and(|address| address.port() != 0)
        || seed.rsplit_once(':').is_some_and(|(host, port)| {
            let host_fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty()
                && host.bytes().all(host_fits)
                && port.parse::<u16>().is_ok_and(|port| port != 0)
        })
}

struct Addresses {
    client: SocketAddr,
    cluster_client: SocketAddr,
    peer: SocketAddr,
    admin: SocketAddr,
    advertise_client: SocketAddr,
    advertise_cluster_client: SocketAddr,
    advertise_peer: SocketAddr,
}

impl Addresses {
    fn of(settings: &Settings) -> Result<Self, ConfigError> {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let client = settings.client.unwrap_or_else(|| local(CLIENT_PORT));
        let peer = settings.peer.unwrap_or_else(|| local(PEER_PORT));
        let admin = settings.admin.unwrap_or_else(|| local(ADMIN_PORT));
        let cluster_client = settings.cluster_client.unwrap_or_else(|| beside(client));
        distinct(&[
            ("client", client),
            ("cluster-client", cluster_client),
            ("peer", peer),
            ("admin", admin),
        ])?;
        for (flag, address) in [("client", client), ("cluster-client", cluster_client)] {
            if !address.ip().is_loopback() && settings.requirepass.is_none() {
                return Err(ConfigError::OpenClient { flag, address });
            }
        }
        let anybody_joins = settings.requirepass.is_none() && settings.cluster_key.is_none();
        if !peer.ip().is_loopback() && anybody_joins {
            return Err(ConfigError::OpenPeer { address: peer });
        }
        if !admin.ip().is_loopback() {
            return Err(ConfigError::OpenAdmin { address: admin });
        }
        let advertise_client = settings.advertise_client.unwrap_or(client);
        // Whoever has said where clients come has said it for both doors.
        let outside = if cluster_client.ip().is_unspecified() {
            SocketAddr::new(advertise_client.ip(), cluster_client.port())
        } else {
            cluster_client
        };
        let advertise_cluster_client = settings.advertise_cluster_client.unwrap_or(outside);
        let advertise_peer = settings.advertise_peer.unwrap_or(peer);
        has_port("advertise-client", advertise_client)?;
        has_port("advertise-cluster-client", advertise_cluster_client)?;
        has_port("advertise-peer", advertise_peer)?;
        for (flag, address) in [
            ("client", advertise_client),
            ("cluster-client", advertise_cluster_client),
            ("peer", advertise_peer),
        ] {
            if address.ip().is_unspecified() {
                return Err(ConfigError::NotAnAddress { flag, address });
            }
        }
        Ok(Self {
            client,
            cluster_client,
            peer,
            admin,
            advertise_client,
            advertise_cluster_client,
            advertise_peer,
        })
    }
}

/// Where the cluster door is by default: nodes that share a machine differ in their client port.
fn beside(client: SocketAddr) -> SocketAddr {
    SocketAddr::new(client.ip(), client.port().checked_add(3).unwrap_or(CLIENT_PORT + 3))
}

/// Whether every listener has a port, and none of them that of another.
fn distinct(listeners: &[(&'static str, SocketAddr)]) -> Result<(), ConfigError> {
    for (place, &(one, address)) in listeners.iter().enumerate() {
        has_port(one, address)?;
        if let Some(&(other, _)) = listeners[place + 1..].iter().find(|(_, a)| *a == address) {
            return Err(ConfigError::SamePort { one, other, address });
        }
    }
    Ok(())
}

fn has_port(flag: &'static str, address: SocketAddr) -> Result<(), ConfigError> {
    if address.port() == 0 { Err(ConfigError::NoPort { flag, address }) } else { Ok(()) }
}

fn printable(flag: &'static str, text: String) -> Result<String, ConfigError> {
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
    if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(ConfigError::BadName { flag, given: text })
    }
}

fn shards(given: Option<u16>, pin: &Pin, cores: usize) -> Result<NonZeroU16, ConfigError> {
    let max = Config::SHARDS_MAX;
    let default = match pin {
        Pin::Cores(list) => list.len(),
        Pin::Auto | Pin::Off => cores,
    };
    let count = given.unwrap_or_else(|| u16::try_from(default).unwrap_or(max).clamp(1, max));
    within("shards", count.into(), 1, max.into(), "shards")?;
    if let Pin::Cores(list) = pin {
        let twice =
            list.iter().enumerate().find(|&(at, core)| list.iter().take(at).any(|c| c == core));
        if let Some((_, &core)) = twice {
            return Err(ConfigError::CoreTwice { core });
        }
        if list.len() != usize::from(count) {
            return Err(ConfigError::CoresForShards { cores: list.len(), shards: count });
        }
    }
    Ok(NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN))
}

fn seconds(flag: &'static str, given: Option<u64>, lowest: u64) -> Result<Duration, ConfigError> {
    let seconds = given.unwrap_or(30);
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
