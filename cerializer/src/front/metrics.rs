//! What is counted, for Prometheus.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{Method, StatusCode};
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    Opts, Registry, TextEncoder,
};

use crate::http::route::Route;
use crate::upstream::answer::Failure;
use crate::upstream::cluster::Cluster;

/// Seconds. From 10 us, since answers from memory take little; the usual ones start at 5 ms.
const BUCKETS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 1.0, 5.0,
];

/// Methods that have a label of their own; the rest is `other`.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "DELETE", "other"];

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    inflight: IntGauge,
    connections: IntGauge,
    upstream_connections: IntGauge,
    upstream_errors: IntCounterVec,
    /// Counters in use: finding one by its labels costs more than counting.
    counters: RefCell<BTreeMap<(usize, Route, u16), IntCounter>>,
    histograms: RefCell<BTreeMap<(usize, Route), Histogram>>,
    under_way: Cell<i64>,
}

impl Metrics {
    /// Everything at zero.
    ///
    /// # Errors
    ///
    /// Two families have one name: a fault of this file.
    pub fn new() -> prometheus::Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(format!("cerializer_{name}"), help);
        let requests = IntCounterVec::new(
            opts("http_requests_total", "Requests answered."),
            &["method", "route", "code"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "cerializer_http_request_duration_seconds",
                "From a request's head to its answer's head.",
            )
            .buckets(BUCKETS.to_vec()),
            &["method", "route"],
        )?;
        let inflight =
            IntGauge::with_opts(opts("inflight_requests", "Requests that wait for an answer."))?;
        let connections = IntGauge::with_opts(opts("http_connections", "Open HTTP connections."))?;
        let upstream_connections = IntGauge::with_opts(opts(
            "upstream_connections",
            "Open connections to nodes: shared ones, and idle ones for bodies.",
        ))?;
        let upstream_errors = IntCounterVec::new(
            opts("upstream_errors_total", "Requests to nodes that got no answer, by why."),
            &["kind"],
        )?;
        for kind in Failure::KINDS {
            upstream_errors.with_label_values(&[kind]);
        }
        let registry = Registry::new();
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(inflight.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(upstream_connections.clone()))?;
        registry.register(Box::new(upstream_errors.clone()))?;
        Ok(Self {
            registry,
            requests,
            durations,
            inflight,
            connections,
            upstream_connections,
            upstream_errors,
            counters: RefCell::default(),
            histograms: RefCell::default(),
            under_way: Cell::new(0),
        })
    }

    /// A request has come; the guard counts it as under way until it is dropped.
    pub fn begin(&self) -> UnderWay<'_> {
        self.under_way.set(self.under_way.get() + 1);
        UnderWay(&self.under_way)
    }

    /// A request has been answered.
    pub fn count(&self, method: &Method, route: Route, status: StatusCode, took: Duration) {
        let method = METHODS.iter().position(|name| *name == method.as_str());
        let method = method.unwrap_or(METHODS.len() - 1);
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry((method, route, status.as_u16())).or_insert_with(|| {
            let name = METHODS.get(method).copied().unwrap_or_default();
            self.requests.with_label_values(&[name, route.template(), status.as_str()])
        });
        counter.inc();
        let mut histograms = self.histograms.borrow_mut();
        let histogram = histograms.entry((method, route)).or_insert_with(|| {
            let name = METHODS.get(method).copied().unwrap_or_default();
            self.durations.with_label_values(&[name, route.template()])
        });
        histogram.observe(took.as_secs_f64());
    }

    /// Everything, in the text format of Prometheus.
    pub fn text(&self, cluster: &Cluster, connections: usize) -> Vec<u8> {
        self.inflight.set(self.under_way.get());
        self.connections.set(connections as i64);
        self.upstream_connections.set(cluster.connections() as i64);
        for (kind, total) in cluster.failures() {
            let counter = self.upstream_errors.with_label_values(&[kind]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            log::error!("metrics cannot be written: {error}");
        }
        text
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a Cell<i64>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
