//! One node of Piccolo.
//!
//! Pure half, driven by the simulator and by the threads alike: [`store`], [`resp`], [`command`],
//! [`keyspace`], [`shard`] and [`node`]. It reads no clock, opens no socket and starts no thread.
//!
//! Around it: the threads and sockets in [`io`], the admin listener [`admin`], [`config`], and the
//! command line [`cli`].

pub mod admin;
pub mod cli;
pub mod command;
pub mod config;
pub mod io;
pub mod keyspace;
pub mod node;
mod plural;
pub mod resp;
mod seldom;
pub mod shard;
pub mod store;
pub mod support;
