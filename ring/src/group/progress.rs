//! What a leader knows of one follower.

use piccolo_schema::ids::{NodeId, Version};

use super::Lane;

/// How a follower is being brought up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Asked where it stands; nothing is sent until it answers.
    Asked,
    /// It needs the slot again; the caller opens a snapshot when it has room.
    Lacks,
    /// A snapshot is under way: entries whose hash is below `cursor` have been sent.
    Snapshot {
        /// Number of the attempt.
        snapshot: u64,
        /// Everything below has been sent.
        cursor: u64,
    },
    /// It gets every change as it is made.
    Follows,
}

/// Where a follower says it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    /// Its last change.
    pub(super) last: Version,
    /// Under which its node supports the leader's.
    pub(super) epoch: u64,
    /// Version of the config that it knows.
    pub(super) config: u32,
}

/// What a leader knows of one follower.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) node: NodeId,
    pub(super) stage: Stage,
    /// Where it said it stands.
    pub(super) acked: Version,
    /// The last change sent to it.
    pub(super) sent: Version,
    /// Version of the config by which it came in: what it said before is of a replica that it may
    /// have dropped since.
    pub(super) admitted: u32,
    /// Changes stay behind the snapshot on the bulk link until everything sent is acknowledged:
    /// on the other link they could overtake it.
    pub(super) lane: Lane,
    /// The epoch under which its node supported this one when it acknowledged a change of this
    /// term.
    pub(super) epoch: Option<u64>,
    /// It has come further since the last [`super::Group::resume`].
    pub(super) heard: bool,
}

impl Progress {
    pub(super) fn asked(node: NodeId) -> Self {
        Self {
            node,
            stage: Stage::Asked,
            acked: Version::ZERO,
            sent: Version::ZERO,
            admitted: 0,
            lane: Lane::Ordinary,
            epoch: None,
            heard: true,
        }
    }

    pub(super) fn follows_from(node: NodeId, last: Version) -> Self {
        Self { stage: Stage::Follows, acked: last, sent: last, ..Self::asked(node) }
    }
}
