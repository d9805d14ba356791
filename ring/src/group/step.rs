//! The next single step from the replicas that a slot has to those it should have.

use piccolo_schema::ids::NodeId;

use super::progress::Stage;
use super::{Effect, Group, Role};

/// One step of a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Everybody is in place.
    Settled,
    /// Something is under way.
    Wait,
    /// Let this node follow.
    Learn(NodeId),
    /// Give this learner, who is up to date, a vote.
    Promote(NodeId),
    /// Let this one go.
    Remove(NodeId),
    /// Give this voter the lead.
    Transfer(NodeId),
}

impl Group {
    /// The next step towards `desired` (first: who should lead), as this leader sees it.
    pub fn next_step(&self, desired: &[NodeId]) -> Step {
        let Role::Leader(reign) = &self.role else { return Step::Settled };
        let Some(&first) = desired.first() else { return Step::Settled };
        if !self.serves() || !self.config_committed() {
            return Step::Wait;
        }
        let config = &self.config;
        let synced = |node: NodeId| {
            let progress = reign.followers.iter().find(|progress| progress.node == node);
            progress.is_some_and(|p| p.stage == Stage::Follows && p.acked.term == self.term)
        };
        let stray = config.learners.iter().find(|node| !desired.contains(node));
        if let Some(&stray) = stray {
            return Step::Remove(stray);
        }
        let extra = config.voters.iter().find(|node| !desired.contains(node) && **node != self.me);
        // There are enough without it, and it may be waiting to leave while the one that is desired
        // cannot be reached.
        if let Some(&extra) = extra.filter(|_| config.voters.len() > desired.len()) {
            return Step::Remove(extra);
        }
        if let Some(&absent) = desired.iter().find(|node| !config.has(**node)) {
            return Step::Learn(absent);
        }
        if let Some(&learner) = config.learners.first() {
            return if synced(learner) { Step::Promote(learner) } else { Step::Wait };
        }
        if first == self.me {
            Step::Settled
        } else if synced(first) {
            Step::Transfer(first)
        } else {
            // Work would be held for as long as it takes to bring the target up to date.
            Step::Wait
        }
    }

    /// Takes a step that [`Self::next_step`] named just now.
    pub fn take_step(&mut self, step: Step, out: &mut Vec<Effect>) {
        let without = |nodes: &[NodeId], gone: NodeId| -> Vec<NodeId> {
            nodes.iter().copied().filter(|node| *node != gone).collect()
        };
        let mut voters = self.config.voters.clone();
        let mut learners = self.config.learners.clone();
        match step {
            Step::Settled | Step::Wait => return,
            Step::Transfer(to) => return self.begin_transfer(to, out),
            Step::Learn(node) => learners.push(node),
            Step::Promote(node) => {
                learners = without(&learners, node);
                voters.push(node);
            }
            Step::Remove(node) => {
                voters = without(&voters, node);
                learners = without(&learners, node);
            }
        }
        self.change_config(voters, learners, out);
    }
}
