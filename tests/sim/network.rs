//! What is between nodes and clients: datagrams, and ordered streams of bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use piccolo_engine::shard::StreamKey;
use piccolo_schema::time::Moment;

use crate::faults::Weather;
use crate::history::LARGE_PADDING;
use crate::timeline::{Event, LifeId, Timeline};

/// Who holds one end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// A shard, by its own name for the stream.
    Shard(LifeId, u16, StreamKey),
    /// A client.
    Client(usize),
    /// Nobody yet: the connection is being opened to this host.
    Opening(usize),
    /// Nobody any more.
    Gone,
}

impl End {
    fn host(self) -> Option<usize> {
        match self {
            Self::Shard(life, ..) => Some(life.host),
            Self::Opening(host) => Some(host),
            Self::Client(_) | Self::Gone => None,
        }
    }
}

/// Something on its way on a connection.
#[derive(Debug)]
pub enum Piece {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing follows.
    End,
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// When the last piece arrives: the next comes later.
    last: Moment,
}

/// A connection: the end that opened it first.
#[derive(Debug)]
pub struct Connection {
    /// Who holds it.
    pub ends: [End; 2],
    /// By the end towards which they lead.
    ways: [Way; 2],
    /// Where the hosts of the ends are, for as long as the connection lives.
    hosts: [Option<usize>; 2],
}

/// The network.
#[derive(Debug)]
pub struct Network {
    /// What it does at present.
    pub weather: Weather,
    /// Nothing gets from the first host to the second.
    pub cuts: BTreeSet<(usize, usize)>,
    connections: BTreeMap<u64, Connection>,
    number: u64,
    /// Padding of large values that has arrived, in bytes, by the hosts it went from and to.
    carried: BTreeMap<(usize, usize), usize>,
}

impl Network {
    /// A network without connections.
    pub fn new(weather: Weather) -> Self {
        let (cuts, connections, carried) = Default::default();
        Self { weather, cuts, connections, number: 0, carried }
    }

    /// Sends a datagram.
    pub fn send(&mut self, time: &mut Timeline, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let copies = 1 + usize::from(time.chance(self.weather.duplication));
        for _ in 0..copies {
            if !time.chance(self.weather.loss) {
                let delay = time.micros(self.weather.delay_micros.0..=self.weather.delay_micros.1);
                time.plan_in(delay, Event::Datagram { from, to, bytes: bytes.to_vec() });
            }
        }
    }

    /// Begins to open a connection to a host.
    pub fn open(&mut self, time: &mut Timeline, opener: End, host: usize) -> u64 {
        self.number += 1;
        let delay = time.micros(self.weather.delay_micros.0..=self.weather.delay_micros.1);
        let at = time.now + delay;
        let ways = [Way { last: at, ..Way::default() }, Way { last: at, ..Way::default() }];
        let ends = [opener, End::Opening(host)];
        let hosts = [opener.host(), Some(host)];
        self.connections.insert(self.number, Connection { ends, ways, hosts });
        time.plan(at, Event::Opening(self.number));
        self.number
    }

    /// A connection, unless it is over.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// Whether nothing gets from one end's host to the other's, in this direction.
    pub fn is_cut(&self, id: u64, towards: usize) -> bool {
        self.connections.get(&id).is_some_and(|connection| {
            match (connection.hosts[1 - towards], connection.hosts[towards]) {
                (Some(from), Some(to)) => self.cuts.contains(&(from, to)),
                _ => false,
            }
        })
    }

    /// Bytes that may be written now towards an end.
    pub fn room(&self, id: u64, towards: usize) -> usize {
        self.connections.get(&id).map_or(0, |connection| {
            self.weather.window_bytes.saturating_sub(connection.ways[towards].bytes)
        })
    }

    /// Puts bytes on their way towards an end, cut at random.
    pub fn write(&mut self, time: &mut Timeline, id: u64, towards: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let cut = bytes.len() > 1 && time.chance(self.weather.cuts);
            let length = if cut { 1 + time.below(bytes.len() - 1) } else { bytes.len() };
            self.push(time, id, towards, Piece::Bytes(bytes[..length].to_vec()));
            bytes = &bytes[length..];
        }
    }

    fn push(&mut self, time: &mut Timeline, id: u64, towards: usize, piece: Piece) {
        let delay = time.micros(self.weather.delay_micros.0..=self.weather.delay_micros.1);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let way = &mut connection.ways[towards];
        way.last = way.last.max(time.now + delay);
        if let Piece::Bytes(bytes) = &piece {
            way.bytes += bytes.len();
        }
        way.pieces.push_back(piece);
        time.plan(way.last, Event::Arrival(id, towards));
    }

    /// Takes what has arrived at an end.
    pub fn take(&mut self, id: u64, at: usize) -> Option<Piece> {
        let connection = self.connections.get_mut(&id)?;
        let way = &mut connection.ways[at];
        let piece = way.pieces.pop_front()?;
        if let Piece::Bytes(bytes) = &piece {
            way.bytes -= bytes.len();
            if let (Some(from), Some(to)) = (connection.hosts[1 - at], connection.hosts[at]) {
                let padding = bytes.iter().map(|byte| usize::from(*byte == LARGE_PADDING));
                *self.carried.entry((from, to)).or_default() += padding.sum::<usize>();
            }
        }
        Some(piece)
    }

    /// Bytes of large values that have arrived so far at one host from another: nothing else in
    /// a stream has much of what they are padded with.
    pub fn carried(&self, from: usize, to: usize) -> usize {
        self.carried.get(&(from, to)).copied().unwrap_or(0)
    }

    /// One end lets go: what it wrote still arrives, then the end of the stream.
    pub fn close(&mut self, time: &mut Timeline, id: u64, end: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.ends[end] = End::Gone;
        if connection.ends[1 - end] == End::Gone {
            self.connections.remove(&id);
        } else {
            self.push(time, id, 1 - end, Piece::End);
        }
    }

    /// Tears a connection: what is under way is lost, both ends learn it.
    pub fn reset(&mut self, time: &mut Timeline, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for way in &mut connection.ways {
            way.pieces.clear();
            way.bytes = 0;
        }
        for end in 0..2 {
            self.push(time, id, end, Piece::End);
        }
    }

    /// The connections between nodes.
    pub fn links(&self) -> Vec<u64> {
        let both = |connection: &Connection| connection.hosts.iter().all(Option::is_some);
        self.connections.iter().filter(|(_, c)| both(c)).map(|(id, _)| *id).collect()
    }
}
