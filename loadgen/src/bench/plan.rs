//! What a run shall do, with everything looked up and checked.

use std::net::SocketAddr;

use piccolo_client::{UNANSWERED_BYTES_MAX, UNANSWERED_MAX};

use crate::clock::SECOND;
use crate::keys::{Dist, KeyText};
use crate::mix::{Mix, Op};
use crate::protocol::Setup;
use crate::slots::Slots;
use crate::target::{Kind, Target};
use crate::values::Sizes;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) setup: Setup,
    /// Clients in all; in a cluster each has a connection to every node.
    pub(crate) connections: usize,
    /// Requests that a client has in flight at most.
    pub(crate) pipeline: u32,
    pub(crate) threads: usize,
    pub(crate) mix: Mix,
    pub(crate) keys: u64,
    pub(crate) key_size: usize,
    pub(crate) dist: Dist,
    pub(crate) value_size: Sizes,
    /// Seconds that written keys live; 0 for ever.
    pub(crate) ttl: u32,
    pub(crate) seed: u64,
    pub(crate) length: Length,
    /// Nanoseconds before the measured part.
    pub(crate) warmup: u64,
    /// Sends per second, by the clock; without it each client sends when it has an answer.
    pub(crate) rate: Option<u64>,
    /// Processes whose CPU is the server's.
    pub(crate) pids: Vec<u32>,
    /// Nanoseconds without any answer after which a run ends that would wait for ever.
    pub(crate) answer_limit: u64,
}

/// How long the measured part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Nanoseconds.
    Time(u64),
    Requests(u64),
}

impl Plan {
    /// Checks what can be checked before anything is sent.
    ///
    /// # Errors
    ///
    /// Says which option to change.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.key_texts()?;
        if self.target.kind == Kind::Http && self.mix.has(Op::Increment) {
            return Err("cerializer counts nothing: leave incr out of --ratio".to_owned());
        }
        if self.threads > self.connections {
            return Err(format!(
                "{} threads for {} connections: give -c of at least as many",
                self.threads, self.connections
            ));
        }
        let keys = self.connections * self.pipeline as usize;
        if keys > IN_FLIGHT_MAX {
            return Err(format!("-c times -P is {keys}, at most {IN_FLIGHT_MAX}"));
        }
        fits_in_flight(&self.target, self.pipeline, self.key_size + self.value_size.most)
    }

    /// How keys of values and keys of counters are written.
    pub(crate) fn key_texts(&self) -> Result<[KeyText; 2], String> {
        let text = |prefix| KeyText::new(prefix, self.key_size, self.keys);
        // Numbers and other values must not meet in one key.
        let counter = if self.mix.has(Op::Increment) { text("ctr:")? } else { text("key:")? };
        Ok([text("key:")?, counter])
    }

    /// Who leads what. Only a cluster is asked.
    pub(crate) fn slots(&self, address: SocketAddr) -> Result<Slots, String> {
        match self.target.kind {
            Kind::RespCluster => Slots::ask(address, &self.setup),
            _ => Ok(Slots::of(vec![address])),
        }
    }
}

/// Checks that a native connection may have so many requests of so many bytes in flight: nodes keep
/// no more of one connection.
pub(crate) fn fits_in_flight(target: &Target, pipeline: u32, bytes: usize) -> Result<(), String> {
    let pipeline = pipeline as usize;
    let few = pipeline <= UNANSWERED_MAX && pipeline * bytes <= UNANSWERED_BYTES_MAX;
    if target.kind != Kind::Native || pipeline == 1 || few {
        return Ok(());
    }
    Err(format!(
        "a node keeps {UNANSWERED_MAX} requests or {UNANSWERED_BYTES_MAX} bytes of a capnp \
         connection: lower -P {pipeline}, or the size of values"
    ))
}

/// Requests in flight at most: 40 bytes are kept for each.
const IN_FLIGHT_MAX: usize = 4 << 20;
/// How long to wait for any answer at all before a run ends without it, in nanoseconds.
pub(crate) const ANSWER_LIMIT: u64 = 10 * SECOND;
