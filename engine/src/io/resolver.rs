//! Names of seeds to addresses, in a thread of its own: the system's resolver may block for long.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;
use log::Level;
use piccolo_schema::time::Moment;

use super::doorbell::Doorbell;
use crate::seldom::Seldom;

/// What the system said of one name.
type Answer = io::Result<Vec<SocketAddr>>;

/// Resolves the same names whenever asked.
#[derive(Debug)]
pub(super) struct Resolver {
    names: Arc<[String]>,
    /// One answer for each name, in order.
    answers: Arc<ArrayQueue<Vec<Answer>>>,
    busy: Arc<AtomicBool>,
    bell: Arc<Doorbell>,
    unresolved: Unresolved,
}

/// The names that could not be resolved when last tried. A node without a cluster tries every
/// second, which is more often than anybody wants to read of it.
#[derive(Debug, Default)]
struct Unresolved(BTreeMap<String, Seldom>);

impl Resolver {
    pub(super) fn new(names: Vec<String>, bell: Arc<Doorbell>) -> Self {
        let answers = Arc::new(ArrayQueue::new(1));
        let (busy, unresolved) = (Arc::default(), Unresolved::default());
        Self { names: names.into(), answers, busy, bell, unresolved }
    }

    /// The addresses of names that are addresses: known at once.
    pub(super) fn literal(&self) -> Vec<SocketAddr> {
        self.names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// Begins to resolve, unless that is under way.
    pub(super) fn begin(&self) {
        if self.names.iter().all(|name| name.parse::<SocketAddr>().is_ok()) {
            let literal = self.literal().into_iter().map(|address| Ok(vec![address]));
            drop(self.answers.force_push(literal.collect()));
            return self.bell.ring();
        }
        if self.busy.swap(true, Relaxed) {
            return;
        }
        let (names, answers) = (self.names.clone(), self.answers.clone());
        let (busy, bell) = (self.busy.clone(), self.bell.clone());
        let spawned = std::thread::Builder::new().name("resolver".into()).spawn(move || {
            let resolve = |name: &String| name.to_socket_addrs().map(Iterator::collect);
            drop(answers.force_push(names.iter().map(resolve).collect()));
            busy.store(false, Relaxed);
            bell.ring();
        });
        if let Err(error) = spawned {
            self.busy.store(false, Relaxed);
            log::warn!("no thread to resolve seeds in: {error}");
        }
    }

    /// What was found, once. Tells the operator of names without an address.
    pub(super) fn answer(&mut self, now: Moment) -> Option<Vec<SocketAddr>> {
        let answers = self.answers.pop()?;
        for (name, answer) in self.names.iter().zip(&answers) {
            if let Some((level, text)) = self.unresolved.note(now, name, answer) {
                log::log!(level, "{text}");
            }
        }
        Some(answers.into_iter().flatten().flatten().collect())
    }
}

impl Unresolved {
    /// What is to be said of an answer, if anything.
    fn note(&mut self, now: Moment, name: &str, answer: &Answer) -> Option<(Level, String)> {
        match answer {
            Ok(addresses) => self.0.remove(name).map(|_| {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                (Level::Info, format!("the seed {name} is resolved now: {}", addresses.join(", ")))
            }),
            Err(error) => self.0.entry(name.into()).or_default().may(now).then(|| {
                let text = format!(
                    "the seed {name} of --join cannot be resolved: {error} (it is tried on, and \
                     this told once a minute)"
                );
                (Level::Warn, text)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_without_an_address_is_told_at_once_then_once_a_minute_and_when_it_is_over() {
        let (mut unresolved, start) = (Unresolved::default(), Moment(9));
        let failed = || Answer::Err(io::Error::other("no such host"));
        let mut at = |second, answer: Answer| {
            unresolved.note(start + Duration::from_secs(second), "a:1", &answer)
        };
        let told: Vec<u64> = (0..130).filter(|second| at(*second, failed()).is_some()).collect();
        assert_eq!(told, [0, 60, 120]);
        let found = || Ok(vec!["10.0.0.1:1".parse().unwrap()]);
        let (level, text) = at(130, found()).unwrap();
        assert_eq!(
            (level, text.as_str()),
            (Level::Info, "the seed a:1 is resolved now: 10.0.0.1:1")
        );
        assert_eq!(at(131, found()), None);
        let (level, text) = at(132, failed()).unwrap();
        assert!(level == Level::Warn && text.contains("no such host"), "lost again: {text}");
    }

    #[test]
    fn one_name_does_not_hide_another() {
        let mut unresolved = Unresolved::default();
        let mut fails =
            |name| unresolved.note(Moment(0), name, &Err(io::Error::other("x"))).is_some();
        assert!(fails("a:1") && fails("b:1") && !fails("a:1"));
    }
}
