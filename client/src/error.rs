//! Why a call did not succeed, by culprit.

use piccolo_schema::kv::Reason;

use crate::conversation::Broken;

/// Why a call did not succeed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The node refused. Nothing was changed; [`Reason`] tells whose fault it is.
    #[error("refused: {detail}")]
    Refused {
        /// For programs.
        reason: Reason,
        /// For people.
        detail: String,
    },
    /// Nobody's fault: the connection went while a write was under way. It may have been executed
    /// or not; read the key before you repeat it.
    #[error("whether the write was executed cannot be told: {detail}")]
    Unknown {
        /// What happened.
        detail: String,
    },
    /// No node could be reached, or none answered in time. Nothing was changed.
    #[error("no node answers: {detail}")]
    Unreachable {
        /// What happened last.
        detail: String,
    },
    /// A node said what is no part of the protocol. Nothing was changed.
    #[error("{address} does not keep to the protocol: {detail}")]
    Misbehaved {
        /// Of the node.
        address: String,
        /// What it said.
        detail: String,
    },
    /// The caller's fault. Nothing was sent.
    #[error("{what} of {bytes} bytes; at most {max} are taken")]
    TooLong {
        /// What.
        what: &'static str,
        /// As given.
        bytes: usize,
        /// As allowed.
        max: usize,
    },
}

impl Error {
    /// What a broken conversation with the node at `address` means for what it cannot have done.
    pub(crate) fn of_broken(address: &str, broken: Broken) -> Self {
        match broken {
            Broken::Refused { reason, detail } => Self::Refused { reason, detail },
            Broken::Malformed(_) | Broken::OutOfPlace(_) => {
                Self::Misbehaved { address: address.to_owned(), detail: broken.to_string() }
            }
        }
    }
}
