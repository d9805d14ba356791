//! Strangers: links whose other side has not shown yet which node it is. Anybody who reaches the
//! peer port can open them, so they get little memory, little time and few lines in the log.

use std::collections::VecDeque;

use super::link::{Inlink, Outlink};
use super::stream::{Role, StreamKey};
use super::{Action, Shard};
use crate::seldom::Seldom;

/// Links opened by strangers at once at most, for each shard; one more pushes out the oldest. Nodes
/// that all start together open two for each of their shards, and say who they are at once.
const STRANGERS_MAX: usize = 256;

/// Bytes of a frame from a stranger at most: a hello takes some hundred.
pub(super) const STRANGERS_FRAME_BYTES_MAX: usize = 4 << 10;

/// Characters of what a stranger says that are repeated in the log.
const QUOTED_CHARS_MAX: usize = 200;

/// The links that strangers have opened, the oldest first, and some that are none any more.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    links: VecDeque<StreamKey>,
    told: Seldom,
}

impl Shard {
    /// Takes in a link that a peer opened. Its hello follows.
    pub fn accept_link(&mut self) -> StreamKey {
        if self.strangers.links.len() >= STRANGERS_MAX {
            self.drop_named();
        }
        if self.strangers.links.len() >= STRANGERS_MAX
            && let Some(oldest) = self.strangers.links.pop_front()
        {
            self.counters.link_faults += 1;
            self.hang_up(oldest);
        }
        let key = self.streams.open(Role::Inlink(Inlink::new(self.now.moment)));
        self.strangers.links.push_back(key);
        key
    }

    /// Links opened by those who have not said who they are.
    pub(super) fn strangers(&mut self) -> Vec<StreamKey> {
        self.drop_named();
        self.strangers.links.iter().copied().collect()
    }

    fn drop_named(&mut self) {
        let mut links = std::mem::take(&mut self.strangers.links);
        links.retain(|key| self.is_stranger(*key));
        self.strangers.links = links;
    }

    /// Whether the other side of a link has not shown yet who it is.
    pub(super) fn is_stranger(&self, key: StreamKey) -> bool {
        let role = self.streams.get(key).map(|stream| &stream.role);
        matches!(
            role,
            Some(
                Role::Inlink(Inlink { source: None, .. })
                    | Role::Outlink(Outlink { welcome: false, .. })
            )
        )
    }

    /// Says why a link is closed; of a stranger's now and then only, and not before this node is in
    /// a cluster: then it is the peers of its last life who have not heard yet. Those are not told
    /// why, or they would raise the alarm instead.
    pub(super) fn warn_of_link(&mut self, key: StreamKey, why: &str) {
        if !self.cluster.is_some() {
            return;
        }
        if !self.is_stranger(key) {
            self.actions.push_back(Action::Warn(format!("a link is closed: {why}")));
        } else if self.strangers.told.may(self.now.moment) {
            self.actions.push_back(Action::Warn(format!(
                "a link is closed before its other side said who it is: {why} (the next minute's \
                 are counted only: piccolo_link_faults_total)"
            )));
        }
    }
}

/// What another said, fit for the log.
pub(super) fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect()
}
