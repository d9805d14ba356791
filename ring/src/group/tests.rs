//! One slot over three nodes under random delivery, lost links and changing wishes.

use std::collections::{BTreeMap, VecDeque};

use piccolo_schema::ids::{Era, NodeId, Slot, Term, Version};
use piccolo_schema::slot_message::{Body, Records, SlotMessage};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use super::{Effect, Group, Lane, Step, Unbroken};

const NODES: usize = 3;
const RING: u64 = 1;

/// A slot whose entries are one number each, under the "hash" 0..16; records are (hash, number).
#[derive(Default)]
struct Replica {
    group: Option<Group>,
    entries: BTreeMap<u8, u8>,
    aside: BTreeMap<u8, u8>,
}

type Link = (usize, usize, bool);

struct World {
    replicas: Vec<Replica>,
    links: BTreeMap<Link, VecDeque<SlotMessage>>,
    leaders: BTreeMap<(u64, u32), usize>,
    /// What was acknowledged: the last committed value of each entry.
    acknowledged: BTreeMap<u8, (Version, u8)>,
    /// Made but not yet committed, with the node that made them.
    pending: Vec<(usize, Version, u8, u8)>,
    snapshot: u64,
    rng: Xoshiro256PlusPlus,
}

fn id(node: usize) -> NodeId {
    NodeId(node as u128 + 1)
}

fn add(entries: &mut BTreeMap<u8, u8>, records: &[u8]) {
    for pair in records.chunks(2) {
        entries.insert(pair[0], pair[1]);
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut replicas: Vec<Replica> = (0..NODES).map(|_| Replica::default()).collect();
        replicas[0].group = Some(Group::create(id(0), Slot::default(), None));
        Self {
            replicas,
            links: BTreeMap::new(),
            leaders: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            pending: Vec::new(),
            snapshot: 0,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    fn run(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            let replica = &mut self.replicas[node];
            match effect {
                Effect::Send { to, lane, message } => {
                    let link = (node, to.0 as usize - 1, lane == Lane::Bulk);
                    self.links.entry(link).or_default().push_back(message);
                }
                Effect::Apply(records) => add(&mut replica.entries, &records),
                Effect::BeginAside | Effect::DropAside => replica.aside.clear(),
                Effect::AddAside(records) => add(&mut replica.aside, &records),
                Effect::InstallAside => replica.entries = std::mem::take(&mut replica.aside),
                Effect::Leads => {
                    let group = replica.group.as_ref().unwrap();
                    let reign = (group.era().0, group.term().0);
                    assert_eq!(*self.leaders.entry(reign).or_insert(node), node, "{reign:?}");
                }
                Effect::Committed => self.acknowledge(node),
                Effect::Void => panic!("there is one era only"),
                Effect::Drop => {
                    replica.entries.clear();
                    replica.aside.clear();
                    replica.group = None;
                }
                Effect::Deposed => panic!("nobody is deposed: leaders only give up"),
                Effect::Serves | Effect::Follows => {}
            }
        }
    }

    fn acknowledge(&mut self, node: usize) {
        let committed = self.replicas[node].group.as_ref().unwrap().committed();
        self.pending.retain(|(owner, version, key, value)| {
            let held = *owner == node && *version <= committed;
            if held {
                self.acknowledged.insert(*key, (*version, *value));
            }
            !held
        });
    }

    fn step(&mut self, desired: usize) {
        match self.rng.random_range(0..100) {
            0..50 => self.deliver(),
            50..70 => self.write(),
            70..80 => self.walk(),
            80..90 => self.rebalance(desired),
            90..93 => self.cut(),
            _ => self.resume(),
        }
        self.check();
    }

    fn deliver(&mut self) {
        let busy: Vec<Link> =
            self.links.iter().filter(|(_, q)| !q.is_empty()).map(|(link, _)| *link).collect();
        if busy.is_empty() {
            return;
        }
        let link = busy[self.rng.random_range(0..busy.len())];
        let message = self.links.get_mut(&link).and_then(VecDeque::pop_front).unwrap();
        let (from, to, _) = link;
        self.receive(from, to, message);
    }

    fn receive(&mut self, from: usize, to: usize, message: SlotMessage) {
        let mut out = Vec::new();
        let replica = &mut self.replicas[to];
        if replica.group.is_none() {
            match Group::answer_unheld(id(to), id(from), &message, None) {
                Ok(group) => replica.group = Some(group),
                Err(effect) => out.extend(effect.map(|effect| *effect)),
            }
        }
        if let Some(group) = &mut replica.group {
            group.receive(id(from), message, RING, &Unbroken, &mut out);
        }
        self.run(to, out);
    }

    fn leader(&self) -> Option<usize> {
        (0..NODES).find(|n| self.replicas[*n].group.as_ref().is_some_and(Group::serves))
    }

    fn write(&mut self) {
        let Some(node) = self.leader() else { return };
        let (key, value) = (self.rng.random_range(0..16), self.rng.random());
        let replica = &mut self.replicas[node];
        let group = replica.group.as_mut().unwrap();
        // A reader must find what was acknowledged.
        if let Some((_, value)) = self.acknowledged.get(&key)
            && !self.pending.iter().any(|(_, _, pending, _)| *pending == key)
        {
            assert_eq!(replica.entries.get(&key), Some(value), "entry {key} at {node}");
        }
        replica.entries.insert(key, value);
        let version = group.next_version();
        self.pending.push((node, version, key, value));
        let mut out = Vec::new();
        if group.is_alone() {
            group.advance_alone(version);
            out.push(Effect::Committed);
        } else {
            let records = Records::from([key, value]);
            let mut behind = |cursor| (u64::from(key) < cursor).then(|| records.clone());
            group.append(records.clone(), &mut behind, &mut out);
        }
        self.run(node, out);
    }

    fn walk(&mut self) {
        for node in 0..NODES {
            let Replica { group: Some(group), entries, .. } = &mut self.replicas[node] else {
                continue;
            };
            let mut out = Vec::new();
            for lacking in group.lacking().collect::<Vec<_>>() {
                self.snapshot += 1;
                // Now and then the other end has another ring.
                let ring = if self.rng.random_bool(0.2) { RING + 1 } else { RING };
                group.open_snapshot(lacking, self.snapshot, ring, &mut out);
            }
            for (to, _, cursor) in group.snapshots().collect::<Vec<_>>() {
                let next = (cursor < 12).then_some(cursor + 4);
                let upto = next.map_or(u8::MAX, |next| next as u8 - 1);
                let records: Records =
                    entries.range(cursor as u8..=upto).flat_map(|(k, v)| [*k, *v]).collect();
                group.send_piece(to, records, next, &mut out);
            }
            self.run(node, out);
        }
    }

    fn rebalance(&mut self, desired: usize) {
        for node in 0..NODES {
            let Some(group) = &mut self.replicas[node].group else { continue };
            let mut out = Vec::new();
            let step = group.next_step(&[id(desired)]);
            group.take_step(step, &mut out);
            self.run(node, out);
        }
    }

    /// Both directions of all links between two nodes are lost and made anew.
    fn cut(&mut self) {
        let (a, b) = (self.rng.random_range(0..NODES), self.rng.random_range(0..NODES));
        for (from, to) in [(a, b), (b, a)] {
            self.links.remove(&(from, to, false));
            self.links.remove(&(from, to, true));
            let Some(group) = &mut self.replicas[from].group else { continue };
            let mut out = Vec::new();
            group.link_renewed(id(to), &mut out);
            self.run(from, out);
        }
    }

    fn resume(&mut self) {
        let leader = self.leader();
        for node in 0..NODES {
            let Some(group) = &mut self.replicas[node].group else { continue };
            let mut out = Vec::new();
            group.resume(&Unbroken, &mut out);
            if let Some(leader) = leader {
                group.state(id(leader), &Unbroken, &mut out);
            }
            self.run(node, out);
        }
    }

    /// Delivers all that is under way, and what that leads to.
    fn deliver_all(&mut self) {
        while self.links.values().any(|queue| !queue.is_empty()) {
            self.deliver();
        }
    }

    /// Makes the second node a voter of the slot that the first one leads.
    fn add_voter(&mut self) {
        self.rebalance(1);
        while self.replicas[0].group.as_ref().unwrap().config().voters.len() < 2 {
            self.walk();
            self.deliver_all();
            self.rebalance(1);
        }
        self.deliver_all();
    }

    fn group(&mut self, node: usize) -> &mut Group {
        self.replicas[node].group.as_mut().unwrap()
    }

    fn check(&self) {
        for Replica { group, aside, .. } in &self.replicas {
            let builds = group.as_ref().is_some_and(|group| {
                matches!(group.role, super::Role::Follower { aside: Some(_), .. })
            });
            assert!(builds || aside.is_empty(), "a part of a snapshot is left");
        }
        let serving =
            self.replicas.iter().filter(|r| r.group.as_ref().is_some_and(Group::serves)).count();
        assert!(serving <= 1, "{serving} leaders serve");
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let (a, b) = (&self.replicas[a], &self.replicas[b]);
            if let (Some(x), Some(y)) = (&a.group, &b.group)
                && x.last() == y.last()
            {
                assert_eq!(a.entries, b.entries, "equal last, other contents");
            }
        }
    }
}

/// Whatever is lost or delayed, nothing acknowledged is lost, never do two lead, and once wishes
/// and links rest, the slot is where it should be and nowhere else.
#[test]
fn a_slot_moves_without_losing_anything() {
    let seeds = match std::env::var("PICCOLO_SEED") {
        Ok(seed) => seed.parse().unwrap()..=seed.parse().unwrap(),
        Err(_) => 0..=511,
    };
    for seed in seeds {
        let line = format!(
            "replay: PICCOLO_SEED={seed} cargo test -p piccolo-ring \
             a_slot_moves_without_losing_anything"
        );
        let replay = Replay(line);
        let mut world = World::new(seed);
        let mut desired = 0;
        for _ in 0..3000 {
            if world.rng.random_bool(0.01) {
                desired = world.rng.random_range(0..NODES);
            }
            world.step(desired);
        }
        for _ in 0..200 {
            for _ in 0..50 {
                world.deliver();
                world.check();
            }
            world.walk();
            world.rebalance(desired);
            world.resume();
        }
        for (node, replica) in world.replicas.iter().enumerate() {
            assert_eq!(replica.group.is_some(), node == desired, "node {node} of {desired}");
        }
        let group = world.replicas[desired].group.as_ref().unwrap();
        assert!(group.is_alone() && group.next_step(&[id(desired)]) == Step::Settled);
        let held = &world.replicas[desired].entries;
        for (key, (_, value)) in &world.acknowledged {
            assert_eq!(held.get(key), Some(value), "entry {key}");
        }
        drop(replay);
    }
}

/// What a follower said before it was let go may arrive after it was let in again: it holds nothing
/// of that any more.
#[test]
fn an_answer_of_before_a_removal_does_not_count_after_it() {
    let mut world = World::new(0);
    world.add_voter();
    world.write();
    let append = world.links.get_mut(&(0, 1, false)).and_then(VecDeque::pop_front).unwrap();
    world.receive(0, 1, append);
    let late = world.links.get_mut(&(1, 0, false)).and_then(VecDeque::pop_back).unwrap();
    assert!(matches!(late.body, Body::Ack { .. }));
    world.resume();
    world.deliver_all();
    // It is let go, drops what it held, and is let in again.
    world.rebalance(0);
    world.deliver_all();
    world.resume();
    world.deliver_all();
    world.rebalance(0);
    world.deliver_all();
    assert!(world.replicas[1].group.is_none(), "it was let go");
    world.rebalance(1);
    world.links.clear();
    for _ in 0..8 {
        world.walk();
    }
    assert_eq!(world.group(0).next_step(&[id(1)]), Step::Wait, "its snapshot is under way");
    world.receive(1, 0, late);
    assert_eq!(world.group(0).next_step(&[id(1)]), Step::Wait, "what came is of an earlier time");
}

/// Behind a lost change a follower answers every later one, so that it is heard of all the time.
#[test]
fn a_change_lost_on_a_link_that_stays_open_is_sent_again_though_others_follow() {
    let mut world = World::new(0);
    world.add_voter();
    world.write();
    let lost = world.links.get_mut(&(0, 1, false)).and_then(VecDeque::pop_front);
    assert!(matches!(lost.unwrap().body, Body::Append { .. }));
    for _ in 0..5 {
        world.write();
        world.deliver_all();
        world.resume();
    }
    world.deliver_all();
    let last = world.group(0).last();
    assert_eq!((world.group(1).last(), world.group(0).committed()), (last, last));
    world.check();
}

/// A snapshot that will never be whole is given back, or its memory would be held for ever.
#[test]
fn a_snapshot_of_a_reign_that_is_over_is_given_back() {
    let mut follower = Group::learn(id(1), id(0), Slot::default(), Era::FIRST, Term(1));
    let (era, mut out) = (follower.era(), Vec::new());
    let message =
        |term: u32, body| SlotMessage { slot: Slot::default(), era, term: Term(term), body };
    follower.receive(
        id(0),
        message(1, Body::Open { snapshot: 1, ring: RING }),
        RING,
        &Unbroken,
        &mut out,
    );
    assert!(out.contains(&Effect::BeginAside));
    out.clear();
    let (prev, committed, changes) = (Version::ZERO, Version::ZERO, Vec::new());
    follower.receive(
        id(2),
        message(2, Body::Append { prev, committed, changes }),
        RING,
        &Unbroken,
        &mut out,
    );
    assert_eq!(out[0], Effect::DropAside);
}

/// What a follower acknowledged stays, and the snapshot that would undo it is given back.
#[test]
fn a_snapshot_refused_because_it_is_late_is_given_back() {
    let mut world = World::new(0);
    world.add_voter();
    let follower = world.group(1);
    let (era, term, last) = (follower.era(), follower.term(), follower.last());
    assert!(last.term == term && last.seq > 0);
    let message = |body| SlotMessage { slot: Slot::default(), era, term, body };
    let mut out = Vec::new();
    follower.receive(
        id(0),
        message(Body::Open { snapshot: 9, ring: RING }),
        RING,
        &Unbroken,
        &mut out,
    );
    out.clear();
    let config = follower.config().clone();
    let (early, snapshot) = (Version { term, seq: last.seq - 1 }, 9);
    let close = Body::Close { snapshot, last: early, committed: early, config };
    follower.receive(id(0), message(close), RING, &Unbroken, &mut out);
    assert_eq!((&out[0], follower.last()), (&Effect::DropAside, last));
}

/// A slot that gives its lead up holds its work: it must not begin to before the target is there.
#[test]
fn the_lead_is_given_only_to_one_that_follows() {
    let mut world = World::new(0);
    world.add_voter();
    assert_eq!(world.group(0).next_step(&[id(1)]), Step::Transfer(id(1)));
    let mut out = Vec::new();
    world.group(0).link_renewed(id(1), &mut out);
    assert_eq!(world.group(0).next_step(&[id(1)]), Step::Wait);
    world.run(0, out);
    world.deliver_all();
    assert_eq!(world.group(0).next_step(&[id(1)]), Step::Transfer(id(1)));
}

/// Nothing has been voted yet: the old leader may still serve, and does.
#[test]
fn a_transfer_whose_target_falls_silent_is_called_off() {
    let mut world = World::new(0);
    world.add_voter();
    world.write();
    world.links.clear();
    world.rebalance(1);
    assert!(!world.group(0).serves());
    for _ in 0..2 {
        world.resume();
        world.links.clear();
    }
    assert!(world.group(0).serves());
    assert_eq!(world.group(0).next_step(&[id(1)]), Step::Wait);
}

/// Prints the line that replays a failure.
struct Replay(String);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0);
        }
    }
}

/// A revived replica keeps what it holds, rises above every version heard of, and whoever led in
/// a lower era is deposed by its first word.
#[test]
fn a_revival_fences_the_era_before() {
    let mut old = Group::create(id(0), Slot::default(), None);
    let mut out = Vec::new();
    let heard = (old.era(), old.term());
    let mut new = Group::create(id(1), Slot::default(), Some(heard));
    assert!(new.era() > old.era() && new.next_version() > old.next_version());
    new.state(id(0), &Unbroken, &mut out);
    assert!(out.is_empty(), "a leader states nothing");
    let mut revived = Group::create(id(2), Slot::default(), None);
    let before = revived.last();
    revived.revive((new.era(), new.term()), &mut out);
    assert!(revived.era() > new.era() && revived.last() > before && revived.is_alone());
    let word = SlotMessage {
        slot: Slot::default(),
        era: revived.era(),
        term: revived.term(),
        body: Body::Ack { last: revived.last(), member: true, epoch: 1, config: 0 },
    };
    out.clear();
    old.receive(id(2), word, RING, &Unbroken, &mut out);
    assert_eq!(out, [Effect::Deposed, Effect::Void]);
    assert!(!old.serves() && !old.is_leader());
}
