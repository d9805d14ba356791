//! Every timer and bound of the protocol, and what each trades.

use std::time::Duration;

use piccolo_schema::limits::DATAGRAM_BYTES_MAX;

use crate::wire::ACCUSERS_MAX;

/// Timers and bounds. [`Config::default`] suits nodes of one local network; [`Config::check`]
/// says whether changed values still fit together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Time between two probes started by this node.
    ///
    /// Must exceed [`Config::probe_timeout`]. Default 500 ms (memberlist: 1 s). Lower finds
    /// failures sooner; each node sends at least two datagrams per interval.
    pub probe_interval: Duration,
    /// How long a probed member has to answer before others are asked to probe it.
    ///
    /// Default 200 ms (memberlist's local profile). Must exceed the slowest usual round trip, or
    /// every probe costs four more; what remains of the interval is the others' time.
    pub probe_timeout: Duration,
    /// How many others are asked to probe a silent member.
    ///
    /// Default 3 (source: SWIM, memberlist). More hides more loss and costs as many datagrams.
    pub indirect_probes: usize,
    /// How far this node may come to doubt itself: its probe times stretch up to so many times
    /// plus one.
    ///
    /// Default 8 (source: Lifeguard). Higher spares others more while this node is slow, and lets
    /// it find failures later. 0: never doubt, as plain SWIM.
    pub health_max: u32,
    /// Whether a node that notices its own pause holds nothing of that time against others.
    ///
    /// Default yes. No: as plain SWIM, where a paused node accuses whoever could not answer it.
    pub pauses_forgiven: bool,
    /// Probe intervals that a suspect has for its refutation once [`Config::confirmations`] others
    /// have confirmed it, times `log10` of the members.
    ///
    /// Default 3 (memberlist `SuspicionMult`: 4), which is 3 s with 100 members and 4.5 s with
    /// 1000. Lower declares the dead sooner, and the paused and unlucky with them.
    pub suspicion_multiplier: u32,
    /// What a suspect has at least, however small the cluster.
    ///
    /// Default 3 s: a suspicion begins half a second into a pause at the earliest, so that no pause
    /// below 3.5 s is ever taken for a death.
    pub suspicion_floor: Duration,
    /// How many times longer a suspect has while nobody confirms it.
    ///
    /// Default 6 (source: Lifeguard). Lower lets one node that hears badly bury others; higher
    /// delays the death that only one node can see. 1: confirmations change nothing.
    pub suspicion_stretch: u32,
    /// The longest that a suspect is given for having needed long before: who pauses now and then
    /// gets three times the time that it took to refute.
    ///
    /// Default 15 s. Higher buries fewer nodes that pause for long, again and again, and finds a
    /// crash of such a node later; others are found as ever. 0: nobody is given more, as in SWIM.
    pub patience_max: Duration,
    /// Others that must find a suspect silent for its time to be the shortest.
    ///
    /// Default 3 (source: Lifeguard, K). Higher is slower and errs less.
    pub confirmations: usize,
    /// Time between two rounds of gossip, held only while there is something to tell.
    ///
    /// Default 200 ms (source: memberlist). Lower spreads news sooner at the same number of
    /// datagrams, since each claim is sent a bounded number of times.
    pub gossip_interval: Duration,
    /// Members told in a round of gossip.
    ///
    /// Default 3 (source: memberlist `GossipNodes`).
    pub gossip_fanout: usize,
    /// A claim is passed on this many times `ceil(log10(members + 1))`.
    ///
    /// Default 4 (source: memberlist `RetransmitMult`). Higher survives more loss and fills more
    /// datagrams; what is missed all the same is repaired by [`Config::exchange_interval`].
    pub retransmit_multiplier: u32,
    /// Time between two comparisons of the whole table with one random live member.
    ///
    /// Default 10 s (memberlist: 30 s, without a digest). One small datagram if both hold the
    /// same.
    pub exchange_interval: Duration,
    /// Time to the next comparison after one that found a difference, and after entering until the
    /// table has stood still between two.
    ///
    /// Default 1 s. Bounds how often tables are sent while news is on its way.
    pub exchange_retry: Duration,
    /// Datagrams in which a table is sent at most; a longer one is continued another time.
    ///
    /// Default 64, some 80 KiB and 600 members. Bounds what one request can make a node send.
    pub exchange_datagrams_max: usize,
    /// Time between two attempts to reach one dead member and one seed.
    ///
    /// Default 10 s (source: foca issue 15, where an isolated node never came back). A healed
    /// partition finds itself within about this time.
    pub dead_retry: Duration,
    /// How long a member that left is remembered.
    ///
    /// Default 24 h (source: foca `remove_down_after`). Must outlast every datagram and partition
    /// that may still carry an older claim about it.
    pub left_memory: Duration,
    /// Time between two attempts to join; the seeds' names are resolved anew for each.
    ///
    /// Default 1 s. Lower joins sooner when seeds come late or datagrams are lost.
    pub join_retry: Duration,
    /// How long the holder of a name may stay silent, asked directly and through others, before a
    /// newcomer from another address gets the name.
    ///
    /// Default 1.5 s, in which it is asked five times. Lower lets a node that moved in sooner;
    /// a node paused for longer just then loses its name.
    pub name_trial: Duration,
    /// How long a node without a cluster counts as found after its last sign of life.
    ///
    /// Default 5 s. Must exceed [`Config::join_retry`] several times over, or loss keeps founders
    /// from finding each other. A creator that dies while creating costs this long.
    pub founder_silence: Duration,
    /// How long `--create` waits for an answer of its seeds before it creates.
    ///
    /// Default 1 s, in which each seed is asked five times. Longer makes a second cluster under
    /// loss less likely and every first start slower.
    pub create_wait: Duration,
    /// Members held at most, dead ones among them; and as many of those who left.
    ///
    /// Default 4096. Bounds memory (about 300 bytes each) against a flood of invented names;
    /// further ones are refused.
    pub members_max: usize,
    /// Actions held for the caller at most; further datagrams are dropped as if lost.
    ///
    /// Default 4096, far above what one call makes. Events are never dropped.
    pub actions_max: usize,
    /// Bytes of a datagram at most, both ways.
    ///
    /// Default and upper bound [`DATAGRAM_BYTES_MAX`]. Lower for a narrow tunnel; at least 1000,
    /// so that the longest claim fits.
    pub datagram_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_millis(500),
            probe_timeout: Duration::from_millis(200),
            indirect_probes: 3,
            health_max: 8,
            pauses_forgiven: true,
            suspicion_multiplier: 3,
            suspicion_floor: Duration::from_secs(3),
            suspicion_stretch: 6,
            patience_max: Duration::from_secs(15),
            confirmations: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_fanout: 3,
            retransmit_multiplier: 4,
            exchange_interval: Duration::from_secs(10),
            exchange_retry: Duration::from_secs(1),
            exchange_datagrams_max: 64,
            dead_retry: Duration::from_secs(10),
            left_memory: Duration::from_hours(24),
            join_retry: Duration::from_secs(1),
            name_trial: Duration::from_millis(1500),
            founder_silence: Duration::from_secs(5),
            create_wait: Duration::from_secs(1),
            members_max: 4096,
            actions_max: 4096,
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
        }
    }
}

/// Bytes that a datagram must be allowed to have: the longest claim and its surroundings.
pub(crate) const DATAGRAM_BYTES_MIN: usize = 1000;

impl Config {
    /// The same without Lifeguard: no doubt of itself, no confirmations, as plain SWIM with
    /// suspicion. To measure what Lifeguard is good for.
    #[must_use]
    pub fn without_lifeguard(self) -> Self {
        Self {
            health_max: 0,
            pauses_forgiven: false,
            suspicion_stretch: 1,
            patience_max: Duration::ZERO,
            confirmations: 0,
            ..self
        }
    }

    /// Whether the values fit together.
    ///
    /// # Errors
    ///
    /// Names the first that does not.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.durations().into_iter().try_for_each(|(name, value)| {
            if value.is_zero() { Err(ConfigError::Zero { name }) } else { Ok(()) }
        })?;
        self.counts().into_iter().try_for_each(|(name, value)| {
            if value == 0 { Err(ConfigError::Zero { name }) } else { Ok(()) }
        })?;
        if self.confirmations >= ACCUSERS_MAX as usize {
            let confirmations = self.confirmations;
            return Err(ConfigError::Confirmations { confirmations });
        }
        above("probe_interval", self.probe_interval, "probe_timeout", self.probe_timeout)?;
        above("founder_silence", self.founder_silence, "join_retry", self.join_retry)?;
        if (DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX).contains(&self.datagram_bytes_max) {
            Ok(())
        } else {
            Err(ConfigError::DatagramBytes { bytes: self.datagram_bytes_max })
        }
    }

    fn durations(&self) -> [(&'static str, Duration); 12] {
        [
            ("probe_interval", self.probe_interval),
            ("probe_timeout", self.probe_timeout),
            ("suspicion_floor", self.suspicion_floor),
            ("gossip_interval", self.gossip_interval),
            ("exchange_interval", self.exchange_interval),
            ("exchange_retry", self.exchange_retry),
            ("dead_retry", self.dead_retry),
            ("left_memory", self.left_memory),
            ("join_retry", self.join_retry),
            ("name_trial", self.name_trial),
            ("founder_silence", self.founder_silence),
            ("create_wait", self.create_wait),
        ]
    }

    fn counts(&self) -> [(&'static str, usize); 7] {
        [
            ("suspicion_multiplier", self.suspicion_multiplier as usize),
            ("suspicion_stretch", self.suspicion_stretch as usize),
            ("retransmit_multiplier", self.retransmit_multiplier as usize),
            ("gossip_fanout", self.gossip_fanout),
            ("exchange_datagrams_max", self.exchange_datagrams_max),
            ("members_max", self.members_max),
            ("actions_max", self.actions_max),
        ]
    }
}

fn above(
    upper: &'static str,
    high: Duration,
    lower: &'static str,
    low: Duration,
) -> Result<(), ConfigError> {
    if high > low { Ok(()) } else { Err(ConfigError::Order { upper, high, lower, low }) }
}

/// Why a node cannot start as configured. The operator's fault: print it, exit 2.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A time or a count that must not be zero.
    #[error("{name} must not be zero")]
    Zero {
        /// The field of [`Config`].
        name: &'static str,
    },
    /// A time that must exceed another does not.
    #[error("{upper} ({high:?}) must exceed {lower} ({low:?})")]
    Order {
        /// The field that must be larger.
        upper: &'static str,
        /// Its value.
        high: Duration,
        /// The field that must be smaller.
        lower: &'static str,
        /// Its value.
        low: Duration,
    },
    /// More confirmations than a claim can carry.
    #[error("confirmations is {confirmations}; it must be below {ACCUSERS_MAX}")]
    Confirmations {
        /// As configured.
        confirmations: usize,
    },
    /// A datagram size that the protocol does not allow.
    #[error("datagram_bytes_max is {bytes}, not {DATAGRAM_BYTES_MIN} to {DATAGRAM_BYTES_MAX}")]
    DatagramBytes {
        /// As configured.
        bytes: usize,
    },
    /// A node name or zone that cannot travel.
    #[error("{what}: {fault}")]
    Text {
        /// "name" or "zone".
        what: &'static str,
        /// What is wrong with it.
        fault: crate::TextFault,
    },
    /// The node's id or the cluster id to create is zero, which means "none".
    #[error("the {what} id must not be zero")]
    NoId {
        /// "node" or "cluster".
        what: &'static str,
    },
    /// An address that others could not send to.
    #[error("the advertised peer address {address} cannot be reached by others")]
    Unreachable {
        /// As configured.
        address: std::net::SocketAddr,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_every_zero_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let zero = Config { gossip_fanout: 0, ..Config::default() };
        assert_eq!(zero.check(), Err(ConfigError::Zero { name: "gossip_fanout" }));
        let late = Config { probe_timeout: Duration::from_secs(1), ..Config::default() };
        assert!(matches!(late.check(), Err(ConfigError::Order { upper: "probe_interval", .. })));
        let wide = Config { datagram_bytes_max: 9000, ..Config::default() };
        assert_eq!(wide.check(), Err(ConfigError::DatagramBytes { bytes: 9000 }));
    }
}
