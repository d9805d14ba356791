//! Clients: one connection each, commands in pipelines, every reply checked.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use piccolo_engine::shard::Door;
use piccolo_schema::time::Moment;

use crate::cluster::{PEER_PORT, host_at};
use crate::history::Kind;
use crate::network::End;
use crate::reply::{self, Value};
use crate::timeline::Event;
use crate::traffic;
use crate::world::World;

/// How often in a row a client may be sent on: slots of a few nodes that all move at once are
/// behind it by then.
const HOPS_MAX: usize = 6;

/// The host that a reply of MOVED names.
fn moved_to(value: &Value) -> Option<usize> {
    let Value::Error(text) = value else { return None };
    let address: SocketAddr = text.strip_prefix("MOVED ")?.split(' ').nth(1)?.parse().ok()?;
    host_at(SocketAddr::new(address.ip(), PEER_PORT))
}

/// What a client waits to hear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// The write of this number to this register is done.
    Wrote(usize, u64),
    /// The write of this number to this register is done, whatever was there before.
    Overwrote(usize, u64),
    /// The register has some write between these; `None`: the last attempted by then.
    Read(usize, u64, Option<u64>),
    /// Several registers, as for one.
    ReadMany(Vec<(usize, u64)>),
    /// OK to MULTI, or QUEUED.
    Said(&'static str),
    /// Both counters of a pair have this number, by EXEC.
    WrotePair(usize, u64),
    /// Both counters of a pair are equal, and at least so far.
    ReadPair(usize, u64),
    /// DBSIZE.
    Size,
    /// SCAN.
    Scan,
}

impl Op {
    /// The register that it writes.
    fn writes(&self) -> Option<usize> {
        match self {
            Self::Wrote(register, _)
            | Self::Overwrote(register, _)
            | Self::WrotePair(register, _) => Some(*register),
            _ => None,
        }
    }
}

/// What a client does by itself.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Commands that it has under way at most.
    pub depth: usize,
    /// Microseconds that it waits after a reply.
    pub think_micros: (u64, u64),
    /// Registers that it uses at a time.
    pub registers: usize,
    /// Bytes that its values vary by.
    pub padding: usize,
    /// It sets, increments and deletes; else it only does what it is told.
    pub busy: bool,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// What it does by itself.
    pub habits: Habits,
    /// By which door it comes in. At the cluster door it has one command under way at a time.
    pub door: Door,
    /// Where MOVED sent it last, until it is there.
    sent_on: Option<usize>,
    /// The command under way at the cluster door, to be sent again elsewhere.
    asked: Vec<u8>,
    /// How often it has been sent on since it was last answered.
    pub hops: usize,
    /// How often it has been sent on.
    pub moved: usize,
    /// Hosts that it connects to.
    pub homes: Vec<usize>,
    /// Where it is or was connected last.
    pub host: usize,
    connection: Option<u64>,
    inbox: Vec<u8>,
    sent: VecDeque<(Op, Moment)>,
    /// To be sent before anything else.
    pub script: VecDeque<(Vec<u8>, Op)>,
    /// Its registers, by number in the history.
    pub own: Vec<usize>,
    waking: bool,
    /// Connections that ended: (host, commands under way).
    pub lost: Vec<(usize, usize)>,
    /// What DBSIZE said.
    pub sizes: Vec<i64>,
    /// What SCAN told.
    pub scanned: BTreeSet<Vec<u8>>,
    /// SCAN has come round.
    pub scan_done: bool,
}

impl Client {
    /// Commands under way.
    pub fn waiting(&self) -> usize {
        self.sent.len()
    }

    /// When its oldest command under way was sent.
    pub fn waits_since(&self) -> Option<Moment> {
        self.sent.front().map(|(_, at)| *at)
    }
}

impl World {
    /// A client that connects to one of these hosts at a time. Returns its number.
    pub fn add_client(&mut self, homes: &[usize], habits: Habits) -> usize {
        let index = self.clients.len();
        self.clients.push(Client {
            habits,
            door: Door::Client,
            sent_on: None,
            asked: Vec::new(),
            hops: 0,
            moved: 0,
            homes: homes.to_vec(),
            host: homes[0],
            connection: None,
            inbox: Vec::new(),
            sent: VecDeque::new(),
            script: VecDeque::new(),
            own: Vec::new(),
            waking: false,
            lost: Vec::new(),
            sizes: Vec::new(),
            scanned: BTreeSet::new(),
            scan_done: false,
        });
        self.stir(index, 0);
        index
    }

    /// Makes a client act soon.
    pub fn stir(&mut self, index: usize, micros: u64) {
        if !std::mem::replace(&mut self.clients[index].waking, true) {
            self.time.plan_in(Duration::from_micros(micros), Event::Client(index));
        }
    }

    /// All clients stop to do things by themselves; waits until all is answered.
    pub fn quiet_clients(&mut self) {
        for client in &mut self.clients {
            client.habits.busy = false;
        }
        let limit = Duration::from_secs(15);
        self.run_until("every command is answered", limit, |world| {
            world.clients.iter().all(|client| client.sent.is_empty() && client.script.is_empty())
        });
    }

    pub(crate) fn wake_client(&mut self, index: usize) {
        self.clients[index].waking = false;
        let client = &self.clients[index];
        if !client.habits.busy && client.script.is_empty() {
            return;
        }
        let Some(connection) = client.connection else { return self.connect(index) };
        let room = client.habits.depth.saturating_sub(client.sent.len());
        if room == 0 {
            return;
        }
        let count = 1 + self.time.below(room);
        let mut bytes = Vec::new();
        for _ in 0..count {
            let scripted = self.clients[index].script.pop_front();
            let commands = match scripted {
                Some(one) => vec![one],
                None if self.clients[index].habits.busy => traffic::next(self, index),
                None => break,
            };
            let now = self.time.now;
            for (command, op) in commands {
                if self.clients[index].door == Door::Cluster {
                    self.clients[index].asked.clone_from(&command);
                }
                bytes.extend(command);
                self.clients[index].sent.push_back((op, now));
            }
        }
        self.network.write(&mut self.time, connection, 1, &bytes);
        if self.clients[index].sent.len() < self.clients[index].habits.depth {
            self.think(index);
        }
    }

    fn think(&mut self, index: usize) {
        let (least, most) = self.clients[index].habits.think_micros;
        let micros = self.time.micros(least..=most).as_micros() as u64;
        self.stir(index, micros);
    }

    fn connect(&mut self, index: usize) {
        let open: Vec<usize> = self.clients[index]
            .homes
            .iter()
            .copied()
            .filter(|host| {
                let life = self.hosts[*host].life.as_ref();
                life.is_some_and(|life| !life.node.leaving() && life.stopping.is_none())
            })
            .collect();
        if open.is_empty() {
            return self.stir(index, 10_000);
        }
        let host = open[self.time.below(open.len())];
        // A node that leaves still takes in those that are sent to it.
        let host = self.clients[index].sent_on.take().unwrap_or(host);
        let connection = self.network.open(&mut self.time, End::Client(index), host);
        let client = &mut self.clients[index];
        (client.host, client.connection) = (host, Some(connection));
        self.stir(index, 1);
    }

    pub(crate) fn client_closed(&mut self, index: usize, connection: u64) {
        let client = &mut self.clients[index];
        if client.connection != Some(connection) {
            return;
        }
        client.connection = None;
        client.inbox.clear();
        client.lost.push((client.host, client.sent.len()));
        for (op, _) in std::mem::take(&mut client.sent) {
            if let Some(register) = op.writes() {
                self.history.doubt(register);
            }
        }
        self.stir(index, 1000);
    }

    pub(crate) fn client_received(&mut self, index: usize, connection: u64, bytes: &[u8]) {
        if self.clients[index].connection != Some(connection) {
            return;
        }
        self.clients[index].inbox.extend_from_slice(bytes);
        while let Some((value, length)) = reply::read(&self.clients[index].inbox) {
            self.clients[index].inbox.drain(..length);
            let front = self.clients[index].sent.pop_front();
            let (op, _) = front.expect("a reply that nobody asked for");
            if let (Door::Cluster, Some(host)) = (self.clients[index].door, moved_to(&value)) {
                return self.send_on(index, host, op);
            }
            self.clients[index].hops = 0;
            self.history.replies += 1;
            self.judge(index, &op, value);
        }
        self.think(index);
    }

    /// Goes where MOVED said and asks again.
    fn send_on(&mut self, index: usize, host: usize, op: Op) {
        let client = &mut self.clients[index];
        client.hops += 1;
        client.moved += 1;
        assert!(client.hops <= HOPS_MAX, "client {index} is sent round: {}", self.describe());
        client.sent_on = Some(host);
        client.inbox.clear();
        client.script.push_front((client.asked.clone(), op));
        if let Some(connection) = client.connection.take() {
            self.network.close(&mut self.time, connection, 0);
        }
        self.stir(index, 1);
    }

    fn judge(&mut self, index: usize, op: &Op, value: Value) {
        if let Value::Error(text) = &value {
            let host = self.clients[index].host;
            self.history.errors.push((index, host, format!("{text} (to {op:?})")));
            if let Some(register) = op.writes() {
                self.history.doubt(register);
            }
            return;
        }
        let wrong = match (op, value) {
            (Op::Wrote(register, number), value) => self.judge_write(*register, *number, &value),
            (Op::Overwrote(register, number), Value::Status(said)) if said == "OK" => {
                self.history.know(*register, *number);
                None
            }
            (Op::Read(register, low, high), Value::Bulk(read)) => {
                self.judge_read(*register, *low, *high, read.as_deref())
            }
            (Op::ReadMany(reads), Value::Array(Some(items))) if items.len() == reads.len() => {
                reads.iter().zip(items).find_map(|((register, low), item)| match item {
                    Value::Bulk(read) => self.judge_read(*register, *low, None, read.as_deref()),
                    other => Some(format!("{other:?} in the reply to MGET")),
                })
            }
            (Op::Said(text), Value::Status(said)) if said == *text => None,
            (Op::WrotePair(register, number), Value::Array(Some(items))) => match &items[..] {
                [first, second] if first == second => self.judge_write(*register, *number, first),
                _ => Some(format!("EXEC says {items:?}, not twice {number}")),
            },
            (Op::ReadPair(register, low), Value::Array(Some(items))) => {
                self.judge_pair(*register, *low, &items)
            }
            (Op::Size, Value::Integer(size)) => {
                self.clients[index].sizes.push(size);
                None
            }
            (Op::Scan, Value::Array(Some(items))) => self.take_scan(index, &items),
            (op, value) => Some(format!("{value:?} in reply to {op:?}")),
        };
        if let Some(wrong) = wrong {
            let host = self.clients[index].host;
            panic!(
                "client {index} at host {host}, {:?}: {wrong}\n{}",
                self.time.now,
                self.describe()
            );
        }
    }

    fn judge_write(&mut self, register: usize, number: u64, value: &Value) -> Option<String> {
        let known = &mut self.history.registers[register];
        if known.lost {
            return None;
        }
        if number <= known.ahead {
            return Some(format!("write {number} of {known:?} was read before its turn"));
        }
        let fits = match (known.kind, value) {
            (Kind::Number, Value::Status(said)) => said == "OK",
            (Kind::Number, Value::Integer(deleted)) => *deleted == 1 || known.doubtful,
            (_, Value::Integer(count)) => {
                let count = *count as u64;
                count == number || known.doubtful && (known.low + 1..number).contains(&count)
            }
            _ => false,
        };
        match known.kind {
            // A write in doubt may still come after this one.
            Kind::Number if known.doubtful => {}
            Kind::Number => known.low = number,
            Kind::Counter | Kind::Pair => {
                if let Value::Integer(count) = value {
                    known.low = known.low.max(*count as u64);
                }
            }
        }
        (!fits).then(|| {
            let key = String::from_utf8_lossy(&known.key).into_owned();
            format!("write {number} of {key} (slot {}) says {value:?}", known.slot())
        })
    }

    fn judge_read(
        &mut self,
        register: usize,
        low: u64,
        high: Option<u64>,
        read: Option<&[u8]>,
    ) -> Option<String> {
        let known = &mut self.history.registers[register];
        if known.doubtful {
            return known.judge(low.min(known.low), known.high, read);
        }
        if let Some(number) = high
            && known.judge(low, number, read).is_some()
        {
            known.ahead = known.number_of(number, read).unwrap_or(0);
            return known.judge(low, known.ahead, read);
        }
        known.judge(low, known.high, read)
    }

    fn judge_pair(&mut self, register: usize, low: u64, items: &[Value]) -> Option<String> {
        let known = &self.history.registers[register];
        let [Value::Bulk(first), Value::Bulk(second)] = items else {
            return Some(format!("{items:?} in reply to a pair of GETs"));
        };
        if first != second && !known.lost {
            return Some(format!("a pair that is changed as one reads {items:?}"));
        }
        known.judge(low.min(known.low), known.high, first.as_deref())
    }

    fn take_scan(&mut self, index: usize, items: &[Value]) -> Option<String> {
        let [Value::Bulk(Some(cursor)), Value::Array(Some(keys))] = items else {
            return Some(format!("{items:?} in reply to SCAN"));
        };
        let client = &mut self.clients[index];
        for key in keys {
            let Value::Bulk(Some(key)) = key else { return Some("SCAN tells no key".into()) };
            client.scanned.insert(key.clone());
        }
        if cursor == b"0" {
            client.scan_done = true;
        } else {
            let command = reply::command(&[b"SCAN", cursor, b"COUNT", b"100"]);
            client.script.push_back((command, Op::Scan));
        }
        None
    }
}
