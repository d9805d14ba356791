//! Accepts admin connections, in a thread of its own.

use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::idle::IdleStream;
use super::metrics::Metrics;
use super::reply::Reply;
use super::requests::Requests;
use super::routes;
use super::status::View;

/// What a client of the admin listener may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at most; more are answered 503 and closed. Default 256: health checks and a
    /// few people, and far below any limit on open files.
    pub connections_max: usize,
    /// How long a connection may send nothing at first. Default 10 s.
    pub first_byte: Duration,
    /// How long a request's head may take from its first byte. Default 10 s.
    pub head: Duration,
    /// How long nothing may move on a connection after that. Default 60 s: longer than the
    /// interval of usual health checks, which then keep their connection.
    pub idle: Duration,
    /// How long stopping waits for answers under way. Default 1 s: answers are ready at once.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            stop: Duration::from_secs(1),
        }
    }
}

/// Bytes of a request's head at most. Room for a key of 10 KiB of which every byte is escaped.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running admin listener. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct AdminHandle {
    stop: watch::Sender<()>,
    thread: JoinHandle<()>,
}

impl AdminHandle {
    /// Stops accepting, ends what is under way, and waits for the thread: at most
    /// [`Limits::stop`].
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            log::error!("the admin listener had panicked");
        }
    }
}

/// Starts the listener with the default [`Limits`].
///
/// # Errors
///
/// If the system refuses a thread, an event queue, or the listener itself.
pub fn start(
    listener: TcpListener,
    view: Arc<View>,
    requests: Arc<Requests>,
    metrics: Metrics,
) -> io::Result<AdminHandle> {
    start_with(listener, view, requests, metrics, Limits::default())
}

/// Starts the listener.
///
/// # Errors
///
/// If the system refuses a thread, an event queue, or the listener itself.
pub fn start_with(
    listener: TcpListener,
    view: Arc<View>,
    requests: Arc<Requests>,
    metrics: Metrics,
    limits: Limits,
) -> io::Result<AdminHandle> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (stop, stopped) = watch::channel(());
    let metrics = Arc::new(metrics);
    let context = Context { view, requests, metrics, limits, stopped };
    let thread = std::thread::Builder::new()
        .name("admin".into())
        .spawn(move || runtime.block_on(context.accept_until_stopped(listener)))?;
    Ok(AdminHandle { stop, thread })
}

/// What every connection shares.
#[derive(Clone)]
struct Context {
    view: Arc<View>,
    requests: Arc<Requests>,
    metrics: Arc<Metrics>,
    limits: Limits,
    stopped: watch::Receiver<()>,
}

impl Context {
    async fn accept_until_stopped(self, listener: tokio::net::TcpListener) {
        let mut connections = JoinSet::new();
        let mut stopped = self.stopped.clone();
        let mut stop = pin!(wait(&mut stopped));
        loop {
            let accepted = poll_fn(|cx| {
                if stop.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                // Takes out those that ended, so that `len` counts the living.
                while let Poll::Ready(Some(_)) = connections.poll_join_next(cx) {}
                listener.poll_accept(cx).map(Some)
            });
            match accepted.await {
                None => break,
                Some(Ok((stream, _))) if connections.len() >= self.limits.connections_max => {
                    refuse(&stream);
                }
                Some(Ok((stream, _))) => {
                    connections.spawn(self.clone().serve(stream));
                }
                Some(Err(error)) => {
                    log::warn!("admin: cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.stop, all_ended).await.is_err() {
            log::debug!("admin: closed connections that did not end by themselves");
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Reply {
        routes::answer(request, &self.view.status(), &self.requests, &self.metrics)
    }

    async fn serve(self, stream: TcpStream) {
        let stream = IdleStream::new(stream, self.limits.first_byte, self.limits.idle);
        let answer = service_fn(|request: Request<Incoming>| {
            let reply = self.answer(&request);
            std::future::ready(Ok::<_, std::convert::Infallible>(reply))
        });
        // Without a timer hyper ignores its own limit on the head (hyper issue 3585).
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), answer);
        let mut connection = pin!(connection);
        let mut stopped = self.stopped.clone();
        let mut stop = pin!(wait(&mut stopped));
        let mut stopping = false;
        let ended = poll_fn(|cx| {
            if !stopping && stop.as_mut().poll(cx).is_ready() {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        });
        if let Err(error) = ended.await {
            log::debug!("admin: a connection ended: {error}");
        }
    }
}

/// Ends when the handle stops the listener or is dropped.
async fn wait(stopped: &mut watch::Receiver<()>) {
    while stopped.changed().await.is_ok() {}
}

/// Says that there are too many. The few bytes fit the buffer of a new socket; if not, closing
/// says enough.
fn refuse(stream: &TcpStream) {
    let told = stream.try_write(
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    );
    log::warn!("admin: too many connections, refused one ({told:?})");
}
