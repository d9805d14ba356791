//! Names of seeds to addresses, in a thread of its own: the system's resolver may block for long.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use super::doorbell::Doorbell;

/// Resolves the same names whenever asked.
#[derive(Debug)]
pub(super) struct Resolver {
    names: Arc<[String]>,
    answers: Arc<ArrayQueue<Vec<SocketAddr>>>,
    busy: Arc<AtomicBool>,
    bell: Arc<Doorbell>,
}

impl Resolver {
    pub(super) fn new(names: Vec<String>, bell: Arc<Doorbell>) -> Self {
        let answers = Arc::new(ArrayQueue::new(1));
        Self { names: names.into(), answers, busy: Arc::default(), bell }
    }

    /// The addresses of names that are addresses: known at once.
    pub(super) fn literal(&self) -> Vec<SocketAddr> {
        self.names.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// Begins to resolve, unless that is under way.
    pub(super) fn begin(&self) {
        if self.names.iter().all(|name| name.parse::<SocketAddr>().is_ok()) {
            drop(self.answers.force_push(self.literal()));
            return self.bell.ring();
        }
        if self.busy.swap(true, Relaxed) {
            return;
        }
        let (names, answers) = (self.names.clone(), self.answers.clone());
        let (busy, bell) = (self.busy.clone(), self.bell.clone());
        let spawned = std::thread::Builder::new().name("resolver".into()).spawn(move || {
            let found = names.iter().filter_map(|name| match name.to_socket_addrs() {
                Ok(addresses) => Some(addresses),
                Err(error) => {
                    log::warn!("the seed {name} cannot be resolved: {error}");
                    None
                }
            });
            drop(answers.force_push(found.flatten().collect()));
            busy.store(false, Relaxed);
            bell.ring();
        });
        if let Err(error) = spawned {
            self.busy.store(false, Relaxed);
            log::warn!("no thread to resolve seeds in: {error}");
        }
    }

    /// What was found, once.
    pub(super) fn answer(&self) -> Option<Vec<SocketAddr>> {
        self.answers.pop()
    }
}
