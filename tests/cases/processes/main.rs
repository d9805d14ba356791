//! Cases that run real processes: `piccolo` as a user starts it, spoken to by real clients.
//!
//! `tests/run` builds the release binary, names it in `PICCOLO_BIN` and runs these cases one after
//! another. By hand: `cargo test -p piccolo-tests --test processes -- --test-threads=1`.

#![expect(clippy::unwrap_used, reason = "this is a test all through, its helpers included")]

mod bad_input;
mod clients;
mod dev;
mod harness;
mod real_input;
mod restart;
mod traffic;
