//! A member, and which of two claims about it holds.

use std::cmp::Ordering;
use std::net::SocketAddr;

use piccolo_schema::ids::NodeId;
use piccolo_schema::limits::NAME_BYTES_MAX;
use piccolo_schema::time::Moment;

/// One node as this node sees it. On the wire the same fields make a claim about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Stable over restarts; unique in the cluster.
    pub name: String,
    /// Which life of the node this is.
    pub id: NodeId,
    /// Orders the ids of one name: the higher is the later life.
    pub generation: u64,
    /// How often it has spoken for itself in this life. Only the member itself raises it.
    pub incarnation: u32,
    /// What it is believed to be.
    pub state: State,
    /// What it last said of itself: joining, alive, leaving or left. Differs from `state` while
    /// others hold it suspect or dead, so that a suspected leaver gets no ring seats back.
    pub said: State,
    /// Where other nodes reach it; its gossip address too.
    pub peer: SocketAddr,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Where cluster clients reach it.
    pub cluster_client: SocketAddr,
    /// Where its metrics and its admin interface are.
    pub admin: SocketAddr,
    /// What may fail together with it; empty: unknown.
    pub zone: String,
    /// Its share of the ring, relative to the others.
    pub weight: u16,
    /// Its shards.
    pub shards: u16,
    /// Oldest and newest version of the protocol between nodes that it speaks.
    pub protocol: (u16, u16),
    /// Abilities, one bit each. None is defined yet.
    pub features: u64,
    /// Who found it silent, while it is suspect: each confirms the suspicion.
    pub accusers: Vec<NodeId>,
    /// When it took this state, by this node's own clock.
    pub since: Moment,
}

/// What a member is believed to be. In ascending order of which claim of the same incarnation
/// holds: a member makes one claim per incarnation, and what others add to it counts for more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// In the cluster, but not ready for requests.
    Joining,
    /// Serves.
    Alive,
    /// Serves, and moves its slots away.
    Leaving,
    /// Did not answer; may refute.
    Suspect,
    /// Did not refute in time. Comes back with a higher incarnation, if the name is still its.
    Dead,
    /// Said good-bye, or was removed by an operator. Never comes back under the same id.
    Left,
}

impl State {
    /// Whether a member of this state is probed and told news.
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Dead | Self::Left)
    }

    /// The word used in logs and tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

impl Member {
    /// How this claim stands to another about the same name: by life, then by whether that life is
    /// over, then by incarnation, then by state. Of two lives with equal generations the higher
    /// id counts as the later.
    pub(crate) fn standing(&self, other: &Self) -> Ordering {
        self.life(other)
            .then((self.state == State::Left).cmp(&(other.state == State::Left)))
            .then(self.incarnation.cmp(&other.incarnation))
            .then(self.state.cmp(&other.state))
    }

    /// How the life that this claim is about stands to that of another.
    pub(crate) fn life(&self, other: &Self) -> Ordering {
        (self.generation, self.id).cmp(&(other.generation, other.id))
    }
}

/// Which rule a name or zone breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextFault {
    /// A name of no letters.
    #[error("is empty")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("has {bytes} bytes; at most {NAME_BYTES_MAX} are allowed")]
    TooLong {
        /// As given.
        bytes: usize,
    },
    /// Anything but printable ASCII without spaces.
    #[error("has a character other than printable ASCII without spaces")]
    NotPrintable,
}

/// Whether a text may serve as a node's name.
///
/// # Errors
///
/// The rule that it breaks.
pub fn check_name(name: &str) -> Result<(), TextFault> {
    if name.is_empty() { Err(TextFault::Empty) } else { check_zone(name) }
}

/// Whether a text may serve as a zone: as a name, but it may be empty.
///
/// # Errors
///
/// The rule that it breaks.
pub fn check_zone(zone: &str) -> Result<(), TextFault> {
    if zone.len() > NAME_BYTES_MAX {
        Err(TextFault::TooLong { bytes: zone.len() })
    } else if zone.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(TextFault::NotPrintable)
    }
}

/// Whether others can send to an address at all.
pub(crate) fn is_reachable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use piccolo_schema::ids::ClusterId;

    pub(crate) fn member(name: &str, id: u128) -> Member {
        let address = SocketAddr::from(([10, 0, 0, id as u8], 7380));
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
            shards: 2,
            protocol: piccolo_schema::limits::PROTOCOL,
            features: 0,
            accusers: Vec::new(),
            since: Moment(0),
        }
    }

    /// A node that made a cluster alone and serves.
    pub(crate) fn alone(name: &str) -> crate::Gossip {
        let mut gossip = started(name, crate::Start::Create(ClusterId(1)));
        gossip.advance(Moment(0));
        gossip.ready(Moment(0));
        while gossip.next_action().is_some() {}
        gossip
    }

    /// A node that looks for two others to found a cluster with.
    pub(crate) fn seeking(name: &str) -> crate::Gossip {
        started(name, crate::Start::Join { expect: 3, cluster_if_created: ClusterId(1) })
    }

    fn started(name: &str, start: crate::Start) -> crate::Gossip {
        let member = member(name, 200);
        let Member { id, generation, peer, client, cluster_client, admin, .. } = member;
        let Member { name, zone, weight, shards, .. } = member;
        let me = crate::Me {
            name,
            id,
            generation,
            peer,
            client,
            cluster_client,
            admin,
            zone,
            weight,
            shards,
            protocol: piccolo_schema::limits::PROTOCOL,
            features: 0,
        };
        crate::Gossip::new(me, start, crate::Config::default(), Moment(0), 1).unwrap()
    }

    #[test]
    fn a_later_life_outweighs_any_incarnation_and_that_any_state() {
        let base = member("a", 1);
        let later = Member { generation: 2, id: NodeId(9), ..base.clone() };
        let dead = Member { state: State::Dead, incarnation: 7, ..base.clone() };
        let refuted = Member { incarnation: 8, ..base.clone() };
        let removed = Member { state: State::Left, ..base.clone() };
        assert_eq!(later.standing(&dead), Ordering::Greater);
        assert_eq!(refuted.standing(&dead), Ordering::Greater);
        assert_eq!(dead.standing(&base), Ordering::Greater);
        assert_eq!(removed.standing(&refuted), Ordering::Greater, "a life that is over is over");
        assert_eq!(later.standing(&removed), Ordering::Greater);
    }

    #[test]
    fn names_are_short_printable_ascii() {
        assert_eq!(check_name("node-1:7380"), Ok(()));
        assert_eq!(check_name(""), Err(TextFault::Empty));
        assert_eq!(check_name("a b"), Err(TextFault::NotPrintable));
        assert_eq!(check_name("caf\u{e9}"), Err(TextFault::NotPrintable));
        assert_eq!(check_name(&"x".repeat(65)), Err(TextFault::TooLong { bytes: 65 }));
        assert_eq!(check_zone(""), Ok(()));
    }
}
