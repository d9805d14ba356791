//! What is wrong with the configuration, and what the operator can do about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::plural::counted;

/// Why a configuration was refused. Always the operator's to mend: print the one line, exit with
/// [`ConfigError::EXIT_CODE`]; nothing was opened or started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("cannot read {}: {reason} (--config names the file)", .file.display())]
    Unreadable {
        /// The file named by `--config`.
        file: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The configuration file is longer than [`super::file::FILE_BYTES_MAX`].
    #[error("{} is longer than {bytes_max} bytes: is it the right file?", .file.display())]
    FileTooLong {
        /// The file named by `--config`.
        file: PathBuf,
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// The configuration file is no TOML.
    #[error("{} line {line}: {reason}", .file.display())]
    NotToml {
        /// The file named by `--config`.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// The file holds a key that no flag is called by.
    #[error("{}: unknown key \"{key}\": {hint}", .file.display())]
    UnknownKey {
        /// The file named by `--config`.
        file: PathBuf,
        /// The key as written.
        key: String,
        /// What the operator may have meant.
        hint: String,
    },
    /// A key of the file has a value of a kind that no key takes.
    #[error(
        "{}: key \"{key}\" holds {found}: write a string, a whole number, true, false or a \
         list",
        .file.display()
    )]
    WrongKind {
        /// The file named by `--config`.
        file: PathBuf,
        /// The key.
        key: String,
        /// The kind of value found.
        found: &'static str,
    },
    /// The file holds a value that its flag would refuse.
    #[error("{}: {reason}", .file.display())]
    BadValue {
        /// The file named by `--config`.
        file: PathBuf,
        /// What the flag says.
        reason: String,
    },
    /// Neither `--create` nor `--join` was given.
    #[error(
        "say --create to begin a new cluster, or --join HOST:PORT to enter one (`piccolo dev` \
         starts a cluster to try)"
    )]
    NoStart,
    /// Both `--create` and `--join` were given.
    #[error("--create and --join exclude each other: leave one out")]
    TwoStarts,
    /// `--expect` without `--join`.
    #[error("--expect counts nodes of --join: add --join, or leave --expect out")]
    ExpectWithoutJoin,
    /// `--expect` is not more than half of the list given to `--join`: two halves could each
    /// create a cluster.
    #[error(
        "--expect {expect} is not more than half of the {} of --join: give at least {}, or two \
         halves could each create a cluster",
        counted(*seeds, "address", "addresses"),
        .seeds / 2 + 1
    )]
    ExpectTooFew {
        /// What was given.
        expect: usize,
        /// Length of the list.
        seeds: usize,
    },
    /// `--expect` is more than all nodes that the list given to `--join` names: never to be had.
    #[error(
        "--expect {expect} is more than the {} of --join, which is to name every node that starts \
         a cluster, this one too: give at most {seeds}, or add those that are missing",
        counted(*seeds, "address", "addresses")
    )]
    ExpectTooMany {
        /// What was given.
        expect: usize,
        /// Length of the list.
        seeds: usize,
    },
    /// An address of `--join` is not `HOST:PORT`.
    #[error("--join: {seed:?} is no address: write HOST:PORT, such as 10.0.0.1:7380")]
    BadSeed {
        /// The address as given.
        seed: String,
    },
    /// The name is empty, too long, or holds something else than printable ASCII.
    #[error("--{flag} {given:?}: use 1 to 64 printable ASCII characters without spaces")]
    BadName {
        /// The flag: `name` or `zone`.
        flag: &'static str,
        /// As given.
        given: String,
    },
    /// An address without a port.
    #[error(
        "--{flag} {address}: port 0 cannot be told to other nodes: name a port from 1 to \
         65535"
    )]
    NoPort {
        /// The flag.
        flag: &'static str,
        /// As given.
        address: SocketAddr,
    },
    /// An address that others cannot use: it means "every address of this machine".
    #[error(
        "--{flag}: others cannot reach {address}: name the address that they shall use with \
         --advertise-{flag}"
    )]
    NotAnAddress {
        /// The listening flag, such as `client`.
        flag: &'static str,
        /// What would be advertised.
        address: SocketAddr,
    },
    /// Two listeners on one port.
    #[error(
        "--{one} and --{other} are both {address}: give each its own port{}",
        unless_given([one, other])
    )]
    SamePort {
        /// One flag.
        one: &'static str,
        /// The other flag.
        other: &'static str,
        /// What both listen on.
        address: SocketAddr,
    },
    /// A client address beyond this machine without a password.
    #[error(
        "--{flag} {address} is open to other machines: set --requirepass too, or listen on \
         127.0.0.1"
    )]
    OpenClient {
        /// Which listener.
        flag: &'static str,
        /// As given.
        address: SocketAddr,
    },
    /// A peer address beyond this machine without a key or a password: whoever reaches it can
    /// join, and with that read and write every key.
    #[error(
        "--peer {address} is open to other machines, any of which could join: give the nodes a \
         key with --cluster-key FILE, or, in a network of their own, set --requirepass, or listen \
         on 127.0.0.1"
    )]
    OpenPeer {
        /// As given.
        address: SocketAddr,
    },
    /// An admin address beyond this machine; the admin listener asks for no password.
    #[error(
        "--admin {address} is open to other machines, and the admin listener asks for no \
         password: listen on 127.0.0.1"
    )]
    OpenAdmin {
        /// As given.
        address: SocketAddr,
    },
    /// An empty password.
    #[error("--requirepass is empty: give a password, or leave the flag out")]
    EmptyPassword,
    /// A number out of its range.
    #[error("--{flag} {given}: give {lowest} to {highest} {unit}")]
    OutOfRange {
        /// The flag.
        flag: &'static str,
        /// As given.
        given: u64,
        /// The lowest value allowed.
        lowest: u64,
        /// The highest value allowed.
        highest: u64,
        /// The unit, or what is counted.
        unit: &'static str,
    },
    /// A list of cores that does not fit the number of shards.
    #[error(
        "--pin names {} for {}: name one core per shard, or leave --shards out",
        counted(*cores, "core", "cores"),
        counted((*shards).into(), "shard", "shards")
    )]
    CoresForShards {
        /// Cores in `--pin`.
        cores: usize,
        /// Shards.
        shards: u16,
    },
    /// A core named twice in `--pin`.
    #[error("--pin names core {core} twice: name each core once")]
    CoreTwice {
        /// The core.
        core: usize,
    },
    /// `--replicas` other than 1.
    #[error("--replicas {given}: replication comes with a later version: only 1 is built")]
    Replicas {
        /// As given.
        given: u8,
    },
    /// `--data-dir`.
    #[error(
        "--data-dir: writing to disk comes with a later version: leave it out; keys live in \
         memory only"
    )]
    DataDir,
}

/// What to know of a door that the operator may not have named.
fn unless_given(flags: [&str; 2]) -> &'static str {
    if flags.contains(&"cluster-client") {
        " (--cluster-client is the port of --client plus 3 unless given)"
    } else {
        ""
    }
}

impl ConfigError {
    /// Exit code of a program that was called wrongly.
    pub const EXIT_CODE: u8 = 2;
}
