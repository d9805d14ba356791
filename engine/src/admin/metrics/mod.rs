//! What Prometheus scrapes at `/metrics`.
//!
//! Shards publish their counts for anybody to read; they are summed when a scrape asks for them,
//! in the admin listener's thread. No scrape touches a shard.
//!
//! `docs/guide/metrics.md` has the meaning of every family; a test holds the two together.

mod collector;
mod families;
mod process;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hyper::StatusCode;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};

use super::reply::{self, Reply};
use super::status::View;
use crate::shard::Shared;
use collector::NodeCollector;
use process::ProcessCollector;

/// The metrics of a node.
#[derive(Debug)]
pub struct Metrics(Registry);

impl Metrics {
    /// Of the node that publishes `view` and `shared`.
    pub fn new(view: Arc<View>, shared: Arc<[Shared]>) -> Self {
        let registry = Registry::new();
        let node = NodeCollector::new(view, shared);
        let added = registry
            .register(Box::new(node))
            .and_then(|()| registry.register(Box::new(ProcessCollector::new())));
        if let Err(error) = added {
            unreachable!("names of families are valid and there once, which a test sees: {error}");
        }
        Self(registry)
    }

    /// Everything in the text format of Prometheus.
    pub(super) fn reply(&self) -> Reply {
        match TextEncoder::new().encode_to_string(&self.0.gather()) {
            Ok(text) => reply::text(TEXT_FORMAT, text),
            Err(error) => {
                let detail = format!("the metrics cannot be written: {error}");
                reply::problem(StatusCode::INTERNAL_SERVER_ERROR, &detail)
            }
        }
    }
}
