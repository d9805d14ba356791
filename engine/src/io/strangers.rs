//! Strangers: senders of datagrams that this node cannot open. Most are nodes with another key, or
//! one that has the wrong key is this node itself; the operator is told of each now and then.

use std::collections::VecDeque;
use std::net::SocketAddr;

use piccolo_gossip::{Malformed, Reject, SealFault};
use piccolo_schema::time::Moment;

use crate::seldom::{self, Seldom};

/// Strangers told of within a minute at most. Anybody can send datagrams under any address, and
/// could fill the log; the nodes of a cluster that were given another key are rarely more.
const STRANGERS_MAX: usize = 16;

/// Whom the operator was told of in the last minute.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// The oldest first.
    told: VecDeque<(SocketAddr, Moment)>,
    told_of_many: Seldom,
}

/// What this node is, for a stranger to make sense beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// Whether it has a key.
    pub(super) keyed: bool,
    /// Whether it is in a cluster.
    pub(super) inside: bool,
}

impl Strangers {
    /// What the operator is to be told of a datagram that was dropped, if anything.
    pub(super) fn tell(
        &mut self,
        now: Moment,
        from: SocketAddr,
        reject: &Reject,
        stand: Stand,
    ) -> Option<String> {
        let text = text(from, reject, stand)?;
        while self.told.front().is_some_and(|&(_, at)| now.since(at) >= seldom::EVERY) {
            self.told.pop_front();
        }
        if self.told.iter().any(|&(known, _)| are_one(known, from)) {
            return None;
        }
        if self.told.len() >= STRANGERS_MAX {
            return self.told_of_many.may(now).then(|| {
                format!(
                    "more than {STRANGERS_MAX} senders are strangers: {from} and others are \
                         not named for up to a minute"
                )
            });
        }
        self.told.push_back((from, now));
        Some(text)
    }
}

/// Whether two senders count as one: a machine has one address and any number of ports. Nodes that
/// share this machine are told apart.
fn are_one(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip() == other.ip() && (!one.ip().is_loopback() || one.port() == other.port())
}

/// Nothing if the datagram is not sealed otherwise than ours are.
fn text(from: SocketAddr, reject: &Reject, stand: Stand) -> Option<String> {
    match (reject, stand) {
        (Reject::Unauthentic(SealFault::Key), Stand { inside: true, .. }) => Some(format!(
            "what {from} sends is not sealed with a key of --cluster-key: if it is to be a \
             member, give it the same file"
        )),
        (Reject::Unauthentic(SealFault::Key), Stand { inside: false, .. }) => Some(format!(
            "what {from} sends is not sealed with a key of --cluster-key, and this node has no \
             cluster yet: one of the two has the wrong key: give both the same file"
        )),
        // A seal that nobody looks for is rubbish behind the message.
        (Reject::Malformed(Malformed::Encoding), Stand { keyed: false, inside: false }) => {
            Some(format!(
                "what {from} sends cannot be read, and this node has no cluster yet: if the \
                 others have a --cluster-key, give this node the same file"
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEY: Reject = Reject::Unauthentic(SealFault::Key);
    const MEMBER: Stand = Stand { keyed: true, inside: true };

    fn sender(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], port))
    }

    #[test]
    fn no_stranger_hides_another() {
        let (mut strangers, start) = (Strangers::default(), Moment(7));
        let mut told = Vec::new();
        for second in 0..121 {
            for host in [1, 2] {
                let (now, from) = (start + Duration::from_secs(second), sender(host, 7000));
                if let Some(text) = strangers.tell(now, from, &KEY, MEMBER) {
                    assert!(text.contains(&from.to_string()), "{text}");
                    told.push((second, host));
                }
            }
        }
        assert_eq!(told, [(0, 1), (0, 2), (60, 1), (60, 2), (120, 1), (120, 2)]);
    }

    #[test]
    fn a_sender_is_the_same_on_every_port_except_on_this_machine() {
        let mut strangers = Strangers::default();
        let mut told = |from| strangers.tell(Moment(0), from, &KEY, MEMBER).is_some();
        assert!(told(sender(1, 1)));
        assert!(!told(sender(1, 2)));
        let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert!(told(here(1)) && told(here(2)) && !told(here(1)));
    }

    #[test]
    fn strangers_without_number_fill_neither_log_nor_memory() {
        let mut strangers = Strangers::default();
        let mut minute = |start: Moment| {
            let now = |host: u8| start + Duration::from_millis(u64::from(host));
            let told = (0..=255)
                .filter_map(|host| strangers.tell(now(host), sender(host, 7), &KEY, MEMBER));
            told.collect::<Vec<_>>()
        };
        let first = minute(Moment(0));
        assert_eq!(first.len(), STRANGERS_MAX + 1);
        assert!(first[STRANGERS_MAX].starts_with("more than 16 senders"), "{first:?}");
        assert_eq!(minute(Moment(0) + Duration::from_mins(2)), first, "a minute later anew");
        assert!(strangers.told.len() <= STRANGERS_MAX);
    }

    #[test]
    fn who_has_no_cluster_is_told_at_the_first_datagram_that_its_own_key_may_be_wrong() {
        let told = |reject: &Reject, stand| {
            Strangers::default().tell(Moment(0), sender(1, 1), reject, stand)
        };
        let seeker = told(&KEY, Stand { keyed: true, inside: false }).unwrap();
        assert!(seeker.contains("one of the two has the wrong key"), "{seeker}");
        let sealed = Reject::Malformed(Malformed::Encoding);
        let keyless = Stand { keyed: false, inside: false };
        assert!(told(&sealed, keyless).unwrap().contains("give this node the same file"));
        assert_eq!(told(&sealed, MEMBER), None, "noise of the network");
        let replayed = Reject::Unauthentic(SealFault::Replayed);
        assert_eq!(told(&replayed, MEMBER), None);
    }
}
