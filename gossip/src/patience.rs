//! Patience: how long members that were suspected took to refute, so that one that pauses now and
//! then is given the time that it needs.

use std::collections::BTreeMap;
use std::time::Duration;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use crate::member::{Member, State};

/// A member is given so many times what it took to refute.
const MARGIN: u32 = 3;

/// After so long without a refutation that took its time, a member is as any other.
const MEMORY: Duration = Duration::from_mins(10);

/// A refutation takes its time if it takes this part of what the member is given. One that only
/// met a lost datagram is quicker, and must not keep the memory of a pause alive for ever.
const TAKES_ITS_TIME: u32 = 4;

/// What is known of members that were suspected of late. Bounded by the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience {
    /// Since when a member is held suspect or dead.
    doubted: BTreeMap<String, (NodeId, Moment)>,
    learned: BTreeMap<String, Learned>,
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    time: Duration,
    at: Moment,
}

impl Patience {
    /// Takes in what a member is now believed to be. What took longer than `max` was no pause.
    pub(crate) fn observe(&mut self, now: Moment, claim: &Member, max: Duration) {
        match claim.state {
            State::Suspect | State::Dead => {
                let doubt = self.doubted.entry(claim.name.clone()).or_insert((claim.id, now));
                if doubt.0 != claim.id {
                    *doubt = (claim.id, now);
                }
            }
            State::Joining | State::Alive | State::Leaving => {
                let Some((id, since)) = self.doubted.remove(&claim.name) else { return };
                let took = now.since(since);
                if id == claim.id && took <= max {
                    self.learn(now, &claim.name, took, max);
                }
            }
            State::Left => {
                self.doubted.remove(&claim.name);
                self.learned.remove(&claim.name);
            }
        }
    }

    fn learn(&mut self, now: Moment, name: &str, took: Duration, max: Duration) {
        let (time, known) = ((took * MARGIN).min(max), self.of(now, name));
        if time >= known || took >= known / TAKES_ITS_TIME {
            self.learned.insert(name.to_owned(), Learned { time: time.max(known), at: now });
        }
    }

    /// What a suspect is given at least, by what it needed before.
    pub(crate) fn of(&self, now: Moment, name: &str) -> Duration {
        let learned = self.learned.get(name).filter(|learned| now.since(learned.at) < MEMORY);
        learned.map_or(Duration::ZERO, |learned| learned.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::tests::member;

    #[test]
    fn who_took_its_time_is_given_three_times_of_it_for_a_while() {
        let (mut patience, max) = (Patience::default(), Duration::from_secs(15));
        let at = |seconds: u64| Moment(seconds * 1_000_000);
        let suspect = Member { state: State::Suspect, ..member("x", 1) };
        let dead = Member { state: State::Dead, ..member("x", 1) };
        assert_eq!(patience.of(at(0), "x"), Duration::ZERO);
        patience.observe(at(1), &suspect, max);
        patience.observe(at(3), &dead, max);
        patience.observe(at(5), &member("x", 1), max);
        assert_eq!(patience.of(at(6), "x"), Duration::from_secs(12));
        // A shorter one takes nothing back, a longer one counts up to the limit.
        patience.observe(at(10), &suspect, max);
        patience.observe(at(11), &member("x", 1), max);
        assert_eq!(patience.of(at(12), "x"), Duration::from_secs(12));
        patience.observe(at(20), &suspect, max);
        patience.observe(at(30), &member("x", 1), max);
        assert_eq!(patience.of(at(31), "x"), max);
        assert_eq!(patience.of(at(31 + 600), "x"), Duration::ZERO, "it is forgotten");
    }

    /// Once it was forgotten after ten minutes though the member went on pausing, and so was held
    /// dead anew every ten minutes.
    #[test]
    fn shorter_pauses_keep_the_memory_of_a_long_one_and_lost_datagrams_do_not() {
        let max = Duration::from_secs(15);
        let at = |seconds: u64| Moment(seconds * 1_000_000);
        let suspect = Member { state: State::Suspect, ..member("x", 1) };
        for (took, kept) in [(3, true), (2, false)] {
            let mut patience = Patience::default();
            patience.observe(at(0), &suspect, max);
            patience.observe(at(3), &member("x", 1), max);
            patience.observe(at(500), &suspect, max);
            patience.observe(at(500 + took), &member("x", 1), max);
            let later = patience.of(at(700), "x");
            assert_eq!(later, Duration::from_secs(if kept { 9 } else { 0 }), "{took} s");
        }
    }

    #[test]
    fn a_partition_and_another_life_teach_nothing() {
        let (mut patience, max) = (Patience::default(), Duration::from_secs(15));
        let dead = Member { state: State::Dead, ..member("x", 1) };
        patience.observe(Moment(0), &dead, max);
        patience.observe(Moment(60_000_000), &member("x", 1), max);
        assert_eq!(patience.of(Moment(60_000_000), "x"), Duration::ZERO);
        patience.observe(Moment(70_000_000), &dead, max);
        patience.observe(Moment(72_000_000), &member("x", 2), max);
        assert_eq!(patience.of(Moment(72_000_000), "x"), Duration::ZERO);
    }
}
