//! Cases that run real processes: `piccolo` as a user starts it, spoken to by real clients.
//!
//! `tests/run` builds the release binaries, names them in `PICCOLO_BIN`, `PICCOLO_LOADGEN` and
//! `PICCOLO_CERIALIZER`, and runs these cases one after another. By hand:
//! `cargo test -p piccolo-tests --test processes -- --test-threads=1`.

#![expect(clippy::unwrap_used, reason = "this is a test all through, its helpers included")]

mod bad_input;
mod clients;
mod clients_under_change;
mod dev;
mod doors;
mod foreign;
mod guide;
mod harness;
mod keys;
mod loadgen;
mod membership;
mod native;
mod prometheus;
mod real_input;
mod removal;
mod rest;
mod restart;
mod traffic;
