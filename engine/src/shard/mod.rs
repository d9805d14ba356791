//! One shard of a node: its slots, its connections, its links, as a state machine.
//!
//! The shard is told what came in ([`Shard::received`], [`Shard::take_batch`], [`Shard::control`],
//! ...), takes its turn ([`Shard::turn`]), and is then asked what is to be done: bytes to send
//! ([`Shard::dirty`], [`Shard::output`]), batches for its siblings ([`Shard::take_outbound`]),
//! [`Shard::next_action`], and when it wants its next turn ([`Shard::deadline`]). It has no
//! socket, no clock and no thread: a thread drives it in a node, the simulator in tests.

mod answers;
pub(crate) mod calls;
mod clients;
mod cluster;
mod control;
mod counters;
mod delivery;
mod dispatch;
mod durations;
mod execution;
mod expiry;
mod handshake;
mod info;
mod latency;
mod link;
mod login;
mod losses;
mod mesh;
mod moves;
mod native;
mod pause;
mod plain;
mod probe;
mod replicas;
mod replies;
mod requests;
mod routes;
mod seat;
mod serve;
mod session;
mod settings;
mod shutdown;
mod slowlog;
mod strangers;
mod stream;
mod task;
#[cfg(test)]
mod testing;
mod too_long;
mod topology;
mod turn;

pub use calls::{CallResult, NATIVE_SCAN, NATIVE_TOPOLOGY, OTHER, SharedCalls};
pub use clients::Filter;
pub use control::{Action, Control, Members, NodeView, PeerView, Wish};
pub use counters::{Gauge, Proto, Shared};
pub use durations::{BOUNDS_MICROSECONDS, Path, SharedDurations};
pub use mesh::{Address, Errand, MeshBatch, Source, Work};
pub use probe::SlotProbe;
pub use session::{Door, ReplyTo};
pub use settings::{Doors, Setting};
pub use stream::StreamKey;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use piccolo_schema::ids::{ClusterId, Era, NodeId, Slot, Term};
use piccolo_schema::link::Outcome;
use piccolo_schema::slot_message::Route;
use piccolo_schema::time::{Moment, Now};
use slab::Slab;

use crate::keyspace::Changes;
use crate::resp::parse::Limits;
use crate::store::{KeyHasher, SlotTable};
use crate::support::Bonds;
use counters::Counters;
use handshake::Handshake;
use link::Peer;
use requests::Requests;
use routes::Routes;
use seat::Seat;
use strangers::Strangers;
use stream::{Role, Streams};
use topology::Topology;

/// Entries of dropped tables that a turn gives back at most.
const GRAVE_ENTRIES: usize = 2048;

/// Time between looks at what changes slowly: links, sessions, expiry.
const TEND: Duration = Duration::from_millis(50);

/// Time between two counts of slots.
const RECOUNT: Duration = Duration::from_millis(10);

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Its number, below `shards`.
    pub index: u16,
    /// Shards of this node, at least 1.
    pub shards: u16,
    /// This node.
    pub me: NodeId,
    /// What clients must know, if anything.
    pub password: Option<Vec<u8>>,
    /// Of commands.
    pub limits: Limits,
    /// Bytes of entries in the whole node at most; 0 for no limit.
    pub memory_max: usize,
    /// Counts of all shards of the node, by their number.
    pub shared: Arc<[Shared]>,
}

/// One shard of a node.
#[derive(Debug)]
pub struct Shard {
    index: u16,
    shards: u16,
    me: NodeId,
    cluster: ClusterId,
    hasher: KeyHasher,
    limits: Limits,
    password: Option<Vec<u8>>,
    doors: Doors,
    memory_max: usize,
    /// This shard's part of `memory_max`.
    bytes_max: usize,
    now: Now,
    began: Moment,
    turns: u64,

    streams: Streams,
    batch: turn::Batch,
    task_inputs: VecDeque<TaskInput>,
    next_client: u64,
    client_pause: Option<pause::ClientPause>,
    /// Errands on behalf of clients: whose, by number.
    errands_out: Slab<(StreamKey, u64)>,

    seats: Vec<Seat>,
    routes: Routes,
    topology: Topology,
    /// Rounds of bounces seen per slot.
    fences: Vec<u32>,
    requests: Requests,
    scratch: Vec<u8>,
    changes: Changes,
    graves: Vec<SlotTable>,

    /// Slots in which something waits.
    busy: BTreeSet<Slot>,
    /// Slots whose replicas have something to repeat now and then.
    unsettled: BTreeSet<Slot>,
    losses: losses::Losses,
    /// Slots on the move.
    moves: Vec<Slot>,
    /// Slots to be looked at, whether they should move.
    wishes: VecDeque<Slot>,
    /// Slots whose next step needs a node that cannot be reached: looked at again now and then.
    blocked: Vec<Slot>,
    /// For whom, and when, a snapshot of a slot on the move was begun last.
    openings: BTreeMap<Slot, (NodeId, Moment)>,
    vacant_since: BTreeMap<Slot, Moment>,
    /// Where replicas stood that this node had and was told to drop: what was forgotten with them
    /// must not be undone by a later replica.
    dropped: BTreeMap<Slot, (Era, Term)>,
    /// The counts of slots are out of date.
    recount: bool,
    recounted: Moment,

    handshake: Handshake,
    peers: Vec<Peer>,
    gone: BTreeSet<NodeId>,
    members_majority: bool,
    bonds: Bonds,
    wish: Arc<Wish>,
    inlinks_to_write: Vec<StreamKey>,
    strangers: Strangers,
    natives_to_write: Vec<StreamKey>,

    outbound: Vec<MeshBatch>,
    actions: VecDeque<Action>,
    /// Routes that became known in this turn, for the node's own view.
    routes_out: Vec<Route>,
    counters: Counters,
    /// What INFO counts from, for all shards of the node.
    counted_from: info::Counts,
    slowlog: slowlog::Slowlog,
    shared: Arc<[Shared]>,

    tended: Moment,
    resumed: Moment,
    stated: Moment,
    stated_to: usize,
    expiry: expiry::Expiry,
}

/// An answer for a task of a connection: its ticket, and part and content of the answer.
type TaskInput = (StreamKey, u64, Option<(u32, Vec<u8>)>);

impl Shard {
    /// A shard that belongs to no cluster yet.
    pub fn new(config: ShardConfig, now: Now) -> Self {
        let ShardConfig { index, shards, me, password, limits, memory_max, shared } = config;
        assert!(index < shards && shared.len() == usize::from(shards));
        let count = (usize::from(Slot::COUNT) - usize::from(index)).div_ceil(usize::from(shards));
        // Until the first count says otherwise: the node must not believe that all is known.
        shared[usize::from(index)].slots_unrouted.set(count as u64);
        let mut shard = Self {
            index,
            shards,
            me,
            cluster: ClusterId::NONE,
            hasher: KeyHasher::new(ClusterId::NONE),
            limits,
            password,
            doors: Doors::default(),
            memory_max: 0,
            bytes_max: usize::MAX,
            now,
            began: now.moment,
            turns: 0,
            streams: Streams::default(),
            batch: turn::Batch::default(),
            task_inputs: VecDeque::new(),
            next_client: 0,
            client_pause: None,
            errands_out: Slab::new(),
            seats: (0..count).map(|_| Seat::default()).collect(),
            routes: Routes::new(),
            topology: Topology::default(),
            fences: vec![0; usize::from(Slot::COUNT)],
            requests: Requests::default(),
            scratch: Vec::new(),
            changes: Changes::default(),
            graves: Vec::new(),
            busy: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            losses: losses::Losses::default(),
            moves: Vec::new(),
            wishes: VecDeque::new(),
            blocked: Vec::new(),
            openings: BTreeMap::new(),
            vacant_since: BTreeMap::new(),
            dropped: BTreeMap::new(),
            recount: true,
            recounted: Moment(0),
            handshake: Handshake::default(),
            peers: Vec::new(),
            gone: BTreeSet::new(),
            members_majority: false,
            bonds: Bonds::default(),
            wish: Arc::default(),
            inlinks_to_write: Vec::new(),
            strangers: Strangers::default(),
            natives_to_write: Vec::new(),
            outbound: (0..shards).map(|_| MeshBatch::default()).collect(),
            actions: VecDeque::new(),
            routes_out: Vec::new(),
            counters: Counters::default(),
            counted_from: info::Counts::default(),
            slowlog: slowlog::Slowlog::default(),
            shared,
            tended: now.moment,
            resumed: now.moment,
            stated: now.moment,
            stated_to: 0,
            expiry: expiry::Expiry::default(),
        };
        shard.set_memory_max(memory_max);
        shard
    }

    /// Takes in bytes of a connection.
    pub fn received(&mut self, key: StreamKey, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.inbox.extend(bytes);
        self.counters.received[stream.proto() as usize] += bytes.len() as u64;
        if matches!(stream.role, Role::Client(_)) {
            self.streams.mark_ready(key);
        } else {
            self.read_link(key);
        }
    }

    /// Whether more bytes of a connection may be taken in: a client whose commands wait is not
    /// read without end.
    pub fn wants(&self, key: StreamKey) -> bool {
        let open = self.streams.get(key).filter(|stream| !stream.ended);
        open.is_some_and(|stream| match &stream.role {
            Role::Client(session) => {
                session.pause == session::Pause::No
                    && stream.outbox.unsent().len() <= session::OUTPUT_BYTES_MAX
                    || stream.inbox.len() < INPUT_BYTES_WAITING_MAX
            }
            Role::Inlink(_) | Role::Outlink(_) => true,
        })
    }

    /// A connection has ended, whoever ended it.
    pub fn closed(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.close(key) else { return };
        match stream.role {
            Role::Outlink(link) => self.outlink_closed(&link),
            Role::Client(session) => {
                self.slowlog.closed(key, &session, &stream.inbox);
                self.counters.connections -= 1;
                self.counters.native_connections -= u64::from(session.native.is_some());
            }
            Role::Inlink(_) => {}
        }
    }

    /// Ends a connection from this side.
    fn hang_up(&mut self, key: StreamKey) {
        self.actions.push_back(Action::Close(key));
        self.closed(key);
    }

    /// The other side of a connection will send nothing more. Returns true if it is to be closed
    /// now; else what it has sent is answered first.
    pub fn ended(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return true };
        stream.ended = true;
        let client = matches!(stream.role, Role::Client(_));
        self.streams.mark_dirty(key);
        !client
    }

    /// Connections with something to send, each once. Sending is up to the caller.
    pub fn dirty(&mut self) -> Option<StreamKey> {
        let key = self.streams.dirty.pop()?;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.dirty = false;
        }
        Some(key)
    }

    /// Bytes that a connection has to send.
    pub fn output(&self, key: StreamKey) -> &[u8] {
        self.streams.get(key).map_or(&[], |stream| stream.outbox.unsent())
    }

    /// So many of those bytes are sent. Returns true if the connection is to be closed now: its
    /// last reply is out.
    pub fn sent(&mut self, key: StreamKey, bytes: usize) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        let was_full = stream.outbox.unsent().len() > session::OUTPUT_BYTES_MAX;
        stream.outbox.sent(bytes);
        self.counters.sent[stream.proto() as usize] += bytes as u64;
        let unsent = stream.outbox.unsent().len();
        let idle = match &mut stream.role {
            Role::Client(session) => {
                if bytes > 0 {
                    session.stuck_since = None;
                }
                session.pending.is_empty()
                    && session.pause != session::Pause::ByOperator
                    && session.native.as_ref().is_none_or(|native| native.is_idle())
            }
            Role::Inlink(_) | Role::Outlink(_) => true,
        };
        let over = stream.closing || (stream.ended && !stream.ready);
        let close = over && unsent == 0 && idle;
        if was_full && unsent <= session::OUTPUT_BYTES_MAX {
            self.streams.mark_ready(key);
        }
        close
    }

    /// Takes in a batch of a sibling.
    pub fn take_batch(&mut self, from: u16, mut batch: MeshBatch) {
        for route in std::mem::take(&mut batch.routes) {
            self.learn_route(&route, false);
        }
        for (node, message) in std::mem::take(&mut batch.slots) {
            self.receive_slot(node, message);
        }
        for (address, work) in batch.work() {
            self.serve(&work, ReplyTo::Sibling { shard: from, address });
        }
        for (address, outcome) in batch.answers() {
            match address {
                Address::Own(id) if id & ERRAND != 0 => {
                    if let Outcome::Done(answer) = outcome {
                        self.errand_answered(id & !ERRAND, answer);
                    }
                }
                Address::Own(id) => self.answered(id, &outcome),
                Address::Link(stream, id) => self.reply_on_link(stream, id, &outcome),
            }
        }
        for (address, errand) in std::mem::take(&mut batch.errands) {
            let Address::Own(number) = address else { continue };
            let mut answer = Vec::new();
            self.run_errand(&errand, &mut answer);
            let address = Address::Own(number | ERRAND);
            self.outbound[usize::from(from)].push_answer(address, &Outcome::Done(&answer));
        }
    }

    /// What is to be said to a sibling, if anything.
    pub fn take_outbound(&mut self, to: u16) -> Option<MeshBatch> {
        let batch = &mut self.outbound[usize::from(to)];
        (!batch.is_empty()).then(|| std::mem::take(batch))
    }

    /// The oldest thing to do that is not taken yet.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Routes of this shard's slots that became known since the last call.
    pub fn take_routes(&mut self) -> Vec<Route> {
        std::mem::take(&mut self.routes_out)
    }

    /// Tells the shard what time it is, before anything that came in at that time.
    pub fn set_now(&mut self, now: Now) {
        debug_assert!(now.moment >= self.now.moment);
        self.now = now;
    }

    /// Does everything that can be done now.
    pub fn turn(&mut self) {
        self.turns += 1;
        self.tend_pause();
        self.run_sessions();
        self.run_tasks();
        self.tend_requests();
        if self.now.moment.since(self.tended) >= TEND {
            self.tended = self.now.moment;
            self.tend_links();
            self.tend_sessions();
            self.state_routes();
            self.expiry.goes_on = true;
            self.shared[usize::from(self.index)].publish_rest(&self.counters);
        }
        if self.expiry.goes_on {
            self.expire();
        }
        self.tend_unsettled();
        self.tend_moves();
        self.tend_busy();
        self.run_tasks();
        self.write_links();
        self.write_natives();
        self.bury();
        self.publish();
    }

    /// When the shard wants its next turn though nothing comes in.
    pub fn deadline(&self) -> Moment {
        let waits = self.streams.ready.is_empty() && self.task_inputs.is_empty();
        if !waits || !self.graves.is_empty() || self.expiry.goes_on {
            return self.now.moment;
        }
        let pause = self.client_pause.map_or(Moment::NEVER, pause::ClientPause::until);
        (self.tended + TEND).min(pause).min(self.requests.deadline()).min(self.moves_deadline())
    }

    fn bury(&mut self) {
        if let Some(grave) = self.graves.last_mut()
            && grave.drop_step(GRAVE_ENTRIES)
        {
            self.graves.pop();
        }
    }

    fn publish(&mut self) {
        let shared = &self.shared[usize::from(self.index)];
        // Looks at every slot: not in every turn while many move.
        if self.recount && self.now.moment.since(self.recounted) >= RECOUNT {
            (self.recount, self.recounted) = (false, self.now.moment);
            self.counters.slots_led = self.led().count() as u64;
            let replicas = self.seats.iter().filter(|seat| seat.group.is_some()).count();
            shared.replicas.set(replicas as u64);
            let (mut missing, mut unrouted) = (0, 0);
            for place in 0..self.seats.len() {
                let slot = self.slot_at(place);
                let led = self.seats[place].group.as_ref().is_some_and(|group| group.serves());
                missing += u64::from(self.wish.placement.primary(slot) == Some(self.me) && !led);
                unrouted += u64::from(!self.routes.get(slot).leader.is_some());
            }
            shared.slots_missing.set(missing);
            shared.slots_unrouted.set(unrouted);
        }
        shared.slots_moving.set(self.moves.len() as u64);
        shared.publish(&self.counters, self.requests.len() as u64);
    }
}

/// Marks the number of an errand among those of requests.
const ERRAND: u64 = 1 << 63;

/// Bytes of commands that a client may send ahead while it has to wait, unless one command is
/// longer.
const INPUT_BYTES_WAITING_MAX: usize = 1 << 20;
