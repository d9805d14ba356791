//! The virtual network: delay, loss, duplication, cuts, pauses, crashes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use piccolo_gossip::{Action, Config, Event, Gossip, Keys, Me, Member, Start, State};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::limits::PROTOCOL;
use piccolo_schema::time::Moment;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// What the network does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Shortest and longest time under way, in microseconds.
    pub delay_micros: (u64, u64),
    /// Share of datagrams lost.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplication: f64,
}

/// One node: at most one life of it runs.
#[derive(Debug)]
pub struct Node {
    /// Its name, in all its lives.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Whom it asks to come in.
    pub seeds: Vec<SocketAddr>,
    /// Its life, if it runs.
    pub gossip: Option<Gossip>,
    /// Nodes of different sides do not hear each other.
    pub side: u8,
    /// What its core said since its start.
    pub events: Vec<Event>,
    /// The key with which it seals.
    pub keys: Option<Keys>,
    /// Versions of the protocol that it speaks.
    pub protocol: (u16, u16),
    /// Members that it hears: zero if they are less than half.
    heard: u32,
    /// Nothing runs before then; datagrams wait.
    paused_until: Moment,
    /// When the pause ends it runs its timers before it reads, as a process may that does not
    /// keep to the contract of the core.
    timers_first: bool,
    /// When its core next has work, as noted in the world's agenda.
    due: Moment,
}

/// A start that waits for a cluster and takes no part in making one.
pub const WAITS: Start = Start::Join { expect: 0, cluster_if_created: ClusterId::NONE };

/// All nodes, and what is between them.
#[derive(Debug)]
pub struct World {
    /// The virtual time.
    pub now: Moment,
    /// Everything that is drawn.
    pub rng: Xoshiro256PlusPlus,
    /// What happens to datagrams.
    pub weather: Weather,
    /// Of nodes to be started.
    pub config: Config,
    /// Of nodes to be added.
    pub keys: Option<Keys>,
    /// By number.
    pub nodes: Vec<Node>,
    /// Every datagram sent, if wanted.
    pub recorded: Option<Vec<Vec<u8>>>,
    /// Datagrams under way, the next to arrive first.
    flights: BinaryHeap<Reverse<Flight>>,
    /// When which node has work.
    agenda: BTreeSet<(Moment, usize)>,
    number: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Moment,
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    datagram: Vec<u8>,
}

/// The address of a host of the virtual network, by number from 1 on.
pub fn address(host: u16) -> SocketAddr {
    let [high, low] = host.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 7380))
}

/// A time in seconds.
pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl World {
    /// A network whose weather the seed decides, with at most the given loss.
    pub fn new(seed: u64, loss_max: f64) -> Self {
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
            keys: None,
            nodes: Vec::new(),
            recorded: None,
            flights: BinaryHeap::new(),
            agenda: BTreeSet::new(),
            number: 0,
        }
    }

    /// A node that does not run yet, at an address of its own.
    pub fn add(&mut self, name: &str, seeds: &[SocketAddr]) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node {
            name: name.to_owned(),
            address: address(index as u16 + 1),
            seeds: seeds.to_vec(),
            gossip: None,
            side: 0,
            events: Vec::new(),
            keys: self.keys.clone(),
            protocol: PROTOCOL,
            heard: 1,
            paused_until: Moment(0),
            timers_first: false,
            due: Moment::NEVER,
        });
        index
    }

    /// Begins a new life of a node, of a generation that follows from the time.
    pub fn start(&mut self, index: usize, start: Start) {
        let generation = self.now.0;
        self.start_in_generation(index, start, generation);
    }

    /// The same in a generation of the caller's choice.
    pub fn start_in_generation(&mut self, index: usize, start: Start, generation: u64) {
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
            protocol: node.protocol,
            features: 0,
        };
        let seed = self.rng.random();
        let gossip = Gossip::new(me, start, self.config.clone(), self.now, seed);
        let gossip = node.gossip.insert(gossip.expect("the case's configuration is valid"));
        gossip.set_keys(node.keys.clone());
        gossip.stand(node.heard, Moment::NEVER);
        gossip.set_seeds(&node.seeds);
        node.events.clear();
        self.settle(index);
    }

    /// A start that takes part in founding.
    pub fn expecting(&mut self, expect: u16) -> Start {
        Start::Join { expect, cluster_if_created: ClusterId(self.rng.random()) }
    }

    /// Ends a life without a word.
    pub fn crash(&mut self, index: usize) {
        self.nodes[index].gossip = None;
        self.note(index);
    }

    /// Stops a node for a time. It reads what waits before it runs its timers.
    pub fn pause(&mut self, index: usize, time: Duration) {
        self.nodes[index].paused_until = self.now + time;
        self.nodes[index].timers_first = false;
        self.note(index);
    }

    /// Stops a node for a time. It runs its timers before it reads what waits.
    pub fn pause_badly(&mut self, index: usize, time: Duration) {
        self.pause(index, time);
        self.nodes[index].timers_first = true;
    }

    /// Whether a node is stopped now.
    pub fn is_paused(&self, index: usize) -> bool {
        self.nodes[index].paused_until > self.now
    }

    /// How many members a node hears, zero if they are less than half: which is the caller's to
    /// say.
    pub fn set_heard(&mut self, index: usize, heard: u32) {
        self.nodes[index].heard = heard;
        if let Some(gossip) = &mut self.nodes[index].gossip {
            gossip.stand(heard, Moment::NEVER);
        }
    }

    /// Tells a node something, and takes what it answers.
    pub fn tell(&mut self, index: usize, what: impl FnOnce(&mut Gossip, Moment)) {
        let gossip = self.nodes[index].gossip.as_mut().expect("the node runs");
        what(gossip, self.now);
        self.settle(index);
    }

    /// The life of a node that runs.
    pub fn gossip(&self, index: usize) -> &Gossip {
        self.nodes[index].gossip.as_ref().expect("the node runs")
    }

    /// Numbers of the nodes that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].gossip.is_some()).collect()
    }

    /// How the given node sees the named one.
    pub fn seen(&self, by: usize, name: &str) -> Option<&Member> {
        self.gossip(by).members().find(|member| member.name == name)
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets time pass until something holds. Says whether it came to hold within the limit.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + limit;
        while !holds(self) {
            if !self.step(until) {
                return false;
            }
        }
        true
    }

    /// The same, looking only every so often: for conditions that are costly to look at.
    pub fn run_until_looking(
        &mut self,
        limit: Duration,
        every: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> bool {
        let until = self.now + limit;
        while !holds(self) {
            if self.now >= until {
                return false;
            }
            self.run(every);
        }
        true
    }

    /// Whether every running node holds exactly the running nodes live, all of them alive, and
    /// all tables say the same of them.
    pub fn agrees(&self) -> bool {
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
    pub fn clusters(&self) -> Vec<ClusterId> {
        let running = self.nodes.iter().filter_map(|node| node.gossip.as_ref());
        let mut clusters: Vec<_> =
            running.map(Gossip::cluster).filter(|cluster| cluster.is_some()).collect();
        clusters.sort_unstable();
        clusters.dedup();
        clusters
    }

    /// Events of all nodes for which `picks` holds.
    pub fn count(&self, picks: impl Fn(&Event) -> bool) -> usize {
        self.nodes.iter().flat_map(|node| &node.events).filter(|event| picks(event)).count()
    }

    /// Forgets the events so far.
    pub fn forget_events(&mut self) {
        for node in &mut self.nodes {
            node.events.clear();
        }
    }

    /// A new network whose nodes have a key if the seed is odd: what holds must hold with keys.
    pub fn perhaps_sealed(seed: u64, loss_max: f64) -> Self {
        let keys = "00112233445566778899aabbccddeeff";
        let keys = (seed % 2 == 1).then(|| Keys::parse(keys).expect("a key"));
        Self { keys, ..Self::new(seed, loss_max) }
    }

    /// Founds a cluster of `count` nodes that agree, seeded by each other, in fine weather; one
    /// with a key for every second seed.
    pub fn cluster(seed: u64, count: usize, loss_max: f64) -> Self {
        Self::perhaps_sealed(seed, loss_max).with_cluster(count)
    }

    /// The same without a key and with timers of the caller's choice.
    pub fn cluster_with(seed: u64, count: usize, loss_max: f64, config: Config) -> Self {
        Self { config, ..Self::new(seed, loss_max) }.with_cluster(count)
    }

    /// Starts another cluster of nodes named as those of [`Self::cluster`]. Says where they are.
    pub fn add_namesakes(&mut self, cluster: ClusterId, count: usize) -> Vec<SocketAddr> {
        let creator = self.add("n0", &[]);
        let seeds = [self.nodes[creator].address];
        self.start(creator, Start::Create(cluster));
        for index in 1..count {
            let index = self.add(&format!("n{index}"), &seeds);
            self.start(index, WAITS);
        }
        self.nodes[creator..].iter().map(|node| node.address).collect()
    }

    fn with_cluster(self, count: usize) -> Self {
        let mut world = self;
        let weather = world.weather;
        world.weather.loss = 0.0;
        // Founding is for a few: the others join them.
        let founders = count.min(8);
        let seeds: Vec<_> = (1..=founders as u16).map(address).collect();
        for index in 0..count {
            world.add(&format!("n{index}"), &seeds);
        }
        for index in 0..founders {
            let start = world.expecting(founders as u16);
            world.start(index, start);
        }
        assert!(world.run_until(seconds(30), Self::agrees), "no cluster to begin with");
        for index in founders..count {
            world.start(index, WAITS);
        }
        let every = Duration::from_millis(100);
        let joined = count == founders || world.run_until_looking(seconds(60), every, Self::agrees);
        assert!(joined, "not all came in");
        world.weather = weather;
        world.run(seconds(3));
        world.forget_events();
        world
    }

    /// Does what comes next, if it comes before `until`. Datagrams go before timers, as they do
    /// in a node that wakes up.
    fn step(&mut self, until: Moment) -> bool {
        let flight = self.flights.peek().map_or(Moment::NEVER, |Reverse(flight)| flight.at);
        let (timer, index) = self.agenda.first().copied().unwrap_or((Moment::NEVER, 0));
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
        let Some(Reverse(mut flight)) = self.flights.pop() else { return };
        let Some(index) = self.at(flight.to) else { return };
        let cut = self
            .at(flight.from)
            .is_some_and(|from| self.nodes[from].side != self.nodes[index].side);
        if cut {
            return;
        }
        let node = &self.nodes[index];
        if node.paused_until > self.now {
            let after_timers = Duration::from_micros(u64::from(node.timers_first));
            flight.at = node.paused_until + after_timers;
            self.fly(flight);
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
        let IpAddr::V4(ip) = address.ip() else { return None };
        let [_, _, high, low] = ip.octets();
        let index = usize::from(u16::from_be_bytes([high, low])).checked_sub(1)?;
        self.nodes.get(index)?.gossip.as_ref().map(|_| index)
    }

    fn fly(&mut self, mut flight: Flight) {
        self.number += 1;
        flight.number = self.number;
        self.flights.push(Reverse(flight));
    }

    /// Takes every action of a node. A node that enters serves at once.
    fn settle(&mut self, index: usize) {
        loop {
            let node = &mut self.nodes[index];
            let Some(gossip) = node.gossip.as_mut() else { break };
            let Some(action) = gossip.next_action() else { break };
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
        self.note(index);
    }

    /// Keeps the agenda up to a node's deadline.
    fn note(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let deadline = node.gossip.as_ref().map_or(Moment::NEVER, Gossip::deadline);
        let due = deadline.max(node.paused_until);
        if due == node.due {
            return;
        }
        self.agenda.remove(&(node.due, index));
        node.due = due;
        if deadline != Moment::NEVER {
            self.agenda.insert((due, index));
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
                let (at, datagram) = (self.now + delay, datagram.to_vec());
                self.fly(Flight { at, number: 0, from, to, datagram });
            }
        }
    }
}
