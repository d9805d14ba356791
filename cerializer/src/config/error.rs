//! What is wrong with the configuration, and what the operator can do about it.

use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// An address of `--nodes` is not `HOST:PORT`, or there is none.
    #[error("--nodes {given:?}: write HOST:PORT, such as 127.0.0.1:7379, or several with commas")]
    BadNode {
        /// As given.
        given: String,
    },
    /// Port 0, which nobody could be told.
    #[error("--listen {address}: name a port from 1 to 65535")]
    NoPort {
        /// As given.
        address: SocketAddr,
    },
    /// An address beyond this machine without a token.
    #[error(
        "--listen {address} is open to other machines: set --token too, or listen on 127.0.0.1"
    )]
    Open {
        /// As given.
        address: SocketAddr,
    },
    /// A token or password that is empty or no header could carry.
    #[error("--{flag}: use 1 to {bytes_max} printable ASCII characters without spaces")]
    BadSecret {
        /// `token` or `node-password`.
        flag: &'static str,
        /// Bytes allowed.
        bytes_max: usize,
    },
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
}

impl ConfigError {
    /// Exit code of a program that was called wrongly.
    pub const EXIT_CODE: u8 = 2;
}
