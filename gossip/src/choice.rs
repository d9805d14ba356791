//! Which cluster a newcomer wants into: it chooses before it is let in, so that none lets in a node
//! that is on its way into another.

use std::net::SocketAddr;
use std::time::Duration;

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Moment;

use crate::action::{Event, Fatal};
use crate::gossip::{Gossip, Phase};
use crate::member::{Member, State};
use crate::message::Body;
use crate::timers::Timer;

/// A part of the waiting time of a creator, in which the other seeds may name another cluster.
const CHOICES_PER_WAIT: u32 = 10;

/// The cluster that this node wants into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    cluster: ClusterId,
    /// Who spoke for it last, and when.
    pub(crate) by: SocketAddr,
    pub(crate) id: NodeId,
    heard_at: Moment,
    /// It is at an address that the operator named.
    named: bool,
    /// Another cluster that the operator named.
    rival: Option<Rival>,
}

/// The second cluster of a list of seeds. Which of the two is the newer one cannot be told: where
/// all nodes are started anew both are heard. If both are heard again the list is a mistake.
#[derive(Clone, Copy, Debug)]
struct Rival {
    cluster: ClusterId,
    by: SocketAddr,
    heard_at: Moment,
}

impl Gossip {
    /// The cluster to name in a join; [`ClusterId::NONE`] while none is heard of, or two.
    pub(crate) fn wanted(&self, now: Moment) -> ClusterId {
        let choice = self.chosen(now).filter(|choice| choice.rival.is_none());
        choice.map_or(ClusterId::NONE, |choice| choice.cluster)
    }

    /// The choice, while the cluster is heard of.
    pub(crate) fn chosen(&self, now: Moment) -> Option<Choice> {
        let silence = self.config.founder_silence;
        self.choice.filter(|choice| now.since(choice.heard_at) < silence)
    }

    /// Whether there is a cluster to come into, so that none is to be founded.
    pub(crate) fn has_chosen(&self, now: Moment) -> bool {
        self.chosen(now).is_some()
    }

    /// Whether a datagram of a cluster speaks to us: to this life, or about our name. Pings to
    /// others that had our address before do not.
    pub(crate) fn is_meant(&self, to: NodeId, updates: &[Member]) -> bool {
        to == self.id || updates.iter().any(|claim| self.is_us(&claim.name))
    }

    /// Hears from a member of a cluster while in none. Before it asks to come in it gives the
    /// others whom it asked some time to name theirs.
    pub(crate) fn hear_of_a_cluster(
        &mut self,
        now: Moment,
        by: (SocketAddr, NodeId),
        cluster: ClusterId,
    ) {
        match self.phase {
            Phase::Asking { .. } => self.stop(Event::CreateRefused { by: by.0 }),
            Phase::Seeking { .. } => {
                let before = self.wanted(now);
                if self.choose(now, by, cluster) && before != cluster {
                    self.timers.set_at_latest(Timer::Join, now + self.choice_wait());
                }
            }
            Phase::Member | Phase::Stopped => {}
        }
    }

    fn choice_wait(&self) -> Duration {
        self.config.create_wait / CHOICES_PER_WAIT
    }

    /// Whether this node wants into that cluster. The first one counts; but what the operator named
    /// comes before what was only heard of, and two of the former are a mistake if both are heard
    /// again.
    pub(crate) fn choose(
        &mut self,
        now: Moment,
        (by, id): (SocketAddr, NodeId),
        cluster: ClusterId,
    ) -> bool {
        let named = self.seeds.contains(&by);
        let chosen = self.chosen(now);
        match chosen.filter(|choice| choice.cluster != cluster) {
            // The same address speaks for another one: the first is gone.
            Some(other) if other.by == by => {}
            Some(other) if other.named && named => {
                if other.rival.is_none() {
                    let rival = Some(Rival { cluster, by, heard_at: now });
                    self.choice = Some(Choice { rival, ..other });
                    self.timers.set_at_latest(Timer::Join, now + self.choice_wait());
                }
                return false;
            }
            Some(other) if other.named || !named => return false,
            Some(other) => self.renounce(other),
            None => {}
        }
        let same = chosen.filter(|choice| choice.cluster == cluster);
        if let Some(choice) = same
            && let Some(rival) = choice.rival
        {
            self.rivalry(now, choice, rival);
            return false;
        }
        let named = named || same.is_some_and(|choice| choice.named);
        self.choice = Some(Choice { cluster, by, id, heard_at: now, named, rival: None });
        true
    }

    /// The cluster that was chosen speaks though another one has spoken since. What was on its way
    /// when the other spoke does not count.
    fn rivalry(&mut self, now: Moment, choice: Choice, rival: Rival) {
        if now.since(rival.heard_at) >= self.choice_wait() {
            self.renounce(choice);
            let clusters = [choice.cluster, rival.cluster];
            self.fatal(Fatal::TwoClusters { clusters, by: [choice.by, rival.by] });
        }
    }

    /// Says good-bye to a cluster that may have let us in already, or puts our name to the test.
    pub(crate) fn renounce(&mut self, choice: Choice) {
        let me = self.me();
        let incarnation = me.incarnation.saturating_add(1);
        let left = Member { incarnation, said: State::Left, state: State::Left, ..me.clone() };
        self.cluster = choice.cluster;
        self.send(choice.by, choice.id, Body::Gossip, vec![left.clone()]);
        for seed in self.seeds.clone() {
            if seed != choice.by {
                self.send(seed, NodeId::NONE, Body::Gossip, vec![left.clone()]);
            }
        }
        self.cluster = ClusterId::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::tests::seeking;

    const BY: ([u8; 4], u16) = ([10, 0, 0, 9], 7380);

    /// Whoever has heard of a cluster waits for it to let it in, and does not found another one
    /// meanwhile; but not for ever.
    #[test]
    fn nothing_is_founded_while_a_cluster_is_heard_of() {
        let mut gossip = seeking("me");
        gossip.expect = 1;
        let by = (SocketAddr::from(BY), NodeId(9));
        gossip.hear_of_a_cluster(Moment(1), by, ClusterId(7));
        let end = Moment(1) + gossip.config.founder_silence;
        let mut now = Moment(1);
        while now < end {
            gossip.advance(now);
            assert!(!gossip.cluster().is_some(), "after {now:?}");
            now = now + Duration::from_millis(100);
        }
        gossip.advance(now + gossip.config.join_retry * 2);
        assert!(gossip.cluster().is_some(), "it waits for ever");
    }

    /// What the operator named comes before what was heard of in passing, and not the other way.
    #[test]
    fn seeds_come_before_hearsay() {
        let (seed, passer) = ((SocketAddr::from(BY), NodeId(9)), ([10, 0, 0, 8], 7380));
        let passer = (SocketAddr::from(passer), NodeId(8));
        for first in [seed, passer] {
            let mut gossip = seeking("me");
            gossip.set_seeds(&[seed.0]);
            for by in [first, seed, passer] {
                gossip.choose(Moment(1), by, ClusterId(by.1.0));
            }
            assert_eq!(gossip.wanted(Moment(1)), ClusterId(9));
        }
        let mut gossip = seeking("me");
        gossip.set_seeds(&[seed.0, passer.0]);
        let wait = gossip.choice_wait();
        let at = |tenths: u32| Moment(1) + wait * tenths / 10;
        for (time, by, wanted) in [(0, seed, 9), (1, passer, 0), (2, passer, 0), (10, seed, 0)] {
            gossip.choose(at(time), by, ClusterId(by.1.0));
            assert_eq!(gossip.wanted(at(time)), ClusterId(wanted));
            assert_ne!(gossip.phase, Phase::Stopped, "the first was not heard again");
        }
        gossip.choose(at(11), seed, ClusterId(9));
        assert_eq!(gossip.phase, Phase::Stopped, "both are named, and both are there");
    }

    /// The first of two is not heard again: it is over, and the second one is what is wanted.
    #[test]
    fn of_two_clusters_the_one_that_is_heard_of_last_is_wanted() {
        let (old, new) = ((SocketAddr::from(BY), NodeId(9)), ([10, 0, 0, 8], 7380));
        let new = (SocketAddr::from(new), NodeId(8));
        let mut gossip = seeking("me");
        gossip.set_seeds(&[old.0, new.0]);
        assert!(gossip.choose(Moment(1), old, ClusterId(7)));
        let end = Moment(1) + gossip.config.founder_silence;
        assert!(!gossip.choose(Moment(2), new, ClusterId(8)));
        assert!(gossip.has_chosen(Moment(2)), "it may found a third one");
        assert!(gossip.choose(end, new, ClusterId(8)));
        assert_eq!(gossip.wanted(end), ClusterId(8));
    }

    /// Nodes that are all started anew speak for their new cluster soon after the old one.
    #[test]
    fn an_address_that_speaks_for_another_cluster_has_changed_its_own() {
        let by = (SocketAddr::from(BY), NodeId(9));
        let mut gossip = seeking("me");
        gossip.set_seeds(&[by.0]);
        for (cluster, id) in [(7, 9), (8, 10)] {
            assert!(gossip.choose(Moment(1), (by.0, NodeId(id)), ClusterId(cluster)));
            assert_eq!(gossip.wanted(Moment(1)), ClusterId(cluster));
        }
    }
}
