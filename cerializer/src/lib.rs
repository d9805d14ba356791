//! cerializer: REST and JSON in front of Piccolo's native Cap'n Proto.
//!
//! * [`config`]: what it is told when it starts.
//! * [`clock`]: time, coarse and exact.
//! * [`http`]: what HTTP means here; no I/O.
//! * [`upstream`]: the nodes.
//! * [`front`]: the HTTP side.
//! * [`logger`]: lines on standard error.
//!
//! `docs/guide/rest.md` is the guide for users, `cerializer/README.md` the map for people who
//! change it.
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub mod front;
pub mod http;
pub mod logger;
pub mod upstream;
