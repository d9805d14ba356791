//! The world: hosts, network and clients, one event after the other.

use std::net::SocketAddr;
use std::time::Duration;

use piccolo_engine::node::{NodeAction, Stop};
use piccolo_engine::shard::Control;
use piccolo_gossip::{Keys, RemoveError};
use piccolo_schema::time::Moment;

use crate::checkers::Checkers;
use crate::client::Client;
use crate::cluster::{Begin, Host, Life, host_at};
use crate::faults::Weather;
use crate::history::History;
use crate::network::{End, Network, Piece};
use crate::timeline::{Event, LifeId, Timeline};

/// Time between two looks at some of the slots.
const CHECK: Duration = Duration::from_millis(100);

/// Of clusters that have one.
const KEY: &str = "00112233445566778899aabbccddeeff";

/// Everything.
#[derive(Debug)]
pub struct World {
    /// Time and chance.
    pub time: Timeline,
    /// What is between.
    pub network: Network,
    /// Machines.
    pub hosts: Vec<Host>,
    /// Clients of all of them.
    pub clients: Vec<Client>,
    /// What clients know of their keys.
    pub history: History,
    /// What must hold all the time.
    pub checkers: Checkers,
    /// What nodes told their operators: (host, text).
    pub said: Vec<(usize, String)>,
    /// Processes that stopped by themselves.
    pub stops: Vec<(usize, Stop)>,
    checked: Moment,
}

impl World {
    /// A world of so many machines, each with shards as drawn, on which nothing runs.
    pub fn new(seed: u64, shards: &[u16]) -> Self {
        let mut time = Timeline::new(seed);
        let weather = Weather::fair(&mut time.rng);
        // Half of the clusters have a key.
        let keys = seed.is_multiple_of(2).then(|| Keys::parse(KEY).expect("a key"));
        let host = |(index, shards): (usize, &u16)| Host::new(index, *shards, keys.clone());
        let hosts = shards.iter().enumerate().map(host);
        Self {
            checked: time.now,
            time,
            network: Network::new(weather),
            hosts: hosts.collect(),
            clients: Vec::new(),
            history: History::default(),
            checkers: Checkers::default(),
            said: Vec::new(),
            stops: Vec::new(),
        }
    }

    /// The process on a host.
    ///
    /// # Panics
    ///
    /// If none runs there.
    pub fn life(&mut self, host: usize) -> &mut Life {
        self.hosts[host].life.as_mut().expect("a process runs on this host")
    }

    /// Hosts on which a process runs.
    pub fn running(&self) -> Vec<usize> {
        self.hosts.iter().filter(|host| host.life.is_some()).map(|host| host.index).collect()
    }

    /// Starts a process.
    pub fn start(&mut self, host: usize, begin: &Begin) {
        assert!(self.hosts[host].life.is_none(), "host {host} runs already");
        self.hosts[host].lives += 1;
        self.hosts[host].life = Some(Life::new(&mut self.time, &self.hosts[host], begin));
    }

    /// Ends a process at once: its memory is lost, its connections end.
    pub fn kill(&mut self, host: usize) {
        let Some(life) = self.hosts[host].life.take() else { return };
        for desk in &life.shards {
            for (id, end) in desk.sockets.values() {
                self.network.close(&mut self.time, *id, *end);
            }
        }
    }

    /// Asks a process to leave, as SIGTERM does.
    pub fn terminate(&mut self, host: usize) {
        let now = self.time.now;
        let life = self.life(host);
        let moment = life.clock(now).moment;
        life.node.leave(moment);
        self.take_node_actions(host);
    }

    /// Asks a node to give up a dead member for good, as `piccolo remove` does.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn remove(&mut self, host: usize, member: usize) -> Result<(), RemoveError> {
        let now = self.time.now;
        let life = self.life(host);
        let moment = life.clock(now).moment;
        let result = life.node.remove(moment, &format!("node-{member}"));
        self.take_node_actions(host);
        result
    }

    /// Runs nothing on a host for so long.
    pub fn pause(&mut self, host: usize, span: Duration) {
        self.hosts[host].paused_until = self.time.now + span;
    }

    /// Tears one connection between nodes.
    pub fn reset_a_link(&mut self) {
        let links = self.network.links();
        if !links.is_empty() {
            let id = links[self.time.below(links.len())];
            self.network.reset(&mut self.time, id);
        }
    }

    /// Whether a node has told its operator something that contains `what`.
    pub fn has_said(&self, host: usize, what: &str) -> bool {
        self.said.iter().any(|(by, text)| *by == host && text.contains(what))
    }

    /// Runs for so long.
    pub fn run(&mut self, span: Duration) {
        let until = self.time.now + span;
        while self.step(until) {}
        self.time.now = until;
    }

    /// Runs until something holds, looking every 50 ms.
    ///
    /// # Panics
    ///
    /// If it does not hold within `span`; `why` says what was wanted.
    pub fn run_until(&mut self, why: &str, span: Duration, holds: impl Fn(&mut Self) -> bool) {
        let until = self.time.now + span;
        while !holds(self) {
            assert!(self.time.now < until, "{why}: not within {span:?}\n{}", self.describe());
            self.run(Duration::from_millis(50));
        }
    }

    fn step(&mut self, until: Moment) -> bool {
        let event_at = self.time.next_at();
        let (work_at, host, which) = self.next_work();
        let next = event_at.min(work_at);
        if next > until {
            return false;
        }
        self.time.now = self.time.now.max(next);
        if event_at <= work_at {
            if let Some(event) = self.time.pop() {
                self.happen(event);
            }
        } else {
            match which {
                None => self.run_node(host),
                Some(shard) => self.turn(host, shard),
            }
        }
        if self.time.now.since(self.checked) >= CHECK {
            self.checked = self.time.now;
            self.check();
        }
        true
    }

    /// The next turn of any thread.
    fn next_work(&self) -> (Moment, usize, Option<usize>) {
        let mut first = (Moment::NEVER, 0, None);
        for host in &self.hosts {
            let Some(life) = &host.life else { continue };
            let mut look = |at: Moment, which| {
                let at = at.max(host.paused_until);
                if at < first.0 {
                    first = (at, host.index, which);
                }
            };
            look(life.node_at, None);
            for (shard, desk) in life.shards.iter().enumerate() {
                look(desk.turn_at, Some(shard));
            }
        }
        first
    }

    fn happen(&mut self, event: Event) {
        if let Some(host) = self.host_of(&event) {
            let paused_until = self.hosts[host].paused_until;
            if paused_until > self.time.now {
                return self.time.plan(paused_until, event);
            }
        }
        match event {
            Event::Datagram { from, to, bytes } => self.datagram(from, to, &bytes),
            Event::Control(life, shard) => self.control(life, usize::from(shard)),
            Event::Mesh(life, from, to) => self.mesh(life, from, to),
            Event::Opening(id) => self.opening(id),
            Event::Arrival(id, end) => self.arrival(id, end),
            Event::Client(index) => self.wake_client(index),
            Event::Stopping(life) => self.stopping(life),
        }
    }

    fn host_of(&mut self, event: &Event) -> Option<usize> {
        let of_end = |end: &End| match end {
            End::Shard(life, ..) => Some(life.host),
            End::Opening(host) => Some(*host),
            End::Client(_) | End::Gone => None,
        };
        match event {
            Event::Datagram { to, .. } => host_at(*to),
            Event::Control(life, _) | Event::Mesh(life, ..) | Event::Stopping(life) => {
                Some(life.host)
            }
            Event::Opening(id) => of_end(&self.network.get_mut(*id)?.ends[1]),
            Event::Arrival(id, end) => of_end(&self.network.get_mut(*id)?.ends[*end]),
            Event::Client(_) => None,
        }
    }

    pub(crate) fn alive(&mut self, id: LifeId) -> Option<&mut Life> {
        self.hosts[id.host].life.as_mut().filter(|life| life.id == id)
    }

    fn datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let (Some(source), Some(target)) = (host_at(from), host_at(to)) else { return };
        let now = self.time.now;
        if self.network.cuts.contains(&(source, target)) {
            return;
        }
        let Some(life) = self.hosts.get_mut(target).and_then(|host| host.life.as_mut()) else {
            return;
        };
        let moment = life.clock(now).moment;
        // A reject is counted inside: old lives and strangers are a part of the game.
        drop(life.node.receive(moment, from, bytes));
        self.take_node_actions(target);
    }

    fn run_node(&mut self, host: usize) {
        let now = self.time.now;
        let life = self.life(host);
        let moment = life.clock(now).moment;
        life.observe(now);
        life.node.advance(moment);
        self.take_node_actions(host);
    }

    pub(crate) fn take_node_actions(&mut self, host: usize) {
        let now = self.time.now;
        loop {
            let Some(life) = &mut self.hosts[host].life else { return };
            life.node_at =
                life.world_time(life.node.deadline()).max(now + Duration::from_micros(1));
            let Some(action) = life.node.next_action() else { return };
            let id = life.id;
            match action {
                NodeAction::Send { to, datagram } => {
                    let from = crate::cluster::peer_address(host);
                    self.network.send(&mut self.time, from, to, &datagram);
                }
                NodeAction::Resolve => {
                    let (seeds, moment) = (life.seeds.clone(), life.clock(now).moment);
                    life.node.set_seeds(&seeds, moment);
                }
                NodeAction::Control(control) => self.tell_shards(id, &control),
                NodeAction::Say(text) | NodeAction::Warn(text) => self.said.push((host, text)),
                NodeAction::Stop(why) => {
                    let left = why == Stop::Left;
                    self.stops.push((host, why));
                    if !left {
                        return self.kill(host);
                    }
                    life.stopping = Some(now);
                    self.time.plan(now, Event::Stopping(id));
                }
            }
        }
    }

    /// Closes clients as they fall idle; ends once there are none, or after two seconds.
    fn stopping(&mut self, id: LifeId) {
        let now = self.time.now;
        let Some(life) = self.alive(id) else { return };
        let since = life.stopping.unwrap_or(now);
        let late = now.since(since) > Duration::from_secs(2);
        let idle = life.clients() == 0 && now.since(since) > Duration::from_millis(500);
        if late || idle {
            return self.kill(id.host);
        }
        self.tell_shards(id, &Control::EndClients);
        self.time.plan_in(Duration::from_millis(20), Event::Stopping(id));
    }

    fn opening(&mut self, id: u64) {
        let Some(connection) = self.network.get_mut(id) else { return };
        let (opener, End::Opening(host)) = (connection.ends[0], connection.ends[1]) else { return };
        if opener == End::Gone {
            return self.network.close(&mut self.time, id, 1);
        }
        if self.network.is_cut(id, 0) || self.network.is_cut(id, 1) {
            return self.time.plan_in(Duration::from_secs(1), Event::Opening(id));
        }
        let now = self.time.now;
        let accepts = |life: &&mut Life| life.stopping.is_none();
        let Some(life) = self.hosts[host].life.as_mut().filter(accepts) else {
            return self.network.close(&mut self.time, id, 1);
        };
        let shard = self.time.below(life.shards.len());
        let (clock, life_id) = (life.clock(now), life.id);
        let desk = &mut life.shards[shard];
        desk.shard.set_now(clock);
        let key = match opener {
            End::Client(index) => {
                let address = SocketAddr::from(([10, 1, 0, index as u8], 40_000));
                desk.shard.accept_client(address, self.clients[index].door)
            }
            _ => desk.shard.accept_link(),
        };
        desk.sockets.insert(key, (id, 1));
        if let Some(connection) = self.network.get_mut(id) {
            connection.ends[1] = End::Shard(life_id, shard as u16, key);
        }
    }

    fn arrival(&mut self, id: u64, end: usize) {
        if self.network.is_cut(id, end) {
            return self.time.plan_in(Duration::from_millis(200), Event::Arrival(id, end));
        }
        let now = self.time.now;
        let Some(connection) = self.network.get_mut(id) else { return };
        let (target, source) = (connection.ends[end], connection.ends[1 - end]);
        match target {
            End::Opening(_) => {
                let delay = Duration::from_millis(1);
                self.time.plan_in(delay, Event::Arrival(id, end));
                return;
            }
            End::Gone => drop(self.network.take(id, end)),
            End::Client(index) => match self.network.take(id, end) {
                Some(Piece::Bytes(bytes)) => self.client_received(index, id, &bytes),
                Some(Piece::End) => {
                    self.network.close(&mut self.time, id, end);
                    self.client_closed(index, id);
                }
                None => {}
            },
            End::Shard(life_id, shard, key) => {
                let shard = usize::from(shard);
                let Some(life) = self.hosts[life_id.host].life.as_mut() else { return };
                if life.id != life_id {
                    return;
                }
                let clock = life.clock(now);
                let desk = &mut life.shards[shard];
                if !desk.shard.wants(key) && desk.sockets.contains_key(&key) {
                    let delay = Duration::from_millis(1);
                    return self.time.plan_in(delay, Event::Arrival(id, end));
                }
                desk.shard.set_now(clock);
                match self.network.take(id, end) {
                    Some(Piece::Bytes(bytes)) => desk.shard.received(key, &bytes),
                    Some(Piece::End) => {
                        desk.shard.closed(key);
                        desk.sockets.remove(&key);
                        self.network.close(&mut self.time, id, end);
                    }
                    None => {}
                }
                self.soon(life_id, shard);
            }
        }
        if let End::Shard(life, shard, key) = source
            && let Some(life) = self.alive(life)
            && life.shards[usize::from(shard)].full.contains(&key)
        {
            let id = life.id;
            self.flush(id, usize::from(shard));
        }
    }
}

/// Starts hosts one after the other: the first creates the cluster, the others join it.
pub fn begin_all(world: &mut World, hosts: usize) {
    for host in 0..hosts {
        let begin = if host == 0 { Begin::Create } else { Begin::Join((0..hosts).collect()) };
        world.start(host, &begin);
        let pause = world.time.micros(0..=300_000);
        world.run(pause);
    }
}
