//! What this shard has asked of others and not heard back, and what waits to be asked.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use piccolo_ring::group::Lane;
use piccolo_schema::ids::{NodeId, Slot};
use piccolo_schema::limits::BODY_BYTES_MAX;
use piccolo_schema::link::{Outcome, Request, RequestKind};
use piccolo_schema::time::Moment;
use slab::Slab;

use super::dispatch::Destination;
use super::mesh::{Address, Source, Work};
use super::session::ReplyTo;
use super::{Shard, replies, too_long};

/// Time that a client waits for an answer at most. Longer than a failover or a move takes.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Time after which a request that nobody could take is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// Bytes of commands that all connections of a shard together may have out, but for one command of
/// each: every one is kept until it is answered.
pub(super) const REQUESTS_BYTES_MAX: usize = 256 << 20;

/// Something asked on behalf of a client, kept until it is answered: it may have to be asked
/// again somewhere else.
#[derive(Debug)]
pub(super) struct Asking {
    generation: u32,
    /// Requests of this shard before it.
    order: u64,
    pub(super) slot: Slot,
    pub(super) kind: RequestKind,
    pub(super) resp3: bool,
    pub(super) write: bool,
    pub(super) body: Vec<u8>,
    /// Of the body, which is elsewhere while it is executed.
    bytes: usize,
    pub(super) reply_to: ReplyTo,
    /// Where it is now; `None` while nobody can take it.
    to: Option<Destination>,
    /// The round of bounces in which it went there.
    fence: u32,
    deadline: Moment,
}

/// Everything that is asked and not answered.
#[derive(Debug, Default)]
pub(super) struct Requests {
    slab: Slab<Asking>,
    /// Of all bodies kept.
    bytes: usize,
    /// Requests so far.
    count: u64,
    /// Those that nobody can take. Behind one of them every later one of its slot waits too:
    /// nothing may overtake it when its turn comes.
    parked: BTreeMap<Slot, Parked>,
    /// When requests were last looked through for overdue ones.
    pub(super) looked: Moment,
}

/// Requests of one slot that nobody can take.
#[derive(Debug)]
struct Parked {
    /// In the order asked, by which they are sorted.
    ids: VecDeque<(u64, u64)>,
    /// When they are tried again.
    at: Moment,
}

impl Requests {
    fn insert(&mut self, asking: Asking) -> u64 {
        self.count += 1;
        self.bytes += asking.bytes;
        // The top bit of a number tells errands from requests.
        let generation = self.count as u32 & (u32::MAX >> 1);
        let index = self.slab.insert(Asking { generation, order: self.count, ..asking });
        (u64::from(generation) << 32) | index as u64
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Asking> {
        let asking = self.slab.get_mut(id as u32 as usize)?;
        (u64::from(asking.generation) == id >> 32).then_some(asking)
    }

    fn remove(&mut self, id: u64) -> Option<Asking> {
        self.get_mut(id)?;
        let asking = self.slab.remove(id as u32 as usize);
        self.bytes -= asking.bytes;
        Some(asking)
    }

    fn ids(&self, matches: impl Fn(&Asking) -> bool) -> Vec<u64> {
        let entries = self.slab.iter().filter(|(_, asking)| matches(asking));
        let mut found: Vec<(u64, u64)> = entries
            .map(|(index, asking)| {
                (asking.order, (u64::from(asking.generation) << 32) | index as u64)
            })
            .collect();
        // In the order asked.
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether an earlier request of the slot is out on another way than `way`, so that this one
    /// might be executed before it.
    fn overtakes(&self, order: u64, slot: Slot, way: (Destination, u32)) -> bool {
        self.slab.iter().any(|(_, other)| {
            other.slot == slot
                && other.order < order
                && other.to.is_some_and(|to| (to, other.fence) != way)
        })
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Bytes of everything asked and not answered.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When something parked or overdue has to be looked at.
    pub(super) fn deadline(&self) -> Moment {
        let parked = self.parked.values().map(|parked| parked.at).min().unwrap_or(Moment::NEVER);
        if self.slab.is_empty() { parked } else { parked.min(self.looked + RETRY * 20) }
    }
}

impl Shard {
    /// Asks whoever leads the slot, now or once it is known who does. The answer goes to
    /// `reply_to`.
    pub(super) fn ask(
        &mut self,
        slot: Slot,
        kind: RequestKind,
        (resp3, write): (bool, bool),
        body: Vec<u8>,
        reply_to: ReplyTo,
    ) {
        let deadline = self.now.moment + DEADLINE;
        let asking = Asking {
            generation: 0,
            order: 0,
            slot,
            kind,
            resp3,
            write,
            bytes: body.len(),
            body,
            reply_to,
            to: None,
            fence: 0,
            deadline,
        };
        let id = self.requests.insert(asking);
        self.send(id, false);
    }

    /// Sends a request to where its slot is thought to be. `again`: not for the first time, which
    /// its session has seen to be in order.
    fn send(&mut self, id: u64, again: bool) {
        let Some(asking) = self.requests.get_mut(id) else { return };
        let (slot, order, bytes) = (asking.slot, asking.order, asking.bytes);
        if self.requests.parked.contains_key(&slot) {
            return self.park(id);
        }
        let to = self.destination(slot, bytes);
        let fence = self.fences[slot.index()];
        let away = match to {
            Destination::Nowhere => true,
            Destination::Peer(node, lane) => self.open_link(node, lane).is_none(),
            Destination::Here | Destination::Sibling(_) => false,
        };
        if away || (again && self.requests.overtakes(order, slot, (to, fence))) {
            return self.park(id);
        }
        if bytes > BODY_BYTES_MAX && matches!(to, Destination::Peer(..)) {
            let Some(asking) = self.requests.remove(id) else { return };
            return self.settle_error(asking.reply_to, &too_long::request(bytes));
        }
        let (me, index, now) = (self.me, self.index, self.now.moment);
        let Some(asking) = self.requests.get_mut(id) else { return };
        asking.fence = fence;
        let Asking { kind, resp3, deadline: until, .. } = *asking;
        let source = Source { node: me, shard: index };
        let head = Work { slot, kind, resp3, fence, source, until, body: &[] };
        match to {
            Destination::Here => {
                asking.to = Some(to);
                let body = std::mem::take(&mut asking.body);
                // Answered by number, as if it had come from elsewhere, so that a bounce finds
                // it again.
                let reply_to = ReplyTo::Sibling { shard: index, address: Address::Own(id) };
                self.serve(&Work { body: &body, ..head }, reply_to);
                if let Some(asking) = self.requests.get_mut(id) {
                    asking.body = body;
                }
            }
            Destination::Sibling(shard) => {
                asking.to = Some(to);
                self.outbound[usize::from(shard)]
                    .push_work(Address::Own(id), &Work { body: &asking.body, ..head });
            }
            Destination::Peer(node, lane) => {
                let peer = self.peers.iter_mut().find(|peer| peer.id == node);
                if let Some(end) = peer.map(|peer| peer.end(lane)).filter(|end| end.open) {
                    asking.to = Some(to);
                    let body = &asking.body;
                    let patience_ms = until.since(now).as_millis().min(u16::MAX.into()) as u16;
                    let request = Request { id, slot, kind, resp3, fence, patience_ms, body };
                    end.batch.push_request(&request);
                    self.counters.forwarded += 1;
                } else {
                    self.park(id);
                }
            }
            Destination::Nowhere => self.park(id),
        }
    }

    fn park(&mut self, id: u64) {
        let at = self.now.moment + RETRY;
        let Some(asking) = self.requests.get_mut(id) else { return };
        asking.to = None;
        let (slot, order) = (asking.slot, asking.order);
        let new = || Parked { ids: VecDeque::new(), at };
        let ids = &mut self.requests.parked.entry(slot).or_insert_with(new).ids;
        // One that comes back from elsewhere was asked before those that wait here.
        let place = ids.partition_point(|(other, _)| *other < order);
        ids.insert(place, (order, id));
    }

    /// Takes in what became of a request of this shard.
    pub(super) fn answered(&mut self, id: u64, outcome: &Outcome<'_>) {
        let Some(asking) = self.requests.get_mut(id) else { return };
        match outcome {
            Outcome::Done(reply) => {
                let reply_to = asking.reply_to;
                self.requests.remove(id);
                self.settle_reply(reply_to, reply);
            }
            Outcome::Bounced(route) => {
                let (slot, was, fence) = (asking.slot, asking.to.take(), asking.fence);
                let bytes = asking.bytes;
                self.bounced(slot, fence);
                self.learn_route(route, true);
                if Some(self.destination(slot, bytes)) == was {
                    // It knows no better and neither do we: a moment later one of us will.
                    self.park(id);
                } else {
                    self.send(id, true);
                }
            }
            Outcome::Unknown => {
                let (reply_to, write) = (asking.reply_to, asking.write);
                self.requests.remove(id);
                let text = if write { replies::UNKNOWN } else { replies::READ_LOST };
                self.settle_error(reply_to, text);
            }
        }
    }

    /// Counts a round of bounces for a slot: requests sent from now on carry the new number. The
    /// others of the same round are not counted again, or they could pass for having seen a
    /// bounce that is still on its way.
    fn bounced(&mut self, slot: Slot, fence: u32) {
        self.counters.bounced += 1;
        let round = &mut self.fences[slot.index()];
        if *round == fence {
            *round = round.wrapping_add(1);
        }
    }

    /// A link is gone: reads asked on it are asked again, the fate of writes is unknown.
    pub(super) fn unanswered_by(&mut self, node: NodeId, lane: Lane) {
        let lost = Some(Destination::Peer(node, lane));
        for id in self.requests.ids(|asking| asking.to == lost) {
            let Some(asking) = self.requests.get_mut(id) else { continue };
            if asking.write {
                self.answered(id, &Outcome::Unknown);
            } else {
                // What is sent from now on does not count as sent to where this one was.
                let (slot, fence) = (asking.slot, asking.fence);
                let round = &mut self.fences[slot.index()];
                if *round == fence {
                    *round = round.wrapping_add(1);
                }
                self.park(id);
            }
        }
    }

    /// Tries parked requests again, in the order asked, and gives up those that are overdue.
    pub(super) fn tend_requests(&mut self) {
        let now = self.now.moment;
        let due = self.requests.parked.iter().filter(|(_, parked)| parked.at <= now);
        let due: Vec<Slot> = due.map(|(slot, _)| *slot).collect();
        for slot in due {
            let Some(parked) = self.requests.parked.remove(&slot) else { continue };
            parked.ids.into_iter().for_each(|(_, id)| self.send(id, true));
        }
        if now.since(self.requests.looked) < RETRY * 20 {
            return;
        }
        self.requests.looked = now;
        for id in self.requests.ids(|asking| asking.deadline <= now) {
            let Some(asking) = self.requests.remove(id) else { continue };
            let text = if asking.to.is_some() && asking.write {
                replies::UNKNOWN.to_owned()
            } else {
                replies::not_served(asking.slot)
            };
            self.settle_error(asking.reply_to, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(slot: Slot) -> Asking {
        Asking {
            generation: 0,
            order: 0,
            slot,
            kind: RequestKind::Command,
            resp3: false,
            write: true,
            body: Vec::new(),
            bytes: 3,
            reply_to: ReplyTo::Nobody,
            to: Some(Destination::Nowhere),
            fence: 0,
            deadline: Moment(0),
        }
    }

    /// The numbers by which answers find their requests come round; the order does not.
    #[test]
    fn requests_stay_in_the_order_asked_when_their_numbers_come_round() {
        let slot = Slot::default();
        let mut requests = Requests { count: (1 << 31) - 3, ..Requests::default() };
        let ids: Vec<u64> = (0..5).map(|_| requests.insert(asking(slot))).collect();
        assert!(!ids.is_sorted(), "{ids:x?}");
        assert_eq!(requests.ids(|_| true), ids);
        let orders = ids.iter().map(|id| requests.get_mut(*id).unwrap().order);
        let orders: Vec<u64> = orders.collect();
        for (order, first) in orders.iter().zip([true, false, false, false, false]) {
            assert_eq!(requests.overtakes(*order, slot, (Destination::Here, 0)), !first);
        }
        assert_eq!(requests.bytes(), 15);
        for id in ids {
            assert!(requests.remove(id).is_some());
        }
        assert_eq!(requests.bytes(), 0);
    }
}
