//! The nodes: hosts, and the lives of the processes on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use piccolo_engine::node::{Node, NodeConfig, Observed};
use piccolo_engine::shard::{Control, MeshBatch, Shard, ShardConfig, Shared, StreamKey};
use piccolo_gossip::{Config, Gossip, Keys, Me, Start};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::limits::PROTOCOL;
use piccolo_schema::time::{Moment, Now, UnixMillis};
use rand::RngExt;

use crate::timeline::{LifeId, Timeline};

/// Wall time when the world begins: some day in 2023.
const WALL_START_MILLIS: u64 = 1_700_000_000_000;

/// A machine that may run a node.
#[derive(Debug)]
pub struct Host {
    /// The node's name and the number of its address.
    pub index: usize,
    /// Its shards.
    pub shards: u16,
    /// The process, while it runs.
    pub life: Option<Life>,
    /// The cluster's key, if it has one.
    pub keys: Option<Keys>,
    /// Lives so far.
    pub lives: u64,
    /// Nothing runs before then.
    pub paused_until: Moment,
}

impl Host {
    /// A machine on which nothing runs yet.
    pub fn new(index: usize, shards: u16, keys: Option<Keys>) -> Self {
        Self { index, shards, life: None, keys, lives: 0, paused_until: Moment(0) }
    }

    /// Where other nodes reach it.
    pub fn address(&self) -> SocketAddr {
        peer_address(self.index)
    }
}

/// The port of every host's peer address.
pub const PEER_PORT: u16 = 7380;

/// The peer address of a host.
pub fn peer_address(host: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host as u8 + 1], PEER_PORT))
}

/// The host at a peer address.
pub fn host_at(address: SocketAddr) -> Option<usize> {
    match address {
        SocketAddr::V4(v4) => Some(usize::from(v4.ip().octets()[3]) - 1),
        SocketAddr::V6(_) => None,
    }
}

/// How a process is started.
#[derive(Clone, Debug)]
pub enum Begin {
    /// With `--create`.
    Create,
    /// With `--join` and these hosts.
    Join(Vec<usize>),
}

/// One life of a node's process.
#[derive(Debug)]
pub struct Life {
    /// Which.
    pub id: LifeId,
    /// The real node.
    pub node: Node,
    /// The real shards.
    pub shards: Vec<Desk>,
    /// Counts of all shards.
    pub shared: Arc<[Shared]>,
    /// When the node next has work.
    pub node_at: Moment,
    /// Where its seeds are.
    pub seeds: Vec<SocketAddr>,
    /// When it was told to stop serving.
    pub stopping: Option<Moment>,
    /// Its clock is ahead of the world's by so many microseconds.
    epoch: u64,
    last: Observed,
}

/// A shard and what its thread would hold.
#[derive(Debug)]
pub struct Desk {
    /// The real shard.
    pub shard: Shard,
    /// When it takes its next turn.
    pub turn_at: Moment,
    /// Its connections.
    pub sockets: BTreeMap<StreamKey, (u64, usize)>,
    /// Those that have more to write than there was room for.
    pub full: BTreeSet<StreamKey>,
    /// Orders of the node under way.
    pub controls: VecDeque<Control>,
    /// When the last of them arrives.
    pub controls_last: Moment,
    /// Batches under way from each sibling.
    pub mesh: Vec<VecDeque<MeshBatch>>,
    /// When the last of each arrives.
    pub mesh_last: Vec<Moment>,
}

impl Life {
    /// Starts a process.
    pub fn new(time: &mut Timeline, host: &Host, begin: &Begin) -> Self {
        let me = NodeId(time.rng.random::<u128>() | 1);
        let name = format!("node-{}", host.index);
        let (peer, epoch) = (host.address(), time.rng.random_range(0..1 << 40));
        let client = SocketAddr::new(peer.ip(), 7379);
        let admin = SocketAddr::new(peer.ip(), 7381);
        let cluster_client = SocketAddr::new(peer.ip(), 7382);
        let generation = WALL_START_MILLIS + time.now.0 / 1000;
        let zone = String::new();
        let shards = host.shards;
        let me = Me {
            name,
            id: me,
            generation,
            peer,
            client,
            cluster_client,
            admin,
            zone,
            weight: 1,
            shards,
            protocol: PROTOCOL,
            features: 0,
        };
        let id = me.id;
        let moment = Moment(time.now.0 + epoch);
        let (start, seeds) = match begin {
            Begin::Create => (Start::Create(ClusterId(time.rng.random::<u128>() | 1)), Vec::new()),
            Begin::Join(hosts) => {
                let start = Start::Join { expect: 0, cluster_if_created: ClusterId::NONE };
                (start, hosts.iter().map(|host| peer_address(*host)).collect())
            }
        };
        let mut gossip = Gossip::new(me, start, Config::default(), moment, time.rng.random())
            .expect("what the simulator configures is valid");
        let shared: Arc<[Shared]> = (0..shards).map(|_| Shared::default()).collect();
        let now = Now { moment, wall: wall(time.now) };
        let desk = |index| Desk::new(index, shards, id, shared.clone(), now, time.now);
        let mut shards: Vec<Desk> = (0..shards).map(desk).collect();
        if let Some(keys) = &host.keys {
            gossip.set_keys(Some(keys.clone()));
            for desk in &mut shards {
                desk.shard.control(Control::Keys(keys.clone()));
            }
        }
        let config = NodeConfig { replicas: 1, down_grace: Duration::from_secs(30) };
        let node = Node::new(config, gossip, moment);
        let id = LifeId { host: host.index, life: host.lives };
        let (stopping, last) = (None, Observed::default());
        Self { id, node, shards, shared, node_at: time.now, seeds, stopping, epoch, last }
    }

    /// The time by this process's clocks.
    pub fn clock(&self, now: Moment) -> Now {
        Now { moment: Moment(now.0 + self.epoch), wall: wall(now) }
    }

    /// The world's time, of a time by this process's clock.
    pub fn world_time(&self, moment: Moment) -> Moment {
        if moment == Moment::NEVER { moment } else { Moment(moment.0.saturating_sub(self.epoch)) }
    }

    /// Tells the node what its shards have come to.
    pub fn observe(&mut self, now: Moment) {
        let sum = |count: fn(&Shared) -> u64| self.shared.iter().map(count).sum::<u64>();
        let observed = Observed {
            unrouted: sum(|shared| shared.slots_unrouted.get()),
            missing: sum(|shared| shared.slots_missing.get()),
            replicas: sum(|shared| shared.replicas.get()),
            visitors: 0,
        };
        if observed != self.last {
            self.last = observed;
            self.node_at = now;
        }
        self.node.observe(self.clock(now).moment, observed);
    }

    /// Connections of clients to this process.
    pub fn clients(&self) -> u64 {
        self.shared.iter().map(|shared| shared.connections.get()).sum()
    }
}

fn wall(now: Moment) -> UnixMillis {
    UnixMillis(WALL_START_MILLIS + now.0 / 1000)
}

impl Desk {
    fn new(
        index: u16,
        shards: u16,
        me: NodeId,
        shared: Arc<[Shared]>,
        now: Now,
        turn_at: Moment,
    ) -> Self {
        let limits = piccolo_engine::resp::parse::Limits::default();
        let config =
            ShardConfig { index, shards, me, password: None, limits, memory_max: 0, shared };
        let count = usize::from(shards);
        Self {
            shard: Shard::new(config, now),
            turn_at,
            sockets: BTreeMap::new(),
            full: BTreeSet::new(),
            controls: VecDeque::new(),
            controls_last: Moment(0),
            mesh: (0..count).map(|_| VecDeque::new()).collect(),
            mesh_last: vec![Moment(0); count],
        }
    }
}
