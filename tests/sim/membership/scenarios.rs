//! What membership is measured by: each scenario plays one seed and says what it saw.

use std::time::Duration;

use piccolo_gossip::{Config, Event, Start, State};
use piccolo_schema::ids::ClusterId;
use piccolo_schema::time::Moment;
use rand::RngExt;

use super::events::{became, is_death};
use super::world::{WAITS, World, address, seconds};

/// How often a scenario looks at what it waits for.
const LOOK: Duration = Duration::from_millis(20);
/// Longest and shortest pause of a slow node, in milliseconds.
const PAUSE_MILLIS: (u64, u64) = (500, 5000);

/// Under which conditions a scenario plays.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Share of datagrams lost.
    pub loss: f64,
    /// Share of the nodes that pause at random.
    pub slow: f64,
    /// Timers of every node.
    pub config: Config,
}

impl Setting {
    fn cluster(&self, seed: u64) -> World {
        let mut world = World::cluster_with(seed, self.nodes, 0.0, self.config.clone());
        world.weather.loss = self.loss;
        world
    }
}

/// How a crash became known.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// Until the first member held it dead.
    pub first: Duration,
    /// Until all did.
    pub all: Duration,
    /// Deaths of others, as members saw them.
    pub false_deaths: usize,
}

/// A node crashes.
pub fn crash(seed: u64, setting: &Setting) -> Crash {
    let mut world = setting.cluster(seed);
    let wait = world.rng.random_range(0..2000);
    world.run(Duration::from_millis(wait));
    world.forget_events();
    let victim = world.rng.random_range(0..setting.nodes);
    let name = world.nodes[victim].name.clone();
    world.crash(victim);
    let from = world.now;
    let saw = |world: &World| {
        let dead = |event: &Event| became(event, &name, State::Dead);
        world.nodes.iter().filter(|node| node.events.iter().any(dead)).count()
    };
    let limit = seconds(120);
    assert!(world.run_until_looking(limit, LOOK, |world| saw(world) > 0), "nobody saw it");
    let first = world.now.since(from);
    let others = setting.nodes - 1;
    assert!(world.run_until_looking(limit, LOOK, |world| saw(world) == others), "not all saw it");
    let all = world.now.since(from);
    let false_deaths = world.count(|event| is_death(event) && !became(event, &name, State::Dead));
    Crash { first, all, false_deaths }
}

/// What was seen while nothing but pauses and loss happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quiet {
    /// Deaths of nodes that never paused, as members saw them.
    pub deaths_of_healthy: usize,
    /// Deaths of nodes that paused now and then.
    pub deaths_of_slow: usize,
    /// Suspicions raised.
    pub suspicions: u64,
    /// Bytes sent by all nodes.
    pub bytes: u64,
    /// Datagrams sent by all nodes.
    pub datagrams: u64,
}

/// Nobody crashes, for a time that begins so long after all came in; slow nodes pause at random.
pub fn quiet(seed: u64, setting: &Setting, lead: Duration, time: Duration) -> Quiet {
    let mut world = setting.cluster(seed);
    world.run(lead);
    let slow = (setting.nodes as f64 * setting.slow).round() as usize;
    let before = sent(&world);
    let until = world.now + time;
    let mut next: Vec<Moment> = (0..slow).map(|_| world.now).collect();
    for at in &mut next {
        *at = *at + pause(&mut world);
    }
    while let Some((node, at)) = next.iter().copied().enumerate().min_by_key(|(_, at)| *at) {
        if at >= until {
            break;
        }
        world.run(at.since(world.now));
        let long = pause(&mut world);
        // Whether a process that wakes up runs its timers first is for its scheduler to say.
        if world.rng.random_bool(0.5) {
            world.pause(node, long);
        } else {
            world.pause_badly(node, long);
        }
        next[node] = at + long + pause(&mut world);
    }
    world.run(until.since(world.now));
    let after = sent(&world);
    let deaths = |of_slow: bool| {
        world.count(|event| match event {
            Event::Changed { member, .. } if member.state == State::Dead => {
                let number = member.name[1..].parse::<usize>();
                number.is_ok_and(|number| (number < slow) == of_slow)
            }
            _ => false,
        })
    };
    let stats = world.running().into_iter().map(|by| world.gossip(by).stats());
    Quiet {
        deaths_of_healthy: deaths(false),
        deaths_of_slow: deaths(true),
        suspicions: stats.map(|stats| stats.suspicions_raised).sum(),
        bytes: after.0 - before.0,
        datagrams: after.1 - before.1,
    }
}

fn pause(world: &mut World) -> Duration {
    let (shortest, longest) = PAUSE_MILLIS;
    Duration::from_millis(world.rng.random_range(shortest..=longest))
}

/// Bytes and datagrams sent so far.
fn sent(world: &World) -> (u64, u64) {
    let stats = world.running().into_iter().map(|by| world.gossip(by).stats());
    stats.fold((0, 0), |(bytes, count), s| (bytes + s.bytes_out, count + s.datagrams_out))
}

/// All nodes but one join at once, through that one. How long until all agree.
pub fn join(seed: u64, setting: &Setting) -> Duration {
    let mut world = World::new(seed, 0.0);
    (world.config, world.weather.loss) = (setting.config.clone(), setting.loss);
    world.add("n0", &[]);
    world.start(0, Start::Create(ClusterId(1)));
    world.run(seconds(1));
    let from = world.now;
    for index in 1..setting.nodes {
        world.add(&format!("n{index}"), &[address(1)]);
        world.start(index, WAITS);
    }
    let agreed = world.run_until_looking(seconds(120), 5 * LOOK, World::agrees);
    assert!(agreed, "they never agreed");
    world.now.since(from)
}

/// Two halves do not hear each other for a time. How long until all agree after that.
pub fn partition(seed: u64, setting: &Setting, time: Duration) -> Duration {
    let mut world = setting.cluster(seed);
    for node in &mut world.nodes[..setting.nodes / 2] {
        node.side = 1;
    }
    world.run(time);
    for node in &mut world.nodes {
        node.side = 0;
        node.events.clear();
    }
    let from = world.now;
    let agreed = world.run_until_looking(seconds(300), 5 * LOOK, World::agrees);
    assert!(agreed, "the halves never agreed");
    world.now.since(from)
}

/// A node crashes and starts at another address under its name at once. How long until all know,
/// and how many deaths of others were seen.
pub fn moved(seed: u64, setting: &Setting) -> (Duration, usize) {
    let mut world = setting.cluster(seed);
    let wait = world.rng.random_range(0..2000);
    world.run(Duration::from_millis(wait));
    world.forget_events();
    let old = world.rng.random_range(1..setting.nodes);
    let name = world.nodes[old].name.clone();
    world.crash(old);
    let from = world.now;
    let new = world.add(&name, &[address(1)]);
    world.start(new, WAITS);
    let agreed = world.run_until_looking(seconds(60), LOOK, World::agrees);
    assert!(agreed, "it did not come in");
    let took = world.now.since(from);
    world.run(seconds(10));
    let others = world.count(|event| is_death(event) && !became(event, &name, State::Dead));
    (took, others)
}
