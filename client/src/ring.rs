//! Who leads which slot, as nodes have told it.

use piccolo_schema::ids::Slot;
use piccolo_schema::key_slot::slot_of;
use piccolo_schema::kv::{Node, Topology};

/// A slot that nobody is known to lead.
const NOBODY: u16 = u16::MAX;

/// Who leads which slot, as nodes have told it. What is out of date costs a hop and nothing more:
/// a node sends on what it does not lead.
///
/// ```
/// use piccolo_client::Ring;
/// use piccolo_schema::kv::{Node, Range, Topology};
///
/// let mut ring = Ring::default();
/// assert_eq!(ring.owner(b"key"), None);
/// let node = Node { client: "127.0.0.1:7379".into(), ..Node::default() };
/// let leaders = vec![Range { first: 0, last: 16383, node: 0 }];
/// ring.learn(&Topology { nodes: vec![node], leaders });
/// assert_eq!(ring.owner(b"key").unwrap().client, "127.0.0.1:7379");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ring {
    nodes: Vec<Node>,
    /// Place of the leader of each slot.
    slots: Box<[u16]>,
}

impl Default for Ring {
    fn default() -> Self {
        Self { nodes: Vec::new(), slots: vec![NOBODY; usize::from(Slot::COUNT)].into() }
    }
}

impl Ring {
    /// Takes in what a node has answered. It replaces what was known before.
    pub fn learn(&mut self, topology: &Topology) {
        self.nodes.clone_from(&topology.nodes);
        self.slots.fill(NOBODY);
        for range in &topology.leaders {
            let slots = self.slots.get_mut(usize::from(range.first)..=usize::from(range.last));
            if let Some(slots) = slots.filter(|_| usize::from(range.node) < topology.nodes.len()) {
                slots.fill(range.node);
            }
        }
    }

    /// Every node known.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node that leads the slot of `key`.
    pub fn owner(&self, key: &[u8]) -> Option<&Node> {
        self.nodes.get(self.owner_at(slot_of(key))?)
    }

    /// The place of the leader of `slot` among [`Self::nodes`].
    pub fn owner_at(&self, slot: Slot) -> Option<usize> {
        let place = self.slots[slot.index()];
        (place != NOBODY).then_some(usize::from(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use piccolo_schema::kv::Range;

    #[test]
    fn slots_belong_to_whom_the_last_topology_says() {
        let node = |name: &str| Node { name: name.into(), ..Node::default() };
        let mut ring = Ring::default();
        let first = Range { first: 0, last: 9999, node: 0 };
        let rest = Range { first: 12_000, last: 16_383, node: 1 };
        ring.learn(&Topology { nodes: vec![node("a"), node("b")], leaders: vec![first, rest] });
        let name = |ring: &Ring, slot| {
            Some(ring.nodes()[ring.owner_at(Slot::new(slot).unwrap())?].name.clone())
        };
        assert_eq!(name(&ring, 9999).as_deref(), Some("a"));
        assert_eq!(name(&ring, 10_000), None);
        // From CLUSTER KEYSLOT of a Redis Cluster: 12182.
        assert_eq!(ring.owner(b"foo").unwrap().name, "b");
        ring.learn(&Topology { nodes: vec![node("c")], leaders: vec![rest] });
        assert_eq!(name(&ring, 12_182), None);
    }
}
