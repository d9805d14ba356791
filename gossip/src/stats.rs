//! Counters.

use std::time::Duration;

use crate::reject::Reject;
use crate::seal::SealFault;

/// What this node's gossip has counted since it began. All only rise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Datagrams taken in, rejected ones among them.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams handed out for sending.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Datagrams not handed out because the caller had left too many actions untaken.
    pub datagrams_dropped: u64,
    /// Rejected: too long or not of this protocol. A rise means a stray or hostile sender.
    pub rejects_malformed: u64,
    /// Rejected: of another cluster. A rise means two clusters share addresses.
    pub rejects_foreign: u64,
    /// Rejected: meant for another id. A rise means that others hold a stale address.
    pub rejects_not_for_us: u64,
    /// Rejected: an answer that came too late. A rise means a slow network or a slow node.
    pub rejects_unsolicited: u64,
    /// Rejected: no room in the table.
    pub rejects_full: u64,
    /// Rejected: perhaps a recording, so the sender was asked to speak again. With keys each
    /// newcomer and restart makes a few; a steady rise means somebody who repeats what he heard.
    pub rejects_undated: u64,
    /// Rejected for another reason.
    pub rejects_other: u64,
    /// Probes started.
    pub probes: u64,
    /// Probes that nobody answered, directly or for another.
    pub probes_failed: u64,
    /// Suspicions that this node raised.
    pub suspicions_raised: u64,
    /// Times that another member was found to hold a suspect silent, too.
    pub suspicions_confirmed: u64,
    /// Suspicions or deaths of members, from whatever node, that were refuted.
    pub suspicions_refuted: u64,
    /// Times that this node had to say that it lives.
    pub refutations: u64,
    /// Members that this node declared dead because they did not refute.
    pub deaths: u64,
    /// Times that `advance` came so late that the node itself must have been paused.
    pub pauses: u64,
    /// Claims about unknown members ignored because the table was full.
    pub claims_ignored: u64,
    /// Rejected: without a valid MAC, or one that came before. A rise means a node without the
    /// cluster's key, or somebody who tries.
    pub rejects_unauthentic: u64,
    /// How slow this node finds itself: 0 to [`Config::health_max`](crate::Config::health_max).
    /// Not a count: it falls, too.
    pub local_health: u32,
    /// Times from a ping to its direct answer.
    pub probe_times: ProbeTimes,
}

/// A histogram of times from a ping to its direct answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProbeTimes {
    /// How many took no longer than the bound of the same place in [`ProbeTimes::BOUNDS_MICROS`],
    /// and longer than the one before; last those above all bounds.
    pub counts: [u64; Self::BOUNDS_MICROS.len() + 1],
    /// All of them together, in microseconds.
    pub micros: u64,
}

impl ProbeTimes {
    /// Upper bounds in microseconds: from a loopback to the default timeout, and beyond.
    pub const BOUNDS_MICROS: [u64; 10] =
        [100, 250, 500, 1000, 2500, 5000, 10_000, 50_000, 200_000, 1_000_000];

    pub(crate) fn count(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let place = Self::BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.counts[place] += 1;
        self.micros = self.micros.saturating_add(micros);
    }
}

impl Stats {
    pub(crate) fn count(&mut self, reject: &Reject) {
        *match reject {
            Reject::TooLong { .. } | Reject::Malformed(_) => &mut self.rejects_malformed,
            Reject::ForeignCluster { .. } => &mut self.rejects_foreign,
            Reject::NotForUs { .. } => &mut self.rejects_not_for_us,
            Reject::Unsolicited { .. } => &mut self.rejects_unsolicited,
            Reject::Full { .. } => &mut self.rejects_full,
            Reject::Unauthentic(SealFault::Undated) => &mut self.rejects_undated,
            Reject::Unauthentic(_) => &mut self.rejects_unauthentic,
            Reject::FromOurselves
            | Reject::NoCluster
            | Reject::Version { .. }
            | Reject::Stopped => &mut self.rejects_other,
        } += 1;
    }
}
