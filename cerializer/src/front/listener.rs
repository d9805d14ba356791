//! Accepts connections, and drains them at the end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::service::Service;
use super::watch::{Limits, Watched, WatchedStream, Watches};
use crate::clock::{Clock, TICK};
use crate::config::Config;
use crate::upstream::cluster::Cluster;

/// Bytes of a request's head at most, and of what is read from a client at once. Room for a key of
/// 20 KiB of which every byte is escaped.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait to be accepted at most (source: the usual `net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Why cerializer cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error} (--listen names another address)")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The system refuses something that every process needs.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// A fault of this program.
    #[error("cannot count: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until it is told to stop by SIGTERM or SIGINT, and has ended what was in flight. A second
/// signal ends it at once.
///
/// # Errors
///
/// It cannot start, and why.
pub fn serve(config: &Config) -> Result<(), ServeError> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(run(config))
}

async fn run(config: &Config) -> Result<(), ServeError> {
    let listener = listen(config.listen)
        .map_err(|error| ServeError::Listen { address: config.listen, error })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let clock = Clock::start();
    let cluster = Cluster::new(config, clock.clone());
    let watches = Watches::new(clock.clone(), Limits::of(config));
    let service = Service::new(config, Rc::clone(&cluster), Rc::clone(&watches))?;
    tokio::task::spawn_local(Rc::clone(&cluster).keep_fresh());
    tokio::task::spawn_local(tick(clock, cluster, Rc::clone(&watches)));
    log::info!("listening on {}", config.listen);
    let front = Front { watches, service, connections_max: config.connections_max as usize };
    front.accept(&listener, &mut terminate, &mut interrupt).await;
    drop(listener);
    log::info!("stopping: {} connections to end", front.watches.count());
    front.drain(config.drain, &mut terminate, &mut interrupt).await;
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Renews the clock and looks for what is late, for ever.
async fn tick(clock: Clock, cluster: Rc<Cluster>, watches: Rc<Watches>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        clock.tick();
        cluster.check();
        watches.sweep();
    }
}

struct Front {
    watches: Rc<Watches>,
    service: Rc<Service>,
    connections_max: usize,
}

impl Front {
    /// Accepts until a signal comes.
    async fn accept(&self, listener: &TcpListener, terminate: &mut Signal, interrupt: &mut Signal) {
        loop {
            let accepted = poll_fn(|cx| {
                if terminate.poll_recv(cx).is_ready() || interrupt.poll_recv(cx).is_ready() {
                    return Poll::Ready(None);
                }
                listener.poll_accept(cx).map(Some)
            });
            match accepted.await {
                None => return,
                Some(Ok((stream, _))) if self.watches.count() >= self.connections_max => {
                    refuse(&stream);
                }
                Some(Ok((stream, _))) => {
                    let served = converse(stream, self.watches.add(), Rc::clone(&self.service));
                    tokio::task::spawn_local(served);
                }
                Some(Err(error)) => {
                    log::warn!("cannot accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits for the connections to end: at most `limit`, or until another signal comes.
    async fn drain(&self, limit: Duration, terminate: &mut Signal, interrupt: &mut Signal) {
        self.service.stop();
        self.watches.stop();
        let ended = async {
            let mut interval = tokio::time::interval(Duration::from_millis(5));
            while self.watches.count() > 0 {
                interval.tick().await;
            }
        };
        let mut ended = pin!(tokio::time::timeout(limit, ended));
        let in_time = poll_fn(|cx| {
            if terminate.poll_recv(cx).is_ready() || interrupt.poll_recv(cx).is_ready() {
                return Poll::Ready(false);
            }
            ended.as_mut().poll(cx).map(|ended| ended.is_ok())
        });
        if !in_time.await {
            log::warn!("{} connections are cut off", self.watches.count());
        }
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, watched: Watched, service: Rc<Service>) {
    let watch = &watched.watch;
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("a connection ended at once: {error}");
        return;
    }
    let stream = WatchedStream::new(stream, Rc::clone(watch));
    let answer = service_fn(|request: Request<Incoming>| {
        watch.serving();
        let (service, watch) = (Rc::clone(&service), Rc::clone(watch));
        async move {
            let reply = service.answer(request).await;
            watch.answered();
            Ok::<_, Infallible>(reply.map(|body| {
                if body.is_in_pieces() { body.holding(watch.streaming()) } else { body }
            }))
        }
    });
    // The limit on heads is kept by the watch; hyper's own would end idle connections, too.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    let mut stopping = false;
    let ended = poll_fn(|cx| {
        if watch.killed.get() {
            return Poll::Ready(Ok(()));
        }
        if watch.stopping.get() && !stopping {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        watch.remember(cx.waker());
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        log::debug!("a connection ended: {error}");
    }
}

/// Says that there are too many. The few bytes fit the buffer of a new socket; if not, closing
/// says enough.
fn refuse(stream: &TcpStream) {
    let told = stream.try_write(
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
          content-length: 0\r\n\r\n",
    );
    log::warn!("too many connections, refused one ({told:?})");
}
