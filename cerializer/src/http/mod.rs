//! What HTTP means here. No I/O: heads and bytes go in, requests of the store and answers come out.
//!
//! * [`route`]: which path is what, and the key in it.
//! * [`percent`]: bytes that paths cannot hold, escaped with `%`.
//! * [`query`]: parameters behind the `?`.
//! * [`ttl`]: times to live, such as `60s`.
//! * [`tag`]: versions as ETags.
//! * [`condition`]: `If-Match` and `If-None-Match`.
//! * [`accept`]: whether JSON is asked for.
//! * [`meta`]: the type of a value, kept with it.
//! * [`base64`]: bytes that JSON cannot hold.
//! * [`envelope`]: a value in JSON.
//! * [`problem`]: what can go wrong, as `application/problem+json`.
//! * [`reply`]: answers, whole or in pieces.
//! * [`bearer`]: the token.
//! * [`host`]: whose name a request uses.

pub mod accept;
pub mod base64;
pub mod bearer;
pub mod condition;
pub mod envelope;
pub mod host;
pub mod meta;
pub mod percent;
pub mod problem;
pub mod query;
pub mod reply;
pub mod route;
pub mod tag;
pub mod ttl;
