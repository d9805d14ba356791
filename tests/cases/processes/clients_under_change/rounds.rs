//! What every client of this case does: the same as `tests/clients/program.py`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::Ordering;

use super::program::{Count, Mode, Outcome, Reins};

/// Keys that a client sets in turn.
const KEYS: usize = 100;
/// Keys of one MGET or pipeline, and rounds between two of those.
const MANY: usize = 10;
/// Keys that a client leaves behind: its own, those of MGET, its counter.
pub(super) const KEYS_EACH: usize = KEYS + MANY + 1;
/// Errors that a client notes down before it gives up.
const ERRORS_MAX: usize = 5;

/// A client's own way to say the commands of a round. An error is told as its text.
pub(super) trait Api {
    fn mode(&self) -> Mode;
    fn set(&mut self, key: &str, value: &str) -> Result<(), String>;
    fn get(&mut self, key: &str) -> Result<String, String>;
    fn incr(&mut self, key: &str) -> Result<i64, String>;
    fn mset(&mut self, pairs: &[(String, String)]) -> Result<(), String>;
    fn mget(&mut self, keys: &[String]) -> Result<Vec<String>, String>;
    /// Sets and gets every pair in one pipeline; the values.
    fn pipeline(&mut self, pairs: &[(String, String)]) -> Result<Vec<String>, String>;
    fn dbsize(&mut self) -> Result<i64, String>;
    fn scan(&mut self) -> Result<Vec<String>, String>;
}

/// One client's rounds and what they met.
pub(super) struct Rounds {
    client: Box<dyn Api>,
    prefix: String,
    outcome: Outcome,
}

impl Rounds {
    pub(super) fn new(client: Box<dyn Api>, prefix: String) -> Self {
        let outcome = Outcome { ops: 0, errors: Vec::new(), counter: 0, cut: 0 };
        Self { client, prefix, outcome }
    }

    pub(super) fn until_stopped(mut self, reins: &Reins) -> Outcome {
        let mut number = 0;
        while !reins.stop.load(Ordering::Relaxed) && self.outcome.errors.len() < ERRORS_MAX {
            self.round(number);
            reins.ops.store(self.outcome.ops, Ordering::Relaxed);
            number += 1;
        }
        self.outcome
    }

    fn round(&mut self, number: usize) {
        let key = format!("{}:{}", self.prefix, number % KEYS);
        let value = format!("{number} of {}", self.prefix);
        let found = self.client.set(&key, &value);
        self.note("SET", found, &());
        let found = self.client.get(&key);
        self.note("GET", found, &value);
        self.outcome.counter += 1;
        let found = self.client.incr(&format!("{}:counter", self.prefix));
        self.note("INCR", found, &self.outcome.counter.clone());
        if number.is_multiple_of(MANY) {
            self.many(number);
        }
    }

    fn many(&mut self, number: usize) {
        // One slot in a cluster; at the client door all slots are alike.
        let tag = match self.client.mode() {
            Mode::Single => self.prefix.clone(),
            Mode::Cluster => format!("{{{}}}", self.prefix),
        };
        let pairs = |text: &str| -> Vec<(String, String)> {
            let pair = |at| (format!("{tag}:many:{at}"), format!("{text} {number}-{at}"));
            (0..MANY).map(pair).collect()
        };
        let (once, again) = (pairs("once"), pairs("again"));
        let (keys, values): (Vec<String>, Vec<String>) = once.iter().cloned().unzip();
        let found = self.client.mset(&once);
        self.note("MSET", found, &());
        let found = self.client.mget(&keys);
        self.note("MGET", found, &values);
        let found = self.client.pipeline(&again);
        self.note("pipeline", found, &again.into_iter().map(|(_, value)| value).collect());
    }

    fn note<T: PartialEq + Debug>(&mut self, what: &str, found: Result<T, String>, wanted: &T) {
        match found {
            Ok(found) if found == *wanted => self.outcome.ops += 1,
            Ok(found) => {
                self.outcome.errors.push(format!("{what} answered {found:?}, not {wanted:?}"));
            }
            Err(error) => self.outcome.errors.push(format!("{what}: {error}")),
        }
    }
}

/// What a client finds in the whole cluster.
#[track_caller]
pub(super) fn count(client: &mut dyn Api) -> Count {
    let keys = client.scan().expect("SCAN");
    let dbsize = client.dbsize().expect("DBSIZE");
    let scanned = keys.len();
    Count { dbsize, scanned, keys: keys.into_iter().collect::<BTreeSet<_>>().len() }
}
