//! The half of a node that does I/O: sockets, threads and the clock live here alone.
//!
//! ```text
//!             accept, gossip datagrams, timers              pinned, one per core
//!  clients --> reactor --(connection)-- SPSC --> shard 0 <-- SPSC mesh --> shard 1 ...
//!                 ^                                 | own Poll: its connections and links
//!                 +-------- routes, SPSC -----------+
//!  admin thread: answers from the view that the reactor publishes
//! ```

mod clock;
mod doorbell;
mod error;
mod handoff;
mod key_file;
mod listeners;
mod pin;
mod reactor;
mod refusal;
mod resolver;
mod signals;
pub mod sleep_flag;
mod socket;
mod status;
mod strangers;
mod worker;

pub use error::ServeError;

use std::sync::Arc;
use std::thread::JoinHandle;

use piccolo_gossip::Keys;
use piccolo_schema::ids::NodeId;

use crate::admin::{self, Metrics, Requests, Status, View};
use crate::config::{Config, Start};
use crate::resp::parse::Limits;
use crate::shard::{Control, Doors, Shard, ShardConfig, Shared};
use clock::Clock;
use doorbell::Doorbell;
use handoff::Wiring;
use listeners::Sockets;
use reactor::Reactor;
use worker::Worker;

/// Runs a node until it is told to stop.
///
/// # Errors
///
/// The node could not start, or must not go on; the message says what to do.
pub fn serve(config: &Config) -> Result<(), ServeError> {
    // A shard without its siblings would answer wrongly for ever: better no node than half one.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        std::process::abort();
    }));
    let clock = Clock::start();
    let keys = config.cluster_key.as_deref().map(key_file::read).transpose()?;
    if let (Some(keys), Some(file)) = (&keys, &config.cluster_key) {
        log::info!("--cluster-key {}: {}", file.display(), key_file::described(keys));
    }
    let sockets = Sockets::bind(config)?;
    let me = NodeId(clock::random_u128());
    let shards = config.shards.get();
    let shared: Arc<[Shared]> = (0..shards).map(|_| Shared::default()).collect();
    let poll = mio::Poll::new().map_err(ServeError::System)?;
    let bell = Doorbell::new(poll.registry()).map_err(ServeError::System)?;
    let requests = {
        let bell = bell.clone();
        Arc::new(Requests::new(move || bell.ring()))
    };
    let view = Arc::new(View::new(Status {
        name: config.name.clone(),
        id: format!("{:032x}", me.0),
        version: env!("CARGO_PKG_VERSION").into(),
        not_ready_because: Some("starting".into()),
        ..Status::default()
    }));
    let admin = admin::start(
        sockets.admin.try_clone().map_err(ServeError::System)?,
        view.clone(),
        requests.clone(),
        Metrics::new(view.clone(), shared.clone()),
    )
    .map_err(ServeError::System)?;
    let (wiring, workers) = start_shards(config, (me, &keys), &shared, (&bell, &requests), clock)?;
    let mut reactor = Reactor::new(
        config,
        (me, keys),
        clock,
        (poll, bell),
        sockets,
        wiring,
        (view, requests),
        shared,
    )?;
    log::info!("{}", described(config));
    let result = reactor.run();
    reactor.stop_shards();
    for worker in workers {
        // A panic in a shard has ended the process already.
        drop(worker.join());
    }
    drop(admin);
    result
}

/// What the log of a node begins with.
fn described(config: &Config) -> String {
    let how = match &config.start {
        Start::Create => "begins a cluster".to_owned(),
        Start::Join { seeds, expect: None } => format!("asks {}", seeds.join(", ")),
        Start::Join { seeds, expect: Some(expect) } => {
            format!("asks {}, and expects {expect}", seeds.join(", "))
        }
    };
    let Config { name, shards, client, advertise_peer, admin, .. } = config;
    format!(
        "piccolo {} as {name}: clients at {client}, peers at {advertise_peer}, admin at {admin}; \
         shards: {shards}; {how}",
        env!("CARGO_PKG_VERSION")
    )
}

/// Starts a thread for each shard and wires them to the reactor and to each other.
fn start_shards(
    config: &Config,
    (me, keys): (NodeId, &Option<Keys>),
    shared: &Arc<[Shared]>,
    (reactor, requests): (&Arc<Doorbell>, &Arc<Requests>),
    clock: Clock,
) -> Result<(Wiring, Vec<JoinHandle<()>>), ServeError> {
    let shards = config.shards.get();
    let doors = Doors { clients_max: config.clients_max, open: config.is_open() };
    let polls: Vec<mio::Poll> = (0..shards)
        .map(|_| mio::Poll::new())
        .collect::<Result<_, _>>()
        .map_err(ServeError::System)?;
    let bells = polls
        .iter()
        .map(|poll| Doorbell::new(poll.registry()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ServeError::System)?;
    let (wiring, ends) = handoff::wire(&bells, reactor, requests);
    let cores = pin::cores(&config.pin, shards)?;
    let mut threads = Vec::new();
    for (index, (poll, end)) in (0..shards).zip(polls.into_iter().zip(ends)) {
        let mut shard = Shard::new(
            ShardConfig {
                index,
                shards,
                me,
                password: config.requirepass.clone().map(String::into_bytes),
                limits: Limits { bulk_bytes_max: config.value_bytes_max, ..Limits::default() },
                memory_max: config.max_memory as usize,
                shared: shared.clone(),
            },
            clock.now(),
        );
        shard.set_doors(doors);
        if let Some(keys) = keys {
            shard.control(Control::Keys(keys.clone()));
        }
        let core = cores.get(usize::from(index)).copied();
        let spawned = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            pin::pin(core);
            Worker::new(shard, poll, end, clock).run();
        });
        threads.push(spawned.map_err(ServeError::System)?);
    }
    Ok((wiring, threads))
}
