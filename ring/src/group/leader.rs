//! The leader's side: changes out, acknowledgements in, followers brought up to date.

use piccolo_schema::ids::{NodeId, Version};
use piccolo_schema::slot_message::{Body, Change, ChangeKind, Config, Records};
use piccolo_schema::time::Moment;

use super::backlog::Backlog;
use super::progress::{Progress, Stage, Standing};
use super::transfer::Transfer;
use super::{Effect, Group, Lane, Role, Support};

/// Which part of a change lies behind a snapshot's cursor: what the follower who gets it must be
/// sent. `None` for changes that hold no entries.
pub(super) type Behind<'a> = Option<&'a mut dyn FnMut(u64) -> Option<Records>>;

/// What a leader knows.
#[derive(Debug)]
pub(super) struct Reign {
    pub(super) followers: Vec<Progress>,
    pub(super) backlog: Backlog,
    pub(super) transfer: Option<Transfer>,
}

impl Reign {
    pub(super) fn new(others: &[NodeId], stood_for: NodeId, last: Version) -> Self {
        let progress = |node: &NodeId| {
            if *node == stood_for {
                Progress::follows_from(*node, last)
            } else {
                Progress::asked(*node)
            }
        };
        Self {
            followers: others.iter().map(progress).collect(),
            backlog: Backlog::default(),
            transfer: None,
        }
    }

    /// The link that what is said to a follower must take.
    fn lane(&self, node: NodeId) -> Lane {
        let progress = self.followers.iter().find(|progress| progress.node == node);
        progress.map_or(Lane::Ordinary, |progress| progress.lane)
    }

    pub(super) fn find(&mut self, node: NodeId) -> Option<&mut Progress> {
        self.followers.iter_mut().find(|progress| progress.node == node)
    }
}

impl Group {
    /// Numbers and spreads a change that the caller has made under [`Self::next_version`], as the
    /// serving leader. `behind` gives, for a snapshot's cursor, the records that lie behind it.
    pub fn append(
        &mut self,
        records: Records,
        behind: &mut dyn FnMut(u64) -> Option<Records>,
        out: &mut Vec<Effect>,
    ) {
        debug_assert!(self.serves());
        self.append_change(ChangeKind::Data(records), Some(behind), out);
    }

    pub(super) fn spread(&mut self, change: Change, mut behind: Behind<'_>, out: &mut Vec<Effect>) {
        let prev = std::mem::replace(&mut self.last, change.version);
        let (era, term, slot, committed) = (self.era, self.term, self.slot, self.committed);
        let Role::Leader(reign) = &mut self.role else { return };
        let mut send = |to, lane, body| {
            let message = piccolo_schema::slot_message::SlotMessage { slot, era, term, body };
            out.push(Effect::Send { to, lane, message });
        };
        for progress in &mut reign.followers {
            match progress.stage {
                Stage::Follows => {
                    let changes = vec![change.clone()];
                    send(progress.node, progress.lane, Body::Append { prev, committed, changes });
                    progress.sent = change.version;
                }
                Stage::Snapshot { snapshot, cursor } => {
                    if let Some(records) = behind.as_mut().and_then(|behind| behind(cursor)) {
                        send(progress.node, Lane::Bulk, Body::Piece { snapshot, records });
                    }
                }
                Stage::Asked | Stage::Lacks => {}
            }
        }
        if !reign.followers.is_empty() {
            reign.backlog.push(prev, change);
        }
        self.commit(out);
    }

    /// Recomputes what is committed: the greatest change of this term that a majority of voters
    /// holds. An acknowledgement of another term never counts.
    pub(super) fn commit(&mut self, out: &mut Vec<Effect>) {
        let Role::Leader(reign) = &self.role else { return };
        let held = |voter: &NodeId| {
            if *voter == self.me {
                return self.last;
            }
            let progress = reign.followers.iter().find(|progress| progress.node == *voter);
            progress.map_or(Version::ZERO, |progress| progress.acked)
        };
        let mut held: Vec<Version> = self.config.voters.iter().map(held).collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        let majority = held.get(self.config.majority() - 1).copied().unwrap_or(Version::ZERO);
        if majority.term == self.term && majority > self.committed {
            let served = self.serves();
            self.committed = majority;
            out.push(Effect::Committed);
            if self.serves() && !served {
                out.push(Effect::Serves);
            }
        }
        self.settle(out);
        self.stand_if_due(out);
    }

    /// What follows once the latest config is committed: those it leaves out are let go.
    fn settle(&mut self, out: &mut Vec<Effect>) {
        if !self.config_committed() {
            self.alone = false;
            return;
        }
        let Role::Leader(reign) = &mut self.role else { return };
        let mut gone = Vec::new();
        reign.followers.retain(|progress| {
            let stays = self.config.has(progress.node);
            if !stays {
                gone.push(progress.node);
            }
            stays
        });
        if reign.followers.is_empty() {
            reign.backlog.clear();
        }
        let alone = reign.followers.is_empty() && self.config.voters == [self.me];
        for node in gone {
            self.send(node, Lane::Ordinary, Body::Dismiss(self.config.version), out);
        }
        self.alone = alone && self.serves();
    }

    /// Whether the latest config is known to be committed.
    pub fn config_committed(&self) -> bool {
        self.config_at <= self.committed
    }

    /// Makes `config` the next one: a change like any other, but one server at a time, and only
    /// after the one before is committed.
    pub(super) fn change_config(
        &mut self,
        voters: Vec<NodeId>,
        learners: Vec<NodeId>,
        out: &mut Vec<Effect>,
    ) {
        debug_assert!(self.serves() && self.config_committed());
        let config = Config { version: self.config.version + 1, voters, learners };
        if let Role::Leader(reign) = &mut self.role {
            for node in config.voters.iter().chain(&config.learners) {
                if *node != self.me && reign.find(*node).is_none() {
                    let (stage, admitted) = (Stage::Lacks, config.version);
                    let lacks = Progress { stage, admitted, ..Progress::asked(*node) };
                    reign.followers.push(lacks);
                }
            }
        }
        self.alone = false;
        self.config_at = self.next_version();
        self.config = config.clone();
        self.append_change(ChangeKind::Config(config), None, out);
    }

    pub(super) fn receive_ack(
        &mut self,
        from: NodeId,
        standing: Option<Standing>,
        out: &mut Vec<Effect>,
    ) {
        let (term, current, committed) = (self.term, self.last, self.committed);
        let Role::Leader(reign) = &mut self.role else { return };
        let Some(progress) = reign.followers.iter_mut().find(|p| p.node == from) else {
            if standing.is_some() {
                self.place(from, out);
            }
            return;
        };
        let Some(Standing { last, epoch, config }) = standing else {
            // It refused the snapshot or forgot the slot: again, when the caller gets to it.
            (progress.stage, progress.acked) = (Stage::Lacks, Version::ZERO);
            return;
        };
        if config < progress.admitted {
            // Said by a replica of an earlier config, which may be dropped by now.
            if progress.stage == Stage::Asked {
                progress.stage = Stage::Lacks;
            }
            return;
        }
        if last.term == term {
            progress.epoch = Some(epoch);
        }
        match progress.stage {
            Stage::Follows => {
                // A word that tells nothing new is no sign that all is well: behind a change that
                // was lost, a follower answers each later one by where it stands still.
                if last <= progress.sent && last > progress.acked {
                    (progress.acked, progress.heard) = (last, true);
                }
                if progress.acked == progress.sent {
                    progress.lane = Lane::Ordinary;
                }
            }
            Stage::Asked => {
                let missing =
                    if last == current { Some(Vec::new()) } else { reign.backlog.after(last) };
                match missing {
                    Some(changes) => {
                        let Progress { epoch, admitted, .. } = *progress;
                        let follows = Progress::follows_from(from, last);
                        *progress = Progress { admitted, epoch, ..follows };
                        progress.sent = current;
                        if !changes.is_empty() {
                            let body = Body::Append { prev: last, committed, changes };
                            self.send(from, Lane::Ordinary, body, out);
                        }
                    }
                    None => progress.stage = Stage::Lacks,
                }
            }
            Stage::Lacks | Stage::Snapshot { .. } => {}
        }
        self.trim();
        self.commit(out);
    }

    fn trim(&mut self) {
        if let Role::Leader(reign) = &mut self.role
            && let Some(acked) = reign.followers.iter().map(|progress| progress.acked).min()
        {
            reign.backlog.trim(acked);
        }
    }

    /// Tells a replica that missed something what it is now: a follower, or over.
    pub(super) fn place(&self, node: NodeId, out: &mut Vec<Effect>) {
        if self.config.has(node) {
            self.ask(node, out);
        } else if self.config_committed() {
            self.send(node, Lane::Ordinary, Body::Dismiss(self.config.version), out);
        }
    }

    /// Asks a follower where it stands.
    pub(super) fn ask(&self, node: NodeId, out: &mut Vec<Effect>) {
        let body = Body::Append { prev: self.last, committed: self.committed, changes: Vec::new() };
        // Behind what is under way to it: asked ahead of a snapshot's end it would lack the slot.
        let lane = match &self.role {
            Role::Leader(reign) => reign.lane(node),
            Role::Follower { .. } | Role::Candidate(_) => Lane::Ordinary,
        };
        self.send(node, lane, body, out);
    }

    /// The link to `node` is new: whatever was under way on the old one is lost. A leader asks
    /// its follower there where it stands.
    pub fn link_renewed(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        let Role::Leader(reign) = &mut self.role else { return };
        let Some(progress) = reign.find(node) else { return };
        progress.stage = match progress.stage {
            Stage::Snapshot { .. } | Stage::Lacks => Stage::Lacks,
            Stage::Asked | Stage::Follows => Stage::Asked,
        };
        progress.lane = Lane::Ordinary;
        if progress.stage == Stage::Asked {
            self.ask(node, out);
        }
    }

    /// Until when this leader may serve: a majority of voters, itself among them, supports it for
    /// so long. `until` says how long a voter's answers to heartbeats have made sure of an epoch.
    /// Whoever leads alone needs nobody.
    pub fn leased_until(&self, until: impl Fn(NodeId, u64) -> Moment) -> Moment {
        let Role::Leader(reign) = &self.role else { return Moment(0) };
        let supports = |voter: &NodeId| {
            if *voter == self.me {
                return Moment::NEVER;
            }
            let progress = reign.followers.iter().find(|progress| progress.node == *voter);
            let epoch = progress.and_then(|progress| progress.epoch);
            epoch.map_or(Moment(0), |epoch| until(*voter, epoch))
        };
        let mut supports: Vec<Moment> = self.config.voters.iter().map(supports).collect();
        supports.sort_unstable_by(|a, b| b.cmp(a));
        supports.get(self.config.majority() - 1).copied().unwrap_or(Moment(0))
    }

    /// The node of `voter` supports this one under another epoch now: what it acknowledged before
    /// counts no more, so it is asked where it stands.
    pub fn epoch_changed(&mut self, voter: NodeId, epoch: u64, out: &mut Vec<Effect>) {
        let Role::Leader(reign) = &mut self.role else { return };
        let Some(progress) = reign.find(voter) else { return };
        if progress.epoch.is_some_and(|confirmed| confirmed != epoch) {
            progress.epoch = None;
            self.ask(voter, out);
        }
    }

    /// Says again what may have been lost: call it now and then while the group is not settled.
    pub fn resume(&mut self, support: &dyn Support, out: &mut Vec<Effect>) {
        self.repeat_stand(support, out);
        let Role::Leader(reign) = &mut self.role else { return };
        let mut asked = Vec::new();
        for progress in &mut reign.followers {
            let heard = std::mem::take(&mut progress.heard);
            let silent = progress.stage == Stage::Follows && progress.acked != progress.sent;
            if silent && !heard {
                progress.stage = Stage::Asked;
            }
            // One that follows is asked, too, if it is not known under which epoch it does.
            let unconfirmed = progress.stage == Stage::Follows && progress.epoch.is_none();
            if progress.stage == Stage::Asked || unconfirmed {
                asked.push(progress.node);
            }
        }
        for node in asked {
            self.ask(node, out);
        }
        self.call_off_overdue(out);
    }

    /// Followers that need the slot again.
    pub fn lacking(&self) -> impl Iterator<Item = NodeId> + '_ {
        let followers = match &self.role {
            Role::Leader(reign) => &reign.followers[..],
            Role::Follower { .. } | Role::Candidate(_) => &[],
        };
        followers.iter().filter(|p| p.stage == Stage::Lacks).map(|p| p.node)
    }

    /// Snapshots under way: (node, attempt, cursor).
    pub fn snapshots(&self) -> impl Iterator<Item = (NodeId, u64, u64)> + '_ {
        let followers = match &self.role {
            Role::Leader(reign) => &reign.followers[..],
            Role::Follower { .. } | Role::Candidate(_) => &[],
        };
        followers.iter().filter_map(|progress| match progress.stage {
            Stage::Snapshot { snapshot, cursor } => Some((progress.node, snapshot, cursor)),
            Stage::Asked | Stage::Lacks | Stage::Follows => None,
        })
    }

    /// Begins a snapshot for a follower that lacks the slot. `snapshot` must be new.
    pub fn open_snapshot(&mut self, node: NodeId, snapshot: u64, ring: u64, out: &mut Vec<Effect>) {
        let Role::Leader(reign) = &mut self.role else { return };
        let Some(progress) = reign.find(node) else { return };
        progress.stage = Stage::Snapshot { snapshot, cursor: 0 };
        progress.lane = Lane::Bulk;
        self.send(node, Lane::Bulk, Body::Open { snapshot, ring }, out);
    }

    /// Sends the entries from the cursor to `next`, where the walk goes on; `None` ends the
    /// snapshot with its end marker, and the follower follows.
    pub fn send_piece(
        &mut self,
        node: NodeId,
        records: Records,
        next: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        let (last, committed) = (self.last, self.committed);
        let Role::Leader(reign) = &mut self.role else { return };
        let Some(progress) = reign.find(node) else { return };
        let Stage::Snapshot { snapshot, cursor } = &mut progress.stage else { return };
        let snapshot = *snapshot;
        if let Some(next) = next {
            *cursor = next;
        } else {
            progress.stage = Stage::Follows;
            (progress.acked, progress.sent) = (Version::ZERO, last);
            // It has a while to build what was sent before it is asked.
            progress.heard = true;
        }
        if !records.is_empty() {
            self.send(node, Lane::Bulk, Body::Piece { snapshot, records }, out);
        }
        if next.is_none() {
            let config = self.config.clone();
            let body = Body::Close { snapshot, last, committed, config };
            self.send(node, Lane::Bulk, body, out);
        }
    }
}
