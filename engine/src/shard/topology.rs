//! Which node leads which slots, as clients are told.
//!
//! Clients ask in storms, for instance when a node has gone: replies are kept, encoded, until a
//! route or a member changes.

use std::sync::Arc;

use piccolo_schema::ids::{NodeId, Slot};
use piccolo_schema::kv;

use super::control::{Members, NodeView};
use super::routes::Routes;

/// Slots in a row that one node leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    /// The leader's place among the nodes.
    pub(super) node: usize,
}

/// A reply that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    Slots,
    Shards,
    Nodes,
}

/// Kinds of replies that are kept, times the versions of RESP.
const KEPT: usize = 6;

/// The nodes, and what has been encoded of them.
#[derive(Debug, Default)]
pub(super) struct Topology {
    members: Arc<Members>,
    /// The state of the routes when `kept` was encoded.
    routes: u64,
    kept: [Option<Arc<[u8]>>; KEPT],
}

impl Topology {
    /// Takes in who is there.
    pub(super) fn set_nodes(&mut self, members: Arc<Members>) {
        self.members = members;
        self.kept = Default::default();
    }

    /// Every member that has not left, by name.
    pub(super) fn nodes(&self) -> &[NodeView] {
        &self.members.nodes
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&NodeView> {
        self.members.nodes.iter().find(|node| node.id == id)
    }

    /// The slots that each node leads, in order. Slots whose leader is unknown, or no member, are
    /// in none.
    pub(super) fn ranges(&self, routes: &Routes) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        let mut known: Option<(NodeId, Option<usize>)> = None;
        for slot in Slot::all() {
            let leader = routes.get(slot).leader;
            let node = match known {
                Some((id, node)) if id == leader => node,
                _ => self.members.nodes.iter().position(|node| node.id == leader),
            };
            known = Some((leader, node));
            let Some(node) = node else { continue };
            let number = slot.number();
            match ranges.last_mut() {
                Some(range) if range.node == node && range.last + 1 == number => {
                    range.last = number;
                }
                _ => ranges.push(Range { first: number, last: number, node }),
            }
        }
        ranges
    }

    /// The same for native clients.
    pub(super) fn native(&self, routes: &Routes) -> kv::Topology {
        let node = |node: &NodeView| kv::Node {
            name: node.name.clone(),
            client: node.client.to_string(),
            state: node.state.word().to_owned(),
            zone: node.zone.clone(),
            weight: node.weight,
            shards: node.shards,
        };
        let range = |range: Range| kv::Range {
            first: range.first,
            last: range.last,
            node: range.node as u16,
        };
        kv::Topology {
            nodes: self.members.nodes.iter().map(node).collect(),
            leaders: self.ranges(routes).into_iter().map(range).collect(),
        }
    }

    /// The reply of a kind, encoded by `encode` unless it is kept still.
    pub(super) fn reply(
        &mut self,
        kind: Kept,
        resp3: bool,
        routes: &Routes,
        encode: impl FnOnce(&Self, &[Range]) -> Vec<u8>,
    ) -> Arc<[u8]> {
        if self.routes != routes.changes() {
            self.kept = Default::default();
            self.routes = routes.changes();
        }
        let place = kind as usize * 2 + usize::from(resp3);
        if let Some(kept) = &self.kept[place] {
            return kept.clone();
        }
        let reply: Arc<[u8]> = encode(self, &self.ranges(routes)).into();
        self.kept[place] = Some(reply.clone());
        reply
    }
}
