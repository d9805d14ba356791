//! What the cases stand on: processes, ports, clients, and waiting for a condition.

pub(crate) mod admin;
pub(crate) mod cluster;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod resp;
pub(crate) mod tools;
pub(crate) mod wait;

pub(crate) use admin::Admin;
pub(crate) use cluster::{Cluster, Node};
pub(crate) use process::Process;
pub(crate) use resp::{Client, Reply};
pub(crate) use wait::{Stopwatch, until};
