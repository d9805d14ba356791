//! Where entries live: a table per slot, its hash, and the encoding of entries that travel.

pub mod hash;
pub mod record;
pub mod table;

pub use hash::KeyHasher;
pub use table::{Entry, SlotTable};
