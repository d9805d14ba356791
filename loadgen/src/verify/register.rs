//! What a store may answer about one key, and what it may not.
//!
//! Each key has one writer, which writes 1, 2, 3 and so on, one at a time. So the last
//! acknowledged number is a floor under every read that is sent afterwards, and the last attempted
//! one a ceiling over every read. A write whose outcome is unknown may be executed at any time, or
//! never: its number is no fault wherever it appears, until a read has seen it. From then on it is
//! known to be executed, and writes that begin afterwards replace it. A write that was refused may
//! not appear at all.

/// One key as its writer and all readers know it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register {
    /// The newest number known to be executed.
    floor: u64,
    attempted: u64,
    /// Writes whose outcome was not told, in order.
    unknown: Vec<Unknown>,
    /// Numbers that were refused, first and last of each row, in order.
    refused: Vec<(u64, u64)>,
    writing: bool,
}

/// A write whose outcome was not told.
#[derive(Clone, Copy, Debug)]
struct Unknown {
    number: u64,
    /// The last attempted write when a read saw this one executed, behind later ones: it may stand
    /// until a write that began after that is executed.
    seen: Option<u64>,
}

/// What a reader knew when it sent a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The newest number known to be executed.
    pub(crate) floor: u64,
    /// The newest number that this reader had seen.
    pub(crate) seen: u64,
}

/// How a read is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// Older than the last acknowledged write.
    Lost,
    /// Older than what this reader has seen.
    Stale,
    /// Newer than the last attempted write, or refused.
    Corrupt,
}

impl Register {
    /// Begins the next write; nothing while one is under way, or too many are unknown.
    pub(crate) fn begin(&mut self) -> Option<u64> {
        if self.writing || self.unknown.len() + self.refused.len() >= UNKNOWN_MAX {
            return None;
        }
        self.writing = true;
        self.attempted += 1;
        Some(self.attempted)
    }

    /// The write under way is acknowledged.
    pub(crate) fn acknowledge(&mut self) {
        self.writing = false;
        self.floor = self.floor.max(self.attempted);
    }

    /// Whether the write under way was executed cannot be told.
    pub(crate) fn lose(&mut self) {
        self.writing = false;
        // A read that has seen it already tells what the answer did not.
        if self.floor < self.attempted {
            self.unknown.push(Unknown { number: self.attempted, seen: None });
        }
    }

    /// The write under way was refused; whether a read has seen it all the same.
    pub(crate) fn refuse(&mut self) -> bool {
        self.writing = false;
        let number = self.attempted;
        match self.refused.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.refused.push((number, number)),
        }
        self.floor >= number
    }

    /// The newest number known to be executed.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Judges a read that found `number`, 0 for no key, by what was known when it was sent.
    pub(crate) fn judge(&mut self, known: Known, number: u64) -> Verdict {
        let refused = |(first, last): &(u64, u64)| (*first..=*last).contains(&number);
        if number > self.attempted || self.refused.iter().any(refused) {
            return Verdict::Corrupt;
        }
        let unknown = self.unknown.binary_search_by_key(&number, |unknown| unknown.number);
        let mut excused = false;
        if let Ok(place) = unknown {
            // By a write that has been executed since it was seen, it is replaced for good.
            let seen = self.unknown[place].seen.get_or_insert(self.attempted);
            excused = known.floor <= *seen;
        }
        if number > self.floor {
            // Whoever reads from now on may not fall behind it, whatever its writer heard.
            self.floor = number;
            if let Ok(place) = unknown {
                self.unknown.remove(place);
            }
        }
        if excused {
            Verdict::Fine
        } else if number < known.floor {
            Verdict::Lost
        } else if number < known.seen {
            Verdict::Stale
        } else {
            Verdict::Fine
        }
    }
}

/// Unknown writes of one key at most; then it is only read.
const UNKNOWN_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A key with writes 1 to `count` acknowledged.
    fn written(count: u64) -> Register {
        let mut register = Register::default();
        for number in 1..=count {
            assert_eq!(register.begin(), Some(number));
            register.acknowledge();
        }
        register
    }

    fn known(floor: u64, seen: u64) -> Known {
        Known { floor, seen }
    }

    #[test]
    fn a_read_behind_the_last_acknowledged_write_is_lost() {
        let mut register = written(5);
        assert_eq!(register.judge(known(5, 0), 5), Verdict::Fine);
        assert_eq!(register.judge(known(5, 0), 4), Verdict::Lost);
        assert_eq!(register.judge(known(5, 5), 0), Verdict::Lost);
        // It was sent when only 3 was acknowledged: it may have been answered then.
        assert_eq!(register.judge(known(3, 3), 4), Verdict::Fine);
    }

    #[test]
    fn a_reader_that_goes_back_is_stale() {
        let mut register = written(3);
        assert_eq!(register.begin(), Some(4));
        assert_eq!(register.judge(known(3, 3), 4), Verdict::Fine);
        assert_eq!(register.judge(known(3, 4), 3), Verdict::Stale);
    }

    #[test]
    fn a_number_that_nobody_has_written_is_corrupt() {
        let mut register = written(3);
        assert_eq!(register.judge(known(3, 3), 4), Verdict::Corrupt);
    }

    #[test]
    fn an_unknown_write_may_appear_late_or_never() {
        let mut register = written(3);
        assert_eq!(register.begin(), Some(4));
        register.lose();
        assert_eq!(register.judge(known(3, 3), 3), Verdict::Fine);
        assert_eq!(register.begin(), Some(5));
        register.acknowledge();
        assert_eq!(register.judge(known(5, 5), 4), Verdict::Fine, "executed late");
        assert_eq!(register.judge(known(5, 5), 4), Verdict::Fine, "and still there");
        assert_eq!(register.judge(known(5, 5), 3), Verdict::Lost);
    }

    #[test]
    fn an_unknown_write_that_was_seen_late_is_replaced_by_the_next_write() {
        let mut register = written(3);
        assert_eq!(register.begin(), Some(4));
        register.lose();
        assert_eq!(register.begin(), Some(5));
        register.acknowledge();
        // Began before the sight of 4: it may have been executed before that.
        assert_eq!(register.begin(), Some(6));
        assert_eq!(register.judge(known(5, 5), 4), Verdict::Fine);
        register.acknowledge();
        assert_eq!(register.judge(known(6, 5), 4), Verdict::Fine);
        assert_eq!(register.begin(), Some(7));
        register.acknowledge();
        assert_eq!(register.judge(known(6, 5), 4), Verdict::Fine, "sent before that");
        assert_eq!(register.judge(known(7, 5), 4), Verdict::Lost);
    }

    #[test]
    fn a_refused_write_that_appears_is_corrupt_whenever_it_does() {
        let mut register = written(3);
        for number in [4, 5] {
            assert_eq!(register.begin(), Some(number));
            assert!(!register.refuse());
        }
        assert_eq!(register.begin(), Some(6));
        register.acknowledge();
        for number in [4, 5] {
            assert_eq!(register.judge(known(3, 3), number), Verdict::Corrupt);
        }
        assert_eq!(register.judge(known(3, 3), 6), Verdict::Fine);
    }

    #[test]
    fn an_unknown_write_that_was_seen_in_time_is_a_floor_like_any_other() {
        let mut register = written(3);
        assert_eq!(register.begin(), Some(4));
        register.lose();
        assert_eq!(register.judge(known(3, 3), 4), Verdict::Fine);
        assert_eq!(register.floor(), 4);
        assert_eq!(register.judge(known(4, 4), 3), Verdict::Lost);
        assert_eq!(register.begin(), Some(5));
        register.acknowledge();
        assert_eq!(register.judge(known(5, 4), 4), Verdict::Lost);
    }

    #[test]
    fn a_write_that_was_seen_before_its_connection_ended_is_not_unknown() {
        let mut register = written(1);
        assert_eq!(register.begin(), Some(2));
        assert_eq!(register.judge(known(1, 1), 2), Verdict::Fine);
        register.lose();
        assert_eq!(register.judge(known(2, 2), 1), Verdict::Lost);
    }

    #[test]
    fn one_write_at_a_time_and_a_bound_on_the_unknown() {
        let mut register = Register::default();
        assert_eq!((register.begin(), register.begin()), (Some(1), None));
        register.lose();
        while register.begin().is_some() {
            register.lose();
        }
        assert_eq!(register.unknown.len(), UNKNOWN_MAX);
    }

    /// What happens to a store that keeps its promises.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Write,
        /// The answer is lost; it is executed now, later, or never.
        LoseNow,
        LoseLater,
        LoseNever,
        /// The oldest write of those that come later comes.
        Arrive,
        Read,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Write),
            Just(Step::LoseNow),
            Just(Step::LoseLater),
            Just(Step::LoseNever),
            Just(Step::Arrive),
            Just(Step::Read),
            Just(Step::Read),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// Plays a history; every read's verdict, and the register and store as they are then.
    fn play(steps: &[Step]) -> (Vec<Verdict>, Register, u64) {
        let (mut register, mut store, mut late) = (Register::default(), 0, Vec::new());
        let (mut seen, mut verdicts) = (0, Vec::new());
        for step in steps {
            match step {
                Step::Arrive if !late.is_empty() => store = late.remove(0),
                Step::Arrive => {}
                Step::Read => {
                    let known = Known { floor: register.floor(), seen };
                    verdicts.push(register.judge(known, store));
                    seen = seen.max(store);
                }
                write => {
                    let Some(number) = register.begin() else { continue };
                    match write {
                        Step::Write | Step::LoseNow => store = number,
                        Step::LoseLater => late.push(number),
                        _ => {}
                    }
                    if matches!(write, Step::Write) {
                        register.acknowledge();
                    } else {
                        register.lose();
                    }
                }
            }
        }
        (verdicts, register, store)
    }

    proptest! {
        #[test]
        fn a_store_that_keeps_its_promises_is_never_accused(steps in steps()) {
            let (verdicts, ..) = play(&steps);
            prop_assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Fine), "{verdicts:?}");
        }

        #[test]
        fn a_planted_loss_is_found_after_any_history(steps in steps()) {
            let (_, mut register, _) = play(&steps);
            let Some(number) = register.begin() else { return Ok(()) };
            register.acknowledge();
            let known = Known { floor: number, seen: 0 };
            let excused = |old| {
                register.unknown.iter().any(|one| one.number == old && one.seen.is_none())
            };
            let old = (0..number).rev().find(|old| !excused(*old));
            prop_assert_eq!(register.judge(known, old.unwrap()), Verdict::Lost);
            prop_assert_eq!(register.judge(known, number + 1), Verdict::Corrupt);
        }
    }
}
