//! What came back in the measured part.

use hdrhistogram::Histogram;

use crate::mix::{OPS, Op};
use crate::protocol::Answer;

/// One request that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// When it should have been sent: latency counts from here.
    pub(super) due: u64,
    /// When it was sent: service time counts from here.
    pub(super) sent: u64,
    pub(super) key: u64,
    pub(super) op: Op,
}

/// The measured part: requests that are due in it count. Nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) start: u64,
    /// The first moment behind it; `u64::MAX` if it ends by the number of requests.
    pub(super) end: u64,
}

/// Counts and latencies of one worker, then of all.
#[derive(Debug)]
pub(super) struct Tally {
    window: Window,
    open_loop: bool,
    pub(super) latency: [Histogram<u64>; OPS],
    pub(super) service: [Histogram<u64>; OPS],
    /// How late sends were that had a connection free to take them.
    pub(super) lag: Histogram<u64>,
    /// Sends that waited for a connection with room.
    pub(super) crowded: u64,
    pub(super) misses: u64,
    pub(super) moved: u64,
    pub(super) refused: u64,
    pub(super) unknown: u64,
    pub(super) lost: u64,
    /// Requests without an answer; their age at the end is among the latencies.
    pub(super) unanswered: [u64; OPS],
    /// When the wait for them ended.
    pub(super) given_up: u64,
    /// Sends of an open loop for which no connection had room until long after the end; of a run
    /// by count, those that a stall held up.
    pub(super) unsent: u64,
    pub(super) disconnects: u64,
    /// The first error, for people.
    pub(super) error: Option<String>,
    /// When the last counted answer came.
    pub(super) last: u64,
    /// Answers so far, for the line of progress; those outside the window included.
    pub(super) seen: u64,
    /// Answers of one moment to requests of one moment, not in a histogram yet.
    group: Group,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    due: u64,
    counts: [u32; OPS],
}

impl Tally {
    pub(super) fn new(window: Window, open_loop: bool) -> Self {
        Self {
            window,
            open_loop,
            latency: std::array::from_fn(|_| histogram()),
            service: std::array::from_fn(|_| histogram()),
            lag: histogram(),
            crowded: 0,
            misses: 0,
            moved: 0,
            refused: 0,
            unknown: 0,
            lost: 0,
            unanswered: [0; OPS],
            given_up: 0,
            unsent: 0,
            disconnects: 0,
            error: None,
            last: 0,
            seen: 0,
            group: Group::default(),
        }
    }

    pub(super) fn counts(&self, due: u64) -> bool {
        (self.window.start..self.window.end).contains(&due)
    }

    /// Notes an answer that came at `now`; [`Self::settle`] must follow at the same moment.
    #[inline]
    pub(super) fn note(&mut self, flight: &Flight, answer: Answer<'_>, now: u64) {
        self.seen += 1;
        if !self.counts(flight.due) {
            return;
        }
        match answer {
            Answer::Done | Answer::Value(_) => {}
            Answer::Absent => self.misses += 1,
            other => return self.fault(other),
        }
        self.last = now;
        if self.open_loop {
            let op = flight.op as usize;
            self.latency[op].saturating_record(micros(now, flight.due));
            self.service[op].saturating_record(micros(now, flight.sent));
            return;
        }
        // Pipelined requests share their moments: one record for all of them.
        if flight.due != self.group.due {
            self.settle(now);
            self.group.due = flight.due;
        }
        self.group.counts[flight.op as usize] += 1;
    }

    /// Notes at `now` that no answer will come. What is known of its latency counts: leaving it out
    /// would hide the slowest.
    pub(super) fn give_up(&mut self, flight: &Flight, now: u64) {
        if !self.counts(flight.due) {
            return;
        }
        let op = flight.op as usize;
        self.unanswered[op] += 1;
        self.given_up = now;
        self.latency[op].saturating_record(micros(now, flight.due));
        if self.open_loop {
            self.service[op].saturating_record(micros(now, flight.sent));
        }
    }

    /// Records what was gathered at `now`.
    #[inline]
    pub(super) fn settle(&mut self, now: u64) {
        let value = micros(now, self.group.due);
        for (count, histogram) in self.group.counts.iter_mut().zip(&mut self.latency) {
            if *count > 0 {
                histogram.saturating_record_n(value, u64::from(*count));
                *count = 0;
            }
        }
    }

    #[cold]
    fn fault(&mut self, answer: Answer<'_>) {
        let text = match answer {
            Answer::Unknown(text) => {
                self.unknown += 1;
                text
            }
            Answer::Refused(text) => {
                self.refused += 1;
                text
            }
            _ => {
                self.lost += 1;
                b"the connection ended before the answer"
            }
        };
        self.say(String::from_utf8_lossy(&text[..text.len().min(200)]).trim());
    }

    /// Keeps the first error.
    pub(super) fn say(&mut self, error: &str) {
        self.error.get_or_insert_with(|| error.to_owned());
    }

    /// Requests that were answered as asked.
    pub(super) fn operations(&self) -> u64 {
        (0..OPS).map(|op| self.operations_of(op)).sum()
    }

    /// The same of one kind.
    pub(super) fn operations_of(&self, op: usize) -> u64 {
        self.latency[op].len() - self.unanswered[op]
    }

    pub(super) fn add(&mut self, other: &Self) {
        let pairs = self.latency.iter_mut().zip(&other.latency);
        let pairs = pairs.chain(self.service.iter_mut().zip(&other.service));
        for (mine, theirs) in pairs.chain([(&mut self.lag, &other.lag)]) {
            // All have the same bounds, so there is room for every value.
            mine.add(theirs).unwrap_or_default();
        }
        self.crowded += other.crowded;
        self.misses += other.misses;
        self.moved += other.moved;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.lost += other.lost;
        for (mine, theirs) in self.unanswered.iter_mut().zip(other.unanswered) {
            *mine += theirs;
        }
        self.given_up = self.given_up.max(other.given_up);
        self.unsent += other.unsent;
        self.disconnects += other.disconnects;
        self.error = self.error.take().or_else(|| other.error.clone());
        self.last = self.last.max(other.last);
    }
}

/// Microseconds, at least one: less cannot be told from one.
#[inline]
fn micros(now: u64, then: u64) -> u64 {
    (now.saturating_sub(then) / 1000).max(1)
}

/// Three digits from 1 us to 60 s; longer counts as 60 s.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(due: u64, sent: u64, op: Op) -> Flight {
        Flight { due, sent, key: 0, op }
    }

    #[test]
    fn only_requests_of_the_window_count_by_when_they_were_due() {
        let mut tally = Tally::new(Window { start: 1000, end: 5000 }, false);
        for due in [999, 1000, 4999, 5000] {
            tally.note(&flight(due, due, Op::Get), Answer::Done, 9_000_000);
        }
        tally.settle(9_000_000);
        assert_eq!((tally.operations(), tally.seen), (2, 4));
        assert_eq!(tally.latency[0].max(), 8999);
    }

    #[test]
    fn answers_of_one_moment_are_recorded_together_and_apart_by_kind() {
        let mut tally = Tally::new(Window { start: 0, end: u64::MAX }, false);
        for (due, op) in [(0, Op::Get), (0, Op::Set), (0, Op::Get), (50_000, Op::Get)] {
            tally.note(&flight(due, due, op), Answer::Absent, 100_000);
        }
        tally.settle(100_000);
        assert_eq!((tally.latency[0].len(), tally.latency[1].len()), (3, 1));
        assert_eq!((tally.latency[0].min(), tally.latency[0].max()), (50, 100));
        assert_eq!(tally.misses, 4);
    }

    #[test]
    fn open_loop_counts_latency_from_when_it_was_due_and_service_from_when_it_was_sent() {
        let mut tally = Tally::new(Window { start: 0, end: u64::MAX }, true);
        tally.note(&flight(1_000_000, 3_000_000, Op::Set), Answer::Done, 4_000_000);
        assert_eq!((tally.latency[1].max(), tally.service[1].max()), (3001, 1000));
    }

    #[test]
    fn errors_are_no_operations() {
        let mut tally = Tally::new(Window { start: 0, end: u64::MAX }, false);
        for answer in [Answer::Refused(b"ERR one"), Answer::Unknown(b"two"), Answer::Lost] {
            tally.note(&flight(1, 1, Op::Get), answer, 2);
        }
        let counts = (tally.operations(), tally.refused, tally.unknown, tally.lost);
        assert_eq!(counts, (0, 1, 1, 1));
        assert_eq!(tally.error.as_deref(), Some("ERR one"));
    }
}
