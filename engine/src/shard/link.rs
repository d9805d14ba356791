//! The links of a shard: two to every peer, and those that peers' shards have opened to it.

use std::net::SocketAddr;
use std::time::Duration;

use piccolo_ring::group::{Group, Lane};
use piccolo_schema::ids::NodeId;
use piccolo_schema::link::{self, Batch, Hello, Item};
use piccolo_schema::time::Moment;

use super::mesh::Source;
use super::strangers::{STRANGERS_FRAME_BYTES_MAX, quoted};
use super::stream::{Role, StreamKey};
use super::{Action, Shard};

/// Time after which a link that could not be opened is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Time that a link may take to be opened and welcomed, and one of a peer to say hello.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes that may wait on a link before it is given up as stuck: the peer has not read for long.
pub(super) const LINK_BYTES_MAX: usize = 256 << 20;

/// Bytes that may wait on a bulk link before snapshots pause.
pub(super) const BULK_BYTES_AIM: usize = 1 << 20;

/// A link that a peer's shard opened to this one.
#[derive(Debug)]
pub(super) struct Inlink {
    /// Known once it has said hello.
    pub(super) source: Option<Source>,
    /// What it said, and the number that it was given with the challenge, until it proves that it
    /// has the key.
    pub(super) challenged: Option<(Hello, u128)>,
    pub(super) batch: Batch,
    since: Moment,
}

impl Inlink {
    pub(super) fn new(now: Moment) -> Self {
        Self { source: None, challenged: None, batch: Batch::default(), since: now }
    }
}

/// A link that this shard opens to a peer.
#[derive(Debug)]
pub(super) struct Outlink {
    pub(super) node: NodeId,
    pub(super) lane: Lane,
    /// What was said to it first.
    pub(super) hello: Hello,
    /// It has shown that it has the cluster's key.
    pub(super) proved: bool,
    /// The peer has said welcome.
    pub(super) welcome: bool,
    pub(super) since: Moment,
}

/// One of the two links to a peer.
#[derive(Debug)]
pub(super) struct LinkEnd {
    pub(super) stream: Option<StreamKey>,
    pub(super) open: bool,
    pub(super) batch: Batch,
    retry_at: Moment,
}

impl LinkEnd {
    fn new() -> Self {
        Self { stream: None, open: false, batch: Batch::default(), retry_at: Moment(0) }
    }
}

/// Another node, as this shard reaches it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) address: SocketAddr,
    pub(super) ordinary: LinkEnd,
    pub(super) bulk: LinkEnd,
}

impl Peer {
    pub(super) fn new(id: NodeId, address: SocketAddr) -> Self {
        Self { id, address, ordinary: LinkEnd::new(), bulk: LinkEnd::new() }
    }

    pub(super) fn end(&mut self, lane: Lane) -> &mut LinkEnd {
        match lane {
            Lane::Ordinary => &mut self.ordinary,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

pub(super) const LANES: [Lane; 2] = [Lane::Ordinary, Lane::Bulk];

impl Shard {
    pub(super) fn peer(&mut self, id: NodeId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.id == id)
    }

    /// The open link to a peer, if it is open.
    pub(super) fn open_link(&mut self, id: NodeId, lane: Lane) -> Option<&mut LinkEnd> {
        self.peer(id).map(|peer| peer.end(lane)).filter(|end| end.open)
    }

    /// Bytes that wait on the bulk link to a peer; `None` if it is not open.
    pub(super) fn bulk_waiting(&mut self, id: NodeId) -> Option<usize> {
        let end = self.open_link(id, Lane::Bulk)?;
        let (gathered, stream) = (end.batch.bytes(), end.stream?);
        Some(gathered + self.streams.get(stream)?.outbox.unsent().len())
    }

    /// Opens the links that should be open, gives up those that take too long.
    pub(super) fn tend_links(&mut self) {
        let now = self.now.moment;
        let mut overdue = Vec::new();
        for index in 0..self.peers.len() {
            let (node, address) = (self.peers[index].id, self.peers[index].address);
            for lane in LANES {
                let end = self.peers[index].end(lane);
                match end.stream {
                    None if end.retry_at <= now => {
                        end.retry_at = now + RETRY;
                        self.connect(node, address, lane);
                    }
                    Some(stream) if !end.open => overdue.push(stream),
                    _ => {}
                }
            }
        }
        overdue.extend(self.strangers());
        for key in overdue {
            let Some(stream) = self.streams.get(key) else { continue };
            let (since, theirs) = match &stream.role {
                Role::Outlink(link) => (link.since, false),
                Role::Inlink(link) => (link.since, true),
                Role::Client(_) => continue,
            };
            if now.since(since) > OPEN_TIMEOUT {
                self.counters.link_faults += u64::from(theirs);
                self.hang_up(key);
            }
        }
    }

    fn connect(&mut self, node: NodeId, address: SocketAddr, lane: Lane) {
        let hello = self.link_hello(node, lane);
        let since = self.now.moment;
        let link = Outlink { node, lane, hello, proved: false, welcome: false, since };
        let key = self.streams.open(Role::Outlink(link));
        if let Some(stream) = self.streams.get_mut(key) {
            link::write_hello(&hello, &mut stream.outbox.bytes);
        }
        if let Some(peer) = self.peer(node) {
            peer.end(lane).stream = Some(key);
        }
        self.actions.push_back(Action::Connect { stream: key, address });
        self.streams.mark_dirty(key);
    }

    /// Takes in the whole frames on a link. A fault of the peer closes it.
    pub(super) fn read_link(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let mut inbox = std::mem::take(&mut stream.inbox);
        if stream.closing {
            return;
        }
        let fault = loop {
            let unread = inbox.unread();
            let bytes = match piccolo_schema::framing::frame_bytes(unread) {
                Ok(Some(bytes)) if bytes > STRANGERS_FRAME_BYTES_MAX && self.is_stranger(key) => {
                    break Some(format!("{bytes} bytes are no hello, nor an answer to one"));
                }
                Ok(Some(bytes)) if bytes <= unread.len() => bytes,
                Ok(Some(bytes)) => {
                    inbox.expect(bytes);
                    break None;
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            };
            let mut refused = None;
            let read = link::read(&unread[..bytes], |item| {
                if refused.is_none() {
                    refused = self.take_item(key, item).err();
                }
            });
            if let Some(why) = refused.or(read.err().map(|error| error.to_string())) {
                break Some(why);
            }
            inbox.consume(bytes);
        };
        if let Some(why) = fault {
            return self.fault(key, &why);
        }
        if let Some(stream) = self.streams.get_mut(key) {
            stream.inbox = inbox;
        }
    }

    fn fault(&mut self, key: StreamKey, why: &str) {
        self.counters.link_faults += 1;
        self.warn_of_link(key, why);
        if let Some(stream) = self.streams.get_mut(key)
            && matches!(stream.role, Role::Inlink(_))
            // Else nothing is wrong: it comes too early, and tries again.
            && self.cluster.is_some()
        {
            link::write_refusal(why, &mut stream.outbox.bytes);
            stream.closing = true;
            self.streams.mark_dirty(key);
        } else {
            self.hang_up(key);
        }
    }

    fn take_item(&mut self, key: StreamKey, item: Item<'_>) -> Result<(), String> {
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        match (&mut stream.role, item) {
            (Role::Inlink(Inlink { source: None, challenged: None, .. }), Item::Hello(hello)) => {
                self.greet(key, &hello)?;
            }
            (Role::Inlink(Inlink { source: None, .. }), Item::Proof(mac)) => {
                self.proved(key, mac)?;
            }
            (Role::Inlink(Inlink { source: Some(source), .. }), item) => {
                let source = *source;
                self.take_from_peer(key, source, item)?;
            }
            (Role::Outlink(link), Item::Challenge(challenge)) if !link.proved && !link.welcome => {
                self.challenged(key, &challenge)?;
            }
            (Role::Outlink(link), Item::Welcome(welcome)) if !link.welcome => {
                self.welcomed(key, &welcome)?;
            }
            (Role::Outlink(link), Item::Reply(id, outcome)) if link.welcome => {
                self.answered(id, &outcome);
            }
            (Role::Outlink(_), Item::Refuse(why)) => {
                return Err(format!("refused: {}", quoted(why)));
            }
            _ => return Err("something said out of turn".into()),
        }
        Ok(())
    }

    pub(super) fn link_opened(&mut self, node: NodeId, lane: Lane) {
        if let Some(peer) = self.peer(node) {
            let end = peer.end(lane);
            end.open = true;
            end.batch = Batch::default();
        }
        if lane == Lane::Ordinary {
            self.introduce(node);
        }
        self.renew_groups(node);
    }

    /// Tells a peer what this shard leads.
    fn introduce(&mut self, node: NodeId) {
        let led: Vec<_> = self.led().map(Group::route).collect();
        if let Some(end) = self.open_link(node, Lane::Ordinary) {
            for route in led {
                end.batch.push_route(route);
            }
        }
    }

    /// A link ended. What was asked on it is answered, or asked again where that is safe.
    pub(super) fn outlink_closed(&mut self, link: &Outlink) {
        let now = self.now.moment;
        let lane = link.lane;
        if let Some(peer) = self.peer(link.node) {
            let end = peer.end(lane);
            (end.stream, end.open) = (None, false);
            end.batch = Batch::default();
            end.retry_at = end.retry_at.max(now);
        }
        self.unanswered_by(link.node, lane);
    }

    /// Writes what was gathered for each link as frames.
    pub(super) fn write_links(&mut self) {
        for index in 0..self.peers.len() {
            for lane in LANES {
                let end = self.peers[index].end(lane);
                let (true, Some(key), false) = (end.open, end.stream, end.batch.is_empty()) else {
                    continue;
                };
                let Some(stream) = self.streams.get_mut(key) else { continue };
                end.batch.write(&mut stream.outbox.bytes);
                let stuck = stream.outbox.unsent().len() > LINK_BYTES_MAX;
                self.streams.mark_dirty(key);
                if stuck {
                    self.fault(key, "the peer does not read");
                }
            }
        }
        for key in std::mem::take(&mut self.inlinks_to_write) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            let Role::Inlink(link) = &mut stream.role else { continue };
            link.batch.write(&mut stream.outbox.bytes);
            let stuck = stream.outbox.unsent().len() > LINK_BYTES_MAX;
            self.streams.mark_dirty(key);
            if stuck {
                self.actions.push_back(Action::Warn("a peer does not read its replies".into()));
                self.hang_up(key);
            }
        }
    }
}
