//! The state machine: what it is told, and what it is asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::action::{Action, Event, Fatal};
use crate::choice::Choice;
use crate::config::{Config, ConfigError};
use crate::dissemination::Rumors;
use crate::foreign::Foreign;
use crate::founding::Founding;
use crate::health::Health;
use crate::member::{Member, State, check_name, check_zone, is_reachable};
use crate::message::{Body, Message};
use crate::patience::Patience;
use crate::probe::Probing;
use crate::reject::Reject;
use crate::seal::{Keys, Seal};
use crate::stats::Stats;
use crate::suspicion::Suspicions;
use crate::table::Table;
use crate::timers::{Timer, Timers};
use crate::trial::Trials;
use crate::wire;

/// What this node says of itself. Nothing of it changes while the process runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Me {
    /// Stable over restarts; see [`check_name`].
    pub name: String,
    /// Drawn by the caller, anew for each life.
    pub id: NodeId,
    /// Higher in each life: wall milliseconds at the start will do. If the clock went back, the
    /// core raises it above what the cluster remembers.
    pub generation: u64,
    /// Where other nodes reach this one.
    pub peer: SocketAddr,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Where cluster clients reach it.
    pub cluster_client: SocketAddr,
    /// Where its admin interface is.
    pub admin: SocketAddr,
    /// What may fail together with it; see [`check_zone`].
    pub zone: String,
    /// Its share of the ring, relative to the others.
    pub weight: u16,
    /// Its shards.
    pub shards: u16,
    /// Oldest and newest version of the protocol between nodes that it speaks;
    /// [`PROTOCOL`](piccolo_schema::limits::PROTOCOL) for this build.
    pub protocol: (u16, u16),
    /// Its abilities, one bit each.
    pub features: u64,
}

/// How this node comes to its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Make a cluster of this id, drawn by the caller, unless a seed belongs to one. Happens at
    /// the first [`Gossip::advance`]; seeds, if any, must be set before.
    Create(ClusterId),
    /// Join the cluster of the seeds; retry for ever.
    Join {
        /// So many nodes without a cluster found one. Must exceed half of all that may take part,
        /// and be the same on each. 0: never take part, wait for a cluster.
        expect: u16,
        /// The id if it falls to this node to create it, drawn by the caller; zero only if
        /// `expect` is.
        cluster_if_created: ClusterId,
    },
}

/// How far this node has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Asks the seeds until then whether there is a cluster; `None`: has not begun.
    Asking { until: Option<Moment> },
    /// Looks for a cluster since then.
    Seeking { since: Moment },
    /// Is in a cluster.
    Member,
    /// Has left, or must not go on.
    Stopped,
}

/// Membership as one node sees it. See the crate's documentation for how to drive it.
#[derive(Clone, Debug)]
pub struct Gossip {
    pub(crate) config: Config,
    pub(crate) name: String,
    pub(crate) id: NodeId,
    pub(crate) peer: SocketAddr,
    pub(crate) cluster: ClusterId,
    /// The cluster that this node, and no other, enters as its creator.
    pub(crate) own_cluster: ClusterId,
    pub(crate) expect: u16,
    pub(crate) phase: Phase,
    pub(crate) seeds: Vec<SocketAddr>,
    /// Whether the caller has names to resolve.
    pub(crate) seeds_wanted: bool,
    pub(crate) table: Table,
    pub(crate) rng: Xoshiro256PlusPlus,
    pub(crate) timers: Timers,
    pub(crate) seal: Seal,
    pub(crate) probing: Probing,
    pub(crate) health: Health,
    pub(crate) suspicions: Suspicions,
    pub(crate) patience: Patience,
    pub(crate) rumors: Rumors,
    pub(crate) founding: Founding,
    pub(crate) trials: Trials,
    /// The cluster that this node wants into, before it is in one.
    pub(crate) choice: Option<Choice>,
    pub(crate) foreign: Foreign,
    /// Digest of the table when it was last compared, until it has stood still since we came in.
    pub(crate) unsettled: Option<u64>,
    pub(crate) stats: Stats,
    actions: VecDeque<Action>,
}

impl Gossip {
    /// A node that is in no cluster yet. `seed` decides everything that is drawn.
    ///
    /// # Errors
    ///
    /// What the operator must change.
    pub fn new(
        me: Me,
        start: Start,
        config: Config,
        now: Moment,
        seed: u64,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        check_me(&me)?;
        let (phase, timer, expect, own_cluster) = match start {
            Start::Create(cluster) => (Phase::Asking { until: None }, Timer::Ask, 0, cluster),
            Start::Join { expect, cluster_if_created } => {
                (Phase::Seeking { since: now }, Timer::Join, expect, cluster_if_created)
            }
        };
        let creates = matches!(start, Start::Create(_)) || expect > 0;
        if creates && !own_cluster.is_some() {
            return Err(ConfigError::NoId { what: "cluster" });
        }
        let mut timers = Timers::new();
        timers.set(timer, now);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut table = Table::default();
        let (name, id, peer) = (me.name.clone(), me.id, me.peer);
        table.put(first_claim(me, now));
        Ok(Self {
            config,
            name,
            id,
            peer,
            cluster: ClusterId::NONE,
            own_cluster,
            expect,
            phase,
            seeds: Vec::new(),
            seeds_wanted: matches!(start, Start::Join { .. }),
            table,
            timers,
            seal: Seal::default(),
            probing: Probing::new(rng.random()),
            health: Health::default(),
            rng,
            unsettled: None,
            suspicions: Suspicions::default(),
            patience: Patience::default(),
            rumors: Rumors::default(),
            founding: Founding::default(),
            trials: Trials::default(),
            choice: None,
            foreign: Foreign::default(),
            stats: Stats::default(),
            actions: VecDeque::new(),
        })
    }

    /// Takes in where the seeds are now. Our own address may be among them; at most 64 are used.
    pub fn set_seeds(&mut self, seeds: &[SocketAddr]) {
        let own = self.peer;
        let known = std::mem::take(&mut self.seeds);
        let fit = seeds.iter().copied().filter(|seed| *seed != own && is_reachable(*seed));
        self.seeds = fit.take(SEEDS_MAX).collect();
        self.seeds_wanted |= !self.seeds.is_empty();
        if matches!(self.phase, Phase::Seeking { .. }) {
            for seed in self.seeds.clone() {
                if !known.contains(&seed) {
                    self.send_join(seed, NodeId::NONE, ClusterId::NONE);
                }
            }
        }
    }

    /// Seals what is sent from now on with the first of the keys, and takes nothing that none of
    /// them opens; `None`: neither.
    pub fn set_keys(&mut self, keys: Option<Keys>) {
        self.seal.set_keys(keys);
    }

    /// Takes in one datagram that arrived from `from`.
    ///
    /// # Errors
    ///
    /// Why the datagram was dropped; the members are then unchanged.
    pub fn receive(
        &mut self,
        now: Moment,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<(), Reject> {
        self.stats.datagrams_in += 1;
        self.stats.bytes_in += datagram.len() as u64;
        let result = self.read(datagram).and_then(|(message, number)| {
            self.check_time(from, &message, number)?;
            self.take_in(now, from, message)
        });
        result.inspect_err(|reject| self.stats.count(reject))
    }

    /// Runs every timer due at `now`. Calling early is harmless; calling late only delays, and
    /// is never held against others.
    pub fn advance(&mut self, now: Moment) {
        let late = now.since(self.deadline());
        if late > self.config.probe_timeout && self.config.pauses_forgiven {
            self.forgive(late);
        }
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Ask => self.ask(now),
                Timer::Join => self.seek(now),
                Timer::Probe => self.probe(now),
                Timer::ProbeTimeout => self.probe_indirectly(),
                Timer::Nack => self.tell_unheard(now),
                Timer::Trial => self.try_names(now),
                Timer::Gossip => self.spread(now),
                Timer::Exchange => self.compare(now),
                Timer::Retry => self.retry(now),
            }
        }
        self.bury(now);
    }

    /// When [`advance`](Self::advance) next has work, so that the caller can sleep until then.
    pub fn deadline(&self) -> Moment {
        if self.phase == Phase::Stopped {
            return Moment::NEVER;
        }
        self.timers.next().min(self.suspicions.next())
    }

    /// The oldest action not yet taken.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The cluster that this node is in; [`ClusterId::NONE`] before it entered one.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Everybody known, ourselves included, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> + Clone {
        self.table.iter()
    }

    /// Ourselves.
    pub fn me(&self) -> &Member {
        match self.table.get(&self.name) {
            Some(me) => me,
            None => unreachable!("a node's own entry is never forgotten"),
        }
    }

    /// Where it looks for members, as resolved last; its own address is not among them.
    pub fn seeds(&self) -> &[SocketAddr] {
        &self.seeds
    }

    /// How many nodes without a cluster found one; zero: this node never takes part.
    pub fn expect(&self) -> u16 {
        self.expect
    }

    /// Other nodes without a cluster that were heard of in the last seconds, by name.
    pub fn founders(&self) -> impl Iterator<Item = &str> {
        self.founding.names()
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        Stats { local_health: self.health.score(), ..self.stats }
    }

    /// Oldest and newest version of the protocol that every live member speaks. The newest one is
    /// what the cluster as a whole may use.
    pub fn versions(&self) -> (u16, u16) {
        let live = self.table.iter().filter(|member| member.state.is_live());
        live.fold((0, u16::MAX), |(oldest, newest), member| {
            (oldest.max(member.protocol.0), newest.min(member.protocol.1))
        })
    }

    /// Abilities that every live member has.
    pub fn features(&self) -> u64 {
        let live = self.table.iter().filter(|member| member.state.is_live());
        live.fold(u64::MAX, |all, member| all & member.features)
    }

    /// Says that this node serves: from joining to alive. Changes nothing later.
    pub fn ready(&mut self, now: Moment) {
        if self.me().said == State::Joining {
            self.speak(now, State::Alive);
        }
    }

    /// Says that this node is about to leave, so that its seats on the ring go to others. It
    /// stays a member until [`left`](Self::left).
    pub fn leave(&mut self, now: Moment) {
        if self.me().said < State::Leaving {
            self.speak(now, State::Leaving);
        }
    }

    /// Says good-bye in eight datagrams at once and stops. Where all of them are lost, this node
    /// will be held dead instead.
    pub fn left(&mut self, now: Moment) {
        if self.phase == Phase::Member {
            self.speak(now, State::Left);
            self.say_good_bye();
        } else if let (Phase::Seeking { .. }, Some(choice)) = (self.phase, self.choice.take()) {
            self.renounce(choice);
        }
        self.phase = Phase::Stopped;
    }

    pub(crate) fn is_us(&self, name: &str) -> bool {
        self.name == name
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }

    /// Stops for good.
    pub(crate) fn fatal(&mut self, fatal: Fatal) {
        self.stop(Event::Fatal(fatal));
    }

    pub(crate) fn stop(&mut self, event: Event) {
        if self.phase != Phase::Stopped {
            self.phase = Phase::Stopped;
            self.event(event);
        }
    }

    /// Asks the caller for the seeds, if it has any and does not hold that question already.
    pub(crate) fn want_seeds(&mut self) {
        if self.seeds_wanted && !self.actions.contains(&Action::Resolve) {
            self.actions.push_back(Action::Resolve);
        }
    }

    /// Enters a cluster, as its creator if the id is the one drawn for us.
    pub(crate) fn enter(&mut self, now: Moment, cluster: ClusterId) {
        self.cluster = cluster;
        self.phase = Phase::Member;
        self.timers = Timers::new();
        let until_probe = self.up_to(self.config.probe_interval);
        self.timers.set(Timer::Probe, now + until_probe);
        self.unsettled = Some(0);
        self.timers.set(Timer::Exchange, now + self.config.exchange_retry);
        self.timers.set(Timer::Retry, now + self.config.dead_retry);
        let created = cluster == self.own_cluster;
        self.event(Event::Entered { cluster, created });
    }

    /// A random part of a time.
    pub(crate) fn up_to(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.rng.random::<f64>())
    }

    /// A time made up to a tenth longer or shorter, so that nodes do not fall into step.
    pub(crate) fn about(&mut self, time: Duration) -> Duration {
        time.mul_f64(0.9 + 0.2 * self.rng.random::<f64>())
    }

    /// Hands out a datagram with as many of the updates, in order, as fit, and says how many.
    pub(crate) fn send(
        &mut self,
        to: SocketAddr,
        to_id: NodeId,
        body: Body,
        updates: Vec<Member>,
    ) -> usize {
        if self.actions.len() >= self.config.actions_max {
            self.stats.datagrams_dropped += 1;
            return 0;
        }
        let message = Message {
            cluster: self.cluster,
            from: self.id,
            from_name: self.name.clone(),
            to: to_id,
            updates,
            body,
        };
        let bytes_max = self.config.datagram_bytes_max - self.seal.bytes();
        let (mut datagram, count) = wire::encode_fitting(&message, bytes_max);
        self.seal.close(&mut datagram);
        self.stats.datagrams_out += 1;
        self.stats.bytes_out += datagram.len() as u64;
        self.actions.push_back(Action::Send { to, datagram });
        count
    }

    /// What a datagram says, and under which number.
    fn read(&self, datagram: &[u8]) -> Result<(Message, u64), Reject> {
        let (bytes, bytes_max) = (datagram.len(), self.config.datagram_bytes_max);
        if bytes > bytes_max {
            return Err(Reject::TooLong { bytes, bytes_max });
        }
        let (datagram, number) = self.seal.open(datagram)?;
        let message = wire::decode(datagram).map_err(Reject::Malformed)?;
        Ok((message, number))
    }
}

/// Seeds used at most.
const SEEDS_MAX: usize = 64;

fn check_me(me: &Me) -> Result<(), ConfigError> {
    let text = |what| move |fault| ConfigError::Text { what, fault };
    check_name(&me.name).map_err(text("name"))?;
    check_zone(&me.zone).map_err(text("zone"))?;
    if !me.id.is_some() {
        return Err(ConfigError::NoId { what: "node" });
    }
    if is_reachable(me.peer) { Ok(()) } else { Err(ConfigError::Unreachable { address: me.peer }) }
}

fn first_claim(me: Me, now: Moment) -> Member {
    Member {
        name: me.name,
        id: me.id,
        generation: me.generation,
        incarnation: 0,
        state: State::Joining,
        said: State::Joining,
        peer: me.peer,
        client: me.client,
        cluster_client: me.cluster_client,
        admin: me.admin,
        zone: me.zone,
        weight: me.weight,
        shards: me.shards,
        protocol: me.protocol,
        features: me.features,
        accusers: Vec::new(),
        since: now,
    }
}
