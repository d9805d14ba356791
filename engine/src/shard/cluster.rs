//! The cluster door: what a node of a Redis Cluster says of its cluster, and whom it sends on.

use std::net::SocketAddr;

use piccolo_gossip::State;
use piccolo_schema::ids::{NodeId, Slot};
use piccolo_schema::key_slot::slot_of;

use super::control::NodeView;
use super::dispatch::Destination;
use super::session::Door;
use super::stream::StreamKey;
use super::task::{One, Question, Task};
use super::topology::{Kept, Range, Topology};
use super::{Shard, info};
use crate::command::{self, Command};
use crate::resp::{Args, Reply, number};

pub(super) const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

pub(super) const DISABLED: &str = "ERR This instance has cluster support disabled";

impl Shard {
    /// Where a client at the cluster door is sent for a slot, if another node leads it.
    ///
    /// Only a route says so, and its term only rises: whoever is named led at that term, so the
    /// client is never sent round in circles. Who has given its lead up and does not know the
    /// next leader keeps the command.
    pub(super) fn moved(&self, door: Door, slot: Slot) -> Option<String> {
        if door != Door::Cluster {
            return None;
        }
        let Destination::Peer(node, _) = self.destination(slot, 0) else { return None };
        let node = self.topology.node(node)?;
        let lives = !matches!(node.state, State::Dead | State::Left);
        lives.then(|| format!("MOVED {slot} {}", bare(node.cluster_client)))
    }

    /// Why a client at the cluster door must ask elsewhere, or in another way, for keys of these
    /// slots.
    pub(super) fn misplaced(
        &self,
        door: Door,
        mut slots: impl Iterator<Item = Slot>,
    ) -> Option<String> {
        if door != Door::Cluster {
            return None;
        }
        let first = slots.next()?;
        if slots.any(|slot| slot != first) {
            return Some(CROSS_SLOT.into());
        }
        self.moved(door, first)
    }

    /// The same for a command that is not executed yet, whose keys share `slot` if that is known.
    pub(super) fn misplaced_command(
        &self,
        door: Door,
        slot: Option<(Slot, u64)>,
        command: &Command,
        args: &Args<'_>,
    ) -> Option<String> {
        if let Some((slot, _)) = slot {
            return self.moved(door, slot);
        }
        self.misplaced(door, command.keys(args.len()).map(|index| slot_of(args.get(index))))
    }

    /// Returns false if the command has to wait for what was asked before it.
    pub(super) fn run_cluster_command(&mut self, key: StreamKey, args: &Args<'_>) -> bool {
        let Some(session) = self.streams.session(key) else { return true };
        let (door, resp3) = (session.door, session.resp3);
        if door != Door::Cluster {
            self.say(key, |reply| reply.error(DISABLED));
            return true;
        }
        let question = match slot_question(args) {
            Some(Ok((slot, question))) => {
                let here = matches!(
                    self.destination(slot, 0),
                    Destination::Here | Destination::Sibling(_)
                );
                Some((slot, question, here))
            }
            Some(Err(text)) => {
                self.say(key, |reply| reply.error(text));
                return true;
            }
            None => None,
        };
        if let Some((slot, question, here)) = question {
            return self.begin_task(key, || Task::One(One::new(slot, question, here)));
        }
        let mut bytes = Vec::new();
        self.cluster_answer(args, &mut Reply::new(&mut bytes, resp3));
        self.say(key, |reply| reply.raw(&bytes));
        true
    }

    fn cluster_answer(&mut self, args: &Args<'_>, reply: &mut Reply<'_>) {
        let sub = args.get(1).to_ascii_lowercase();
        let (me, resp3) = (self.me, reply.resp3());
        let mut kept = |kind, encode: fn(&Topology, &[Range], NodeId, &mut Reply<'_>)| {
            self.topology.reply(kind, resp3, &self.routes, |topology, ranges| {
                let mut bytes = Vec::new();
                encode(topology, ranges, me, &mut Reply::new(&mut bytes, resp3));
                bytes
            })
        };
        match &sub[..] {
            b"slots" => reply.raw(&kept(Kept::Slots, slots)),
            b"shards" => reply.raw(&kept(Kept::Shards, shards)),
            b"nodes" => reply.raw(&kept(Kept::Nodes, nodes)),
            b"info" => reply.verbatim(*b"txt", &self.cluster_info()),
            b"myid" | b"myshardid" => reply.bulk(node_id(me).as_bytes()),
            b"keyslot" => reply.integer(slot_of(args.get(2)).number().into()),
            b"replicas" | b"slaves" | b"count-failure-reports" if !self.knows(args.get(2)) => {
                reply.error(&format!("ERR Unknown node {}", String::from_utf8_lossy(args.get(2))));
            }
            b"replicas" | b"slaves" => reply.array(0),
            b"count-failure-reports" => reply.integer(0),
            b"help" => command::help::write(args, reply),
            _ => reply.error("ERR the ring manages itself: start a node to add it, see `piccolo`"),
        }
    }

    /// Whether there is a node of this id.
    fn knows(&self, id: &[u8]) -> bool {
        self.topology.nodes().iter().any(|node| node_id(node.id).as_bytes() == id)
    }

    fn cluster_info(&self) -> String {
        let routed = Slot::all().filter(|slot| self.routes.get(*slot).leader.is_some()).count();
        let ranges = self.topology.ranges(&self.routes);
        let led_by = |matches: fn(State) -> bool| -> u32 {
            let state = |range: &Range| self.topology.nodes()[range.node].state;
            let led = ranges.iter().filter(|range| matches(state(range)));
            led.map(|range| u32::from(range.last - range.first) + 1).sum()
        };
        let led = led_by(|_| true);
        let (suspect, dead) = (led_by(|s| s == State::Suspect), led_by(|s| s == State::Dead));
        let count = |matches: fn(&NodeView) -> bool| {
            let nodes = self.topology.nodes().iter();
            nodes.filter(|node| matches(node)).count()
        };
        let mut leaders: Vec<usize> = ranges.iter().map(|range| range.node).collect();
        leaders.sort_unstable();
        leaders.dedup();
        // Whatever a slot waits for is waited for inside: clients are always welcome to ask.
        let lines = [
            ("cluster_enabled", "1".into()),
            ("cluster_state", "ok".into()),
            ("cluster_slots_assigned", routed.to_string()),
            ("cluster_slots_ok", (led - suspect - dead).to_string()),
            ("cluster_slots_pfail", suspect.to_string()),
            ("cluster_slots_fail", (routed - (led - dead) as usize).to_string()),
            ("cluster_known_nodes", self.topology.nodes().len().to_string()),
            ("cluster_size", leaders.len().to_string()),
            ("cluster_current_epoch", self.routes.changes().to_string()),
            ("cluster_my_epoch", self.routes.changes().to_string()),
            ("piccolo_nodes_suspect", count(|node| node.state == State::Suspect).to_string()),
            ("piccolo_nodes_dead", count(|node| node.state == State::Dead).to_string()),
        ];
        let mut text = String::new();
        for (name, value) in lines {
            info::line(&mut text, format_args!("{name}:{value}"));
        }
        text
    }
}

/// COUNTKEYSINSLOT and GETKEYSINSLOT.
fn slot_question(args: &Args<'_>) -> Option<Result<(Slot, Question), &'static str>> {
    let number = |index| number::parse_i64(args.get(index)).ok_or(NOT_A_NUMBER);
    let question = match &args.get(1).to_ascii_lowercase()[..] {
        b"countkeysinslot" => number(2).and_then(|slot| {
            let slot = u16::try_from(slot).ok().and_then(Slot::new).ok_or("ERR Invalid slot")?;
            Ok((slot, Question::Count))
        }),
        b"getkeysinslot" => number(2).and_then(|slot| Ok((slot, number(3)?))).and_then(|given| {
            let slot = u16::try_from(given.0).ok().and_then(Slot::new);
            let (slot, count) = slot
                .zip(usize::try_from(given.1).ok())
                .ok_or("ERR Invalid slot or number of keys")?;
            Ok((slot, Question::Keys(count)))
        }),
        _ => return None,
    };
    Some(question)
}

const NOT_A_NUMBER: &str = "ERR value is not an integer or out of range";

/// 40 digits, as Redis has them.
fn node_id(id: NodeId) -> String {
    format!("{:040x}", id.0)
}

/// An address as Redis writes it: clients split it at its last colon, and connect to what lies
/// before as it stands, so IPv6 has no brackets.
fn bare(address: SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}

/// An address without its port.
fn host(node: &NodeView) -> String {
    node.cluster_client.ip().to_string()
}

fn slots(topology: &Topology, ranges: &[Range], _: NodeId, reply: &mut Reply<'_>) {
    reply.array(ranges.len());
    for range in ranges {
        let node = &topology.nodes()[range.node];
        reply.array(3);
        reply.integer(range.first.into());
        reply.integer(range.last.into());
        reply.array(4);
        reply.bulk(host(node).as_bytes());
        reply.integer(node.cluster_client.port().into());
        reply.bulk(node_id(node.id).as_bytes());
        // What else is known of the node.
        reply.map(0);
    }
}

fn shards(topology: &Topology, ranges: &[Range], _: NodeId, reply: &mut Reply<'_>) {
    reply.array(topology.nodes().len());
    for (place, node) in topology.nodes().iter().enumerate() {
        let own: Vec<&Range> = ranges.iter().filter(|range| range.node == place).collect();
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(own.len() * 2);
        for range in own {
            reply.integer(range.first.into());
            reply.integer(range.last.into());
        }
        reply.bulk(b"nodes");
        reply.array(1);
        reply.map(7);
        let health = match node.state {
            State::Joining => "loading",
            State::Dead | State::Left => "failed",
            State::Alive | State::Leaving | State::Suspect => "online",
        };
        let host = host(node);
        reply.bulk(b"id");
        reply.bulk(node_id(node.id).as_bytes());
        reply.bulk(b"port");
        reply.integer(node.cluster_client.port().into());
        for (name, value) in
            [("ip", &host[..]), ("endpoint", &host), ("role", "master"), ("health", health)]
        {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        reply.bulk(b"replication-offset");
        reply.integer(0);
    }
}

/// A node to a line: id, address, flags, leader, pings, epoch, link, slots.
fn nodes(topology: &Topology, ranges: &[Range], me: NodeId, reply: &mut Reply<'_>) {
    let mut text = String::new();
    for (place, node) in topology.nodes().iter().enumerate() {
        let own = if node.id == me { "myself," } else { "" };
        let fault = match node.state {
            State::Suspect => ",fail?",
            State::Dead | State::Left => ",fail",
            State::Joining | State::Alive | State::Leaving => "",
        };
        let link = if fault == ",fail" { "disconnected" } else { "connected" };
        let (id, address, bus) = (node_id(node.id), bare(node.cluster_client), node.peer.port());
        let mut words = vec![
            id,
            format!("{address}@{bus}"),
            format!("{own}master{fault}"),
            format!("- 0 0 {} {link}", place + 1),
        ];
        for range in ranges.iter().filter(|range| range.node == place) {
            words.push(match (range.first, range.last) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            });
        }
        text += &words.join(" ");
        text.push('\n');
    }
    reply.verbatim(*b"txt", &text);
}
