//! What the reactor publishes for the admin listener.

use std::collections::BTreeMap;

use piccolo_gossip::State;
use piccolo_schema::ids::{NodeId, Slot};
use piccolo_schema::slot_message::Route;

use crate::admin::Status;
use crate::admin::status::{
    Counts, MemberState, MemberStatus, RangeStatus, ShardStatus, SlotRangeStatus,
};
use crate::node::Node;
use crate::shard::Shared;

/// The routes of all slots, as the shards have told them.
#[derive(Debug)]
pub(super) struct RouteTable(Vec<NodeId>);

impl RouteTable {
    pub(super) fn new() -> Self {
        Self(vec![NodeId::NONE; usize::from(Slot::COUNT)])
    }

    /// Takes in news: each shard tells those of its own slots, in order.
    pub(super) fn learn(&mut self, route: &Route) {
        self.0[route.slot.index()] = route.leader;
    }

    fn ranges(&self, names: &BTreeMap<NodeId, String>) -> Vec<SlotRangeStatus> {
        let mut ranges: Vec<(NodeId, SlotRangeStatus)> = Vec::new();
        for (number, leader) in (0..).zip(&self.0) {
            match ranges.last_mut() {
                Some((of, range)) if of == leader => range.last = number,
                _ => {
                    let name = || names.get(leader).cloned().unwrap_or_else(|| leader.to_string());
                    let leader_name = leader.is_some().then(name);
                    let range =
                        SlotRangeStatus { first: number, last: number, leader: leader_name };
                    ranges.push((*leader, range));
                }
            }
        }
        ranges.into_iter().map(|(_, range)| range).collect()
    }
}

fn state(state: State) -> MemberState {
    match state {
        State::Joining => MemberState::Joining,
        State::Alive => MemberState::Alive,
        State::Suspect => MemberState::Suspect,
        State::Dead => MemberState::Dead,
        State::Leaving => MemberState::Leaving,
        State::Left => MemberState::Left,
    }
}

/// The node as it is now, but for its keys.
pub(super) fn status(
    node: &Node,
    routes: &RouteTable,
    shared: &[Shared],
    uptime_seconds: u64,
    counts: &Counts,
) -> Status {
    let names: BTreeMap<NodeId, String> =
        node.members().map(|member| (member.id, member.name.clone())).collect();
    let name_of = |id: &NodeId| names.get(id).cloned().unwrap_or_else(|| id.to_string());
    let placement = &node.wish().placement;
    let me = node.me();
    let not_ready_because = node.not_ready_because();
    Status {
        cluster: node.cluster().is_some().then(|| format!("{:032x}", node.cluster().0)),
        name: name_of(&me),
        id: format!("{:032x}", me.0),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_seconds,
        ready: not_ready_because.is_none(),
        not_ready_because,
        leaving: node.leaving(),
        majority: node.sees_majority(),
        members: node
            .members()
            .map(|member| MemberStatus {
                name: member.name.clone(),
                id: format!("{:032x}", member.id.0),
                state: state(member.state),
                peer: member.peer.to_string(),
                client: member.client.to_string(),
                cluster_client: member.cluster_client.to_string(),
                admin: member.admin.to_string(),
                zone: member.zone.clone(),
                weight: member.weight,
                shards: member.shards,
            })
            .collect(),
        ring: placement
            .ranges()
            .map(|(range, owners)| RangeStatus {
                first: range.start().number(),
                last: range.end().number(),
                owners: owners.iter().map(name_of).collect(),
            })
            .collect(),
        ring_digest: format!("{:016x}", placement.digest()),
        slots: routes.ranges(&names),
        shards: (0..).zip(shared).map(|(shard, shared)| shard_status(shard, shared)).collect(),
        counts: *counts,
        ..Status::default()
    }
}

fn shard_status(shard: u16, shared: &Shared) -> ShardStatus {
    ShardStatus {
        shard,
        slots_led: shared.slots_led.get() as u32,
        keys: shared.keys.get(),
        bytes: shared.bytes.get(),
        connections: shared.connections.get(),
        commands: shared.commands.get(),
        moving: shared.slots_moving.get() as u32,
    }
}
