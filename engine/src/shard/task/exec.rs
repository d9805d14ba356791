//! What EXEC runs: the commands that MULTI queued.
//!
//! Commands of one slot are one unit: executed together, one change. Of several slots: in the
//! order of the queue as far as anybody can tell, atomic per slot. A command that asks several
//! slots is a step of its own.

use std::collections::{BTreeMap, VecDeque};

use piccolo_schema::ids::Slot;
use piccolo_schema::link::RequestKind;

use super::watch::ask_versions;
use super::{Ask, Split, Task, command, is_error};
use crate::command::Place;
use crate::resp::{Args, Reply, Span, value};
use crate::shard::session::{Queued, Watched};

/// A reply that the connection's own shard has made already, with its place in the queue.
pub(in crate::shard) type Local = (usize, Vec<u8>);

#[derive(Debug)]
enum Step {
    /// The watched keys still have their versions.
    Check,
    /// Places in the queue, per slot.
    Units(BTreeMap<Slot, Vec<usize>>),
    /// One command on several slots.
    Whole(usize, Box<Task>),
}

/// A transaction under way.
#[derive(Debug)]
pub(in crate::shard) struct Exec {
    queue: Vec<Queued>,
    watched: Vec<Watched>,
    /// The one slot that everything is in: watched keys are checked there, atomically.
    single: Option<Slot>,
    steps: VecDeque<Step>,
    running: Option<Step>,
    missing: usize,
    replies: Vec<Vec<u8>>,
    aborted: bool,
    error: Option<Vec<u8>>,
    resp3: bool,
}

impl Exec {
    /// `whole` makes a task of a queued command that asks several slots.
    pub(in crate::shard) fn new(
        queue: Vec<Queued>,
        watched: Vec<Watched>,
        local: Vec<Local>,
        resp3: bool,
        mut whole: impl FnMut(&Queued) -> Option<Task>,
    ) -> Self {
        let mut replies = vec![Vec::new(); queue.len()];
        let mut steps = VecDeque::new();
        let mut units: BTreeMap<Slot, Vec<usize>> = BTreeMap::new();
        for (place, reply) in local {
            replies[place] = reply;
        }
        for (place, queued) in queue.iter().enumerate() {
            if !replies[place].is_empty() {
                continue;
            }
            if let Some(slot) = queued.slot {
                units.entry(slot).or_default().push(place);
            } else if let Some(task) = whole(queued) {
                if !units.is_empty() {
                    steps.push_back(Step::Units(std::mem::take(&mut units)));
                }
                steps.push_back(Step::Whole(place, Box::new(task)));
            }
        }
        if !units.is_empty() {
            steps.push_back(Step::Units(units));
        }
        let single = single_slot(&steps, &watched);
        if single.is_none() && !watched.is_empty() {
            steps.push_front(Step::Check);
        }
        Self {
            queue,
            watched,
            single,
            steps,
            running: None,
            missing: 0,
            replies,
            aborted: false,
            error: None,
            resp3,
        }
    }

    pub(super) fn done(&self) -> bool {
        let over = self.aborted || self.error.is_some() || self.steps.is_empty();
        over && self.running.is_none()
    }

    pub(super) fn poll(&mut self) -> Vec<Ask> {
        loop {
            if let Some(Step::Whole(place, task)) = &mut self.running {
                let asks = task.poll();
                if !task.done() {
                    return asks;
                }
                let mut reply = Vec::new();
                task.write(&mut Reply::new(&mut reply, self.resp3));
                self.replies[*place] = reply;
                self.running = None;
            }
            if self.running.is_some() || self.done() {
                return Vec::new();
            }
            let Some(step) = self.steps.pop_front() else { return Vec::new() };
            let asks = match &step {
                Step::Check => self.checks(),
                Step::Units(units) => self.units(units),
                Step::Whole(..) => Vec::new(),
            };
            let whole = matches!(step, Step::Whole(..));
            self.missing = asks.len();
            self.running = Some(step);
            if !whole {
                return asks;
            }
        }
    }

    fn checks(&self) -> Vec<Ask> {
        ask_versions(&self.watched)
    }

    fn units(&self, units: &BTreeMap<Slot, Vec<usize>>) -> Vec<Ask> {
        let ask = |(part, (slot, places)): (usize, (&Slot, &Vec<usize>))| {
            let mut body = Vec::new();
            if self.single == Some(*slot) {
                for watched in &self.watched {
                    let version = watched.version.packed().to_string();
                    body.extend(command(&[b"EXPECT", &watched.key, version.as_bytes()]));
                }
            }
            let mut write = false;
            for place in places {
                body.extend_from_slice(&self.queue[*place].body);
                write |= self.queue[*place].command.is_write();
            }
            Ask { part: part as u32, slot: *slot, kind: RequestKind::Unit, write, body }
        };
        units.iter().enumerate().map(ask).collect()
    }

    pub(super) fn take(&mut self, part: u32, answer: &[u8]) {
        match &mut self.running {
            Some(Step::Whole(_, task)) => return task.take(part, answer),
            Some(Step::Check) => {
                let version = self.watched[part as usize].version.packed();
                let same = value::integer(answer).is_some_and(|now| now as u64 == version);
                self.aborted |= !same;
            }
            Some(Step::Units(units)) => {
                let Some(places) = units.values().nth(part as usize) else { return };
                if is_error(answer) {
                    self.error.get_or_insert_with(|| answer.to_vec());
                } else if let Some(items) = value::array_items(answer) {
                    for (place, item) in places.iter().zip(items) {
                        self.replies[*place] = item.to_vec();
                    }
                } else {
                    self.aborted = true;
                }
            }
            None => return,
        }
        self.missing -= 1;
        if self.missing == 0 {
            self.running = None;
        }
    }

    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        if self.aborted {
            return reply.null_array();
        }
        if let Some(error) = &self.error {
            return reply.raw(error);
        }
        reply.array(self.replies.len());
        self.replies.iter().for_each(|one| reply.raw(one));
    }
}

/// The one slot in which everything is, watched keys included.
fn single_slot(steps: &VecDeque<Step>, watched: &[Watched]) -> Option<Slot> {
    let (Some(Step::Units(units)), 1) = (steps.front(), steps.len()) else { return None };
    let (&slot, 1) = (units.keys().next()?, units.len()) else { return None };
    watched.iter().all(|watched| watched.slot == slot).then_some(slot)
}

/// The arguments of a queued command, which was whole when it was queued.
pub(in crate::shard) fn with_args<R>(queued: &Queued, use_args: impl FnOnce(&Args<'_>) -> R) -> R {
    let mut spans: Vec<Span> = Vec::new();
    let parsed = crate::resp::parse::Parser::new(crate::resp::parse::Limits::default()).next(
        &queued.body,
        0,
        &mut spans,
    );
    assert!(parsed.is_ok() && !spans.is_empty(), "a queued command is whole");
    use_args(&Args::new(&queued.body, &spans))
}

/// The task of a queued command that is cut per slot.
pub(in crate::shard) fn split_queued(queued: &Queued) -> Option<Task> {
    let Place::Split(_, merge) = queued.command.place else { return None };
    Some(with_args(queued, |args| Task::Split(Split::new(queued.command, merge, args))))
}
