//! The replicas of a shard: messages in, effects carried out.

use std::time::Duration;

use piccolo_ring::group::{Effect, Group, Lane, Support};
use piccolo_schema::ids::NodeId;
use piccolo_schema::link::{Item, Outcome, Request};
use piccolo_schema::slot_message::{Route, SlotMessage};

use super::mesh::{Address, Source, Work};
use super::session::ReplyTo;
use super::stream::{Role, StreamKey};
use super::{Action, Shard, replies};
use crate::store::record::{self, Record};
use crate::store::{KeyHasher, SlotTable};

impl Shard {
    /// Takes in what the replica of a slot on another node says.
    pub(super) fn receive_slot(&mut self, from: NodeId, message: SlotMessage) {
        if self.gone.contains(&from) {
            return;
        }
        let place = self.place(message.slot);
        let slot = message.slot;
        let ring = self.wish.placement.digest();
        let seat = &mut self.seats[place];
        if seat.group.is_none() {
            let before = self.dropped.get(&slot).copied();
            match Group::answer_unheld(self.me, from, &message, before) {
                Ok(group) => seat.group = Some(Box::new(group)),
                Err(answer) => {
                    return answer.into_iter().for_each(|effect| self.run_effect(place, *effect));
                }
            }
        }
        self.unsettled.insert(slot);
        let mut turned = false;
        self.with_group(place, |group, support, out| {
            let led = group.is_leader();
            group.receive(from, message, ring, support, out);
            turned = led != group.is_leader();
        });
        self.recount |= turned;
    }

    /// Lets the replica at `place` do something, then runs the effects that it asks for, in order.
    pub(super) fn with_group(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Group, &dyn Support, &mut Vec<Effect>),
    ) {
        let mut effects = Vec::new();
        if let Some(group) = &mut self.seats[place].group {
            act(group, &self.bonds.at(self.now.moment), &mut effects);
        }
        for effect in effects {
            self.run_effect(place, effect);
        }
    }

    pub(super) fn run_effect(&mut self, place: usize, effect: Effect) {
        let slot = self.slot_at(place);
        match effect {
            Effect::Send { to, lane, message } => {
                // Without an open link the message is lost: a new link asks anew.
                if let Some(end) = self.open_link(to, lane) {
                    end.batch.push_slot(message);
                }
            }
            Effect::Apply(records) => {
                let table = &mut self.seats[place].table;
                let before = (table.len(), table.bytes());
                let fault = apply(table, self.hasher, &records);
                let after = (table.len(), table.bytes());
                self.counters.account(before, after);
                self.report_fault(fault);
            }
            Effect::BeginAside => {
                let aside = std::mem::take(&mut self.seats[place].moving().aside);
                self.graves.push(aside);
            }
            Effect::AddAside(records) => {
                let fault = apply(&mut self.seats[place].moving().aside, self.hasher, &records);
                self.report_fault(fault);
            }
            Effect::DropAside => self.bury_aside(place),
            Effect::InstallAside => {
                let aside = std::mem::take(&mut self.seats[place].moving().aside);
                self.replace_table(place, aside);
            }
            Effect::Leads => {
                self.recount = true;
                self.unsettled.insert(slot);
                if let Some(group) = &self.seats[place].group {
                    let route = group.route();
                    self.learn_route(&route, true);
                    self.tell_route(route);
                }
            }
            Effect::Serves => {
                self.recount = true;
                self.busy.insert(slot);
                self.wishes.push_back(slot);
            }
            Effect::Follows => {
                self.recount = true;
                self.busy.insert(slot);
            }
            Effect::Committed => self.let_go(place),
            Effect::Deposed => {
                for reply_to in self.seats[place].take_gated() {
                    self.settle_outcome(reply_to, &Outcome::Unknown);
                }
                self.busy.insert(slot);
                self.recount = true;
            }
            Effect::Void => {
                self.replace_table(place, SlotTable::new());
                self.bury_aside(place);
            }
            Effect::Drop => self.drop_replica(place),
        }
    }

    fn drop_replica(&mut self, place: usize) {
        let slot = self.slot_at(place);
        self.bury_aside(place);
        self.replace_table(place, SlotTable::new());
        if let Some(group) = self.seats[place].group.take() {
            self.dropped.insert(slot, (group.era(), group.term()));
        }
        self.busy.insert(slot);
        self.recount = true;
    }

    fn let_go(&mut self, place: usize) {
        let seat = &mut self.seats[place];
        let Some(committed) = seat.group.as_ref().map(|group| group.committed()) else { return };
        for (reply_to, reply) in seat.ungate(committed) {
            self.settle_reply(reply_to, &reply);
        }
    }

    fn replace_table(&mut self, place: usize, with: SlotTable) {
        let after = (with.len(), with.bytes());
        let old = std::mem::replace(&mut self.seats[place].table, with);
        self.counters.account((old.len(), old.bytes()), after);
        self.graves.push(old);
    }

    /// A snapshot that will never be whole is given back.
    fn bury_aside(&mut self, place: usize) {
        self.busy.insert(self.slot_at(place));
        if let Some(moving) = &mut self.seats[place].moving {
            let aside = std::mem::take(&mut moving.aside);
            self.graves.push(aside);
        }
    }

    fn report_fault(&mut self, fault: Result<(), record::NotARecord>) {
        if fault.is_err() {
            self.counters.link_faults += 1;
            self.actions.push_back(Action::Warn("a peer sent records that cannot be read".into()));
        }
    }

    /// Carries on what waited in slots whose state has changed.
    pub(super) fn tend_busy(&mut self) {
        for slot in std::mem::take(&mut self.busy) {
            let place = self.place(slot);
            let seat = &mut self.seats[place];
            let serves = seat.group.as_ref().is_some_and(|group| group.serves());
            if !serves && seat.takes() {
                self.busy.insert(slot);
                continue;
            }
            for held in seat.take_held() {
                if held.is_late(self.now.moment) {
                    self.settle_error(held.reply_to, &replies::not_served(slot));
                } else if serves {
                    self.execute(place, &held.work(), held.reply_to);
                } else {
                    self.bounce(place, &held.work(), held.reply_to);
                }
            }
            self.seats[place].calm();
        }
    }

    /// Takes in who leads a slot. `spread`: the siblings are to hear of it, too.
    pub(super) fn learn_route(&mut self, route: &Route, spread: bool) {
        if !self.routes.learn(route) {
            return;
        }
        let slot = route.slot;
        if spread {
            for shard in 0..self.shards {
                if shard != self.index {
                    self.outbound[usize::from(shard)].routes.push(*route);
                }
            }
        }
        if self.shard_of(slot) != self.index {
            return;
        }
        self.recount = true;
        self.routes_out.push(*route);
        let place = self.place(slot);
        if let Some(group) = &self.seats[place].group
            && group.era() < route.era
            && route.leader != self.me
        {
            // Another node has brought this slot back without us: what is here is void.
            if group.is_leader() {
                let keys = self.seats[place].table.len();
                self.losses.overtaken(slot, keys, self.now.moment);
                self.run_effect(place, Effect::Deposed);
            }
            self.run_effect(place, Effect::Drop);
        }
    }

    /// Tells every peer who leads a slot of this shard.
    fn tell_route(&mut self, route: Route) {
        for peer in &mut self.peers {
            if peer.ordinary.open {
                peer.ordinary.batch.push_route(route);
            }
        }
    }

    /// The groups that this shard leads.
    pub(super) fn led(&self) -> impl Iterator<Item = &Group> {
        self.seats.iter().filter_map(|seat| seat.group.as_deref()).filter(|group| group.is_leader())
    }

    /// A link to `node` is new: both ends state where they stand in the slots that they share.
    pub(super) fn renew_groups(&mut self, node: NodeId) {
        for place in 0..self.seats.len() {
            if self.seats[place].group.as_ref().is_none_or(|group| group.is_alone()) {
                continue;
            }
            let leader = self.routes.get(self.slot_at(place)).leader;
            self.with_group(place, |group, support, out| {
                group.link_renewed(node, out);
                if leader == node {
                    group.state(node, support, out);
                }
            });
        }
    }

    /// Another node supports this one under a new epoch: what it acknowledged before no longer
    /// counts, and it is asked where it stands in each slot that it votes in here.
    pub(super) fn epoch_changed(&mut self, by: NodeId, epoch: u64) {
        for place in 0..self.seats.len() {
            if self.seats[place].group.as_ref().is_some_and(|group| group.is_leader()) {
                self.with_group(place, |group, _, out| group.epoch_changed(by, epoch, out));
            }
        }
    }

    /// Gives a reply to the peer that asked, on the link by which it asked.
    pub(super) fn reply_on_link(&mut self, stream: StreamKey, id: u64, outcome: &Outcome<'_>) {
        let Some(open) = self.streams.get_mut(stream) else { return };
        if let Role::Inlink(link) = &mut open.role {
            if link.batch.is_empty() {
                self.inlinks_to_write.push(stream);
            }
            link.batch.push_reply(id, outcome);
        }
    }

    /// What a peer's shard says on the link that it opened.
    pub(super) fn take_from_peer(
        &mut self,
        key: StreamKey,
        source: Source,
        item: Item<'_>,
    ) -> Result<(), String> {
        match item {
            Item::Request(request) => {
                let Request { id, slot, kind, resp3, fence, patience_ms, body } = request;
                let until = self.now.moment + Duration::from_millis(u64::from(patience_ms));
                let work = Work { slot, kind, resp3, fence, source, until, body };
                let shard = self.shard_of(slot);
                if shard == self.index {
                    self.serve(&work, ReplyTo::Link { stream: key, id });
                } else {
                    self.outbound[usize::from(shard)].push_work(Address::Link(key, id), &work);
                }
            }
            Item::Slot(message) => {
                let shard = self.shard_of(message.slot);
                if shard == self.index {
                    self.receive_slot(source.node, message);
                } else {
                    self.outbound[usize::from(shard)].slots.push((source.node, message));
                }
            }
            Item::Route(route) => self.learn_route(&route, true),
            Item::RouteDigests(theirs) => {
                let news: Vec<Route> = self.routes.differing(&theirs).copied().collect();
                if let Some(end) = self.open_link(source.node, Lane::Ordinary) {
                    for route in news {
                        end.batch.push_route(route);
                    }
                }
            }
            _ => return Err("something said out of turn".into()),
        }
        Ok(())
    }
}

/// Applies records to a table.
fn apply(
    table: &mut SlotTable,
    hasher: KeyHasher,
    mut records: &[u8],
) -> Result<(), record::NotARecord> {
    while let Some((record, rest)) = record::read(records)? {
        match record {
            Record::Put(entry) => {
                table.put(hasher.hash(entry.key), &entry);
            }
            Record::Delete(key) => {
                table.remove(hasher.hash(key), key);
            }
            Record::Clear => *table = SlotTable::new(),
        }
        records = rest;
    }
    Ok(())
}
