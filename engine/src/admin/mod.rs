//! The admin listener: health checks and the admin API, over HTTP on this machine.
//!
//! It runs in its own thread and never touches a shard: it answers from the [`View`] that the
//! reactor publishes, and hands what it is asked to do to the reactor through [`Requests`].
//!
//! * [`status`]: what is shown, also what `piccolo members` and its like read back.
//! * [`requests`]: what is asked of the reactor.
//! * [`routes`]: which path answers what; no I/O.
//! * [`metrics`]: what Prometheus scrapes.
//! * [`reply`]: JSON answers and problems.

mod discovery;
mod idle;
mod listener;
pub mod metrics;
pub mod reply;
pub mod requests;
pub mod routes;
pub mod status;

pub use listener::{AdminHandle, Limits, start, start_with};
pub use metrics::Metrics;
pub use requests::{AdminRequest, Requests};
pub use status::{Status, View};

#[cfg(test)]
mod tests;
