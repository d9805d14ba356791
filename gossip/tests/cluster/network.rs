//! The virtual network: delay, loss, duplication, cuts, pauses, crashes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use piccolo_gossip::{Action, Config, Event, Gossip, Me, Member, Start, State};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// What the network does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) delay_micros: (u64, u64),
    /// Share of datagrams lost.
    pub(crate) loss: f64,
    /// Share of datagrams that arrive twice.
    pub(crate) duplication: f64,
}

/// One node: at most one life of it runs.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) seeds: Vec<SocketAddr>,
    pub(crate) gossip: Option<Gossip>,
    /// Nothing runs before then; datagrams wait.
    paused_until: Moment,
    /// Nodes of different sides do not hear each other.
    pub(crate) side: u8,
    pub(crate) events: Vec<Event>,
}

/// All nodes, and what is between them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) rng: Xoshiro256PlusPlus,
    pub(crate) weather: Weather,
    pub(crate) config: Config,
    pub(crate) nodes: Vec<Node>,
    /// Datagrams under way by time of arrival and number.
    flights: BTreeMap<(Moment, u64), Flight>,
    number: u64,
    /// Every datagram sent, if wanted.
    pub(crate) recorded: Option<Vec<Vec<u8>>>,
}

#[derive(Debug)]
struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    datagram: Vec<u8>,
}

pub(crate) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 7380))
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl World {
    /// A network whose weather the seed decides, with at most the given loss.
    pub(crate) fn new(seed: u64, loss_max: f64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let slow = rng.random_range(200..20_000);
        let weather = Weather {
            delay_micros: (50, slow),
            loss: rng.random_range(0.0..=loss_max),
            duplication: rng.random_range(0.0..0.1),
        };
        Self {
            now: Moment(1_000_000),
            rng,
            weather,
            config: Config::default(),
            nodes: Vec::new(),
            flights: BTreeMap::new(),
            number: 0,
            recorded: None,
        }
    }

    /// A node that does not run yet, at an address of its own.
    pub(crate) fn add(&mut self, name: &str, seeds: &[SocketAddr]) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node {
            name: name.to_owned(),
            address: address(index as u8 + 1),
            seeds: seeds.to_vec(),
            gossip: None,
            paused_until: Moment(0),
            side: 0,
            events: Vec::new(),
        });
        index
    }

    /// Begins a new life of a node, of a generation that follows from the time.
    pub(crate) fn start(&mut self, index: usize, start: Start) {
        let generation = self.now.0;
        self.start_in_generation(index, start, generation);
    }

    pub(crate) fn start_in_generation(&mut self, index: usize, start: Start, generation: u64) {
        let node = &mut self.nodes[index];
        let me = Me {
            name: node.name.clone(),
            id: NodeId(self.rng.random()),
            generation,
            peer: node.address,
            client: node.address,
            cluster_client: node.address,
            admin: node.address,
            zone: String::new(),
            weight: 1,
            shards: 2,
        };
        let seed = self.rng.random();
        let gossip = Gossip::new(me, start, self.config.clone(), self.now, seed);
        let gossip = node.gossip.insert(gossip.expect("the case's configuration is valid"));
        gossip.set_seeds(&node.seeds);
        node.events.clear();
        self.settle(index);
    }

    /// A start that takes part in founding.
    pub(crate) fn expecting(&mut self, expect: u16) -> Start {
        Start::Join { expect, cluster_if_created: ClusterId(self.rng.random()) }
    }

    pub(crate) fn crash(&mut self, index: usize) {
        self.nodes[index].gossip = None;
    }

    pub(crate) fn pause(&mut self, index: usize, time: Duration) {
        self.nodes[index].paused_until = self.now + time;
    }

    /// Tells a node something, and takes what it answers.
    pub(crate) fn tell(&mut self, index: usize, what: impl FnOnce(&mut Gossip, Moment)) {
        let gossip = self.nodes[index].gossip.as_mut().expect("the node runs");
        what(gossip, self.now);
        self.settle(index);
    }

    pub(crate) fn gossip(&self, index: usize) -> &Gossip {
        self.nodes[index].gossip.as_ref().expect("the node runs")
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].gossip.is_some()).collect()
    }

    /// How the given node sees the named one.
    pub(crate) fn seen(&self, by: usize, name: &str) -> Option<&Member> {
        self.gossip(by).members().find(|member| member.name == name)
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets time pass until something holds. Says whether it came to hold within the limit.
    pub(crate) fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + limit;
        while !holds(self) {
            if !self.step(until) {
                return false;
            }
        }
        true
    }

    /// Whether every running node holds exactly the running nodes live, all of them alive, and
    /// all tables say the same of them.
    pub(crate) fn agrees(&self) -> bool {
        let running = self.running();
        let expected: BTreeMap<&str, NodeId> = running
            .iter()
            .map(|index| (self.nodes[*index].name.as_str(), self.gossip(*index).me().id))
            .collect();
        running.iter().all(|index| {
            let live = self.gossip(*index).members().filter(|member| member.state.is_live());
            let mut count = 0;
            let all = live.inspect(|_| count += 1).all(|member| {
                member.state == State::Alive
                    && expected.get(member.name.as_str()) == Some(&member.id)
            });
            all && count == expected.len()
        })
    }

    /// Clusters that running nodes are in.
    pub(crate) fn clusters(&self) -> Vec<ClusterId> {
        let running = self.nodes.iter().filter_map(|node| node.gossip.as_ref());
        let mut clusters: Vec<_> =
            running.map(Gossip::cluster).filter(|cluster| cluster.is_some()).collect();
        clusters.sort_unstable();
        clusters.dedup();
        clusters
    }

    /// Events of all nodes for which `picks` holds.
    pub(crate) fn count(&self, picks: impl Fn(&Event) -> bool) -> usize {
        self.nodes.iter().flat_map(|node| &node.events).filter(|event| picks(event)).count()
    }

    /// Forgets the events so far.
    pub(crate) fn forget_events(&mut self) {
        for node in &mut self.nodes {
            node.events.clear();
        }
    }

    /// Founds a cluster of `count` nodes that agree, seeded by each other, in fine weather.
    pub(crate) fn cluster(seed: u64, count: usize, loss_max: f64) -> Self {
        let mut world = Self::new(seed, loss_max);
        let weather = world.weather;
        world.weather.loss = 0.0;
        let seeds: Vec<_> = (1..=count as u8).map(address).collect();
        for index in 0..count {
            world.add(&format!("n{index}"), &seeds);
            let start = world.expecting(count as u16);
            world.start(index, start);
        }
        assert!(world.run_until(seconds(30), Self::agrees), "no cluster to begin with");
        world.weather = weather;
        world.run(seconds(3));
        world.forget_events();
        world
    }

    /// Does what comes next, if it comes before `until`. Datagrams go before timers, as they do
    /// in a node that wakes up.
    fn step(&mut self, until: Moment) -> bool {
        let flight = self.flights.keys().next().map_or(Moment::NEVER, |(at, _)| *at);
        let timer = self.nodes.iter().enumerate().filter_map(|(index, node)| {
            let gossip = node.gossip.as_ref()?;
            Some((gossip.deadline().max(node.paused_until), index))
        });
        let (timer, index) = timer.min().unwrap_or((Moment::NEVER, 0));
        let next = flight.min(timer);
        if next > until || next == Moment::NEVER {
            return false;
        }
        self.now = self.now.max(next);
        if flight <= timer {
            self.deliver();
        } else {
            let now = self.now;
            self.tell(index, Gossip::advance);
            let deadline = self.gossip(index).deadline();
            assert!(deadline > now, "advance left work undone: a caller would spin");
        }
        true
    }

    fn deliver(&mut self) {
        let Some((_, flight)) = self.flights.pop_first() else { return };
        let Some(index) = self.at(flight.to) else { return };
        let cut = self
            .at(flight.from)
            .is_some_and(|from| self.nodes[from].side != self.nodes[index].side);
        if cut {
            return;
        }
        let paused_until = self.nodes[index].paused_until;
        if paused_until > self.now {
            self.fly(paused_until, flight);
            return;
        }
        let now = self.now;
        let gossip = self.nodes[index].gossip.as_mut().expect("only running nodes are found");
        // A reject is the sender's fault or the network's: counted inside.
        drop(gossip.receive(now, flight.from, &flight.datagram));
        self.settle(index);
    }

    /// The running node at an address.
    fn at(&self, address: SocketAddr) -> Option<usize> {
        self.nodes.iter().position(|node| node.address == address && node.gossip.is_some())
    }

    fn fly(&mut self, at: Moment, flight: Flight) {
        self.number += 1;
        self.flights.insert((at, self.number), flight);
    }

    /// Takes every action of a node. A node that enters serves at once.
    fn settle(&mut self, index: usize) {
        loop {
            let node = &mut self.nodes[index];
            let Some(gossip) = node.gossip.as_mut() else { return };
            let Some(action) = gossip.next_action() else { return };
            match action {
                Action::Send { to, datagram } => self.send(index, to, &datagram),
                Action::Resolve => gossip.set_seeds(&node.seeds),
                Action::Event(event) => {
                    if matches!(event, Event::Entered { .. }) {
                        gossip.ready(self.now);
                    }
                    node.events.push(event);
                }
            }
        }
    }

    fn send(&mut self, index: usize, to: SocketAddr, datagram: &[u8]) {
        assert!(datagram.len() <= self.config.datagram_bytes_max, "a datagram too long");
        if let Some(recorded) = &mut self.recorded {
            recorded.push(datagram.to_vec());
        }
        let from = self.nodes[index].address;
        let copies = 1 + usize::from(self.rng.random_bool(self.weather.duplication));
        for _ in 0..copies {
            let (fast, slow) = self.weather.delay_micros;
            let delay = Duration::from_micros(self.rng.random_range(fast..=slow));
            if !self.rng.random_bool(self.weather.loss) {
                let flight = Flight { from, to, datagram: datagram.to_vec() };
                self.fly(self.now + delay, flight);
            }
        }
    }
}

/// Whether an event says that the named member is now in a state.
pub(crate) fn became(event: &Event, name: &str, state: State) -> bool {
    matches!(event, Event::Changed { member, .. } if member.name == name && member.state == state)
}

/// Whether an event says that some member is dead.
pub(crate) fn is_death(event: &Event) -> bool {
    matches!(event, Event::Changed { member, .. } if member.state == State::Dead)
}
