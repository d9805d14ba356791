//! One connection of a client: what it said about itself, and its replies in order.

use std::collections::VecDeque;
use std::net::SocketAddr;

use piccolo_schema::ids::{Slot, Version};
use piccolo_schema::kv::PREFACE;
use piccolo_schema::time::Moment;

use super::calls::CallResult;
use super::dispatch::Destination;
use super::native::Native;
use super::stream::StreamKey;
use super::task::Task;
use crate::command::Command;
use crate::resp::parse::{Limits, Parser};

/// Replies that a connection may wait for at once; its next commands wait in its inbox.
pub(super) const PENDING_MAX: usize = 4096;

/// Bytes of replies that a client may leave unread before its commands are no longer executed.
/// Large, since common clients write a whole pipeline before they read.
pub(super) const OUTPUT_BYTES_MAX: usize = 64 << 20;

/// Bytes that a reply not yet known is taken to have at first, and at least later on: 64 commands
/// may be out on a new connection, [`PENDING_MAX`] on one whose replies have been short.
const REPLY_BYTES_FIRST: usize = 1 << 20;
const REPLY_BYTES_MIN: usize = OUTPUT_BYTES_MAX / PENDING_MAX;

/// Bytes of commands of one connection that may be out to other shards and nodes, unless a single
/// one is longer: each is kept until it is answered.
const ASKED_BYTES_MAX: usize = 16 << 20;

/// Bytes of commands queued by MULTI at most.
pub(super) const TRANSACTION_BYTES_MAX: usize = 64 << 20;

/// By which door a client came in: what it takes the node for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// One big Redis: any key, and the whole cluster.
    Client,
    /// A node of a Redis Cluster: keys led elsewhere are answered with MOVED, and commands without
    /// a key mean this node.
    Cluster,
}

/// What a client has said about replies (CLIENT REPLY).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum ReplyMode {
    #[default]
    On,
    Off,
    /// From the next command on, one is not answered.
    Skip,
    /// This command is not answered, the next one is.
    Skipping,
}

/// Why a connection's commands are not executed further just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Pause {
    #[default]
    No,
    /// Until everything asked is answered.
    UntilAnswered,
    /// Until no more than so many commands are unanswered.
    UntilAtMost(usize),
    /// Until CLIENT PAUSE is over.
    ByOperator,
}

/// A command queued by MULTI.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) command: &'static Command,
    /// Of all its keys; `None` if it has none or they are in several.
    pub(super) slot: Option<Slot>,
    /// In RESP.
    pub(super) body: Vec<u8>,
}

/// What MULTI has queued.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) commands: Vec<Queued>,
    pub(super) bytes: usize,
    /// A command could not be queued: EXEC refuses.
    pub(super) failed: bool,
}

/// A key under WATCH and the version it had, zero for no key.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) key: Vec<u8>,
    pub(super) slot: Slot,
    pub(super) version: Version,
}

/// A reply that is due, in its place.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) state: State,
    /// Where the command went, if it went somewhere as a whole.
    pub(super) asked: Option<Asked>,
    /// The client does not want to hear it.
    pub(super) mute: bool,
    /// The number of its command and when that was taken in, if it is still to be counted.
    pub(super) called: Option<(u8, Moment)>,
}

/// Where a command went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) slot: Slot,
    pub(super) to: Destination,
    pub(super) fence: u32,
    /// Of the command, kept until it is answered.
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) enum State {
    Waiting,
    Ready(Vec<u8>),
    /// Put together from several answers.
    Task(Box<Task>),
}

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) address: SocketAddr,
    pub(super) door: Door,
    pub(super) name: Vec<u8>,
    pub(super) library: (Vec<u8>, Vec<u8>),
    pub(super) resp3: bool,
    pub(super) authenticated: bool,
    pub(super) parser: Parser,
    /// Something has been read of it.
    began: bool,
    /// Of a client that speaks the native protocol.
    pub(super) native: Option<Box<Native>>,
    pub(super) reply_mode: ReplyMode,
    pub(super) transaction: Option<Transaction>,
    pub(super) watched: Vec<Watched>,
    pub(super) pause: Pause,
    pub(super) opened: Moment,
    pub(super) active: Moment,
    pub(super) last_command: &'static str,
    /// The number of the command being run, until it is known when it is counted.
    pub(super) calling: Option<u8>,
    /// What the last reply said at once told.
    pub(super) said: CallResult,
    /// When the client last took bytes while too many were waiting for it.
    pub(super) stuck_since: Option<Moment>,
    pub(super) pending: VecDeque<Pending>,
    /// Ticket of the first pending reply.
    pub(super) first: u64,
    /// Bytes of the pending replies that are known.
    ready_bytes: usize,
    /// Bytes of commands that are out.
    asked_bytes: usize,
    /// Slots of the commands that are out by a bulk link, once for each: small ones go by another
    /// link and would overtake them.
    bulk_slots: Vec<Slot>,
    /// Bytes that a reply not yet known is taken to have: the longest of late.
    reply_bytes: usize,
    /// The state of routes when `pending` was last empty: while it is the same, a command can
    /// overtake another of its slot only if one of the two goes by a bulk link.
    pub(super) routes_seen: u64,
}

impl Session {
    pub(super) fn new(
        id: u64,
        (address, door): (SocketAddr, Door),
        limits: Limits,
        now: Moment,
    ) -> Self {
        Self {
            id,
            address,
            door,
            name: Vec::new(),
            library: (Vec::new(), Vec::new()),
            resp3: false,
            authenticated: false,
            parser: Parser::new(limits),
            began: false,
            native: None,
            reply_mode: ReplyMode::On,
            transaction: None,
            watched: Vec::new(),
            pause: Pause::No,
            opened: now,
            active: now,
            last_command: "",
            calling: None,
            said: CallResult::Ok,
            stuck_since: None,
            pending: VecDeque::new(),
            first: 0,
            ready_bytes: 0,
            asked_bytes: 0,
            bulk_slots: Vec::new(),
            reply_bytes: REPLY_BYTES_FIRST,
            routes_seen: 0,
        }
    }

    /// Whether the client speaks the native protocol, which its first byte tells. It shares the
    /// client door.
    pub(super) fn is_native(&mut self, unread: &[u8]) -> bool {
        if let (false, Some(first)) = (self.began, unread.first()) {
            self.began = true;
            let native = self.door == Door::Client && *first == PREFACE[0];
            self.native = native.then(Box::default);
        }
        self.native.is_some()
    }

    /// Adds a reply that is due and returns its ticket.
    pub(super) fn push(&mut self, state: State, asked: Option<Asked>, mute: bool) -> u64 {
        self.asked_bytes += asked.map_or(0, |asked| asked.bytes);
        self.bulk_slots.extend(asked.filter(|asked| asked.to.is_bulk()).map(|asked| asked.slot));
        self.pending.push_back(Pending { state, asked, mute, called: None });
        self.first + self.pending.len() as u64 - 1
    }

    pub(super) fn pending(&mut self, ticket: u64) -> Option<&mut Pending> {
        let index = ticket.checked_sub(self.first)?;
        self.pending.get_mut(usize::try_from(index).ok()?)
    }

    /// Whether one command more may be sent out though `unsent` bytes wait for the client. Replies
    /// are counted before they come: once commands are out, nothing keeps their replies away.
    /// `crowded`: other connections have as much out as the shard can keep.
    pub(super) fn has_room(&self, unsent: usize, crowded: bool) -> bool {
        let out = self.pending.len();
        let expected = unsent + self.ready_bytes + out.saturating_mul(self.reply_bytes);
        let small = self.asked_bytes <= ASKED_BYTES_MAX && expected <= OUTPUT_BYTES_MAX;
        out == 0 || (out < PENDING_MAX && small && !crowded)
    }

    /// Fills in the reply of a ticket.
    pub(super) fn make_ready(&mut self, ticket: u64, reply: Vec<u8>) {
        // A long reply counts at once, and is forgotten over some hundred short ones.
        let faded = self.reply_bytes - self.reply_bytes / 64;
        self.reply_bytes = faded.max(reply.len()).max(REPLY_BYTES_MIN);
        let bytes = reply.len();
        if let Some(pending) = self.pending(ticket) {
            pending.state = State::Ready(reply);
            let asked = pending.asked;
            self.asked_bytes -= asked.map_or(0, |asked| asked.bytes);
            self.ready_bytes += bytes;
            if let Some(Asked { slot, .. }) = asked.filter(|asked| asked.to.is_bulk())
                && let Some(place) = self.bulk_slots.iter().position(|other| *other == slot)
            {
                self.bulk_slots.swap_remove(place);
            }
        }
    }

    /// Adds a reply that is known, behind those that are not.
    pub(super) fn push_ready(&mut self, reply: &[u8]) {
        self.ready_bytes += reply.len();
        if let Some(Pending { state: State::Ready(bytes), mute: false, .. }) =
            self.pending.back_mut()
        {
            bytes.extend_from_slice(reply);
        } else {
            self.push(State::Ready(reply.to_vec()), None, false);
        }
    }

    /// Moves the replies that are next and known to `out`.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) {
        while let Some((bytes, mute)) = self.pop_ready() {
            if !mute {
                out.extend_from_slice(&bytes);
            }
        }
    }

    /// The next reply, if it is known, and whether the client does not want to hear it.
    pub(super) fn pop_ready(&mut self) -> Option<(Vec<u8>, bool)> {
        self.pending.front().filter(|pending| matches!(pending.state, State::Ready(_)))?;
        let Pending { state: State::Ready(bytes), mute, .. } = self.pending.pop_front()? else {
            return None;
        };
        self.ready_bytes -= bytes.len();
        self.first += 1;
        Some((bytes, mute))
    }

    /// Whether commands may go on being executed; clears a pause that is over.
    pub(super) fn resumes(&mut self) -> bool {
        let over = match self.pause {
            Pause::No => true,
            Pause::UntilAnswered => self.pending.is_empty(),
            Pause::UntilAtMost(count) => self.pending.len() <= count,
            Pause::ByOperator => false,
        };
        if over {
            self.pause = Pause::No;
        }
        over
    }

    /// Whether `asked` could overtake an unanswered command of its slot: one that went elsewhere
    /// or by another link, or was sent before a bounce.
    pub(super) fn overtakes(&self, asked: &Asked, routes: u64) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        if self.routes_seen == routes && !asked.to.is_bulk() {
            return self.bulk_slots.contains(&asked.slot);
        }
        self.pending.iter().any(|pending| {
            matches!(pending.state, State::Waiting)
                && pending.asked.is_some_and(|before| {
                    before.slot == asked.slot
                        && (before.to != asked.to || before.fence != asked.fence)
                })
        })
    }

    /// Forgets what RESET forgets.
    pub(super) fn reset(&mut self) {
        self.name.clear();
        self.resp3 = false;
        self.authenticated = false;
        self.reply_mode = ReplyMode::On;
        self.transaction = None;
        self.watched.clear();
    }
}

/// Where a reply goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyTo {
    /// To a client of this shard: its place in the order of replies, and of which part of it.
    Session {
        /// The connection.
        stream: StreamKey,
        /// The place in the order of its replies.
        ticket: u64,
        /// Which of several answers that make the reply.
        part: u32,
    },
    /// To another shard of this node.
    Sibling {
        /// Which.
        shard: u16,
        /// Its own address for it.
        address: super::mesh::Address,
    },
    /// To the node at the other end of a link of this shard.
    Link {
        /// The link.
        stream: StreamKey,
        /// The asker's number for it.
        id: u64,
    },
    /// To nobody.
    Nobody,
}

impl ReplyTo {
    /// Whether the reply travels to another node.
    pub(super) fn leaves_node(self) -> bool {
        match self {
            Self::Link { .. } => true,
            Self::Sibling { address, .. } => matches!(address, super::mesh::Address::Link(..)),
            Self::Session { .. } | Self::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use piccolo_ring::group::Lane;
    use piccolo_schema::ids::NodeId;

    use super::*;

    fn asked(slot: u16, lane: Lane) -> Asked {
        let to = Destination::Peer(NodeId(2), lane);
        Asked { slot: Slot::of_hash(slot), to, fence: 0, bytes: 1 }
    }

    /// The two links to a node have no mutual order, and the order of a slot is that of its
    /// commands, whichever of two is the large one and whatever routes are.
    #[test]
    fn neither_of_a_large_and_a_small_command_of_a_slot_overtakes_the_other() {
        let address = ([127, 0, 0, 1], 1).into();
        for (first, second) in [(Lane::Bulk, Lane::Ordinary), (Lane::Ordinary, Lane::Bulk)] {
            let who = (address, Door::Client);
            let mut session = Session::new(1, who, Limits::default(), Moment(0));
            let routes = session.routes_seen;
            let ticket = session.push(State::Waiting, Some(asked(7, first)), false);
            assert!(session.overtakes(&asked(7, second), routes), "{second:?} after {first:?}");
            assert!(!session.overtakes(&asked(7, first), routes), "one link keeps its order");
            assert!(!session.overtakes(&asked(8, second), routes), "slots have no mutual order");
            session.push(State::Waiting, Some(asked(8, Lane::Ordinary)), false);
            session.make_ready(ticket, b"+OK\r\n".to_vec());
            assert!(!session.overtakes(&asked(7, second), routes), "it has been answered");
        }
    }
}
