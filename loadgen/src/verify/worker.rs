//! One thread of a verify: its keys, its clients, and the loop that serves them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::findings::Findings;
use super::judge::{Flight, Judge, Kind};
use crate::clock::{self, MILLISECOND, SECOND};
use crate::link::{Broken, Link};
use crate::protocol::{Answer, Ask, Protocol, Request, Setup};
use crate::slots::Slots;

/// What all workers of a verify know.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) setup: Setup,
    /// Whether keys have leaders; else each client stays with its target.
    pub(super) clustered: bool,
    /// The targets, or in a cluster the nodes.
    pub(super) slots: Slots,
    pub(super) clients: usize,
    pub(super) keys: u64,
    pub(super) pipeline: usize,
    pub(super) value_bytes: usize,
    pub(super) nonce: u64,
    pub(super) seed: u64,
    /// When writing ends.
    pub(super) end: u64,
    /// Set if it shall end earlier.
    pub(super) stop: Arc<AtomicBool>,
    /// Nanoseconds that an answer may take.
    pub(super) timeout: u64,
    /// Nanoseconds that reading everything back may take.
    pub(super) read_back: u64,
}

/// Everything that one thread owns.
#[derive(Debug)]
pub(super) struct Worker<P> {
    plan: Plan,
    poll: Poll,
    links: Vec<Link<P, Flight>>,
    /// For each link its client, and when it may be connected anew.
    owners: Vec<usize>,
    retry: Vec<u64>,
    clients: Vec<Client>,
    slots: Slots,
    judge: Judge,
    random: Xoshiro256PlusPlus,
    scratch: Vec<u8>,
    value: Vec<u8>,
    moved: Vec<(Flight, Vec<u8>)>,
    answers: u64,
    /// When the slots may be asked for again.
    ask_again: u64,
    reading_back: bool,
}

#[derive(Debug, Default)]
struct Client {
    /// Its target, if keys have no leaders.
    home: usize,
    links: Vec<Option<usize>>,
    waiting: usize,
    /// Keys that it reads at the end.
    backlog: Vec<usize>,
    /// Those that it could not read and reads again, a tick later.
    again: Vec<usize>,
}

impl Client {
    /// Reads that are still to come at the end.
    fn unread(&self) -> usize {
        self.backlog.len() + self.again.len() + self.waiting
    }
}

impl<P: Protocol> Worker<P> {
    /// Worker `number`, whose keys are its own.
    pub(super) fn new(plan: Plan, number: usize) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| format!("epoll: {error}"))?;
        let targets = plan.slots.nodes().len();
        let client = |at| Client { home: (at + number) % targets, ..Client::default() };
        Ok(Self {
            poll,
            links: Vec::new(),
            owners: Vec::new(),
            retry: Vec::new(),
            clients: (0..plan.clients).map(client).collect(),
            slots: plan.slots.clone(),
            judge: Judge::new(plan.nonce, (number as u64) << 32, plan.keys, plan.clients),
            random: Xoshiro256PlusPlus::seed_from_u64(plan.seed.wrapping_add(number as u64)),
            scratch: Vec::new(),
            value: Vec::new(),
            moved: Vec::new(),
            answers: 0,
            ask_again: 0,
            reading_back: false,
            plan,
        })
    }

    /// Writes and reads until the end of the plan, waits for what is under way, and then reads
    /// every key at several clients.
    pub(super) fn run(mut self, progress: &dyn Fn(u64)) -> Result<Findings, String> {
        let start = clock::now();
        self.turns(progress, |worker, now| {
            if worker.answers == 0 && now > start + START_LIMIT {
                return Err("no target has answered within 10 s: do they run there?".to_owned());
            }
            Ok(worker.over(now) && worker.waiting() == 0)
        })?;
        self.reading_back = true;
        self.judge.read_back();
        self.hand_out_keys();
        let until = clock::now() + self.plan.read_back;
        self.turns(progress, |worker, now| Ok(now > until || worker.unread() == 0))?;
        self.judge.findings.unread = self.unread() as u64;
        Ok(self.judge.findings)
    }

    fn unread(&self) -> usize {
        self.clients.iter().map(Client::unread).sum()
    }

    /// Whether the time to write is over.
    fn over(&self, now: u64) -> bool {
        now >= self.plan.end || self.plan.stop.load(Ordering::Relaxed)
    }

    fn waiting(&self) -> usize {
        self.clients.iter().map(|client| client.waiting).sum()
    }

    /// Each key is read by as many clients as there are targets, and two more.
    fn hand_out_keys(&mut self) {
        let count = self.clients.len();
        let readers = (self.slots.nodes().len() + 2).min(count);
        for key in 0..self.plan.keys as usize {
            for reader in 0..readers {
                self.clients[(key + reader) % count].backlog.push(key);
            }
        }
    }

    fn turns(
        &mut self,
        progress: &dyn Fn(u64),
        mut ended: impl FnMut(&Self, u64) -> Result<bool, String>,
    ) -> Result<(), String> {
        let mut events = Events::with_capacity(1024);
        let mut look = 0;
        loop {
            let now = clock::now();
            if ended(self, now)? {
                return Ok(());
            }
            if now >= look {
                look = now + TICK;
                self.tick(now)?;
                progress(self.answers);
            }
            match self.poll.poll(&mut events, Some(Duration::from_nanos(TICK))) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(format!("epoll: {error}"));
                }
                _ => {}
            }
            for event in &events {
                self.serve(event)?;
            }
        }
    }

    /// Ends connections that do not answer; gives clients without anything under way work.
    fn tick(&mut self, now: u64) -> Result<(), String> {
        for link in 0..self.links.len() {
            let oldest = self.links[link].oldest();
            if oldest.is_some_and(|flight| now > flight.sent + self.plan.timeout) {
                let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
                self.broken(link, &late.into())?;
            }
        }
        for client in 0..self.clients.len() {
            let Client { backlog, again, .. } = &mut self.clients[client];
            backlog.append(again);
            self.fill(client, now);
        }
        Ok(())
    }

    fn serve(&mut self, event: &Event) -> Result<(), String> {
        let link = event.token().0;
        let mut done = Ok(());
        if event.is_writable() {
            done = self.links[link].writable();
        }
        if done.is_ok() && (event.is_readable() || event.is_read_closed()) {
            done = self.read(link);
        }
        match done {
            Ok(()) => Ok(()),
            Err(broken) => self.broken(link, &broken),
        }
    }

    fn read(&mut self, link: usize) -> Result<(), Broken> {
        let client = self.owners[link];
        let Self { links, judge, scratch, moved, clients, reading_back, .. } = self;
        let address = links[link].address;
        let again = &mut clients[client].again;
        let mut freed = 0;
        let done = links[link].read(scratch, &mut |flight: Flight, answer| {
            if let Answer::Moved(to) = answer {
                moved.push((flight, to.to_vec()));
                return;
            }
            freed += 1;
            if *reading_back && !matches!(answer, Answer::Value(_) | Answer::Absent) {
                again.push(flight.key);
            }
            judge.note(&flight, client, address, answer);
        });
        self.answers += freed as u64;
        self.clients[client].waiting -= freed;
        self.follow(client, address);
        if done.is_ok() {
            self.fill(client, clock::now());
        }
        done
    }

    /// Sends again what another node leads: it was not executed where it was sent.
    fn follow(&mut self, client: usize, from: SocketAddr) {
        for (flight, to) in std::mem::take(&mut self.moved) {
            self.judge.findings.moved += 1;
            let placed = self.plan.clustered && self.slots.moved(&to).is_some();
            let link = placed.then(|| self.link_for(client, flight.key, clock::now())).flatten();
            if let Some(link) = link {
                self.send(link, flight);
                continue;
            }
            let text = [b"MOVED ", &to[..]].concat();
            self.judge.note(&flight, client, from, Answer::Refused(&text));
            self.clients[client].waiting -= 1;
            if self.reading_back {
                self.clients[client].again.push(flight.key);
            }
        }
    }

    /// Sends as much as the client may have under way.
    fn fill(&mut self, client: usize, now: u64) {
        while self.clients[client].waiting < self.plan.pipeline {
            let Some(key) = self.next_key(client, now) else { break };
            let Some(link) = self.link_for(client, key, now) else {
                if self.reading_back {
                    self.clients[client].again.push(key);
                }
                break;
            };
            // A client writes the keys that are its own, and reads all.
            let own = key % self.clients.len() == client && !self.reading_back;
            let kind = own.then(|| self.judge.begin(key)).flatten();
            let kind = kind.unwrap_or_else(|| self.judge.read(key, client));
            self.clients[client].waiting += 1;
            self.send(link, Flight { key, kind, sent: now });
        }
        for node in 0..self.clients[client].links.len() {
            if let Some(link) = self.clients[client].links[node] {
                // A link that breaks while it sends is found broken when it is read.
                self.links[link].flush().unwrap_or_default();
            }
        }
    }

    /// The key that the client turns to next: half the time one of its own.
    fn next_key(&mut self, client: usize, now: u64) -> Option<usize> {
        if self.reading_back {
            return self.clients[client].backlog.pop();
        }
        if self.over(now) {
            return None;
        }
        let (count, keys) = (self.clients.len(), self.plan.keys as usize);
        let own = (keys + count - 1 - client) / count;
        if own == 0 || self.random.random_bool(0.5) {
            return Some(self.random.random_range(0..keys));
        }
        Some(client + count * self.random.random_range(0..own))
    }

    fn send(&mut self, link: usize, flight: Flight) {
        let key = self.judge.text(flight.key);
        let ask = match flight.kind {
            Kind::Read(_) => Ask::Get,
            Kind::Write(number) => {
                self.judge.stamp(flight.key, number).write(self.plan.value_bytes, &mut self.value);
                Ask::Set { value: &self.value, ttl: 0 }
            }
        };
        self.links[link].ask(&Request { key, ask }, flight);
    }

    /// The client's link to where the key is asked for; nothing while that is not to be had.
    fn link_for(&mut self, client: usize, key: usize, now: u64) -> Option<usize> {
        let node = if self.plan.clustered {
            self.slots.leader_of(self.judge.text(key))
        } else {
            self.clients[client].home
        };
        let links = &mut self.clients[client].links;
        links.resize(links.len().max(node + 1), None);
        let link = links[node].unwrap_or_else(|| {
            let link = self.links.len();
            self.links.push(Link::new(self.slots.nodes()[node], P::new(&self.plan.setup)));
            self.owners.push(client);
            self.retry.push(0);
            self.clients[client].links[node] = Some(link);
            link
        });
        if self.links[link].is_up() {
            return Some(link);
        }
        if now < self.retry[link] {
            return None;
        }
        self.retry[link] = now + RETRY_AFTER;
        self.links[link].connect(self.poll.registry(), Token(link)).ok().map(|()| link)
    }

    /// Gives a broken link up: what was under way is unknown, and the client goes elsewhere.
    fn broken(&mut self, link: usize, broken: &Broken) -> Result<(), String> {
        let (address, client) = (self.links[link].address, self.owners[link]);
        if broken.for_good() {
            return Err(format!("{address}: {broken}"));
        }
        let now = clock::now();
        let (was_open, under_way) = (self.links[link].is_open(), self.links[link].waiting());
        let findings = &mut self.judge.findings;
        match (was_open, under_way) {
            (true, 0) => findings.closed += 1,
            (true, _) => {
                findings.cut += 1;
                findings.note(format!("{address}: {broken}, requests under way"));
            }
            _ => findings.note(format!("{address}: {broken}")),
        }
        let Self { links, judge, poll, clients, reading_back, .. } = self;
        links[link].close(poll.registry(), &mut |flight, answer| {
            if *reading_back {
                clients[client].again.push(flight.key);
            }
            clients[client].waiting -= 1;
            judge.note(&flight, client, address, answer);
        });
        self.retry[link] = now + RETRY_AFTER;
        if self.plan.clustered {
            self.ask_others(address, now);
        } else {
            let targets = self.slots.nodes().len();
            self.clients[client].home = (self.clients[client].home + 1) % targets;
        }
        Ok(())
    }

    /// Asks another node than `gone` who leads what.
    fn ask_others(&mut self, gone: SocketAddr, now: u64) {
        if now < self.ask_again {
            return;
        }
        self.ask_again = now + SECOND;
        let nodes = self.slots.nodes().to_vec();
        for other in nodes.into_iter().filter(|node| *node != gone) {
            if self.slots.refresh(other, &self.plan.setup).is_ok() {
                break;
            }
        }
    }
}

/// How often links are looked at, in nanoseconds.
const TICK: u64 = 20 * MILLISECOND;
/// How long to wait before a link is connected anew, in nanoseconds.
const RETRY_AFTER: u64 = 100 * MILLISECOND;
/// How long the first answer may take, in nanoseconds.
const START_LIMIT: u64 = 10 * SECOND;
/// How long reading everything back may take, in nanoseconds.
pub(super) const READ_BACK_LIMIT: u64 = 60 * SECOND;

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;
    use crate::protocol::Resp;

    /// A server that refuses so many reads and then knows no key; how it was found after a verify
    /// that only reads back, of 5 keys by one client.
    fn read_back(refusals: usize) -> Findings {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicUsize::new(refusals));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let left = Arc::clone(&left);
                thread::spawn(move || {
                    for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                        if line != "GET" {
                            continue;
                        }
                        let refused =
                            left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                                left.checked_sub(1)
                            });
                        let reply: &[u8] =
                            if refused.is_ok() { b"-ERR no\r\n" } else { b"$-1\r\n" };
                        (&stream).write_all(reply).unwrap();
                    }
                });
            }
        });
        let plan = Plan {
            setup: Setup::default(),
            clustered: false,
            slots: Slots::of(vec![address]),
            clients: 1,
            keys: 5,
            pipeline: 1,
            value_bytes: 100,
            nonce: 1,
            seed: 1,
            end: 0,
            stop: Arc::default(),
            timeout: SECOND,
            read_back: SECOND,
        };
        Worker::<Resp>::new(plan, 0).unwrap().run(&|_| ()).unwrap()
    }

    #[test]
    fn a_read_that_is_refused_at_the_end_is_tried_again() {
        let findings = read_back(3);
        assert_eq!((findings.read_back, findings.unread, findings.errors), (5, 0, 3));
    }

    #[test]
    fn a_read_that_is_always_refused_is_unread() {
        let findings = read_back(usize::MAX);
        assert_eq!((findings.read_back, findings.unread), (0, 5));
    }
}
