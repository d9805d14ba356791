//! The reactor: takes in connections and datagrams, drives the node, tells the shards.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use mio::{Events, Interest, Poll, Token};
use piccolo_gossip::{Config as GossipConfig, Gossip, Me, Start as GossipStart};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::limits::DATAGRAM_BYTES_MAX;
use piccolo_schema::time::Moment;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::clock::{self, Clock};
use super::doorbell::Doorbell;
use super::error::ServeError;
use super::handoff::{Handoff, Wiring};
use super::resolver::Resolver;
use super::status::{self, RouteTable};
use crate::admin::{AdminRequest, Requests, View};
use crate::config::{Config, Start};
use crate::node::{Node, NodeAction, NodeConfig, Observed, Stop};
use crate::shard::{Control, Shared};

const CLIENTS: Token = Token(0);
const PEERS: Token = Token(1);
const GOSSIP: Token = Token(2);
const SIGNALS: Token = Token(3);

/// Time between two looks at the shards' counts, and two publications of the view.
const LOOK: Duration = Duration::from_millis(50);

/// Time that the last replies to clients have to get out.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Connections taken in at once at most, so that datagrams get their turn.
const ACCEPT_MAX: usize = 256;

/// Datagrams taken in at once at most.
const DATAGRAMS_MAX: usize = 1024;

/// The sockets that a node listens on.
#[derive(Debug)]
pub(super) struct Sockets {
    clients: TcpListener,
    peers: TcpListener,
    gossip: UdpSocket,
    pub(super) admin: std::net::TcpListener,
}

impl Sockets {
    /// Takes all addresses of a node, or says which is not to be had.
    pub(super) fn bind(config: &Config) -> Result<Self, ServeError> {
        let tcp = |address, flag| {
            TcpListener::bind(address).map_err(|error| ServeError::of_bind(error, address, flag))
        };
        let in_use = |address, flag| move |error| ServeError::of_bind(error, address, flag);
        Ok(Self {
            clients: tcp(config.client, "client")?,
            peers: tcp(config.peer, "peer")?,
            gossip: UdpSocket::bind(config.peer).map_err(in_use(config.peer, "peer"))?,
            admin: std::net::TcpListener::bind(config.admin)
                .map_err(in_use(config.admin, "admin"))?,
        })
    }
}

/// The reactor of a node; its thread is the process's first.
#[derive(Debug)]
pub(super) struct Reactor {
    poll: Poll,
    bell: Arc<Doorbell>,
    clock: Clock,
    sockets: Sockets,
    signals: UnixStream,
    node: Node,
    resolver: Resolver,
    wiring: Wiring,
    /// What found a shard's queue full.
    waiting: Vec<VecDeque<Handoff>>,
    view: Arc<View>,
    requests: Arc<Requests>,
    shared: Arc<[Shared]>,
    routes: RouteTable,
    accepted: u64,
    clients_max: u64,
    accepting: bool,
    more_clients: bool,
    more_peers: bool,
    looked: Moment,
    drain: Duration,
    /// When it stops whatever is still to be moved.
    drain_until: Option<Moment>,
    stop: Option<Stop>,
    stop_at: Option<Moment>,
}

impl Reactor {
    #[expect(clippy::too_many_arguments, reason = "one place puts a node together")]
    pub(super) fn new(
        config: &Config,
        me: NodeId,
        clock: Clock,
        (poll, bell): (Poll, Arc<Doorbell>),
        mut sockets: Sockets,
        wiring: Wiring,
        (view, requests): (Arc<View>, Arc<Requests>),
        shared: Arc<[Shared]>,
    ) -> Result<Self, ServeError> {
        let signals = watch_signals().map_err(ServeError::System)?;
        let mut signals = UnixStream::from_std(signals);
        let registry = poll.registry();
        registry
            .register(&mut sockets.clients, CLIENTS, Interest::READABLE)
            .and(registry.register(&mut sockets.peers, PEERS, Interest::READABLE))
            .and(registry.register(&mut sockets.gossip, GOSSIP, Interest::READABLE))
            .and(registry.register(&mut signals, SIGNALS, Interest::READABLE))
            .map_err(ServeError::System)?;
        let now = clock.now();
        let (gossip, seeds) = gossip(config, me, now)?;
        let node_config =
            NodeConfig { replicas: usize::from(config.replicas), down_grace: config.down_grace };
        let resolver = Resolver::new(seeds, bell.clone());
        let mut node = Node::new(node_config, gossip, now.moment);
        node.set_seeds(&resolver.literal(), now.moment);
        let waiting = wiring.shards.iter().map(|_| VecDeque::new()).collect();
        Ok(Self {
            poll,
            bell,
            clock,
            sockets,
            signals,
            node,
            resolver,
            wiring,
            waiting,
            view,
            requests,
            shared,
            routes: RouteTable::new(),
            accepted: 0,
            clients_max: u64::from(config.clients_max),
            accepting: true,
            more_clients: false,
            more_peers: false,
            looked: Moment(0),
            drain: config.drain,
            drain_until: None,
            stop: None,
            stop_at: None,
        })
    }

    /// Runs until the node is to stop.
    pub(super) fn run(&mut self) -> Result<(), ServeError> {
        let mut events = Events::with_capacity(64);
        loop {
            self.wait(&mut events);
            let now = self.clock.now().moment;
            for event in &events {
                match event.token() {
                    CLIENTS => self.more_clients = true,
                    PEERS => self.more_peers = true,
                    GOSSIP => self.receive(now),
                    SIGNALS => self.take_signals(now),
                    _ => {}
                }
            }
            self.accept();
            self.look(now);
            self.node.advance(now);
            self.act(now);
            self.hand_over();
            if let Some(stop) = self.stop_now(now) {
                return ServeError::of_stop(stop);
            }
        }
    }

    fn wait(&mut self, events: &mut Events) {
        let now = self.clock.now().moment;
        let due = self.node.deadline().min(self.looked + LOOK).since(now);
        self.bell.announce_sleep();
        let idle = self.wiring.routes.iter().all(|queue| queue.is_empty())
            && !self.more_clients
            && !self.more_peers;
        let timeout = if idle { due } else { Duration::ZERO };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            panic!("the system's event queue failed: {error}");
        }
        self.bell.awake();
    }

    fn receive(&mut self, now: Moment) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..DATAGRAMS_MAX {
            match self.sockets.gossip.recv_from(&mut buffer) {
                Ok((bytes, from)) => {
                    if let Err(reject) = self.node.receive(now, from, &buffer[..bytes]) {
                        log::debug!("a datagram of {from} is dropped: {reject}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An earlier datagram found nobody: the system says so here.
                Err(error) => log::debug!("receiving: {error}"),
            }
        }
        // There may be more, and no event will say so.
        self.bell.ring();
    }

    fn take_signals(&mut self, now: Moment) {
        let mut buffer = [0; 16];
        while let Ok(count @ 1..) = self.signals.read(&mut buffer) {
            for _ in 0..count {
                self.begin_to_leave(now);
            }
        }
    }

    /// Once: moves everything away and stops when that is done. Twice: stops now.
    fn begin_to_leave(&mut self, now: Moment) {
        if self.drain_until.is_some() || self.drain.is_zero() {
            log::warn!("stopping at once");
            self.stop = Some(Stop::Left);
            self.stop_at = Some(now);
            return;
        }
        log::info!("leaving: slots move away for at most {} s", self.drain.as_secs());
        self.drain_until = Some(now + self.drain);
        self.accepting = false;
        self.node.leave(now);
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPT_MAX {
            if !self.more_clients {
                break;
            }
            match self.sockets.clients.accept() {
                Ok((stream, address)) => self.take_client(stream, address),
                Err(error) => {
                    self.more_clients = Self::accept_failed(&error);
                    break;
                }
            }
        }
        for _ in 0..ACCEPT_MAX {
            if !self.more_peers {
                break;
            }
            match self.sockets.peers.accept() {
                Ok((stream, _)) => {
                    self.accepted += 1;
                    let shard = (self.accepted % self.wiring.shards.len() as u64) as usize;
                    self.waiting[shard].push_back(Handoff::Link(stream));
                }
                Err(error) => {
                    self.more_peers = Self::accept_failed(&error);
                    break;
                }
            }
        }
    }

    /// Whether it is worth trying again at once.
    fn accept_failed(error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::WouldBlock => false,
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => true,
            _ => {
                log::warn!("a connection cannot be taken in: {error} (see `ulimit -n`)");
                false
            }
        }
    }

    fn take_client(&mut self, mut stream: TcpStream, address: SocketAddr) {
        let open: u64 = self.shared.iter().map(|shared| shared.connections.get()).sum();
        if !self.accepting || open >= self.clients_max {
            let text: &[u8] = if self.accepting {
                b"-ERR max number of clients reached\r\n"
            } else {
                b"-ERR this node is leaving\r\n"
            };
            // A courtesy: the connection is closed either way.
            drop(stream.write(text));
            return;
        }
        // One after the other: a connection stays with its shard for its life, and every shard
        // gets as many as the next.
        self.accepted += 1;
        let shard = (self.accepted % self.wiring.shards.len() as u64) as usize;
        self.waiting[shard].push_back(Handoff::Client(stream, address));
    }

    /// Looks at what the shards have come to and shows it.
    fn look(&mut self, now: Moment) {
        for queue in &self.wiring.routes {
            while let Some(routes) = queue.pop() {
                for route in &routes {
                    self.routes.learn(route);
                }
            }
        }
        if let Some(seeds) = self.resolver.answer() {
            self.node.set_seeds(&seeds, now);
        }
        while let Some(AdminRequest::Leave) = self.requests.pop() {
            if self.drain_until.is_none() {
                self.begin_to_leave(now);
            }
        }
        if now.since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        let sum = |field: fn(&Shared) -> u64| self.shared.iter().map(field).sum();
        let observed = Observed {
            unrouted: sum(|shared| shared.slots_unrouted.get()),
            missing: sum(|shared| shared.slots_missing.get()),
            replicas: sum(|shared| shared.replicas.get()),
        };
        self.node.observe(now, observed);
        let uptime = now.since(Moment(0)).as_secs();
        self.view.publish(status::status(&self.node, &self.routes, &self.shared, uptime));
        // Those that found the system out of descriptors.
        self.more_clients = true;
        self.more_peers = true;
    }

    fn act(&mut self, now: Moment) {
        while let Some(action) = self.node.next_action() {
            match action {
                NodeAction::Send { to, datagram } => {
                    if let Err(error) = self.sockets.gossip.send_to(&datagram, to) {
                        log::debug!("a datagram to {to} is lost: {error}");
                    }
                }
                NodeAction::Resolve => self.resolver.begin(),
                NodeAction::Control(control) => self.tell_shards(&control),
                NodeAction::Say(text) => log::info!("{text}"),
                NodeAction::Stop(stop) => {
                    self.tell_shards(&Control::EndClients);
                    self.stop.get_or_insert(stop);
                    self.stop_at.get_or_insert(now + LAST_WORDS);
                }
            }
        }
    }

    fn tell_shards(&mut self, control: &Control) {
        for queue in &mut self.waiting {
            queue.push_back(Handoff::Control(control.clone()));
        }
    }

    fn hand_over(&mut self) {
        for ((waiting, queue), bell) in
            self.waiting.iter_mut().zip(&self.wiring.shards).zip(&self.wiring.bells)
        {
            let some = !waiting.is_empty();
            while let Some(handoff) = waiting.pop_front() {
                if let Err(back) = queue.push(handoff) {
                    waiting.push_front(back);
                    break;
                }
            }
            if some {
                bell.ring();
            }
        }
    }

    fn stop_now(&mut self, now: Moment) -> Option<Stop> {
        if self.drain_until.is_some_and(|until| until <= now) && self.stop.is_none() {
            let left: u64 = self.shared.iter().map(|shared| shared.replicas.get()).sum();
            log::warn!("{left} slots have not moved away in time; they are lost with this node");
            return Some(Stop::Left);
        }
        let clients: u64 = self.shared.iter().map(|shared| shared.connections.get()).sum();
        let until = self.stop_at?;
        // Gossip's good-bye needs no time, but the shards' counts are a moment old.
        let over = until <= now || (clients == 0 && until + LOOK <= now + LAST_WORDS);
        if over { self.stop.take() } else { None }
    }

    /// Ends the shards' threads.
    pub(super) fn stop_shards(&mut self) {
        for (queue, bell) in self.wiring.shards.iter().zip(&self.wiring.bells) {
            let mut stop = Handoff::Stop;
            while let Err(back) = queue.push(stop) {
                stop = back;
                bell.ring();
                std::thread::yield_now();
            }
            bell.ring();
        }
    }
}

/// A stream that gets a byte for every SIGTERM and SIGINT.
fn watch_signals() -> io::Result<StdUnixStream> {
    let (reader, writer) = StdUnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}

/// Gossip as configured, and the names of its seeds.
fn gossip(
    config: &Config,
    me: NodeId,
    now: piccolo_schema::time::Now,
) -> Result<(Gossip, Vec<String>), ServeError> {
    let fresh = ClusterId(clock::random_u128());
    let (start, seeds) = match &config.start {
        Start::Create => (GossipStart::Create(fresh), Vec::new()),
        Start::Join { seeds, expect } => {
            let expect = expect.unwrap_or(0) as u16;
            (GossipStart::Join { expect, cluster_if_created: fresh }, seeds.clone())
        }
    };
    let me = Me {
        name: config.name.clone(),
        id: me,
        generation: now.wall.0,
        peer: config.advertise_peer,
        client: config.advertise_client,
        admin: config.admin,
        zone: config.zone.clone(),
        weight: config.weight,
        shards: config.shards.get(),
    };
    let seed = clock::random_u128() as u64;
    let gossip = Gossip::new(me, start, GossipConfig::default(), now.moment, seed)
        .map_err(ServeError::Gossip)?;
    Ok((gossip, seeds))
}
