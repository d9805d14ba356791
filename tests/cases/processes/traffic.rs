//! Loaders and readers that run while a cluster changes under them, and count what they meet.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::harness::resp::command;
use crate::harness::{Client, Reply, until};

/// Commands that a loader has in flight.
const PIPELINE: usize = 16;
/// Counters of one loader; each is raised in turn.
const COUNTERS: usize = 64;
/// Faults that a worker notes down before it gives up.
const FAULTS_MAX: usize = 20;

/// Name and contents of every record, in order of names.
#[derive(Clone, Debug)]
pub(crate) struct Records(Arc<Vec<(Vec<u8>, Vec<u8>)>>);

impl Records {
    /// Reads what `dumpavail.py` wrote: a line with name and bytes, then the record.
    #[track_caller]
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read(path).expect("read the records");
        let mut records = Vec::new();
        let mut rest = &text[..];
        while let Some(line) = rest.iter().position(|&byte| byte == b'\n') {
            let head = String::from_utf8_lossy(&rest[..line]).into_owned();
            let (name, bytes) = head.split_once(' ').expect("a name and a number");
            let end = line + 1 + bytes.parse::<usize>().expect("a number");
            records.push((name.as_bytes().to_vec(), rest[line + 1..end].to_vec()));
            rest = &rest[end + 1..];
        }
        Self(Arc::new(records))
    }

    /// Name and contents of every record, in order of names.
    pub(crate) fn all(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Who talks to which node.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Nodes that stay: a loader and a reader each.
    pub(crate) stay: [SocketAddr; 2],
    /// The node that will leave: one reader, which may find its connection closed between replies.
    pub(crate) guest: SocketAddr,
    /// What is loaded and read.
    pub(crate) records: Records,
}

/// Workers on threads of their own.
#[derive(Debug)]
pub(crate) struct Traffic {
    workers: Vec<JoinHandle<Worker>>,
    shared: Arc<Shared>,
    records: usize,
}

/// What a test and its workers tell each other.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Replies by worker.
    replies: [AtomicU64; 5],
    /// Workers that gave up.
    gone: AtomicU64,
}

/// What all workers met.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) records: usize,
    pub(crate) replies: u64,
    pub(crate) faults: Vec<String>,
    closed: u64,
    /// Name and value of every counter, as acknowledged.
    acknowledged: Vec<(String, i64)>,
}

impl Traffic {
    #[track_caller]
    pub(crate) fn start(plan: &Plan) -> Self {
        let shared = Arc::new(Shared::default());
        let [one, two] = plan.stay;
        let roles = [
            (Role::Load, one, None),
            (Role::Load, two, None),
            (Role::Read, one, None),
            (Role::Read, two, None),
            (Role::Read, plan.guest, Some(one)),
        ];
        let worker = |(at, (role, address, refuge))| {
            let records = plan.records.clone();
            let shared = Arc::clone(&shared);
            let client = Client::connect(address);
            let mut worker = Worker {
                at,
                records,
                shared,
                client,
                refuge,
                closed: 0,
                faults: Vec::new(),
                counters: vec![0; COUNTERS],
            };
            thread::spawn(move || {
                worker.run(role);
                worker
            })
        };
        let workers = roles.into_iter().enumerate().map(worker).collect();
        Self { workers, shared, records: plan.records.len() }
    }

    /// Waits until every worker got `replies` more.
    #[track_caller]
    pub(crate) fn wait_for(&self, replies: u64, limit: Duration) {
        let now = || self.shared.replies.each_ref().map(|count| count.load(Ordering::Relaxed));
        let before = now();
        until(limit, "every worker got its replies", || {
            let slow = now().iter().zip(before).position(|(&now, before)| now < before + replies);
            match slow {
                Some(at) if self.shared.gone.load(Ordering::Relaxed) == 0 => {
                    Err(format!("worker {at} is not there yet: {:?}", now()))
                }
                // A worker that gave up tells why in the outcome.
                _ => Ok(()),
            }
        });
    }

    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        let workers: Vec<Worker> =
            self.workers.into_iter().map(|worker| worker.join().expect("no panic")).collect();
        let replies = self.shared.replies.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        let mut outcome = Outcome {
            records: self.records,
            replies,
            faults: Vec::new(),
            closed: 0,
            acknowledged: Vec::new(),
        };
        for worker in workers {
            let raised = worker.counters.iter().enumerate().filter(|(_, value)| **value > 0);
            let named = raised.map(|(number, value)| (counter(worker.at, number), *value));
            outcome.acknowledged.extend(named);
            outcome.faults.extend(worker.faults);
            outcome.closed += worker.closed;
        }
        outcome
    }
}

impl Outcome {
    /// Number of counters that were raised.
    pub(crate) fn counters(&self) -> usize {
        self.acknowledged.len()
    }

    /// No error reply, no wrong value; the guest's connection closed at most once.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let count = self.faults.len();
        assert!(
            count == 0,
            "{count} faults in {} replies:\n{}",
            self.replies,
            self.faults.join("\n")
        );
        assert!(self.closed <= 1, "{} connections closed, only one node left", self.closed);
    }

    /// Every counter has exactly the value that was acknowledged last: none lost, none twice.
    #[track_caller]
    pub(crate) fn assert_counters(&self, client: &mut Client) {
        assert!(self.counters() > 0, "no loader raised a counter");
        for (name, value) in &self.acknowledged {
            let wanted = Reply::bulk(value.to_string().as_bytes());
            assert_eq!(client.call(&["GET", name]), wanted, "counter {name}");
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Load,
    Read,
}

/// One connection and what it met.
#[derive(Debug)]
struct Worker {
    at: usize,
    records: Records,
    shared: Arc<Shared>,
    client: Client,
    /// Where to go once the node leaves; `None` if it must not.
    refuge: Option<SocketAddr>,
    closed: u64,
    faults: Vec<String>,
    counters: Vec<i64>,
}

impl Worker {
    fn run(&mut self, role: Role) {
        let mut turn = 0;
        while !self.shared.stop.load(Ordering::Relaxed) && self.faults.len() < FAULTS_MAX {
            let done = match role {
                Role::Load => self.load(turn),
                Role::Read => self.read(turn),
            };
            if let Err(error) = done
                && let Err(error) = self.move_on(error)
            {
                self.faults.push(format!("worker {}: {error}", self.at));
                break;
            }
            turn += 1;
        }
        if !self.shared.stop.load(Ordering::Relaxed) {
            self.shared.gone.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes some records again, and raises a counter, in one pipeline.
    fn load(&mut self, turn: usize) -> io::Result<()> {
        let number = turn % COUNTERS;
        let records = self.records.clone();
        let mut bytes = command(&["INCR", &counter(self.at, number)]);
        for step in 0..PIPELINE {
            let (name, record) = records.pick(self.at, turn * PIPELINE + step);
            bytes.extend_from_slice(&command(&[b"SET", &name[..], record]));
        }
        self.client.send(&bytes)?;
        let wanted = Reply::Integer(self.counters[number] + 1);
        let reply = self.client.receive()?;
        if reply == wanted {
            self.counters[number] += 1;
        }
        self.note(&reply, &wanted, b"INCR");
        for step in 0..PIPELINE {
            let reply = self.client.receive()?;
            self.note(&reply, &Reply::ok(), &records.pick(self.at, turn * PIPELINE + step).0);
        }
        Ok(())
    }

    fn read(&mut self, turn: usize) -> io::Result<()> {
        let records = self.records.clone();
        let (name, record) = records.pick(self.at, turn);
        let reply = self.client.try_call(&[b"GET", &name[..]])?;
        self.note(&reply, &Reply::bulk(record), name);
        Ok(())
    }

    fn note(&mut self, reply: &Reply, wanted: &Reply, what: &[u8]) {
        self.shared.replies[self.at].fetch_add(1, Ordering::Relaxed);
        if reply != wanted {
            let mut text = reply.text();
            text.truncate(text.floor_char_boundary(120));
            let what = String::from_utf8_lossy(what);
            self.faults.push(format!("worker {}: {what} answered {text:?}", self.at));
        }
    }

    /// A guest goes to its refuge when the connection ended between replies, and only then.
    fn move_on(&mut self, error: io::Error) -> io::Result<()> {
        let between = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
        ];
        let Some(refuge) = self.refuge.take().filter(|_| between.contains(&error.kind())) else {
            return Err(error);
        };
        self.closed += 1;
        self.client = Client::try_connect(refuge)?;
        Ok(())
    }
}

impl Records {
    /// The record that a worker takes at a step: all in turn, from another start for each worker,
    /// with a stride that no plausible number of records shares a factor with.
    fn pick(&self, worker: usize, step: usize) -> &(Vec<u8>, Vec<u8>) {
        const STRIDE: usize = 1_000_003;
        &self.0[(worker * 7919 + step * STRIDE) % self.0.len()]
    }
}

fn counter(worker: usize, number: usize) -> String {
    format!("count:{worker}:{number}")
}

#[test]
fn traffic_finds_what_is_changed_lost_or_counted_twice() {
    let server = crate::harness::tools::RedisServer::start();
    let records = (0..50).map(|at| (format!("r{at}").into_bytes(), vec![b'x'; at])).collect();
    let records = Records(Arc::new(records));
    let mut client = Client::connect(server.address);
    for (name, record) in records.0.iter() {
        client.call(&[b"SET", &name[..], record]);
    }
    let plan = Plan { stay: [server.address; 2], guest: server.address, records };
    let run = |spoil: &mut dyn FnMut()| {
        reset_counters(&mut Client::connect(server.address));
        let traffic = Traffic::start(&plan);
        traffic.wait_for(500, Duration::from_mins(1));
        spoil();
        traffic.wait_for(500, Duration::from_mins(1));
        traffic.stop()
    };
    let clean = run(&mut || {});
    clean.assert_clean();
    clean.assert_counters(&mut client);
    let spoilt = run(&mut || {
        client.call(&["INCR", "count:0:1"]);
        client.call(&["CONFIG", "SET", "maxmemory", "1"]);
    });
    assert!(spoilt.faults.iter().any(|fault| fault.contains("OOM")), "{:?}", spoilt.faults);
}

/// Counters start at zero in each run.
#[cfg(test)]
fn reset_counters(client: &mut Client) {
    for worker in 0..2 {
        for number in 0..COUNTERS {
            client.call(&["DEL", &counter(worker, number)]);
        }
    }
}
