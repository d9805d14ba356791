//! Who SHOULD own a slot, and who does. No I/O, no clock, no randomness.
//!
//! * [`placement`]: which nodes a slot should be on, as a pure function of who is a member.
//! * [`group`]: which nodes do own a slot, and how that changes.
//! * [`token`]: where on the ring a member's name puts it.
//! * [`stable_hash`]: the hash behind tokens and digests, the same in every build for ever.
#![forbid(unsafe_code)]

mod assignment;
pub mod group;
pub mod placement;
mod share;
pub mod stable_hash;
pub mod token;
