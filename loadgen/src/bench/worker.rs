//! One thread of a run: clients, their links, and the loop that serves them.

use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Token};

use super::draw::Draw;
use super::plan::{Length, Plan};
use super::tally::{Flight, Tally, Window};
use super::timer::Timer;
use crate::clock::{self, MILLISECOND, SECOND};
use crate::link::{Broken, Link};
use crate::protocol::{Answer, Protocol};
use crate::schedule::Schedule;
use crate::slots::Slots;
use crate::target::Kind;

/// Everything that one thread owns.
#[derive(Debug)]
pub(super) struct Worker<'a, P> {
    plan: &'a Plan,
    number: usize,
    poll: Poll,
    timer: Timer,
    links: Vec<Link<P, Flight>>,
    /// For each link the client it belongs to.
    owners: Vec<usize>,
    clients: Vec<Client>,
    slots: Slots,
    draw: Draw,
    tally: Tally,
    window: Window,
    schedule: Option<Schedule>,
    /// Requests of the measured part that may still be sent.
    budget: u64,
    /// Requests without an answer, of all clients.
    waiting: usize,
    /// The client whose turn it is to send by the clock.
    turn: usize,
    /// Since when a connection has had room again, if sends had to wait for one.
    crowd: Crowd,
    /// Clients with something to send by the clock.
    dirty: Vec<usize>,
    scratch: Vec<u8>,
    moved: Vec<(Flight, Vec<u8>)>,
    /// Links that are connected anew, and when.
    retries: Vec<(u64, usize)>,
    /// When the slots may be asked for again.
    ask_again: u64,
}

/// Whether all clients have as much in flight as they may.
#[derive(Clone, Copy, Debug)]
enum Crowd {
    Full,
    FreeSince(u64),
}

/// One closed loop of requests. In a cluster it has a link to each node.
#[derive(Debug, Default)]
struct Client {
    /// By the node's place among the slots' nodes.
    links: Vec<Option<usize>>,
    waiting: u32,
}

impl<'a, P: Protocol> Worker<'a, P> {
    /// Makes the clients and waits until all their links are open.
    pub(super) fn connect(plan: &'a Plan, number: usize, slots: Slots) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| format!("epoll: {error}"))?;
        let timer = Timer::new(poll.registry(), TIMER).map_err(|error| format!("{error}"))?;
        let share = (plan.connections + number) / plan.threads;
        let window = Window { start: u64::MAX, end: u64::MAX };
        let mut worker = Self {
            plan,
            number,
            poll,
            timer,
            links: Vec::new(),
            owners: Vec::new(),
            clients: (0..share).map(|_| Client::default()).collect(),
            slots,
            draw: Draw::new(plan, number)?,
            tally: Tally::new(window, false),
            window,
            schedule: None,
            budget: 0,
            waiting: 0,
            turn: 0,
            crowd: Crowd::FreeSince(0),
            dirty: Vec::new(),
            scratch: Vec::new(),
            moved: Vec::new(),
            retries: Vec::new(),
            ask_again: 0,
        };
        for client in 0..share {
            for node in 0..worker.slots.nodes().len() {
                worker.link_of(client, node);
            }
        }
        worker.open_all()?;
        Ok(worker)
    }

    fn open_all(&mut self) -> Result<(), String> {
        let until = clock::now() + CONNECT_LIMIT;
        let mut events = Events::with_capacity(EVENTS);
        while self.links.iter().any(|link| !link.is_open()) {
            let failed = |address, error: &dyn std::fmt::Display| {
                format!("cannot connect to {address}: {error}; is the target running there?")
            };
            if let Some((_, link)) = self.retries.first() {
                let why = self.tally.error.as_deref().unwrap_or("the connection failed");
                return Err(failed(self.links[*link].address, &why));
            }
            if clock::now() > until {
                return Err(failed(self.links[0].address, &"no answer within 10 s"));
            }
            self.wait(&mut events, 100 * MILLISECOND)?;
            for event in &events {
                self.serve(event)?;
            }
        }
        Ok(())
    }

    /// Runs from `start` on; the window is measured. Returns what came back.
    pub(super) fn run(
        mut self,
        start: u64,
        window: Window,
        seen: &dyn Fn(u64),
    ) -> Result<Tally, String> {
        let workers = self.plan.threads as u64;
        self.window = window;
        self.tally = Tally::new(window, self.plan.rate.is_some());
        let schedule = |rate| Schedule::new(rate, start, self.number as u64, workers);
        self.schedule = self.plan.rate.map(schedule);
        self.budget = match self.plan.length {
            Length::Time(_) => u64::MAX,
            // In sequence each worker takes the share that its keys are.
            Length::Requests(all) => (all + workers - 1 - self.number as u64) / workers,
        };
        self.begin();
        let mut events = Events::with_capacity(EVENTS);
        let mut heard = clock::now();
        loop {
            let now = clock::now();
            if !self.sending(now) && self.waiting == 0 {
                break;
            }
            if self.hopeless(now, heard) {
                self.tally.say("no answer came any more");
                break;
            }
            self.send_due(now)?;
            self.reconnect(now)?;
            self.wait(&mut events, (window.end.saturating_sub(now)).clamp(1, 20 * MILLISECOND))?;
            let before = self.tally.seen;
            for event in &events {
                self.serve(event)?;
            }
            if self.tally.seen != before || self.waiting == 0 {
                heard = clock::now();
                seen(self.tally.seen);
            }
        }
        self.finish();
        Ok(self.tally)
    }

    /// Whether to give up on answers, of which the last came at `heard`. As long as the clock says
    /// that it is to be measured, a stall is what is measured; a number of requests that a stall
    /// holds up would be waited for for ever.
    fn hopeless(&self, now: u64, heard: u64) -> bool {
        let from = match self.plan.length {
            Length::Time(_) => heard.max(self.window.end),
            Length::Requests(_) => heard,
        };
        self.waiting > 0 && now > from.saturating_add(self.plan.answer_limit)
    }

    /// Closed loop: every client sends as much as it may.
    fn begin(&mut self) {
        if self.schedule.is_none() {
            let now = clock::now();
            (0..self.clients.len()).for_each(|client| self.fill(client, now));
        }
        (0..self.links.len()).for_each(|link| self.flush(link));
    }

    fn wait(&mut self, events: &mut Events, nanos: u64) -> Result<(), String> {
        match self.poll.poll(events, Some(Duration::from_nanos(nanos))) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                Err(format!("epoll: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn serve(&mut self, event: &Event) -> Result<(), String> {
        if event.token() == TIMER {
            return Ok(());
        }
        let link = event.token().0;
        let mut done = Ok(());
        if event.is_writable() && !self.links[link].is_open() {
            done = self.links[link].writable();
        } else if event.is_writable() {
            self.flush(link);
        }
        if done.is_ok() && (event.is_readable() || event.is_read_closed()) {
            done = self.read(link);
        }
        match done {
            Ok(()) => Ok(()),
            Err(broken) => self.broken(link, &broken),
        }
    }

    /// Reads a link, and sends what its client may send now.
    fn read(&mut self, link: usize) -> Result<(), Broken> {
        let Self { links, tally, scratch, moved, .. } = self;
        let mut now = 0;
        let mut freed = 0;
        let done = links[link].read(scratch, &mut |flight: Flight, answer| {
            // One clock reading for all answers of a read.
            if now == 0 {
                now = clock::now();
            }
            if let Answer::Moved(to) = answer {
                moved.push((flight, to.to_vec()));
                return;
            }
            freed += 1;
            tally.note(&flight, answer, now);
        });
        tally.settle(now);
        let client = self.owners[link];
        self.freed(client, freed, now);
        if !self.moved.is_empty() {
            self.follow(client);
        }
        if self.schedule.is_none() && now > 0 {
            self.fill(client, now);
        }
        self.flush_client(client);
        done
    }

    fn freed(&mut self, client: usize, count: u32, now: u64) {
        self.clients[client].waiting -= count;
        self.waiting -= count as usize;
        if count > 0 && matches!(self.crowd, Crowd::Full) {
            self.crowd = Crowd::FreeSince(now);
        }
    }

    /// Sends again what another node leads.
    fn follow(&mut self, client: usize) {
        for (flight, to) in std::mem::take(&mut self.moved) {
            self.tally.moved += 1;
            let place = self.slots.moved(&to);
            let text = || String::from_utf8_lossy(&to).into_owned();
            if place.is_none() || self.plan.target.kind != Kind::RespCluster {
                let text = format!("MOVED {}; use resp+cluster:// for a cluster", text());
                self.tally.note(&flight, Answer::Refused(text.as_bytes()), flight.due);
                self.freed(client, 1, flight.due);
                continue;
            }
            self.place(client, flight);
        }
    }

    /// Closed loop: sends until the client has all in flight that it may.
    fn fill(&mut self, client: usize, now: u64) {
        while self.clients[client].waiting < self.plan.pipeline && self.may_send(now) {
            self.issue(client, now, now);
        }
    }

    /// Whether anything is still to be sent. What an open loop was due to send in the window it
    /// sends behind its end, too, if connections were full; but not for ever.
    fn sending(&self, now: u64) -> bool {
        let end = match &self.schedule {
            Some(schedule) if schedule.due() >= self.window.end => return false,
            Some(_) => self.window.end.saturating_add(self.plan.answer_limit),
            None => self.window.end,
        };
        now < end && self.budget > 0
    }

    #[inline]
    fn may_send(&self, due: u64) -> bool {
        due < self.window.end && (self.budget > 0 || due < self.window.start)
    }

    #[inline]
    fn issue(&mut self, client: usize, due: u64, sent: u64) {
        if due >= self.window.start {
            self.budget -= 1;
        }
        let (op, key) = self.draw.next();
        self.clients[client].waiting += 1;
        self.waiting += 1;
        self.place(client, Flight { due, sent, key, op });
    }

    /// Puts a request on the link to the node that leads its key.
    #[inline]
    fn place(&mut self, client: usize, flight: Flight) {
        let node = match self.plan.target.kind {
            Kind::RespCluster => self.slots.leader_of(self.draw.key(flight.op, flight.key)),
            _ => 0,
        };
        let link = self.link_of(client, node);
        self.links[link].ask(&self.draw.request(flight.op, flight.key), flight);
    }

    /// The client's link to a node; it is made if there is none.
    #[inline]
    fn link_of(&mut self, client: usize, node: usize) -> usize {
        match self.clients[client].links.get(node) {
            Some(Some(link)) => *link,
            _ => self.new_link(client, node),
        }
    }

    #[cold]
    fn new_link(&mut self, client: usize, node: usize) -> usize {
        let link = self.links.len();
        self.links.push(Link::new(self.slots.nodes()[node], P::new(&self.plan.setup)));
        self.owners.push(client);
        let links = &mut self.clients[client].links;
        links.resize(links.len().max(node + 1), None);
        links[node] = Some(link);
        if let Err(error) = self.links[link].connect(self.poll.registry(), Token(link)) {
            self.tally.say(&error.to_string());
            self.retries.push((clock::now() + RETRY_AFTER, link));
        }
        link
    }

    /// Open loop: sends what is due by the clock.
    fn send_due(&mut self, now: u64) -> Result<(), String> {
        let Some(mut schedule) = self.schedule.take() else { return Ok(()) };
        let mut due = schedule.due();
        while due <= now && self.may_send(due) {
            let Some(client) = self.roomy() else {
                self.crowd = Crowd::Full;
                break;
            };
            let Crowd::FreeSince(free) = self.crowd else { break };
            if self.tally.counts(due) {
                let lag = now.saturating_sub(due.max(free)) / 1000;
                self.tally.lag.saturating_record(lag.max(1));
                self.tally.crowded += u64::from(free > due);
            }
            self.issue(client, due, now);
            self.dirty.push(client);
            schedule.advance();
            due = schedule.due();
        }
        while let Some(client) = self.dirty.pop() {
            self.flush_client(client);
        }
        self.schedule = Some(schedule);
        if !matches!(self.crowd, Crowd::Full) && self.may_send(due) {
            self.timer.arm(due).map_err(|error| format!("timerfd: {error}"))?;
        }
        Ok(())
    }

    /// The next client in turn that may send.
    fn roomy(&mut self) -> Option<usize> {
        let count = self.clients.len();
        let room = self.waiting < count * self.plan.pipeline as usize;
        let turns = (0..count).map(|step| (self.turn + step) % count);
        let found = turns
            .filter(|_| room)
            .find(|client| self.clients[*client].waiting < self.plan.pipeline)?;
        self.turn = (found + 1) % count;
        Some(found)
    }

    fn flush_client(&mut self, client: usize) {
        for node in 0..self.clients[client].links.len() {
            if let Some(link) = self.clients[client].links[node] {
                self.flush(link);
            }
        }
    }

    /// A link that breaks while it sends is found broken when it is read.
    #[inline]
    fn flush(&mut self, link: usize) {
        if let Err(error) = self.links[link].flush() {
            self.tally.say(&error.to_string());
        }
    }

    /// Gives a broken link up, and notes when to try again.
    #[cold]
    fn broken(&mut self, link: usize, broken: &Broken) -> Result<(), String> {
        let address = self.links[link].address;
        if broken.for_good() {
            return Err(format!("{address}: {broken}"));
        }
        let now = clock::now();
        self.tally.disconnects += 1;
        self.tally.say(&format!("{address}: {broken}"));
        let Self { links, tally, poll, .. } = self;
        let mut freed = 0;
        links[link].close(poll.registry(), &mut |flight, answer| {
            tally.note(&flight, answer, now);
            freed += 1;
        });
        self.freed(self.owners[link], freed, now);
        self.retries.push((now + RETRY_AFTER, link));
        if self.plan.target.kind == Kind::RespCluster && now >= self.ask_again {
            self.ask_again = now + SECOND;
            let nodes = self.slots.nodes().to_vec();
            for other in nodes.into_iter().filter(|node| *node != address) {
                // If nobody answers, the links that are left show what becomes of the cluster.
                if self.slots.refresh(other, &self.plan.setup).is_ok() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn reconnect(&mut self, now: u64) -> Result<(), String> {
        while let Some(at) = self.retries.iter().position(|(due, _)| *due <= now) {
            let (_, link) = self.retries.swap_remove(at);
            if let Err(error) = self.links[link].connect(self.poll.registry(), Token(link)) {
                self.broken(link, &error.into())?;
                continue;
            }
            if self.schedule.is_none() {
                self.fill(self.owners[link], now);
            }
        }
        Ok(())
    }

    /// What has no answer by now is counted as such.
    fn finish(&mut self) {
        let now = clock::now();
        let Self { links, tally, poll, .. } = self;
        for link in links {
            link.close(poll.registry(), &mut |flight: Flight, _| tally.give_up(&flight, now));
        }
        if matches!(self.plan.length, Length::Requests(_)) {
            self.tally.unsent = self.budget;
        }
        let Some(schedule) = &mut self.schedule else { return };
        while self.window.end < u64::MAX && schedule.due() < self.window.end {
            schedule.advance();
            self.tally.unsent += 1;
        }
    }
}

/// The token of the timer; links have their place.
const TIMER: Token = Token(usize::MAX);
/// Events of one turn at most; more wait for the next.
const EVENTS: usize = 1024;
/// How long connecting may take, in nanoseconds.
const CONNECT_LIMIT: u64 = 10 * SECOND;
/// How long to wait before a link is connected anew, in nanoseconds.
const RETRY_AFTER: u64 = 100 * MILLISECOND;
