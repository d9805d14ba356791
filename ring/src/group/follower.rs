//! The follower's side: changes and snapshots in, where it stands out.

use piccolo_schema::ids::{NodeId, Version};
use piccolo_schema::slot_message::{Change, ChangeKind, Config};

use super::support::Acknowledged;
use super::{Effect, Group, Role};

impl Group {
    /// Changes from the leader of this term: applied iff they continue from what this replica
    /// holds. Either way the answer is where it stands.
    pub(super) fn receive_append(
        &mut self,
        from: NodeId,
        prev: Version,
        committed: Version,
        changes: Vec<Change>,
        out: &mut Vec<Effect>,
    ) {
        if self.is_leader() {
            debug_assert!(false, "two leaders of {:?} in {:?}", self.slot, self.term);
            return;
        }
        self.obey(from, out);
        let mut at = prev;
        for change in changes {
            // What is held already came twice; what is further on has a gap before it.
            let version = change.version;
            if at == self.last && version > self.last {
                self.apply(change, out);
            }
            at = version;
        }
        if self.last.term == self.term || at == self.last {
            self.committed = self.committed.max(committed.min(self.last));
        }
    }

    /// Takes `from` as the leader of the current term.
    fn obey(&mut self, from: NodeId, out: &mut Vec<Effect>) {
        let same = self.acknowledged.filter(|acknowledged| acknowledged.leader == from);
        let epoch = same.map_or(0, |acknowledged| acknowledged.epoch);
        self.acknowledged = Some(Acknowledged { leader: from, term: self.term, epoch });
        self.resigned = None;
        if self.leader() == from {
            return;
        }
        match &mut self.role {
            Role::Follower { leader, .. } => *leader = from,
            Role::Candidate(_) => self.role = Role::Follower { leader: from, aside: None },
            Role::Leader(_) => return,
        }
        out.push(Effect::Follows);
    }

    fn apply(&mut self, change: Change, out: &mut Vec<Effect>) {
        self.last = change.version;
        match change.kind {
            ChangeKind::Empty => {}
            ChangeKind::Data(records) => out.push(Effect::Apply(records)),
            ChangeKind::Config(config) => {
                self.config = config;
                self.config_at = change.version;
            }
        }
    }

    /// A snapshot begins. Returns false if it may not: the sender sees another ring.
    pub(super) fn receive_open(
        &mut self,
        from: NodeId,
        snapshot: u64,
        same_ring: bool,
        out: &mut Vec<Effect>,
    ) -> bool {
        if self.is_leader() || !same_ring {
            return self.is_leader();
        }
        self.obey(from, out);
        if let Role::Follower { aside, .. } = &mut self.role {
            *aside = Some(snapshot);
            out.push(Effect::BeginAside);
        }
        true
    }

    /// Whether this is the snapshot being built. A partial one was discarded with its leader.
    pub(super) fn builds(&self, snapshot: u64) -> bool {
        matches!(self.role, Role::Follower { aside: Some(own), .. } if own == snapshot)
    }

    pub(super) fn receive_close(
        &mut self,
        last: Version,
        committed: Version,
        config: Config,
        out: &mut Vec<Effect>,
    ) {
        // A late snapshot never takes a replica behind what it acknowledged in this term.
        if self.last.term < self.term || last >= self.last {
            if let Role::Follower { aside, .. } = &mut self.role {
                *aside = None;
            }
            self.last = last;
            self.committed = committed;
            self.config_at = last;
            self.config = config;
            out.push(Effect::InstallAside);
        } else {
            self.drop_aside(out);
        }
    }

    /// A snapshot under way ends here, and what was built of it is given back.
    pub(super) fn drop_aside(&mut self, out: &mut Vec<Effect>) {
        if let Role::Follower { aside, .. } = &mut self.role
            && aside.take().is_some()
        {
            out.push(Effect::DropAside);
        }
    }
}
