//! What the replicas of a slot say to each other, as Rust values. What it means: `ring::group`.

use std::sync::Arc;

use crate::ids::{Era, NodeId, Slot, Term, Version};

/// Records of the store in its own encoding: opaque here and to `ring`.
pub type Records = Arc<[u8]>;

/// A message to the replica of `slot` on another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotMessage {
    /// Which slot.
    pub slot: Slot,
    /// The sender's era.
    pub era: Era,
    /// The sender's term: every message, refusals too, carries it.
    pub term: Term,
    /// What is said.
    pub body: Body,
}

/// What one replica says to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// Leader to follower: changes that follow `prev`. Without changes it asks where the
    /// follower stands.
    Append {
        /// What the follower's `last` must be.
        prev: Version,
        /// Everything up to here is committed.
        committed: Version,
        /// In order.
        changes: Vec<Change>,
    },
    /// Follower to leader: where it stands.
    Ack {
        /// The follower's last change; meaningless unless `member`.
        last: Version,
        /// Whether the sender holds a replica at all.
        member: bool,
        /// Under which the sender's node supports the receiver's.
        epoch: u64,
        /// Version of the config that the follower knows.
        config: u32,
    },
    /// Leader to learner: a snapshot begins.
    Open {
        /// Number of this attempt, unique for its sender.
        snapshot: u64,
        /// Digest of the sender's ring.
        ring: u64,
    },
    /// Entries of a snapshot, or what follows behind its cursor.
    Piece {
        /// Number of the attempt.
        snapshot: u64,
        /// In the store's encoding.
        records: Records,
    },
    /// The end marker of a snapshot.
    Close {
        /// Number of the attempt.
        snapshot: u64,
        /// What the follower's `last` becomes.
        last: Version,
        /// Everything up to here is committed.
        committed: Version,
        /// The config at that point.
        config: Config,
    },
    /// The leader of `term` gives it up to the receiver, whose `last` must be this one. It is
    /// the leader's vote for the receiver in the next term.
    Stand(Version),
    /// Candidate to voter: a vote is asked for.
    Canvass {
        /// Asked before: about the term after that of the message. Nothing changes by it.
        pre: bool,
        /// What the candidate holds.
        last: Version,
        /// The term whose leader gave it up for the candidate; zero if none did.
        given_up: Term,
    },
    /// Voter to candidate: the vote in the message's term, or, if it was asked before, that it
    /// would be given in the next.
    Vote {
        /// The answer to one who asks before.
        pre: bool,
    },
    /// The config of this version is committed and the receiver is not in it.
    Dismiss(u32),
    /// Voter to the leader that it acknowledged in this term: does it lead still?
    Inquire(Term),
    /// The answer: not in this term, nor in any before.
    Released(Term),
}

/// One numbered change of a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Its place in the slot.
    pub version: Version,
    /// What it does.
    pub kind: ChangeKind,
}

/// What a change does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// Nothing: a fresh leader commits one of these before it serves.
    Empty,
    /// Entries written and deleted.
    Data(Records),
    /// Other replicas.
    Config(Config),
}

/// Who holds a slot. Voters are node ids: a node that forgot is another node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Rises by one with each change of the config within an era.
    pub version: u32,
    /// A majority of these holds every acknowledged write.
    pub voters: Vec<NodeId>,
    /// These follow without a vote.
    pub learners: Vec<NodeId>,
}

impl Config {
    /// Voters that make a majority.
    pub fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Whether `node` is a voter.
    pub fn has_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node)
    }

    /// Whether `node` is a voter or a learner.
    pub fn has(&self, node: NodeId) -> bool {
        self.has_voter(node) || self.learners.contains(&node)
    }
}

/// Who leads a slot, as far as the sender knows. Soft: the greater (era, term) is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Which slot.
    pub slot: Slot,
    /// Compared first.
    pub era: Era,
    /// Compared second.
    pub term: Term,
    /// [`NodeId::NONE`] while nobody is known.
    pub leader: NodeId,
}
