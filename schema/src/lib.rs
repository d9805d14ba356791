//! The wire of Piccolo: what nodes and native clients say to each other, in Cap'n Proto.
//!
//! * [`ids`]: the numbers that travel: node, cluster, slot, era, term, version.
//! * [`time`]: the two kinds of time, always passed in.
//! * [`key_slot`]: which slot a key belongs to.
//! * [`limits`]: how large anything on the wire may be.
//! * [`framing`]: a byte stream cut into whole messages, incrementally and bounded.
//! * [`link`]: the messages of a link between two nodes as Rust values.
//! * [`kv`]: what a native client and a node say to each other, as Rust values.
//! * [`slot_message`]: what the replicas of a slot say to each other.
//! * [`generated`]: what `regenerate.sh` makes of the `.capnp` files; gossip reads and writes its
//!   own datagrams with it.
//!
//! Nothing here does I/O, reads a clock or starts a thread.
#![forbid(unsafe_code)]

pub mod framing;
pub mod ids;
pub mod key_slot;
pub mod kv;
pub mod limits;
pub mod link;
pub mod slot_message;
pub mod time;

/// Code made from the `.capnp` files by `schema/regenerate.sh`; never edited.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    elided_lifetimes_in_paths,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::let_underscore_must_use,
    missing_debug_implementations,
    reason = "generated"
)]
pub mod generated {
    #[path = "gossip_capnp.rs"]
    pub mod gossip_capnp;
    #[path = "kv_capnp.rs"]
    pub mod kv_capnp;
    #[path = "peer_capnp.rs"]
    pub mod peer_capnp;
}

// The generated code names its siblings by these paths.
#[doc(hidden)]
pub use generated::{gossip_capnp, kv_capnp, peer_capnp};
