//! Membership under virtual time: real gossip cores on a virtual network of datagrams.

pub mod report;
pub mod scenarios;
pub mod world;

pub use world::{WAITS, World, address, became, is_death, seconds};
