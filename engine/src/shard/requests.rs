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

/// Where a request went, and in which round of bounces.
type Way = (Destination, u32);

/// The ways on which requests of some slots are out, each with the order of its first request.
#[derive(Debug, Default)]
struct Ways(BTreeMap<Slot, Vec<(Way, u64)>>);

impl Ways {
    fn note(&mut self, slot: Slot, order: u64, way: Way) {
        let ways = self.0.entry(slot).or_default();
        match ways.iter_mut().find(|(other, _)| *other == way) {
            Some((_, first)) => *first = order.min(*first),
            None => ways.push((way, order)),
        }
    }

    /// Whether an earlier request of the slot is out on another way, so that one of this order
    /// might be executed before it.
    fn overtakes(&self, slot: Slot, order: u64, way: Way) -> bool {
        let ways = self.0.get(&slot);
        ways.is_some_and(|ways| ways.iter().any(|(other, first)| *other != way && *first < order))
    }
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

    /// The ways of the requests of these slots, which are sorted. Looks at every request once, so
    /// that all requests of a link that is lost are sent again in a time that grows with their
    /// number, not with its square.
    fn ways(&self, slots: &[Slot]) -> Ways {
        let mut ways = Ways::default();
        for (_, asking) in &self.slab {
            if let Some(to) = asking.to
                && slots.binary_search(&asking.slot).is_ok()
            {
                ways.note(asking.slot, asking.order, (to, asking.fence));
            }
        }
        ways
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
        self.send(id, None);
    }

    /// Sends a request to where its slot is thought to be. `ways`: of those that are out, if it is
    /// not sent for the first time, which its session has seen to be in order.
    fn send(&mut self, id: u64, ways: Option<&mut Ways>) {
        let Some(asking) = self.requests.get_mut(id) else { return };
        let (slot, order, bytes) = (asking.slot, asking.order, asking.bytes);
        if self.requests.parked.contains_key(&slot) {
            return self.park(id, RETRY);
        }
        let to = self.destination(slot, bytes);
        let fence = self.fences[slot.index()];
        let away = match to {
            Destination::Nowhere => true,
            Destination::Peer(node, lane) => self.open_link(node, lane).is_none(),
            Destination::Here | Destination::Sibling(_) => false,
        };
        let way = (to, fence);
        if away || ways.as_ref().is_some_and(|ways| ways.overtakes(slot, order, way)) {
            return self.park(id, RETRY);
        }
        if let Some(ways) = ways {
            ways.note(slot, order, way);
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
                    self.park(id, RETRY);
                }
            }
            Destination::Nowhere => self.park(id, RETRY),
        }
    }

    /// Keeps a request, to be sent again after `pause` with all others of its slot.
    fn park(&mut self, id: u64, pause: Duration) {
        let at = self.now.moment + pause;
        let Some(asking) = self.requests.get_mut(id) else { return };
        asking.to = None;
        let (slot, order) = (asking.slot, asking.order);
        let new = || Parked { ids: VecDeque::new(), at };
        let parked = self.requests.parked.entry(slot).or_insert_with(new);
        parked.at = parked.at.min(at);
        // One that comes back from elsewhere was asked before those that wait here.
        let place = parked.ids.partition_point(|(other, _)| *other < order);
        parked.ids.insert(place, (order, id));
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
                // If it knows no better and neither do we, one of us will a moment later.
                let lost = Some(self.destination(slot, bytes)) == was;
                self.park(id, if lost { RETRY } else { Duration::ZERO });
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
                self.park(id, RETRY);
            }
        }
    }

    fn send_again(&mut self, slots: &[Slot]) {
        let mut ways = self.requests.ways(slots);
        for slot in slots {
            let Some(parked) = self.requests.parked.remove(slot) else { continue };
            parked.ids.into_iter().for_each(|(_, id)| self.send(id, Some(&mut ways)));
        }
    }

    /// Tries parked requests again, in the order asked, and gives up those that are overdue.
    pub(super) fn tend_requests(&mut self) {
        let now = self.now.moment;
        let due = self.requests.parked.iter().filter(|(_, parked)| parked.at <= now);
        let due: Vec<Slot> = due.map(|(slot, _)| *slot).collect();
        if !due.is_empty() {
            self.send_again(&due);
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
    use piccolo_schema::ids::ClusterId;
    use piccolo_schema::key_slot::slot_of;
    use piccolo_schema::time::Now;

    use super::*;
    use crate::shard::testing::alone;
    use crate::shard::{Control, task};

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
        let ways = requests.ways(&[slot]);
        for (order, first) in orders.iter().zip([true, false, false, false, false]) {
            assert_eq!(ways.overtakes(slot, *order, (Destination::Here, 0)), !first);
            assert!(!ways.overtakes(slot, *order, (Destination::Nowhere, 0)));
        }
        assert_eq!(requests.bytes(), 15);
        for id in ids {
            assert!(requests.remove(id).is_some());
        }
        assert_eq!(requests.bytes(), 0);
    }

    /// Once a look at all of them for each took minutes.
    #[test]
    fn a_hundred_thousand_requests_that_waited_are_sent_again_in_one_turn() {
        let mut now = Now::default();
        let mut shard = alone(NodeId(1), now);
        for number in 0..100_000 {
            let key = number.to_string();
            let body = task::command(&[b"SET", key.as_bytes(), b"v"]);
            let (slot, way) = (slot_of(key.as_bytes()), (false, true));
            shard.ask(slot, RequestKind::Command, way, body, ReplyTo::Nobody);
        }
        shard.control(Control::Enter { cluster: ClusterId(7), create: true });
        now.moment = now.moment + RETRY;
        shard.set_now(now);
        shard.tend_requests();
        assert_eq!((shard.requests.len(), shard.counters.keys), (0, 100_000));
    }
}
