//! Virtual time: what happens when, and everything that chance decides.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use piccolo_schema::time::Moment;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Names one life of a node's process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LifeId {
    /// Which host.
    pub host: usize,
    /// Which life of it, the first being 1.
    pub life: u64,
}

/// Something that happens at its time.
#[derive(Debug)]
pub enum Event {
    /// A datagram arrives.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// Its receiver.
        to: SocketAddr,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// The oldest order of the node to this shard arrives.
    Control(LifeId, u16),
    /// The oldest batch from the first shard to the second arrives.
    Mesh(LifeId, u16, u16),
    /// A connection reaches whom it is opened to.
    Opening(u64),
    /// The oldest thing under way on a connection towards this end (0: who opened it) arrives.
    Arrival(u64, usize),
    /// A client does what it wants to do next.
    Client(usize),
    /// A process that stops looks whether it is done.
    Stopping(LifeId),
}

/// The clock, what is to come, and chance.
#[derive(Debug)]
pub struct Timeline {
    /// Microseconds since the world began.
    pub now: Moment,
    /// Decides everything that chance decides.
    pub rng: Xoshiro256PlusPlus,
    events: BTreeMap<(Moment, u64), Event>,
    number: u64,
}

impl Timeline {
    /// Time begins.
    pub fn new(seed: u64) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { now: Moment(1_000_000), rng, events: BTreeMap::new(), number: 0 }
    }

    /// Something will happen. At the same time, in the order planned.
    pub fn plan(&mut self, at: Moment, event: Event) {
        self.number += 1;
        self.events.insert((at.max(self.now), self.number), event);
    }

    /// Something will happen after so long.
    pub fn plan_in(&mut self, delay: Duration, event: Event) {
        self.plan(self.now + delay, event);
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Moment {
        self.events.keys().next().map_or(Moment::NEVER, |(at, _)| *at)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<Event> {
        self.events.pop_first().map(|(_, event)| event)
    }

    /// So many microseconds, drawn.
    pub fn micros(&mut self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_micros(self.rng.random_range(range))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }
}
