//! Which request gets which answer.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::Metrics;
use super::watch::Watches;
use crate::clock::stopwatch;
use crate::config::Config;
use crate::http::problem::{Kind, Problem};
use crate::http::reply::{Reply, whole};
use crate::http::route::Route;
use crate::http::{bearer, host, query};
use crate::upstream::cluster::Cluster;

/// What requests are answered with.
#[derive(Debug)]
pub struct Service {
    pub(super) cluster: Rc<Cluster>,
    pub(super) body_bytes_max: u64,
    pub(super) body_timeout: Duration,
    pub(super) node_timeout: Duration,
    watches: Rc<Watches>,
    token: Option<String>,
    metrics: Metrics,
    bodies: Arc<Semaphore>,
    stopping: Cell<bool>,
}

impl Service {
    /// A service with nothing counted yet.
    ///
    /// # Errors
    ///
    /// As [`Metrics::new`].
    pub fn new(
        config: &Config,
        cluster: Rc<Cluster>,
        watches: Rc<Watches>,
    ) -> prometheus::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            cluster,
            body_bytes_max: config.body_bytes_max,
            body_timeout: config.body_timeout,
            node_timeout: config.node_timeout,
            watches,
            token: config.token.clone(),
            metrics: Metrics::new()?,
            bodies: Arc::new(Semaphore::new(config.bodies_max as usize)),
            stopping: Cell::new(false),
        }))
    }

    /// Is ready no more.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Reply {
        let began = stopwatch();
        let _under_way = self.metrics.begin();
        let route = Route::of(request.uri().path());
        let method = request.method().clone();
        let reply = match self.decide(route, request).await {
            Ok(reply) => reply,
            Err(problem) => problem.reply(),
        };
        let took = stopwatch().saturating_sub(began);
        self.metrics.count(&method, route, reply.status(), took);
        reply
    }

    async fn decide(&self, route: Route, request: Request<Incoming>) -> Result<Reply, Problem> {
        self.admit(route, &request)?;
        let method = request.method().clone();
        match (route, method) {
            (Route::None, _) => {
                let detail =
                    format!("no such path: {}", query::shown(request.uri().path().as_bytes()));
                Err(Problem::new(Kind::NoSuchPath, detail))
            }
            (Route::Kv, Method::GET) => self.get(&request).await,
            (Route::Kv, Method::HEAD) => self.head(&request).await,
            (Route::Kv, Method::PUT) => self.put(request).await,
            (Route::Kv, Method::DELETE) => self.delete(&request).await,
            (Route::Discovery, Method::GET | Method::HEAD) => Ok(discovery(&request)),
            (route, Method::GET | Method::HEAD) => self.show(route, request.uri().query()).await,
            (route, _) => Err(Problem::method_not_allowed(route.allow())),
        }
    }

    /// Lets in who carries the token; without one, who does not come from a page in a browser.
    fn admit<B>(&self, route: Route, request: &Request<B>) -> Result<(), Problem> {
        if route.is_open() {
            return Ok(());
        }
        if let Some(token) = &self.token {
            if bearer::carries(request.headers(), token) {
                return Ok(());
            }
            return Err(Problem::new(Kind::Unauthorised, "send Authorization: Bearer TOKEN"));
        }
        let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if named.is_none_or(host::is_literal) {
            return Ok(());
        }
        let detail = "without --token this answers under an IP address or localhost only";
        Err(Problem::new(Kind::Forbidden, detail))
    }

    /// What only looks.
    async fn show(&self, route: Route, query: Option<&str>) -> Result<Reply, Problem> {
        match route {
            Route::Keys => self.keys(query).await,
            Route::Members => self.members(query),
            Route::Metrics => {
                let text = self.metrics.text(&self.cluster, self.watches.count());
                Ok(whole(StatusCode::OK, "text/plain; version=0.0.4", text))
            }
            Route::Live => Ok(whole(StatusCode::OK, "application/json", "{\"live\":true}\n")),
            _ if self.stopping.get() => Err(Problem::new(Kind::Busy, "stopping")),
            _ if self.cluster.is_ready() => {
                Ok(whole(StatusCode::OK, "application/json", "{\"ready\":true}\n"))
            }
            _ => Err(Problem::new(Kind::NoNode, "no node answers: see --nodes, and the log")),
        }
    }

    /// Waits for room for one more body.
    pub(super) async fn room(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let permit = Arc::clone(&self.bodies).acquire_owned();
        match tokio::time::timeout(self.body_timeout, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::new(Kind::Busy, "too many large bodies are under way")),
        }
    }
}

/// This program as a target of Prometheus, under the address by which it was asked: that one can be
/// reached.
fn discovery<B>(request: &Request<B>) -> Reply {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let targets: Vec<&str> = named.into_iter().collect();
    let groups = serde_json::json!([{ "targets": targets, "labels": { "part": "cerializer" } }]);
    whole(StatusCode::OK, "application/json", groups.to_string())
}
