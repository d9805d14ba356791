//! The reactor: takes in connections and datagrams, drives the node, tells the shards.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use piccolo_gossip::{Config as GossipConfig, Gossip, Keys, Me, Reject, Start as GossipStart};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::kv::Reason;
use piccolo_schema::limits::{DATAGRAM_BYTES_MAX, PROTOCOL};
use piccolo_schema::time::Moment;

use super::clock::{self, Clock};
use super::doorbell::Doorbell;
use super::error::ServeError;
use super::handoff::{Handoff, Wiring};
use super::key_file;
use super::listeners::{LISTENERS, Sockets, Visitor};
use super::refusal::last_words;
use super::resolver::Resolver;
use super::signals::Signals;
use super::status::{self, RouteTable};
use super::strangers::{Stand, Strangers};
use crate::admin::status::Counts;
use crate::admin::{AdminRequest, Requests, Status, View};
use crate::config::{Config, Start};
use crate::node::{Node, NodeAction, NodeConfig, Observed, Stop};
use crate::seldom::Seldom;
use crate::shard::{Control, Door, Shared};

/// Listeners have their places as tokens; these come behind them.
const GOSSIP: Token = Token(LISTENERS);
const SIGNALS: Token = Token(LISTENERS + 1);
const HANGUPS: Token = Token(LISTENERS + 2);

/// Time between two looks at the shards' counts, and two publications of the view.
const LOOK: Duration = Duration::from_millis(50);

/// Time that the last replies to clients have to get out.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Connections taken in at once at most, so that datagrams get their turn.
const ACCEPT_MAX: usize = 256;

/// Datagrams taken in at once at most.
const DATAGRAMS_MAX: usize = 1024;

/// The reactor of a node; its thread is the process's first.
#[derive(Debug)]
pub(super) struct Reactor {
    poll: Poll,
    bell: Arc<Doorbell>,
    clock: Clock,
    sockets: Sockets,
    signals: Signals,
    /// Read again on SIGHUP.
    key_file: Option<PathBuf>,
    /// Of the keys that hold.
    fingerprints: Vec<String>,
    /// Whose datagrams are not sealed with the cluster's key.
    strangers: Strangers,
    /// The operator was told that connections cannot be taken in.
    told_of_accepts: Seldom,
    node: Node,
    resolver: Resolver,
    wiring: Wiring,
    /// What found a shard's queue full.
    waiting: Vec<VecDeque<Handoff>>,
    view: Arc<View>,
    requests: Arc<Requests>,
    shared: Arc<[Shared]>,
    routes: RouteTable,
    counts: Counts,
    accepted: u64,
    clients_max: u64,
    /// Clients have come by the cluster door.
    visited: bool,
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
        (me, keys): (NodeId, Option<Keys>),
        clock: Clock,
        (poll, bell): (Poll, Arc<Doorbell>),
        mut sockets: Sockets,
        wiring: Wiring,
        (view, requests): (Arc<View>, Arc<Requests>),
        shared: Arc<[Shared]>,
    ) -> Result<Self, ServeError> {
        let registry = poll.registry();
        for (place, listener) in sockets.listeners.iter_mut().enumerate() {
            registry
                .register(&mut listener.socket, Token(place), Interest::READABLE)
                .map_err(ServeError::System)?;
        }
        registry
            .register(&mut sockets.gossip, GOSSIP, Interest::READABLE)
            .map_err(ServeError::System)?;
        let key_file = config.cluster_key.clone();
        // Even without a file to read again: a terminal that closes must not end a node, with all
        // that it holds.
        let signals = Signals::watch(registry, SIGNALS, HANGUPS).map_err(ServeError::System)?;
        let now = clock.now();
        let (mut gossip, seeds) = gossip(config, me, now)?;
        let fingerprints = keys.as_ref().map(Keys::fingerprints).unwrap_or_default();
        gossip.set_keys(keys);
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
            key_file,
            fingerprints,
            strangers: Strangers::default(),
            told_of_accepts: Seldom::default(),
            node,
            resolver,
            wiring,
            waiting,
            view,
            requests,
            shared,
            routes: RouteTable::new(),
            counts: Counts::default(),
            accepted: 0,
            clients_max: u64::from(config.clients_max),
            visited: false,
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
                    GOSSIP => self.receive(),
                    SIGNALS => self.take_signals(now),
                    HANGUPS => self.take_hangups(),
                    Token(place) => {
                        if let Some(listener) = self.sockets.listeners.get_mut(place) {
                            listener.more = true;
                        }
                    }
                }
            }
            let now = self.clock.now().moment;
            self.accept(now);
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
            && self.sockets.listeners.iter().all(|listener| !listener.more);
        let timeout = if idle { due } else { Duration::ZERO };
        if let Err(error) = self.poll.poll(events, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            panic!("the system's event queue failed: {error}");
        }
        self.bell.awake();
    }

    fn receive(&mut self) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX + 1];
        for _ in 0..DATAGRAMS_MAX {
            match self.sockets.gossip.recv_from(&mut buffer) {
                Ok((bytes, from)) => {
                    // Read anew: a support must not seem to begin before it was asked for.
                    let now = self.clock.now().moment;
                    if let Err(reject) = self.node.receive(now, from, &buffer[..bytes]) {
                        self.tell_of_reject(now, from, &reject);
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

    fn tell_of_reject(&mut self, now: Moment, from: SocketAddr, reject: &Reject) {
        log::debug!("a datagram of {from} is dropped: {reject}");
        let inside = self.node.cluster().is_some();
        let stand = Stand { keyed: self.key_file.is_some(), inside };
        if let Some(text) = self.strangers.tell(now, from, reject, stand) {
            log::warn!("{text}");
        }
    }

    fn take_signals(&mut self, now: Moment) {
        for _ in 0..self.signals.stops() {
            self.begin_to_leave(now);
        }
    }

    /// Reads the keys again.
    fn take_hangups(&mut self) {
        self.signals.clear_hangups();
        let Some(file) = &self.key_file else {
            log::info!("SIGHUP: there is no --cluster-key to read again; SIGTERM ends this node");
            return;
        };
        match key_file::read(file) {
            Ok(keys) => {
                let held = key_file::described(&keys);
                log::info!("the keys of {} hold from now on: {held}", file.display());
                self.fingerprints = keys.fingerprints();
                self.node.set_keys(keys);
            }
            Err(error) => log::warn!("the keys stay as they were: {error}"),
        }
    }

    /// Once: moves everything away and stops when that is done. Twice: stops now.
    fn begin_to_leave(&mut self, now: Moment) {
        if self.drain_until.is_some() || self.drain.is_zero() {
            log::warn!("stopping at once");
            self.node.abandon(now);
            self.act(now);
            self.stop = Some(Stop::Left);
            self.stop_at = Some(now);
            return;
        }
        log::info!("leaving: slots move away for at most {} s", self.drain.as_secs());
        let last_words = LAST_WORDS.min(self.drain / 2);
        self.drain_until = Some(now + self.drain.saturating_sub(last_words));
        self.node.leave(now);
    }

    fn accept(&mut self, now: Moment) {
        for place in 0..LISTENERS {
            for _ in 0..ACCEPT_MAX {
                let listener = &mut self.sockets.listeners[place];
                if !listener.more {
                    break;
                }
                match listener.socket.accept() {
                    Ok((stream, address)) => match listener.visitor {
                        Visitor::Client(door) => self.take_client(stream, address, door),
                        Visitor::Peer => self.hand_to_next(Handoff::Link(stream)),
                    },
                    Err(error) => {
                        listener.more = Self::accept_failed(&mut self.told_of_accepts, now, &error);
                        break;
                    }
                }
            }
        }
    }

    /// Hands a connection to the shard whose turn it is: it stays there for its life, and every
    /// shard gets as many as the next.
    fn hand_to_next(&mut self, handoff: Handoff) {
        self.accepted += 1;
        let shard = (self.accepted % self.wiring.shards.len() as u64) as usize;
        self.waiting[shard].push_back(handoff);
    }

    /// Whether it is worth trying again at once.
    fn accept_failed(told: &mut Seldom, now: Moment, error: &io::Error) -> bool {
        match error.kind() {
            io::ErrorKind::WouldBlock => return false,
            io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted => return true,
            _ => {}
        }
        if told.may(now) {
            log::warn!("a connection cannot be taken in: {error} (see `ulimit -n`)");
        }
        false
    }

    fn take_client(&mut self, mut stream: TcpStream, address: SocketAddr, door: Door) {
        let refusal = match door {
            // A cluster's clients open a connection when they first need one, which may be while
            // this node still leads slots, or can say who does. At the very end they find it
            // closed, and so read the map anew; an error reply would reach the user.
            Door::Cluster if self.stop.is_some() => {
                self.counts.clients_refused_leaving += 1;
                return;
            }
            Door::Client if self.drain_until.is_some() || self.stop.is_some() => {
                self.counts.clients_refused_leaving += 1;
                Some((Reason::Leaving, "this node is leaving"))
            }
            _ if self.connections() >= self.clients_max => {
                self.counts.clients_refused_full += 1;
                Some((Reason::Busy, "max number of clients reached"))
            }
            _ => None,
        };
        if let Some((reason, detail)) = refusal {
            // A courtesy: the connection is closed either way.
            drop(stream.write(&last_words(&stream, reason, detail)));
            return;
        }
        self.visited |= door == Door::Cluster;
        self.hand_to_next(Handoff::Client(stream, address, door));
    }

    /// Connections of clients, as the shards counted them a moment ago.
    fn connections(&self) -> u64 {
        self.shared.iter().map(|shared| shared.connections.get()).sum()
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
        if let Some(seeds) = self.resolver.answer(now) {
            self.node.set_seeds(&seeds, now);
        }
        while let Some(request) = self.requests.pop() {
            match request {
                AdminRequest::Leave if self.drain_until.is_none() => self.begin_to_leave(now),
                AdminRequest::Leave => {}
                AdminRequest::Remove(name) => match self.node.remove(now, &name) {
                    Ok(()) => log::info!("{name} is removed for good, as an operator asked"),
                    Err(why) => log::warn!("{name} is not removed: {why}"),
                },
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
            visitors: if self.visited { self.connections() } else { 0 },
        };
        self.node.observe(now, observed);
        let uptime = now.since(Moment(0)).as_secs();
        self.counts.gossip = self.node.gossip_stats();
        self.counts.supporters = self.node.supporters(now);
        let (node, routes, counts) = (&self.node, &self.routes, &self.counts);
        self.view.publish(Status {
            cluster_keys: self.fingerprints.clone(),
            ..status::status(node, routes, &self.shared, uptime, counts)
        });
        // Those that found the system out of descriptors.
        for listener in &mut self.sockets.listeners {
            listener.more = true;
        }
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
                NodeAction::Warn(text) => log::warn!("{text}"),
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
            log::info!("the time for leaving is over (--drain)");
            self.node.abandon(now);
            self.act(now);
        }
        let until = self.stop_at?;
        // Gossip's good-bye needs no time, but the shards' counts are a moment old.
        let over = until <= now || (self.connections() == 0 && until + LOOK <= now + LAST_WORDS);
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
        cluster_client: config.advertise_cluster_client,
        admin: config.admin,
        zone: config.zone.clone(),
        weight: config.weight,
        shards: config.shards.get(),
        protocol: PROTOCOL,
        features: 0,
    };
    let seed = clock::random_u128() as u64;
    let gossip = Gossip::new(me, start, GossipConfig::default(), now.moment, seed)
        .map_err(ServeError::Gossip)?;
    Ok((gossip, seeds))
}
