//! What a node has seen of the lives of members: their latest ids, and the ids that those followed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use piccolo_schema::ids::NodeId;

/// Ids remembered whose name another life has followed, at most; the oldest is forgotten first.
/// Slots stop naming an id within seconds, and members restart seldom.
const SUPERSEDED_MAX: usize = 1024;

/// The lives of members, as far as they matter still.
#[derive(Debug, Default)]
pub(super) struct Lives {
    latest: BTreeMap<String, NodeId>,
    superseded: VecDeque<NodeId>,
    /// Ids that were live when this node heard of them, or later.
    seen_live: BTreeSet<NodeId>,
}

impl Lives {
    /// Takes in the life that a name has now, and whether it is live.
    pub(super) fn see(&mut self, name: &str, id: NodeId, live: bool) {
        if live {
            self.seen_live.insert(id);
        }
        let before = self.latest.insert(name.to_owned(), id);
        if let Some(before) = before.filter(|before| *before != id) {
            self.seen_live.remove(&before);
            if self.superseded.len() >= SUPERSEDED_MAX {
                self.superseded.pop_front();
            }
            self.superseded.push_back(before);
        }
    }

    /// Whether the id was live when this node heard of it, or later.
    pub(super) fn was_live(&self, id: NodeId) -> bool {
        self.seen_live.contains(&id)
    }

    /// Ids that another life of their name has followed.
    pub(super) fn superseded(&self) -> impl Iterator<Item = NodeId> {
        self.superseded.iter().copied()
    }

    /// Forgets whom gossip has forgotten: all but these names and the ids that they have.
    pub(super) fn forget<'a>(&mut self, members: impl Iterator<Item = (&'a str, NodeId)> + Clone) {
        if self.latest.len() > members.clone().count() {
            let known: BTreeMap<_, _> = members.collect();
            self.latest.retain(|name, _| known.contains_key(name.as_str()));
            let ids: BTreeSet<_> = known.into_values().collect();
            self.seen_live.retain(|id| ids.contains(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node that restarts without end, and ever new names, cost a bounded memory.
    #[test]
    fn what_is_remembered_is_bounded() {
        let mut lives = Lives::default();
        for id in 0..5000 {
            lives.see("restarts", NodeId(1 + id), true);
        }
        assert_eq!(lives.superseded().count(), SUPERSEDED_MAX);
        assert_eq!(lives.superseded().last(), Some(NodeId(4999)));
        let stays = ("restarts", NodeId(5000));
        for id in 0..5000 {
            lives.see(&format!("new{id}"), NodeId(10_000 + id), true);
            lives.forget([stays].into_iter());
        }
        assert!(lives.was_live(NodeId(5000)) && !lives.was_live(NodeId(10_000)));
        assert_eq!((lives.latest.len(), lives.seen_live.len()), (1, 1));
    }
}
