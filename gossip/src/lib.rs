//! Who is in the cluster: SWIM as a state machine.
//!
//! [`Gossip`] is told what happens (a datagram came, time passed) and asked what to do
//! ([`Gossip::next_action`]). It opens no socket, reads no clock and starts no thread; its timers
//! are inside, and the caller learns only the next [`Gossip::deadline`]. All randomness comes
//! from one seed, so that a run can be repeated exactly.
//!
//! The caller's loop: on a datagram [`Gossip::receive`], at the deadline [`Gossip::advance`],
//! after either take every [`Gossip::next_action`] until there is none. After a pause of the
//! process, hand in the datagrams that wait before advancing.
//!
//! The protocol and its invariants stand in `ALGORITHM.md` beside this crate.
#![forbid(unsafe_code)]

mod action;
#[cfg(test)]
mod bounds;
mod challenge;
mod choice;
mod claims;
mod config;
mod dissemination;
mod exchange;
mod foreign;
mod founding;
mod gossip;
mod health;
mod heartbeat;
mod intake;
mod join;
mod member;
mod message;
mod patience;
mod probe;
mod reject;
mod relay;
mod removal;
mod retry;
mod seal;
mod stats;
mod suspicion;
mod table;
mod timers;
mod trial;
mod wire;

pub use action::{Action, Event, Fatal};
pub use config::{Config, ConfigError};
pub use gossip::{Gossip, Me, Start};
pub use member::{Member, State, TextFault, check_name, check_zone};
pub use reject::{Malformed, Reject};
pub use removal::RemoveError;
pub use seal::{KeyFault, Keys, SEAL_BYTES, SealFault};
pub use stats::{ProbeTimes, Stats};
