//! One node of Piccolo.
//!
//! Pure half, driven by the simulator and by the threads alike: [`store`], [`resp`], [`command`],
//! [`keyspace`]. It reads no clock, opens no socket and starts no thread.

pub mod command;
pub mod keyspace;
pub mod resp;
pub mod store;
