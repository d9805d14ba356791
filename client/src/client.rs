//! A client that blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use piccolo_schema::kv::{Condition, Expiry};

use crate::call::{Call, Entry, Outcome, Page, SetHow};
use crate::conversation::{Event, Greeting, Unasked};
use crate::error::Error;
use crate::link::{Link, Trouble};
use crate::ring::Ring;

/// Calls after which the ring is asked for anew: moves of slots are rare, and cost a hop each time
/// until they are known.
const RING_CALLS: u64 = 10_000;

/// The same once a node could not be reached: until then it is not tried again.
const RING_CALLS_DOUBTFUL: u64 = 1000;

/// How a client connects and for how long it tries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Of the cluster; empty for none.
    pub password: Vec<u8>,
    /// For people who look at a node's list of clients: visible ASCII, at most 64 bytes.
    pub name: String,
    /// For connecting, and for each answer. Longer than the 5 s that a node waits for another,
    /// unless writes whose fate is unknown are welcome.
    pub timeout: Duration,
    /// How often a call is tried at most, where trying again can do no harm. At least 1.
    pub attempts: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            password: Vec::new(),
            name: "piccolo-client".to_owned(),
            timeout: Duration::from_secs(10),
            attempts: 3,
        }
    }
}

/// A client that blocks: one connection to every node that it needs, each call to the node that
/// leads its key.
///
/// Reads, and what was certainly not sent, are tried again when a connection fails. A write whose
/// fate is unknown is not: [`Error::Unknown`]. A node that hangs up between calls, as one that
/// leaves does, is noticed before the next call is sent.
///
/// ```no_run
/// use piccolo_client::{Client, Options};
///
/// # fn main() -> Result<(), piccolo_client::Error> {
/// let mut client = Client::connect(&["127.0.0.1:7379"], Options::default())?;
/// let version = client.set(b"greeting", b"hello")?;
/// let entry = client.get(b"greeting")?;
/// assert_eq!(entry.map(|entry| (entry.value, entry.version)), Some((b"hello".to_vec(), version)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    options: Options,
    seeds: Vec<String>,
    links: BTreeMap<String, Link>,
    ring: Ring,
    /// Who is asked in this attempt for what has no owner: one node, so that calls on one key stay
    /// in order.
    spare: Option<String>,
    /// Addresses that could not be reached since the ring was asked for.
    gone: BTreeSet<String>,
    /// Calls before the ring is asked for anew.
    ring_left: u64,
}

/// The calls that go to one node.
struct Share {
    address: String,
    /// Places of the calls not asked yet, the next one last.
    waiting: Vec<usize>,
    /// Number and place of each call asked and not answered.
    asked: BTreeMap<u64, usize>,
}

impl Client {
    /// Connects to the first seed that answers, and learns from it who leads what. Seeds are
    /// `HOST:PORT`, of nodes' client ports.
    ///
    /// # Errors
    ///
    /// No seed answers, or one refuses.
    pub fn connect(seeds: &[impl AsRef<str>], options: Options) -> Result<Self, Error> {
        let seeds: Vec<String> = seeds.iter().map(|seed| seed.as_ref().to_owned()).collect();
        let mut client = Self {
            options,
            seeds,
            links: BTreeMap::new(),
            ring: Ring::default(),
            spare: None,
            gone: BTreeSet::new(),
            ring_left: RING_CALLS,
        };
        client.any_link()?;
        client.learn_ring();
        Ok(client)
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// See [`Error`]; nothing is changed by a read.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Entry>, Error> {
        match self.call(Call::get(key))? {
            Outcome::Entry(entry) => Ok(Some(entry)),
            Outcome::Absent => Ok(None),
            other => Err(odd(&other)),
        }
    }

    /// Writes a value, whatever is there, and returns its version.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn set(&mut self, key: &[u8], value: &[u8]) -> Result<u64, Error> {
        match self.set_with(key, value, SetHow::default())? {
            Outcome::Written { version, .. } => Ok(version),
            other => Err(odd(&other)),
        }
    }

    /// Writes a value: [`Outcome::Written`], or [`Outcome::Unmet`] if the condition does not hold.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn set_with(
        &mut self,
        key: &[u8],
        value: &[u8],
        how: SetHow<'_>,
    ) -> Result<Outcome, Error> {
        self.call(Call::set(key, value, how))
    }

    /// Writes a value if what is there has this version, its expiry and nothing else kept:
    /// [`Outcome::Written`] or [`Outcome::Unmet`] with the version that is there.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn cas(&mut self, key: &[u8], version: u64, value: &[u8]) -> Result<Outcome, Error> {
        let (condition, expiry) = (Condition::Version(version), Expiry::Keep);
        self.set_with(key, value, SetHow { condition, expiry, meta: b"" })
    }

    /// Deletes an entry. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        match self.call(Call::delete(key, Condition::Always))? {
            Outcome::Written { .. } => Ok(true),
            Outcome::Absent => Ok(false),
            other => Err(odd(&other)),
        }
    }

    /// Adds to an integer, a missing one being 0, and returns the sum.
    ///
    /// # Errors
    ///
    /// See [`Error`]; what is no integer is refused.
    pub fn increment(&mut self, key: &[u8], by: i64) -> Result<i64, Error> {
        match self.call(Call::increment(key, by))? {
            Outcome::Number { value, .. } => Ok(value),
            other => Err(odd(&other)),
        }
    }

    /// Adds bytes at the end of a value, a missing one being empty, and returns its length.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn append(&mut self, key: &[u8], bytes: &[u8]) -> Result<usize, Error> {
        match self.call(Call::append(key, bytes))? {
            Outcome::Number { value, .. } => Ok(value as usize),
            other => Err(odd(&other)),
        }
    }

    /// Sets when an entry ends. Returns whether there is one.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn expire(&mut self, key: &[u8], expiry: Expiry) -> Result<bool, Error> {
        match self.call(Call::expire(key, expiry, Condition::Always))? {
            Outcome::Written { .. } => Ok(true),
            Outcome::Absent => Ok(false),
            other => Err(odd(&other)),
        }
    }

    /// About `count` keys of the whole cluster that begin with `prefix`, from a cursor on, 0 being
    /// the start. A key that is there all the time comes at least once.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn scan(&mut self, cursor: u64, count: u32, prefix: &[u8]) -> Result<Page, Error> {
        match self.call(Call::scan(cursor, count, prefix))? {
            Outcome::Page(page) => Ok(page),
            other => Err(odd(&other)),
        }
    }

    /// Who leads what, as last heard.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Asks one thing.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub fn call(&mut self, call: Call<'_>) -> Result<Outcome, Error> {
        let lost = Error::Unreachable { detail: "nobody was asked".to_owned() };
        self.batch(&[call]).pop().unwrap_or(Err(lost))
    }

    /// Asks many things, of all nodes at once, and returns what became of each, in order. Calls on
    /// one key are executed in order; of others the order is open. What fails, fails alone, but for
    /// this: when the fate of a write is unknown, calls on its key that have no answer either are
    /// not tried again, since they might overtake it.
    pub fn batch(&mut self, calls: &[Call<'_>]) -> Vec<Result<Outcome, Error>> {
        let mut results: Vec<Option<Result<Outcome, Error>>> = vec![None; calls.len()];
        let mut todo: Vec<usize> = (0..calls.len()).collect();
        let mut last = Error::Unreachable { detail: "no attempt was made".to_owned() };
        for _ in 0..self.options.attempts.max(1) {
            if todo.is_empty() {
                break;
            }
            match self.attempt(calls, &todo, &mut results) {
                None => {}
                Some(error) => {
                    last = error;
                    self.learn_ring();
                }
            }
            keep_order(calls, &todo, &mut results);
            todo.retain(|place| results[*place].is_none());
        }
        self.ring_left = self.ring_left.saturating_sub(calls.len() as u64);
        if self.ring_left == 0 {
            self.learn_ring();
        }
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(last.clone()))).collect()
    }

    /// Asks the calls at the places `todo`, of their nodes. Returns what went wrong last, if
    /// anything that trying again may mend.
    fn attempt(
        &mut self,
        calls: &[Call<'_>],
        todo: &[usize],
        results: &mut [Option<Result<Outcome, Error>>],
    ) -> Option<Error> {
        let mut shares: BTreeMap<String, Share> = BTreeMap::new();
        self.spare = None;
        self.links.values_mut().for_each(Link::doubt);
        for place in todo.iter().rev() {
            let address = match self.link_of(&calls[*place]) {
                Ok(address) => address,
                Err(error) => return Some(error),
            };
            let new =
                || Share { address: address.clone(), waiting: vec![], asked: BTreeMap::new() };
            shares.entry(address.clone()).or_insert_with(new).waiting.push(*place);
        }
        let mut failed = None;
        while !shares.is_empty() {
            // First to all, then from all: so that they work at once.
            for send in [true, false] {
                shares.retain(|_, share| {
                    let Some(link) = self.links.get_mut(&share.address) else { return false };
                    let step = if send {
                        share.send(link, calls, results)
                    } else {
                        share.receive(link, results)
                    };
                    if let Err(trouble) = step {
                        failed = Some(share.give_up(link, trouble, calls, results));
                        self.links.remove(&share.address);
                        return false;
                    }
                    !share.waiting.is_empty() || !share.asked.is_empty()
                });
            }
        }
        failed
    }

    /// The address of an open link to the node that leads the key of `call`, or to any.
    fn link_of(&mut self, call: &Call<'_>) -> Result<String, Error> {
        let owner =
            self.ring.owner(call.key).filter(|_| call.is_keyed()).map(|node| node.client.clone());
        if let Some(address) = owner.filter(|address| !self.gone.contains(address)) {
            if self.open(&address).is_ok() {
                return Ok(address);
            }
            self.ring_left = self.ring_left.min(RING_CALLS_DOUBTFUL);
            self.gone.insert(address);
        }
        // Whoever is asked sends it on.
        if let Some(address) = self.spare.as_ref().filter(|spare| self.links.contains_key(*spare)) {
            return Ok(address.clone());
        }
        let address = self.any_link()?;
        self.spare = Some(address.clone());
        Ok(address)
    }

    fn any_link(&mut self) -> Result<String, Error> {
        // Each round ends with a link that is open, or with one less.
        while let Some(address) = self.links.keys().next().cloned() {
            if self.open(&address).is_ok() {
                return Ok(address);
            }
        }
        let nodes = self.ring.nodes().iter().map(|node| node.client.clone());
        let known: Vec<String> = self.seeds.iter().cloned().chain(nodes).collect();
        let mut last = Error::Unreachable { detail: "no address was given".to_owned() };
        for address in known {
            match self.open(&address) {
                Ok(()) => return Ok(address),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sees to it that there is a link to the node at `address`, and that the node has not hung up.
    fn open(&mut self, address: &str) -> Result<(), Error> {
        if !self.links.get_mut(address).is_some_and(Link::is_quiet) {
            self.links.remove(address);
            let Options { password, name, timeout, .. } = self.options.clone();
            let link = Link::open(address, Greeting { password, name, pieces: false }, timeout)?;
            self.links.insert(address.to_owned(), link);
        }
        Ok(())
    }

    /// Asks any node who leads what. What is known stays if none tells.
    fn learn_ring(&mut self) {
        self.ring_left = RING_CALLS;
        self.gone.clear();
        let mut results = [None];
        self.attempt(&[Call::topology()], &[0], &mut results);
        if let [Some(Ok(Outcome::Topology(topology)))] = results
            && !topology.nodes.is_empty()
        {
            self.ring.learn(&topology);
        }
    }
}

impl Share {
    /// Asks as much as may be unanswered.
    fn send(
        &mut self,
        link: &mut Link,
        calls: &[Call<'_>],
        results: &mut [Option<Result<Outcome, Error>>],
    ) -> Result<(), Trouble> {
        while let Some(place) = self.waiting.last().copied() {
            if !link.has_room(&calls[place]) {
                break;
            }
            match link.ask(&calls[place]) {
                Ok(id) => {
                    self.asked.insert(id, place);
                }
                Err(Unasked::TooLong { what, bytes, max }) => {
                    results[place] = Some(Err(Error::TooLong { what, bytes, max }));
                }
                Err(Unasked::Full { .. } | Unasked::Owing { .. }) => break,
            }
            self.waiting.pop();
        }
        link.send()
    }

    /// Waits for the answers to all that was asked.
    fn receive(
        &mut self,
        link: &mut Link,
        results: &mut [Option<Result<Outcome, Error>>],
    ) -> Result<(), Trouble> {
        while link.unanswered() > 0 {
            link.receive(|event| {
                if let Event::Answer { id, answer } = event
                    && let Some(place) = self.asked.remove(&id)
                {
                    results[place] = Some(Outcome::of(answer));
                }
            })?;
        }
        Ok(())
    }

    /// Settles the writes whose fate is unknown. The rest is tried again.
    fn give_up(
        &mut self,
        link: &Link,
        trouble: Trouble,
        calls: &[Call<'_>],
        results: &mut [Option<Result<Outcome, Error>>],
    ) -> Error {
        let error = match trouble {
            Trouble::Socket(error) => {
                Error::Unreachable { detail: format!("{}: {error}", link.address()) }
            }
            Trouble::Broken(broken) => Error::of_broken(link.address(), broken),
        };
        for (id, executed) in link.lost() {
            if let Some(place) = self.asked.remove(&id)
                && executed
                && calls[place].is_write()
            {
                results[place] = Some(Err(Error::Unknown { detail: error.to_string() }));
            }
        }
        error
    }
}

/// Gives calls up that might overtake a write on the same key whose fate is unknown.
fn keep_order(calls: &[Call<'_>], todo: &[usize], results: &mut [Option<Result<Outcome, Error>>]) {
    let unknown = |place: &&usize| matches!(results[**place], Some(Err(Error::Unknown { .. })));
    let keys: BTreeSet<&[u8]> = todo.iter().filter(unknown).map(|at| calls[*at].key).collect();
    for place in todo {
        let call = &calls[*place];
        if results[*place].is_none() && call.is_keyed() && keys.contains(call.key) {
            let detail = "the fate of another write on this key in the batch is unknown";
            results[*place] = Some(Err(Error::Unreachable { detail: detail.to_owned() }));
        }
    }
}

fn odd(outcome: &Outcome) -> Error {
    let detail = format!("an answer that does not belong to the question: {outcome:?}");
    Error::Misbehaved { address: "the node".to_owned(), detail }
}
