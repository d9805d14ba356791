//! What a node has seen of the lives of members: their latest ids, and the ids that those followed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use piccolo_gossip::Member;
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
    /// Takes in what is new of a member.
    pub(super) fn see(&mut self, member: &Member) {
        if member.state.is_live() {
            self.seen_live.insert(member.id);
        }
        let before = self.latest.insert(member.name.clone(), member.id);
        if let Some(before) = before.filter(|before| *before != member.id) {
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

    /// Forgets whom gossip has forgotten.
    pub(super) fn forget<'a>(&mut self, members: impl Iterator<Item = &'a Member> + Clone) {
        if self.latest.len() > members.clone().count() {
            let known: BTreeMap<_, _> = members.map(|m| (m.name.as_str(), m.id)).collect();
            self.latest.retain(|name, _| known.contains_key(name.as_str()));
            let ids: BTreeSet<_> = known.into_values().collect();
            self.seen_live.retain(|id| ids.contains(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use piccolo_gossip::State;
    use piccolo_schema::time::Moment;

    fn member(name: &str, id: u128) -> Member {
        let address = ([127, 0, 0, 1], 7380).into();
        Member {
            name: name.to_owned(),
            id: NodeId(id),
            generation: 1,
            incarnation: 0,
            state: State::Alive,
            said: State::Alive,
            peer: address,
            client: address,
            cluster_client: address,
            admin: address,
            zone: String::new(),
            weight: 1,
            shards: 1,
            protocol: (1, 1),
            features: 0,
            accusers: Vec::new(),
            since: Moment(0),
        }
    }

    /// A node that restarts without end, and ever new names, cost a bounded memory.
    #[test]
    fn what_is_remembered_is_bounded() {
        let mut lives = Lives::default();
        for id in 0..5000 {
            lives.see(&member("restarts", 1 + id));
        }
        assert_eq!(lives.superseded().count(), SUPERSEDED_MAX);
        assert_eq!(lives.superseded().last(), Some(NodeId(4999)));
        let stays = member("restarts", 5000);
        for id in 0..5000 {
            lives.see(&member(&format!("new{id}"), 10_000 + id));
            lives.forget([&stays].into_iter());
        }
        assert!(lives.was_live(NodeId(5000)) && !lives.was_live(NodeId(10_000)));
        assert_eq!((lives.latest.len(), lives.seen_live.len()), (1, 1));
    }
}
