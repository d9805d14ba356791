//! What must hold at any time, and when a cluster counts as settled.

use std::time::Duration;

use piccolo_engine::shard::SlotProbe;
use piccolo_schema::ids::{Era, NodeId, Slot, Term, Version};
use piccolo_schema::slot_message::Route;

use crate::cluster::{Host, Life};
use crate::world::World;

/// Time within which every command is answered, one way or the other: the shard's own deadline
/// and what the way takes.
const ANSWER: Duration = Duration::from_secs(7);

/// One in so many slots is looked at each time.
const PARTS: usize = 32;

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Checkers {
    /// Per slot, who led it in which era and term, the latest first seen last.
    leaders: Vec<Vec<(Era, Term, NodeId)>>,
    /// Which part of the slots is looked at next.
    part: usize,
    /// Two nodes may serve a slot at once for some time: there was a cut or a pause.
    pub split: bool,
    /// Commands may take longer than usual: there was a cut or a pause.
    pub slow: bool,
}

impl Checkers {
    /// Takes in routes that a shard has learned: whoever leads is told to all.
    ///
    /// # Panics
    ///
    /// If two nodes led a slot in one era and term.
    pub fn learn(&mut self, routes: &[Route]) {
        for route in routes {
            self.leads(route.slot, (route.era, route.term), route.leader);
        }
    }

    fn leads(&mut self, slot: Slot, (era, term): (Era, Term), leader: NodeId) {
        self.leaders.resize(usize::from(Slot::COUNT), Vec::new());
        let leaders = &mut self.leaders[slot.index()];
        let known = leaders.iter().rev().find(|led| (led.0, led.1) == (era, term));
        let first = known.map_or(leader, |led| led.2);
        if known.is_none() {
            leaders.push((era, term, leader));
        }
        assert!(
            first == leader,
            "slot {slot} has two leaders in {era:?} {term:?}: {first} and {leader}"
        );
    }
}

impl Life {
    /// The replica of a slot in this process.
    pub fn probe(&self, slot: Slot) -> Option<SlotProbe<'_>> {
        let shard = slot.index() % self.shards.len();
        self.shards[shard].shard.probe_slot(slot)
    }

    fn contents(&self, slot: Slot) -> u64 {
        let shard = slot.index() % self.shards.len();
        self.shards[shard].shard.probe_contents(slot)
    }

    /// Whether nothing is under way here: every slot meant for it is led, alone, and no other is
    /// held.
    fn unsettled_because(&self) -> Option<String> {
        if let Some(why) = self.node.not_ready_because() {
            return Some(why);
        }
        let me = self.node.me();
        for slot in Slot::all() {
            let owner = self.node.wish().placement.primary(slot);
            let route = self.shards[0].shard.probe_route(slot);
            if Some(route) != owner {
                return Some(format!("slot {slot} is routed to {route}, wished for {owner:?}"));
            }
            match self.probe(slot) {
                Some(probe) if owner != Some(me) || !probe.serves => {
                    return Some(format!("slot {slot} is {probe:?}, wished for {owner:?}"));
                }
                Some(probe) if probe.config.voters != [me] || !probe.config.learners.is_empty() => {
                    return Some(format!("slot {slot} has more than one replica: {probe:?}"));
                }
                None if owner == Some(me) => return Some(format!("slot {slot} is not here")),
                _ => {}
            }
        }
        let moves = self.shards.iter().map(|desk| desk.shard.probe_moves()).sum::<usize>();
        (moves > 0).then(|| format!("{moves} moves are under way"))
    }
}

impl World {
    /// Checks what must hold at any time, in some of the slots.
    pub(crate) fn check(&mut self) {
        let part = self.checkers.part;
        self.checkers.part = (part + 1) % PARTS;
        let sample = self.time.below(64) / PARTS * PARTS + part;
        for slot in Slot::all().skip(part).step_by(PARTS) {
            let mut serving = None;
            for host in &self.hosts {
                let Some(life) = &host.life else { continue };
                let Some(probe) = life.probe(slot) else { continue };
                if !probe.leads {
                    continue;
                }
                self.checkers.leads(slot, (probe.era, probe.term), life.node.me());
                if probe.serves && !self.checkers.split {
                    let other = serving.replace(host.index);
                    assert!(other.is_none(), "hosts {other:?} and {} serve {slot}", host.index);
                }
            }
            if slot.index() % 64 == sample {
                self.check_contents(slot);
            }
        }
        let now = self.time.now;
        for (index, client) in self.clients.iter().enumerate() {
            let late = client.waits_since().is_some_and(|since| now.since(since) > ANSWER);
            assert!(!late || self.checkers.slow, "client {index} at host {} waits", client.host);
        }
    }

    fn check_contents(&self, slot: Slot) {
        let mut seen: Vec<(SlotProbe<'_>, u64)> = Vec::new();
        for life in self.hosts.iter().filter_map(|host| host.life.as_ref()) {
            let Some(probe) = life.probe(slot) else { continue };
            let contents = life.contents(slot);
            for (other, its) in &seen {
                let same = other.era == probe.era && other.last == probe.last;
                assert!(!same || *its == contents, "{slot}: equal last, other contents: {probe:?}");
            }
            seen.push((probe, contents));
        }
    }

    /// Whether a host learns a slot from its leader, sole voter there, and does not have it whole:
    /// a snapshot has been opened to it and not closed.
    pub fn is_half_learned(&self, slot: Slot, leader: usize, learner: usize) -> bool {
        let life = |host: usize| self.hosts[host].life.as_ref();
        let (Some(from), Some(to)) = (life(leader), life(learner)) else { return false };
        let (Some(led), Some(held)) = (from.probe(slot), to.probe(slot)) else { return false };
        let (leader, learner) = (from.node.me(), to.node.me());
        let learns = led.config.voters == [leader] && led.config.learners.contains(&learner);
        led.serves && learns && held.leader == leader && held.last == Version::ZERO
    }

    /// Whether what was written to a slot may be lost with a host: it leads the slot, and nobody
    /// else who runs has a vote in it.
    pub fn is_only_copy(&self, slot: Slot, host: usize) -> bool {
        let others = self.hosts.iter().filter(|other| other.index != host);
        let voter = others.filter_map(|other| other.life.as_ref()).any(|life| {
            life.probe(slot).is_some_and(|probe| probe.config.has_voter(life.node.me()))
        });
        let life = self.hosts[host].life.as_ref();
        !voter && life.and_then(|life| life.probe(slot)).is_some_and(|probe| probe.leads)
    }

    /// Why the cluster is not settled, if it is not.
    pub fn unsettled_because(&self) -> Option<String> {
        let mut nodes: Vec<Option<NodeId>> = Vec::new();
        for host in &self.hosts {
            let Some(life) = &host.life else { continue };
            nodes.push(Some(life.node.me()));
            if let Some(why) = life.unsettled_because() {
                return Some(format!("host {}: {why}", host.index));
            }
        }
        let first = self.hosts.iter().find_map(|host| host.life.as_ref())?;
        let candidates = first.node.wish().placement.candidates().len();
        (candidates != nodes.len())
            .then(|| format!("{candidates} nodes are placed on, {} run", nodes.len()))
    }

    /// Runs until the cluster is settled.
    pub fn settle(&mut self, span: Duration) {
        let until = self.time.now + span;
        while let Some(why) = self.unsettled_because() {
            assert!(self.time.now < until, "not settled in {span:?}: {why}\n{}", self.describe());
            self.run(Duration::from_millis(250));
        }
    }

    /// How everything stands, for whoever has to find out what went wrong.
    pub fn describe(&self) -> String {
        let mut lines = vec![format!("at {:?}", self.time.now)];
        for host in &self.hosts {
            let Some(life) = &host.life else { continue };
            let id = life.node.me();
            let why = life.unsettled_because();
            lines.push(format!("host {} node {id} shards {}: {why:?}", host.index, host.shards));
        }
        for (host, said) in self.said.iter().rev().take(12).rev() {
            lines.push(format!("host {host} said: {said}"));
        }
        for (client, host, error) in self.history.errors.iter().take(5) {
            lines.push(format!("client {client} at host {host} was told: {error}"));
        }
        lines.join("\n")
    }

    /// Where each slot is served, by host.
    pub fn served_by(&self) -> Vec<Option<usize>> {
        let serves = |slot| {
            self.hosts.iter().position(|host| {
                let life = host.life.as_ref();
                life.and_then(|life| life.probe(slot)).is_some_and(|probe| probe.serves)
            })
        };
        Slot::all().map(serves).collect()
    }

    /// Where each slot should be served, by host, as one host sees it.
    pub fn wished_by(&self, host: usize) -> Vec<Option<usize>> {
        let wish = self.hosts[host].life.as_ref().map(|life| life.node.wish());
        let is = |host: &Host, id| host.life.as_ref().is_some_and(|life| life.node.me() == id);
        let host_of = |id| self.hosts.iter().position(|host| is(host, id));
        let owner = |slot| wish.and_then(|wish| wish.placement.primary(slot)).and_then(host_of);
        Slot::all().map(owner).collect()
    }
}
