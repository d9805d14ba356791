//! The commands: one registry, and what each of them does to one slot.

pub mod docs;
pub mod glob;
pub mod help;
pub mod native;
pub mod page;
pub mod registry;
pub mod spec;

mod bad_argument;
mod containers;
mod counters;
mod expiry;
mod long_double;
mod many;
mod object;
mod options;
mod rename;
mod slot;
mod strings;
mod table;
#[cfg(test)]
mod tests;

pub use registry::{all, find, find_full, find_internal, resolve};
pub use spec::{Command, Handler, Merge, Place, Refuse, SessionCommand, Sweep};

use crate::keyspace::{Key, Keyspace};
use crate::resp::Args;

/// The argument at `index` as a key of `keyspace`.
#[inline]
fn key_at<'a>(args: &Args<'a>, keyspace: &Keyspace<'_>, index: usize) -> Key<'a> {
    args.key(index, |bytes| keyspace.key(bytes).hash)
}
