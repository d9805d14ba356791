//! Membership under virtual time: real gossip cores on a virtual network of datagrams.

pub mod events;
pub mod report;
pub mod scenarios;
pub mod world;

pub use events::{became, is_death, is_dispute, is_stop};
pub use world::{WAITS, World, address, seconds};
