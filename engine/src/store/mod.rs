//! Where entries live: a table per slot, its hash, and the encoding of entries that travel.
//!
//! [`table`] is a slot's table. It is one part, or a directory of parts by the top bits of the
//! hash; a part is an array of buckets; a bucket points to an entry. What is unsafe in that is in
//! `raw` alone.

mod directory;
pub mod hash;
mod part;
mod raw;
pub mod record;
mod shape;
pub mod table;

pub use hash::KeyHasher;
pub use table::{Entry, SlotTable};
