//! What can go wrong, by who can mend it, and the exit code that says so.

use std::io;
use std::process::ExitCode;

/// Why a command ended early. One line for a user that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The command line asks for what cannot be: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The target or this machine fails: exit code 1.
    #[error("{0}")]
    Runtime(String),
    /// Standard output is gone or full: exit code 1.
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
    /// A verify found what no store may do: exit code 4. The report has told already.
    #[error("the target broke its promises: {0}")]
    Broken(String),
}

impl LoadError {
    /// The exit code of this error. 3 is kept for limits of service that are missed.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => USAGE,
            Self::Runtime(_) | Self::Output(_) => 1,
            Self::Broken(_) => 4,
        })
    }
}

/// The exit code of a wrong command line.
pub(crate) const USAGE: u8 = 2;
