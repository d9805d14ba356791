//! Work executed where its slot is led.

use piccolo_schema::ids::{Slot, Version};
use piccolo_schema::limits::BODY_BYTES_MAX;
use piccolo_schema::link::{Outcome, RequestKind};
use piccolo_schema::slot_message::Records;

use super::mesh::{Address, Source, Work};
use super::seat::Seat;
use super::session::ReplyTo;
use super::{Shard, replies, too_long};
use crate::command::{self, Command, Place};
use crate::keyspace::{Changes, Keyspace};
use crate::resp::parse::{Limits, Parsed, Parser};
use crate::resp::reply::Reply;
use crate::resp::{Args, Span};

/// Bytes of memory for replies that stay allocated between commands: most replies fit.
pub(super) const SCRATCH_BYTES_KEPT: usize = 64 << 10;

impl Shard {
    /// The place of a slot of this shard among its seats.
    #[inline]
    pub(super) fn place(&self, slot: Slot) -> usize {
        if self.shards.is_power_of_two() {
            slot.index() >> self.shards.trailing_zeros()
        } else {
            slot.index() / usize::from(self.shards)
        }
    }

    /// The slot at a place.
    pub(super) fn slot_at(&self, place: usize) -> Slot {
        let number = place * usize::from(self.shards) + usize::from(self.index);
        Slot::of_hash(number as u16)
    }

    /// Executes work, or holds it, or bounces it: whatever becomes of it goes to `reply_to`.
    pub(super) fn serve(&mut self, work: &Work<'_>, reply_to: ReplyTo) {
        if work.until <= self.now.moment {
            // Its client has been told that its fate is unknown: better it had none.
            return self.settle_error(reply_to, &replies::not_served(work.slot));
        }
        let place = self.place(work.slot);
        let seat = &mut self.seats[place];
        if seat.fenced(work.source, work.fence) {
            return self.bounce(place, work, reply_to);
        }
        let serves = seat.group.as_ref().is_some_and(|group| group.serves());
        if serves && !seat.has_held() {
            self.execute(place, work, reply_to);
        } else if seat.takes() {
            self.busy.insert(work.slot);
            if !self.seats[place].hold(work, reply_to) {
                self.settle_error(reply_to, replies::BUSY);
            }
        } else {
            self.bounce(place, work, reply_to);
        }
    }

    pub(super) fn bounce(&mut self, place: usize, work: &Work<'_>, reply_to: ReplyTo) {
        let seat = &mut self.seats[place];
        seat.raise_fence(work.source, work.fence, self.now.moment);
        let mut route = *self.routes.get(work.slot);
        if let Some(group) = &seat.group
            && (group.era(), group.term()) > (route.era, route.term)
            && group.leader().is_some()
        {
            route = group.route();
        }
        self.settle_outcome(reply_to, &Outcome::Bounced(route));
    }

    /// Executes work as the serving leader.
    pub(super) fn execute(&mut self, place: usize, work: &Work<'_>, reply_to: ReplyTo) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        if work.source != (Source { node: self.me, shard: self.index }) {
            self.slowlog.served(work.body);
        }
        let full = self.is_full();
        let waits = self.change(place, |keyspace| {
            run(work.kind, work.body, full, keyspace, &mut Reply::new(&mut reply, work.resp3));
        });
        if reply.len() > BODY_BYTES_MAX && reply_to.leaves_node() {
            reply = too_long::shortened(work.kind, &reply, work.resp3);
        }
        match waits {
            Some(version) => {
                self.seats[place].gate(version, reply_to, reply.clone());
                self.busy.insert(work.slot);
            }
            None => self.settle_reply(reply_to, &reply),
        }
        reply.clear();
        reply.shrink_to(SCRATCH_BYTES_KEPT);
        self.scratch = reply;
    }

    /// Opens the slot at `place` for `run`, numbers and spreads what it changes. Returns the
    /// version that must be committed before the outcome may be told, if it is not yet.
    #[inline]
    pub(super) fn change(
        &mut self,
        place: usize,
        run: impl FnOnce(&mut Keyspace<'_>),
    ) -> Option<Version> {
        let Seat { table, group: Some(group), .. } = &mut self.seats[place] else { return None };
        let before = (table.len(), table.bytes());
        let version = group.next_version();
        let alone = group.is_alone();
        let changes = (!alone).then_some(&mut self.changes);
        let mut keyspace = Keyspace::new(table, self.hasher, self.now.wall, version, changes)
            .with_value_bytes_max(self.limits.bulk_bytes_max)
            .with_lookups(Some(&mut self.counters.lookups));
        run(&mut keyspace);
        let (dirty, expired) = (keyspace.dirty(), keyspace.expired());
        let cleared = keyspace.take_cleared();
        self.counters.expired += u64::from(expired);
        self.counters.account(before, (table.len(), table.bytes()));
        self.graves.extend(cleared);
        if alone {
            if dirty {
                group.advance_alone(version);
            }
            return None;
        }
        if dirty {
            self.spread(place);
        }
        let group = self.seats[place].group.as_ref()?;
        let last = group.last();
        (group.committed() < last).then_some(last)
    }

    /// Hands what was changed to those who follow.
    fn spread(&mut self, place: usize) {
        let changes = std::mem::take(&mut self.changes);
        let records = Records::from(&changes.records[..]);
        self.with_group(place, |group, _, out| {
            group.append(records, &mut |cursor| behind(&changes, cursor), out);
        });
        self.changes = changes;
        self.changes.records.clear();
        self.changes.spans.clear();
    }

    /// Gives a finished reply to whom it is for.
    pub(super) fn settle_reply(&mut self, reply_to: ReplyTo, reply: &[u8]) {
        self.settle_outcome(reply_to, &Outcome::Done(reply));
    }

    pub(super) fn settle_error(&mut self, reply_to: ReplyTo, text: &str) {
        let mut bytes = Vec::new();
        Reply::new(&mut bytes, false).error(text);
        self.settle_reply(reply_to, &bytes);
    }

    pub(super) fn settle_outcome(&mut self, reply_to: ReplyTo, outcome: &Outcome<'_>) {
        match reply_to {
            ReplyTo::Session { stream, ticket, part } => match outcome {
                Outcome::Done(reply) => self.resolve(stream, ticket, part, reply),
                Outcome::Unknown | Outcome::Bounced(_) => {
                    self.settle_error(reply_to, replies::UNKNOWN);
                }
            },
            ReplyTo::Sibling { shard, address } if shard == self.index => match address {
                Address::Own(id) => self.answered(id, outcome),
                Address::Link(stream, id) => self.reply_on_link(stream, id, outcome),
            },
            ReplyTo::Sibling { shard, address } => {
                self.outbound[usize::from(shard)].push_answer(address, outcome);
            }
            ReplyTo::Link { stream, id } => self.reply_on_link(stream, id, outcome),
            ReplyTo::Nobody => {}
        }
    }
}

/// The records of a change that lie behind a snapshot's cursor.
fn behind(changes: &Changes, cursor: u64) -> Option<Records> {
    let spans = changes.spans.iter().filter(|(hash, _)| *hash < cursor);
    let bytes: Vec<u8> =
        spans.flat_map(|(_, span)| changes.records[span.clone()].iter().copied()).collect();
    (!bytes.is_empty()).then(|| Records::from(bytes))
}

/// Runs whole commands on one slot. A unit starts with what it expects; if that does not hold,
/// its reply is a null and nothing is executed.
pub(super) fn run(
    kind: RequestKind,
    body: &[u8],
    full: bool,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
) {
    let mut spans = Vec::new();
    match kind {
        RequestKind::Command => run_one(body, 0, &mut spans, (false, full), keyspace, reply),
        RequestKind::Sweep => run_one(body, 0, &mut spans, (true, full), keyspace, reply),
        RequestKind::Unit => {
            run_unit(body, full, keyspace, reply);
            0
        }
    };
}

fn run_unit(body: &[u8], full: bool, keyspace: &mut Keyspace<'_>, reply: &mut Reply<'_>) {
    let (mut at, mut count) = (0, 0);
    let mut spans = Vec::new();
    let mut answers = Vec::new();
    let resp3 = reply.resp3();
    while at < body.len() {
        spans.clear();
        let start = answers.len();
        let mut answer = Reply::new(&mut answers, resp3);
        let expectation = body[at..].starts_with(EXPECT_HEAD);
        let end = run_one(body, at, &mut spans, (expectation, full), keyspace, &mut answer);
        if end <= at {
            return reply.error("ERR malformed unit");
        }
        at = end;
        if expectation {
            if &answers[start..] != b":1\r\n" {
                return reply.null_array();
            }
            answers.truncate(start);
        } else {
            count += 1;
        }
    }
    reply.array(count);
    reply.raw(&answers);
}

/// How an expectation begins in a unit: no client's command can, since its name is internal.
pub(super) const EXPECT_HEAD: &[u8] = b"*3\r\n$6\r\nEXPECT\r\n";

/// Runs the command at `at` and returns where it ends; `at` itself if there is none.
fn run_one(
    body: &[u8],
    at: usize,
    spans: &mut Vec<Span>,
    (internal, full): (bool, bool),
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
) -> usize {
    let Ok(Parsed::Command { end, .. }) = Parser::new(Limits::default()).next(body, at, spans)
    else {
        reply.error("ERR malformed request");
        return at;
    };
    let args = Args::new(body, spans);
    let name = args.get(0);
    let command = if internal {
        command::find_internal(name).filter(|command| command.arity_ok(args.len()))
    } else {
        // Again, though the asker has done so: it may be of another build, or no friend.
        command::resolve(&args).ok()
    };
    match command {
        Some(command) => {
            keyspace.set_reading(!command.is_write());
            run_command(command, &args, full, keyspace, reply);
        }
        None => reply.error("ERR malformed request"),
    }
    end
}

/// Runs one command on its slot.
#[inline]
pub(super) fn run_command(
    command: &Command,
    args: &Args<'_>,
    full: bool,
    keyspace: &mut Keyspace<'_>,
    reply: &mut Reply<'_>,
) {
    let (Place::Slot(handler) | Place::Split(handler, _)) = command.place else {
        return reply.error("ERR malformed request");
    };
    if full && command.needs_memory() {
        return reply.error(replies::OUT_OF_MEMORY);
    }
    handler(args, keyspace, reply);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use piccolo_schema::framing::frame_bytes;
    use piccolo_schema::ids::NodeId;
    use piccolo_schema::key_slot::slot_of;
    use piccolo_schema::link;
    use piccolo_schema::time::{Moment, Now};

    use super::*;
    use crate::resp::value;
    use crate::shard::task;
    use crate::shard::testing::leader;

    fn work(kind: RequestKind, until: Moment, body: &[u8]) -> Work<'_> {
        let source = Source { node: NodeId(2), shard: 0 };
        Work { slot: slot_of(b"k"), kind, resp3: false, fence: 0, source, until, body }
    }

    /// Its client has been told that its fate is unknown: it is not executed behind its back.
    #[test]
    fn work_whose_asker_has_given_it_up_is_not_executed() {
        let now = Now { moment: Moment(1_000_000), ..Now::default() };
        let mut shard = leader(now);
        let mut serve = |until: Moment| {
            let body = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
            shard.serve(&work(RequestKind::Command, until, body), ReplyTo::Nobody);
            shard.counters.keys
        };
        assert_eq!(serve(now.moment), 0);
        assert_eq!(serve(now.moment + Duration::from_millis(1)), 1);
    }

    /// A frame that the peer does not take would end the link, with what others asked on it.
    #[test]
    fn a_reply_longer_than_a_frame_is_an_error_and_the_link_stays() {
        let now = Now { moment: Moment(1_000_000), ..Now::default() };
        let mut shard = leader(now);
        let until = now.moment + Duration::from_secs(1);
        let set = task::command(&[b"SET", b"k", &vec![b'x'; 40 << 20]]);
        shard.serve(&work(RequestKind::Command, until, &set), ReplyTo::Nobody);
        let stream = shard.accept_link();
        let twice = [task::command(&[b"GET", b"k"]), task::command(&[b"GET", b"k"])].concat();
        let asks = [
            (RequestKind::Command, task::command(&[b"MGET", b"k", b"k"])),
            (RequestKind::Unit, twice),
        ];
        for (id, (kind, body)) in asks.iter().enumerate() {
            let reply_to = ReplyTo::Link { stream, id: id as u64 };
            shard.serve(&work(*kind, until, body), reply_to);
        }
        shard.write_links();
        let mut unread = shard.output(stream);
        let mut told = Vec::new();
        while let Some(bytes) = frame_bytes(unread).unwrap() {
            link::read(&unread[..bytes], |item| match item {
                link::Item::Reply(id, Outcome::Done(reply)) => told.push((id, reply.to_vec())),
                other => panic!("{other:?}"),
            })
            .unwrap();
            unread = &unread[bytes..];
        }
        let [(0, many), (1, unit)] = &told[..] else { panic!("{} replies", told.len()) };
        assert!(many.starts_with(b"-ERR the reply of 83886"), "{}", many.escape_ascii());
        let items: Vec<&[u8]> = value::array_items(unit).unwrap().collect();
        assert_eq!((items.len(), items[0][0], items[1][0]), (2, b'$', b'-'));
    }
}
