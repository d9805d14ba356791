//! One slot over five nodes that crash, are cut off and are late, with leases: whoever reads what a
//! leader serves under its lease never reads anything old.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use piccolo_schema::ids::{Era, NodeId, Slot, Term, Version};
use piccolo_schema::slot_message::{Records, SlotMessage};
use piccolo_schema::time::Moment;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::group::{Effect, Group, Lane, Step, Support};

const NODES: usize = 5;
const VOTERS: usize = 3;
const KEYS: u8 = 8;
const RING: u64 = 1;
/// The third lane: those of heartbeats.
const BEATS: u8 = 2;
/// How long support lasts, and how long who is told of it counts on it.
const LEASE: Duration = Duration::from_secs(1);
const LEASE_COUNTED: Duration = Duration::from_millis(900);

/// Epoch and end of the support for each node.
#[derive(Clone, Default)]
struct Words(RefCell<BTreeMap<NodeId, (u64, Moment)>>, Moment);

impl Support for Words {
    fn epoch(&self, node: NodeId) -> u64 {
        self.0.borrow().get(&node).map_or(0, |word| word.0)
    }

    fn has_lapsed(&self, node: NodeId, epoch: u64) -> bool {
        let lapsed = self.0.borrow().get(&node).is_none_or(|word| word.1 < self.1);
        lapsed || self.epoch(node) > epoch
    }

    fn withdraw(&self, node: NodeId, epoch: u64) -> bool {
        let lapsed = self.has_lapsed(node, epoch);
        if lapsed && self.epoch(node) <= epoch {
            self.0.borrow_mut().entry(node).or_default().0 += 1;
        }
        lapsed
    }
}

/// Values are the versions that wrote them.
type Entries = BTreeMap<u8, Version>;

struct Node {
    id: NodeId,
    group: Option<Group>,
    /// Where its replica stood when it was dropped.
    dropped: Option<(Era, Term)>,
    entries: Entries,
    aside: Entries,
    words: Words,
    /// What the answers to heartbeats say: under which epoch, until when.
    supporters: BTreeMap<NodeId, (u64, Moment)>,
    /// Made here and not yet committed.
    pending: Vec<(u8, Version)>,
}

enum Message {
    Slot(SlotMessage),
    Beat { sent: Moment },
    Answer { sent: Moment, epoch: u64 },
}

struct World {
    nodes: Vec<Node>,
    /// By sender, receiver and lane; heartbeats have one of their own.
    links: BTreeMap<(NodeId, NodeId, u8), VecDeque<Message>>,
    leaders: BTreeMap<(u64, u32), NodeId>,
    /// The last version that anybody was told of, by key: acknowledged or read.
    known: Entries,
    desired: Vec<usize>,
    /// Whose words do not reach whom.
    deaf: Vec<(NodeId, NodeId)>,
    lives: u128,
    snapshot: u64,
    now: Moment,
    reads: u64,
    /// How often each of [`STEPS`] happens.
    shares: [u32; STEPS.len()],
    rng: Xoshiro256PlusPlus,
}

/// Bytes of the record of one key.
const RECORD_BYTES: usize = 13;

fn put(entries: &mut Entries, records: &[u8]) {
    for record in records.chunks_exact(RECORD_BYTES) {
        let term = Term(u32::from_le_bytes(record[1..5].try_into().unwrap()));
        let seq = u64::from_le_bytes(record[5..].try_into().unwrap());
        entries.insert(record[0], Version { term, seq });
    }
}

fn record(key: u8, version: Version) -> Vec<u8> {
    let Version { term, seq } = version;
    [&[key][..], &term.0.to_le_bytes(), &seq.to_le_bytes()].concat()
}

/// What happens, and how often among the others.
type Share = (u32, fn(&mut World));
const STEPS: [Share; 14] = [
    (450, World::deliver),
    (60, World::write),
    (100, World::read),
    (150, World::beat),
    (50, World::walk),
    (40, World::rebalance),
    (40, World::stand),
    (60, World::resume),
    (10, World::cut),
    (2, World::wish),
    (2, World::crash),
    (3, World::part),
    (2, |world| world.pass(LEASE)),
    (31, |world| world.pass(Duration::from_millis(40))),
];

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            links: BTreeMap::new(),
            leaders: BTreeMap::new(),
            known: Entries::new(),
            desired: (0..VOTERS).collect(),
            deaf: Vec::new(),
            lives: 0,
            snapshot: 0,
            now: Moment(1_000_000_000),
            reads: 0,
            shares: STEPS.map(|(share, _)| share),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        };
        // In each world something else is common and something else is rare, or what needs two
        // rare things at once would never be seen.
        for share in &mut world.shares {
            *share = share.saturating_mul(1 << world.rng.random_range(0..6)) / 8 + 1;
        }
        for _ in 0..NODES {
            let node = world.born();
            world.nodes.push(node);
        }
        let first = world.nodes[0].id;
        world.nodes[0].group = Some(Group::create(first, Slot::default(), None));
        world
    }

    fn born(&mut self) -> Node {
        self.lives += 1;
        Node {
            id: NodeId(self.lives),
            group: None,
            dropped: None,
            entries: Entries::new(),
            aside: Entries::new(),
            words: Words(RefCell::default(), self.now),
            supporters: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    fn any(&mut self) -> usize {
        self.rng.random_range(0..NODES)
    }

    fn with(&mut self, node: usize, act: impl FnOnce(&mut Group, &Words, &mut Vec<Effect>)) {
        let Node { group: Some(group), words, .. } = &mut self.nodes[node] else { return };
        let mut out = Vec::new();
        act(group, words, &mut out);
        self.run_all(node, out);
    }

    fn run_all(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.run(at, effect);
        }
    }

    fn run(&mut self, at: usize, effect: Effect) {
        let node = &mut self.nodes[at];
        match effect {
            Effect::Send { to, lane, message } => {
                let link = (node.id, to, u8::from(lane == Lane::Bulk));
                self.links.entry(link).or_default().push_back(Message::Slot(message));
            }
            Effect::Apply(records) => put(&mut node.entries, &records),
            Effect::BeginAside | Effect::DropAside => node.aside.clear(),
            Effect::AddAside(records) => put(&mut node.aside, &records),
            Effect::InstallAside => node.entries = std::mem::take(&mut node.aside),
            Effect::Leads => {
                let group = node.group.as_ref().unwrap();
                let reign = (group.era().0, group.term().0);
                let led = *self.leaders.entry(reign).or_insert(node.id);
                assert_eq!(led, node.id, "two lead in {reign:?}");
            }
            Effect::Committed => {
                let committed = node.group.as_ref().unwrap().committed();
                let told: Vec<_> =
                    node.pending.extract_if(.., |(_, version)| *version <= committed).collect();
                for (key, version) in told {
                    self.tell(key, version);
                }
            }
            Effect::Deposed => node.pending.clear(),
            Effect::Void => panic!("there is one era only"),
            Effect::Drop => {
                node.entries.clear();
                node.aside.clear();
                node.dropped = node.group.take().map(|group| (group.era(), group.term()));
            }
            Effect::Serves | Effect::Follows => {}
        }
    }

    /// Somebody is told of this version: nobody may be told of an older one afterwards.
    fn tell(&mut self, key: u8, version: Version) {
        let known = self.known.entry(key).or_insert(version);
        *known = version.max(*known);
    }

    /// Who may serve now, as itself believes.
    fn serves(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        node.group.as_ref().is_some_and(|group| {
            let until = |voter, epoch| match node.supporters.get(&voter) {
                Some((supported, until)) if *supported == epoch => *until,
                _ => Moment(0),
            };
            group.serves() && group.leased_until(until) > self.now
        })
    }

    fn step(&mut self) {
        let all: u32 = self.shares.iter().sum();
        let mut drawn = self.rng.random_range(0..all);
        let step = self.shares.iter().position(|share| {
            let here = drawn < *share;
            drawn = drawn.saturating_sub(*share);
            here
        });
        STEPS[step.unwrap()].1(self);
        self.check();
    }

    fn pass(&mut self, most: Duration) {
        let by = self.rng.random_range(0..=most.as_micros() as u64);
        self.now = self.now + Duration::from_micros(by);
        for node in &mut self.nodes {
            node.words.1 = self.now;
        }
    }

    fn deliver(&mut self) {
        // What is under way on a link waits while it is cut; heartbeats are lost.
        let waits = |(from, to, lane): &(NodeId, NodeId, u8)| {
            *lane != BEATS && self.deaf.contains(&(*from, *to))
        };
        let busy = self.links.iter().filter(|(link, queue)| !queue.is_empty() && !waits(link));
        let busy: Vec<_> = busy.map(|(link, _)| *link).collect();
        if busy.is_empty() {
            return;
        }
        let link = busy[self.rng.random_range(0..busy.len())];
        let message = self.links.get_mut(&link).and_then(VecDeque::pop_front).unwrap();
        let (from, to, _) = link;
        if self.deaf.contains(&(from, to)) {
            return;
        }
        // Nobody has a later life under its old id.
        let Some(at) = self.nodes.iter().position(|node| node.id == to) else { return };
        match message {
            Message::Slot(message) => self.receive(from, at, message),
            Message::Beat { sent } => {
                let mut words = self.nodes[at].words.0.borrow_mut();
                let word = words.entry(from).or_default();
                word.1 = word.1.max(self.now + LEASE);
                let epoch = word.0;
                drop(words);
                let answer = Message::Answer { sent, epoch };
                self.links.entry((to, from, BEATS)).or_default().push_back(answer);
            }
            Message::Answer { sent, epoch } => {
                let until = sent + LEASE_COUNTED;
                let before = self.nodes[at].supporters.insert(from, (epoch, until));
                if before.is_none_or(|before| before.0 != epoch) {
                    self.with(at, |group, _, out| group.epoch_changed(from, epoch, out));
                }
            }
        }
    }

    fn receive(&mut self, from: NodeId, at: usize, message: SlotMessage) {
        let node = &mut self.nodes[at];
        if node.group.is_none() {
            match Group::answer_unheld(node.id, from, &message, node.dropped) {
                Ok(group) => node.group = Some(group),
                Err(effect) => {
                    return self.run_all(at, effect.into_iter().map(|effect| *effect).collect());
                }
            }
        }
        self.with(at, |group, words, out| group.receive(from, message, RING, words, out));
    }

    fn beat(&mut self) {
        let (from, to) = (self.any(), self.any());
        let link = (self.nodes[from].id, self.nodes[to].id, BEATS);
        self.links.entry(link).or_default().push_back(Message::Beat { sent: self.now });
    }

    fn write(&mut self) {
        let (at, key) = (self.any(), self.rng.random_range(0..KEYS));
        if !self.serves(at) {
            return;
        }
        let node = &mut self.nodes[at];
        let group = node.group.as_mut().unwrap();
        let version = group.next_version();
        node.entries.insert(key, version);
        node.pending.push((key, version));
        let mut out = Vec::new();
        if group.is_alone() {
            group.advance_alone(version);
            out.push(Effect::Committed);
        } else {
            let records = Records::from(record(key, version));
            let mut behind = |cursor| (u64::from(key) < cursor).then(|| records.clone());
            group.append(records.clone(), &mut behind, &mut out);
        }
        self.run_all(at, out);
    }

    fn read(&mut self) {
        let (at, key) = (self.any(), self.rng.random_range(0..KEYS));
        let uncommitted = self.nodes[at].pending.iter().any(|(pending, _)| *pending == key);
        if !self.serves(at) || uncommitted {
            return;
        }
        let found = self.nodes[at].entries.get(&key).copied().unwrap_or(Version::ZERO);
        let known = self.known.get(&key).copied().unwrap_or(Version::ZERO);
        assert!(found >= known, "{at} serves {key} as of {found:?}, known is {known:?}");
        self.reads += 1;
        self.tell(key, found);
    }

    fn walk(&mut self) {
        for at in 0..NODES {
            let Some(group) = &self.nodes[at].group else { continue };
            for lacking in group.lacking().collect::<Vec<_>>() {
                self.snapshot += 1;
                let number = self.snapshot;
                self.with(at, |group, _, out| group.open_snapshot(lacking, number, RING, out));
            }
            let Some(group) = &self.nodes[at].group else { continue };
            for (to, _, cursor) in group.snapshots().collect::<Vec<_>>() {
                let next = (cursor + 4 < u64::from(KEYS)).then_some(cursor + 4);
                let part = self.nodes[at].entries.range(cursor as u8..cursor as u8 + 4);
                let records: Vec<u8> = part.flat_map(|(key, at)| record(*key, *at)).collect();
                let records = Records::from(records);
                self.with(at, |group, _, out| group.send_piece(to, records, next, out));
            }
        }
    }

    fn rebalance(&mut self) {
        let desired: Vec<NodeId> = self.desired.iter().map(|at| self.nodes[*at].id).collect();
        for at in 0..NODES {
            self.with(at, |group, _, out| {
                let step = group.next_step(&desired);
                group.take_step(step, out);
            });
        }
    }

    fn stand(&mut self) {
        let at = self.any();
        self.with(at, |group, words, out| {
            if !group.leader().is_some() || words.has_lapsed(group.leader(), u64::MAX) {
                group.stand(words, out);
            }
        });
    }

    fn resume(&mut self) {
        let at = self.any();
        let leader = (0..NODES).find(|at| self.serves(*at)).map(|at| self.nodes[at].id);
        self.with(at, |group, words, out| {
            group.resume(words, out);
            if let Some(leader) = leader {
                group.state(leader, words, out);
            }
        });
    }

    /// All links between two nodes are lost and made anew; heartbeats are datagrams, and are lost.
    fn cut(&mut self) {
        let (a, b) = (self.any(), self.any());
        let ids = [self.nodes[a].id, self.nodes[b].id];
        self.links.retain(|(from, to, _), _| !(ids.contains(from) && ids.contains(to)));
        for (at, other) in [(a, ids[1]), (b, ids[0])] {
            self.with(at, |group, _, out| group.link_renewed(other, out));
        }
    }

    /// Some hear nothing of others from now on: one node of nobody, pairs in one direction, fewer
    /// than before, or all hear all.
    fn part(&mut self) {
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let mut deaf: Vec<_> = ids.iter().flat_map(|a| ids.iter().map(move |b| (*a, *b))).collect();
        let one = ids[self.rng.random_range(0..NODES)];
        match self.rng.random_range(0..5) {
            0 => deaf.clear(),
            1 => deaf.retain(|(a, b)| (*a == one) != (*b == one)),
            2 => deaf.retain(|_| self.rng.random_bool(0.2)),
            _ => {
                deaf = std::mem::take(&mut self.deaf);
                deaf.retain(|_| self.rng.random_bool(0.6));
            }
        }
        self.deaf = deaf;
    }

    fn wish(&mut self) {
        self.desired.clear();
        while self.desired.len() < VOTERS {
            let node = self.any();
            if !self.desired.contains(&node) {
                self.desired.push(node);
            }
        }
    }

    /// A node forgets everything and comes back as another, if the slot stands on three that live,
    /// all of whom know that: one less is still a majority of them.
    fn crash(&mut self) {
        let at = self.any();
        let settled = (0..NODES).filter(|at| self.serves(*at)).any(|leader| {
            let group = self.nodes[leader].group.as_ref().unwrap();
            let lives = |id: &NodeId| self.nodes.iter().any(|node| node.id == *id);
            let voters = &group.config().voters;
            group.config_committed() && voters.len() == VOTERS && voters.iter().all(lives)
        });
        if settled {
            self.forget(at);
        }
    }

    fn forget(&mut self, at: usize) {
        let old = self.nodes[at].id;
        self.links.retain(|(from, to, _), _| *from != old && *to != old);
        self.nodes[at] = self.born();
    }

    fn check(&self) {
        let serving = (0..NODES).filter(|at| self.serves(*at)).count();
        assert!(serving <= 1, "{serving} serve under a lease");
        for (a, b) in (0..NODES).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let (a, b) = (&self.nodes[a], &self.nodes[b]);
            if let (Some(x), Some(y)) = (&a.group, &b.group)
                && x.last() == y.last()
            {
                assert_eq!(a.entries, b.entries, "equal last, other contents");
            }
        }
    }

    /// Nothing is lost any more and heartbeats come in time.
    fn rest(&mut self) {
        self.deaf.clear();
        // Where little was delivered much is under way.
        while self.links.values().any(|queue| !queue.is_empty()) {
            self.deliver();
        }
        for _ in 0..400 {
            for from in 0..NODES {
                for to in 0..NODES {
                    let link = (self.nodes[from].id, self.nodes[to].id, BEATS);
                    let beat = Message::Beat { sent: self.now };
                    self.links.entry(link).or_default().push_back(beat);
                }
            }
            for _ in 0..200 {
                self.deliver();
                self.check();
            }
            self.walk();
            self.rebalance();
            self.stand();
            for _ in 0..NODES {
                self.resume();
            }
            self.pass(Duration::from_millis(20));
        }
    }
}

/// Whatever is lost or late, and whoever forgets: nothing acknowledged or read is undone, never do
/// two serve, and once all is quiet the slot is served from where it should be.
#[test]
fn what_is_served_under_a_lease_is_never_old() {
    let from_env = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match from_env("PICCOLO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_env("PICCOLO_SEEDS").unwrap_or(256),
    };
    let mut reads = 0;
    for seed in seeds {
        let replay = Replay(seed);
        let mut world = World::new(seed);
        for _ in 0..10_000 {
            world.step();
        }
        world.rest();
        reads += world.reads;
        let first = world.desired[0];
        assert!(world.serves(first), "the slot is not served where it should be");
        let desired: Vec<NodeId> = world.desired.iter().map(|at| world.nodes[*at].id).collect();
        let group = world.nodes[first].group.as_ref().unwrap();
        assert_eq!(group.next_step(&desired), Step::Settled);
        for (key, version) in &world.known {
            let held = world.nodes[first].entries.get(key).copied().unwrap_or(Version::ZERO);
            assert!(held >= *version, "{key} as of {held:?}, known is {version:?}");
        }
        drop(replay);
    }
    assert!(reads > 0, "nobody ever read");
}

/// Prints the line that replays a failure.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed) = self;
            println!(
                "replay: PICCOLO_SEED={seed} cargo test -p piccolo-ring \
                 what_is_served_under_a_lease_is_never_old"
            );
        }
    }
}
