//! All nodes, and which of them is asked: the one that leads the slot of the key, and if that
//! cannot be reached another one, which forwards.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use piccolo_client::Ring;
use piccolo_schema::ids::Slot;
use piccolo_schema::key_slot::slot_of;
use piccolo_schema::kv::{self, Op, Reason, Topology};
use tokio::sync::Notify;

use super::answer::{Answer, Failure};
use super::channel::Settings;
use super::lane::Lane;
use super::node::Node;
use super::stream::Stream;
use crate::clock::Clock;
use crate::config::Config;

/// How often the topology is asked for when nothing happens.
pub const REFRESH: Duration = Duration::from_secs(5);

/// How soon it is asked for again after something has failed.
const REFRESH_SOON: Duration = Duration::from_millis(250);

/// Nodes that one request is offered to at most.
const NODES_TRIED_MAX: usize = 3;

/// How long one node may take to tell the topology before another is asked: it knows that by
/// itself, so that a node that takes longer hangs.
const TOPOLOGY_LIMIT: Duration = Duration::from_secs(1);

/// The nodes.
#[derive(Debug)]
pub struct Cluster {
    password: Option<String>,
    requests_max: usize,
    node_timeout: Duration,
    clock: Clock,
    seeds: Vec<String>,
    known: RefCell<Known>,
    /// Slots that were not served when they were last asked for.
    doubted: RefCell<BTreeSet<Slot>>,
    /// Where the next request goes that has no owner.
    next: Cell<usize>,
    stale: Notify,
    /// When the topology was last heard.
    heard: Cell<Option<u64>>,
    failures: RefCell<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct Known {
    ring: Ring,
    /// In the order of the ring's nodes.
    owners: Vec<Rc<Node>>,
    /// Owners and seeds, by address.
    by_address: BTreeMap<String, Rc<Node>>,
}

impl Cluster {
    /// The nodes that `config` names; the others are learnt by [`Cluster::keep_fresh`].
    pub fn new(config: &Config, clock: Clock) -> Rc<Self> {
        let cluster = Self {
            password: config.node_password.clone(),
            requests_max: config.requests_max as usize,
            node_timeout: config.node_timeout,
            clock,
            seeds: config.nodes.clone(),
            known: RefCell::default(),
            doubted: RefCell::default(),
            next: Cell::new(0),
            stale: Notify::new(),
            heard: Cell::new(None),
            failures: RefCell::default(),
        };
        cluster.learn(&Topology::default());
        Rc::new(cluster)
    }

    /// Asks the owner of `key`, or else another node. A write is never sent twice.
    ///
    /// # Errors
    ///
    /// There is no answer, and why: of the last node tried.
    pub async fn call(&self, key: &[u8], op: Op<'_>) -> Result<Answer, Failure> {
        let owner = self.owner(key);
        let mut node = owner.clone().unwrap_or_else(|| self.any(&[]));
        let mut tried = Vec::new();
        loop {
            let led = owner.as_ref().is_some_and(|owner| Rc::ptr_eq(owner, &node));
            let answer = node.call(self.lane(key, led), key, op).await;
            self.doubt(key, &answer);
            if !self.is_elsewhere(&answer, is_read(&op)) {
                return answer;
            }
            tried.push(Rc::clone(&node));
            if tried.len() >= NODES_TRIED_MAX {
                return answer;
            }
            node = self.any(&tried);
            if tried.iter().any(|other| Rc::ptr_eq(other, &node)) {
                return answer;
            }
        }
    }

    /// A connection for one body, to the owner of `key` or else to another node.
    ///
    /// # Errors
    ///
    /// No node can be reached.
    pub async fn stream(&self, key: &[u8]) -> Result<(Rc<Node>, Stream), Failure> {
        let mut node = self.owner(key).unwrap_or_else(|| self.any(&[]));
        let mut tried = Vec::new();
        loop {
            match node.stream().await {
                Ok(stream) => return Ok((node, stream)),
                Err(failure) => self.note(&failure),
            }
            tried.push(Rc::clone(&node));
            let next = self.any(&tried);
            if tried.len() >= NODES_TRIED_MAX || tried.iter().any(|one| Rc::ptr_eq(one, &next)) {
                return Err(Failure::Connect("no node can be reached".to_owned()));
            }
            node = next;
        }
    }

    /// Keeps the topology fresh, for ever.
    pub async fn keep_fresh(self: Rc<Self>) {
        loop {
            if let Ok(Answer::Topology(topology)) = self.ask_topology().await {
                self.learn(&topology);
                self.heard.set(Some(self.clock.millis()));
            } else {
                self.heard.set(None);
            }
            let soon = async {
                self.stale.notified().await;
                tokio::time::sleep(REFRESH_SOON).await;
            };
            let pause = if self.heard.get().is_some() { REFRESH } else { REFRESH_SOON };
            // Either is a reason to ask.
            drop(tokio::time::timeout(pause, soon).await);
        }
    }

    async fn ask_topology(&self) -> Result<Answer, Failure> {
        let mut tried = Vec::new();
        loop {
            let node = self.any(&tried);
            if tried.iter().any(|one| Rc::ptr_eq(one, &node)) {
                return Err(Failure::Connect("no node answers".to_owned()));
            }
            let told = node.call(Lane::Led, b"", Op::Topology);
            let told = tokio::time::timeout(TOPOLOGY_LIMIT, told).await;
            match told.unwrap_or(Err(Failure::Timeout)) {
                Ok(answer @ Answer::Topology(_)) => return Ok(answer),
                Ok(answer) => log::warn!("{}: no topology but {answer:?}", node.address()),
                Err(failure) => self.note(&failure),
            }
            tried.push(node);
        }
    }

    /// Whether a node has told the topology lately.
    pub fn is_ready(&self) -> bool {
        self.heard.get().is_some_and(|at| !self.clock.passed(at, REFRESH * 2))
            && self.known.borrow().by_address.values().any(|node| node.is_open())
    }

    /// The nodes as they were last told, and how many slots each leads.
    pub fn members(&self) -> Vec<(kv::Node, usize)> {
        let known = self.known.borrow();
        let mut slots = vec![0; known.ring.nodes().len()];
        for slot in Slot::all() {
            if let Some(led) = known.ring.owner_at(slot).and_then(|place| slots.get_mut(place)) {
                *led += 1;
            }
        }
        known.ring.nodes().iter().cloned().zip(slots).collect()
    }

    /// Looks for requests that have waited too long.
    pub fn check(&self) {
        for node in self.known.borrow().by_address.values() {
            node.check(|slot| {
                self.doubted.borrow_mut().insert(slot);
            });
        }
    }

    /// Connections to nodes that are open, those that carry a body left out.
    pub fn connections(&self) -> usize {
        self.known.borrow().by_address.values().map(|node| node.connections()).sum()
    }

    /// How often each kind of failure was met.
    pub fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.failures.borrow().clone()
    }

    /// Counts a failure and asks for the topology soon.
    pub fn note(&self, failure: &Failure) {
        *self.failures.borrow_mut().entry(failure.kind()).or_default() += 1;
        self.stale.notify_one();
    }

    /// The node that leads the slot of `key`, unless the others say that it is dead.
    fn owner(&self, key: &[u8]) -> Option<Rc<Node>> {
        let known = self.known.borrow();
        let place = known.ring.owner_at(slot_of(key))?;
        let dead = known.ring.nodes().get(place).is_none_or(|node| node.state == DEAD);
        known.owners.get(place).filter(|_| !dead).cloned()
    }

    /// The lane of a request for `key` to a node that leads it or not; what has no key is for all
    /// nodes together.
    fn lane(&self, key: &[u8], led: bool) -> Lane {
        if key.is_empty() {
            return Lane::Forwarded;
        }
        let told = !self.known.borrow().ring.nodes().is_empty();
        if self.doubted.borrow().contains(&slot_of(key)) || (told && self.owner(key).is_none()) {
            Lane::Doubted
        } else if led {
            Lane::Led
        } else {
            Lane::Forwarded
        }
    }

    /// Remembers whether the slot of `key` is served.
    fn doubt(&self, key: &[u8], answer: &Result<Answer, Failure>) {
        let mut doubted = self.doubted.borrow_mut();
        match answer {
            Ok(Answer::Refused { reason: Reason::NotServed, .. }) => {
                doubted.insert(slot_of(key));
            }
            // Neither says that it is served.
            Ok(Answer::Unknown(_)) | Err(_) => {}
            Ok(_) if doubted.is_empty() => {}
            Ok(_) => {
                doubted.remove(&slot_of(key));
            }
        }
    }

    /// Some node, if possible connected and not among `tried`; else the first of those.
    fn any(&self, tried: &[Rc<Node>]) -> Rc<Node> {
        let known = self.known.borrow();
        let fresh = |node: &&Rc<Node>| !tried.iter().any(|other| Rc::ptr_eq(other, node));
        let nodes = || known.by_address.values().filter(fresh);
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let open = nodes().filter(|node| node.is_open()).count();
        let found = if open > 0 {
            nodes().filter(|node| node.is_open()).nth(turn % open)
        } else {
            nodes().nth(turn % nodes().count().max(1))
        };
        match (found, tried.first()) {
            (Some(node), _) => Rc::clone(node),
            (None, Some(first)) => Rc::clone(first),
            (None, None) => unreachable!("the configuration names a node at least"),
        }
    }

    /// Whether another node may do better; counts what went wrong.
    fn is_elsewhere(&self, answer: &Result<Answer, Failure>, read: bool) -> bool {
        match answer {
            Ok(Answer::Refused { reason: Reason::Leaving, .. }) => true,
            Ok(Answer::Refused { reason: Reason::NotServed, .. }) => {
                self.stale.notify_one();
                false
            }
            Ok(_) => false,
            Err(failure) => {
                self.note(failure);
                match failure {
                    Failure::Full { .. } | Failure::TooLong { .. } | Failure::Timeout => false,
                    Failure::Lost { sent, .. } => read || !sent,
                    Failure::Connect(_) | Failure::Refused { .. } => true,
                }
            }
        }
    }

    /// Takes in a topology; nodes that are in it no more are retired, seeds never.
    fn learn(&self, topology: &Topology) {
        let mut known = self.known.borrow_mut();
        let known = &mut *known;
        if known.ring.nodes() == topology.nodes && !known.owners.is_empty() {
            known.ring.learn(topology);
            return;
        }
        known.ring.learn(topology);
        let mut before = std::mem::take(&mut known.by_address);
        let addresses: Vec<&String> = topology.nodes.iter().map(|node| &node.client).collect();
        for address in addresses.iter().copied().chain(&self.seeds) {
            let node = before.remove(address);
            let node = node.or_else(|| known.by_address.get(address).cloned());
            let node = node.unwrap_or_else(|| Node::new(self.settings(address)));
            known.by_address.insert(address.clone(), node);
        }
        let by_address = &known.by_address;
        known.owners =
            addresses.iter().filter_map(|address| by_address.get(*address).cloned()).collect();
        for node in before.values() {
            log::info!("{} is no member any more", node.address());
            node.retire();
        }
    }

    fn settings(&self, address: &str) -> Settings {
        Settings {
            address: address.to_owned(),
            password: self.password.clone(),
            requests_max: self.requests_max,
            node_timeout: self.node_timeout,
            clock: self.clock.clone(),
        }
    }
}

/// The word for a member that does not answer the others.
const DEAD: &str = "dead";

fn is_read(op: &Op<'_>) -> bool {
    matches!(op, Op::Get(_) | Op::Scan(_) | Op::Topology)
}
