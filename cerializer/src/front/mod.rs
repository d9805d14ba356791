//! The HTTP side: connections come in, requests are answered.
//!
//! * [`listener`]: accepts, and drains at the end.
//! * [`watch`]: how long a connection may be silent.
//! * [`service`]: which request gets which answer.
//! * [`metrics`]: what is counted.

mod body;
pub mod listener;
pub mod metrics;
mod read;
pub mod service;
mod show;
pub mod watch;
mod write;
