//! The native client of Piccolo: Cap'n Proto, pipelined, aware of the ring.
//!
//! * [`Client`]: a client that blocks, for programs and tools.
//! * [`Conversation`]: one connection to a node, without the connection. For programs that have a
//!   loop of their own.
//! * [`Ring`]: which node leads which slot.
//! * [`kv`]: what is said, as Rust values.
#![forbid(unsafe_code)]

/// The examples of the README are compiled as what they are: code.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod call;
mod client;
mod conversation;
mod error;
mod link;
mod ring;

pub use call::{Call, Entry, Outcome, Page, SetHow};
pub use client::{Client, Options};
pub use conversation::{
    Broken, Conversation, Event, Greeting, Host, UNANSWERED_BYTES_MAX, UNANSWERED_MAX, Unasked,
};
pub use error::Error;
pub use piccolo_schema::kv;
pub use ring::Ring;
