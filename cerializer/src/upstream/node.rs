//! A node, with its connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use piccolo_schema::ids::Slot;
use piccolo_schema::kv::Op;
use tokio::sync::Mutex;

use super::answer::{Answer, Failure};
use super::channel::{Channel, Pending, Settings};
use super::lane::Lane;
use super::stream::Stream;

/// How long a node that could not be connected to is left alone.
const REST: Duration = Duration::from_millis(500);

/// Connections for bodies that are kept open with nothing under way.
const IDLE_STREAMS_MAX: usize = 8;

/// Connections that are set aside at most. A node holds for 5 s what it cannot serve; if it makes
/// so many wait within that time, another connection helps no more.
const ASIDE_MAX: usize = 8;

/// A node as cerializer reaches it.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    lanes: [Shared; Lane::ALL.len()],
    /// Connections on which a request waits for long, and on which nothing more is asked.
    aside: RefCell<Vec<Channel>>,
    failed: RefCell<Option<(u64, Failure)>>,
    idle: RefCell<Vec<Stream>>,
    retired: Cell<bool>,
}

/// The shared connection of a lane.
#[derive(Debug, Default)]
struct Shared {
    channel: RefCell<Option<Channel>>,
    /// Held while the channel is being connected, so that only one is.
    connecting: Mutex<()>,
}

impl Shared {
    fn open(&self) -> Option<Channel> {
        self.channel.borrow().as_ref().filter(|channel| channel.is_open()).cloned()
    }
}

impl Node {
    /// A node that is not connected to yet.
    pub fn new(settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            settings,
            lanes: Default::default(),
            aside: RefCell::new(Vec::new()),
            failed: RefCell::new(None),
            idle: RefCell::new(Vec::new()),
            retired: Cell::new(false),
        })
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.settings.address
    }

    /// Whether it can be asked at once.
    pub fn is_open(&self) -> bool {
        self.lanes[Lane::Led as usize].open().is_some()
    }

    /// Connections that are open: the shared ones and idle ones for bodies.
    pub fn connections(&self) -> usize {
        let shared = self.lanes.iter().filter(|lane| lane.open().is_some()).count();
        shared + self.aside.borrow().len() + self.idle.borrow().len()
    }

    /// Asks for something that travels with other small requests. Waits only for the connection,
    /// if there is none yet.
    ///
    /// # Errors
    ///
    /// Nothing was sent, and why.
    pub async fn ask(&self, lane: Lane, key: &[u8], op: Op<'_>) -> Result<Pending, Failure> {
        if let Some(channel) = self.lanes[lane as usize].open() {
            return channel.ask(key, op);
        }
        self.open(lane).await?.ask(key, op)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// There is no answer, and why.
    pub async fn call(&self, lane: Lane, key: &[u8], op: Op<'_>) -> Result<Answer, Failure> {
        let pending = self.ask(lane, key, op).await?;
        // Without a word only if the runtime ends.
        pending.await.unwrap_or(Err(Failure::Timeout))
    }

    async fn open(&self, lane: Lane) -> Result<Channel, Failure> {
        let lane = &self.lanes[lane as usize];
        let _alone = lane.connecting.lock().await;
        if let Some(channel) = lane.open() {
            return Ok(channel);
        }
        self.rested()?;
        match Channel::connect(self.settings.clone()).await {
            Ok(channel) => {
                log::info!("connected to {}", self.address());
                if self.retired.get() {
                    channel.retire();
                }
                *self.failed.borrow_mut() = None;
                *lane.channel.borrow_mut() = Some(channel.clone());
                Ok(channel)
            }
            Err(failure) => Err(self.remember(failure)),
        }
    }

    /// A connection for one body.
    ///
    /// # Errors
    ///
    /// The node cannot be reached.
    pub async fn stream(&self) -> Result<Stream, Failure> {
        while let Some(stream) = self.idle.borrow_mut().pop() {
            if stream.is_idle() {
                return Ok(stream);
            }
        }
        self.rested()?;
        let password = self.settings.password.as_deref();
        let stream = Stream::connect(self.address(), password).await;
        stream.map_err(|failure| self.remember(failure))
    }

    /// Takes back a connection whose body is through.
    pub fn put_back(&self, stream: Stream) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_STREAMS_MAX && !self.retired.get() && stream.is_idle() {
            idle.push(stream);
        }
    }

    /// Looks for requests that have waited too long. The slots of those that hold others up go to
    /// `doubt`, and what is asked from now on goes over new connections.
    pub fn check(self: &Rc<Self>, mut doubt: impl FnMut(Slot)) {
        self.aside.borrow_mut().retain(|channel| {
            channel.check();
            channel.is_open()
        });
        for lane in Lane::ALL {
            let Some(channel) = self.lanes[lane as usize].open() else { continue };
            channel.check();
            // Who is doubted waits behind others who are: that is what this lane is for.
            if let (Some(slot), true) = (channel.stalled(), lane != Lane::Doubted) {
                slot.into_iter().for_each(&mut doubt);
                self.set_aside(lane, channel);
            }
        }
    }

    fn set_aside(self: &Rc<Self>, lane: Lane, channel: Channel) {
        let mut aside = self.aside.borrow_mut();
        if aside.len() >= ASIDE_MAX || self.retired.get() {
            return;
        }
        channel.retire();
        aside.push(channel);
        *self.lanes[lane as usize].channel.borrow_mut() = None;
        let node = Rc::clone(self);
        // At once: the next request finds a connection, or hears that there is none to be had.
        tokio::task::spawn_local(async move { drop(node.open(lane).await) });
    }

    /// Closes everything once nothing waits any more.
    pub fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        self.lanes.iter().filter_map(Shared::open).for_each(|channel| channel.retire());
    }

    /// Fails while a failure to connect is too fresh to try again.
    fn rested(&self) -> Result<(), Failure> {
        let failed = self.failed.borrow();
        match failed.as_ref() {
            Some((at, failure)) if !self.settings.clock.passed(*at, REST) => Err(failure.clone()),
            _ => Ok(()),
        }
    }

    fn remember(&self, failure: Failure) -> Failure {
        log::warn!("{}: {failure}", self.address());
        *self.failed.borrow_mut() = Some((self.settings.clock.millis(), failure.clone()));
        failure
    }
}
