//! A node, with its connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use piccolo_schema::kv::Op;
use tokio::sync::Mutex;

use super::answer::{Answer, Failure};
use super::channel::{Channel, Pending, Settings};
use super::stream::Stream;

/// How long a node that could not be connected to is left alone.
const REST: Duration = Duration::from_millis(500);

/// Connections for bodies that are kept open with nothing under way.
const IDLE_STREAMS_MAX: usize = 8;

/// A node as cerializer reaches it.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    channel: RefCell<Option<Channel>>,
    /// Held while the channel is being connected, so that only one is.
    connecting: Mutex<()>,
    failed: RefCell<Option<(u64, Failure)>>,
    idle: RefCell<Vec<Stream>>,
    retired: Cell<bool>,
}

impl Node {
    /// A node that is not connected to yet.
    pub fn new(settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            settings,
            channel: RefCell::new(None),
            connecting: Mutex::new(()),
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
        self.channel.borrow().as_ref().is_some_and(Channel::is_open)
    }

    /// Connections that are open: the shared one and idle ones for bodies.
    pub fn connections(&self) -> usize {
        usize::from(self.is_open()) + self.idle.borrow().len()
    }

    /// Asks for something that travels with other small requests. Waits only for the connection,
    /// if there is none yet.
    ///
    /// # Errors
    ///
    /// Nothing was sent, and why.
    pub async fn ask(&self, key: &[u8], op: Op<'_>) -> Result<Pending, Failure> {
        if let Some(channel) = self.channel.borrow().as_ref().filter(|channel| channel.is_open()) {
            return channel.ask(key, op);
        }
        self.open().await?.ask(key, op)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// There is no answer, and why.
    pub async fn call(&self, key: &[u8], op: Op<'_>) -> Result<Answer, Failure> {
        let pending = self.ask(key, op).await?;
        // Without a word only if the runtime ends.
        pending.await.unwrap_or(Err(Failure::Timeout))
    }

    async fn open(&self) -> Result<Channel, Failure> {
        let _alone = self.connecting.lock().await;
        if let Some(channel) = self.channel.borrow().as_ref().filter(|channel| channel.is_open()) {
            return Ok(channel.clone());
        }
        self.rested()?;
        match Channel::connect(self.settings.clone()).await {
            Ok(channel) => {
                log::info!("connected to {}", self.address());
                if self.retired.get() {
                    channel.retire();
                }
                *self.failed.borrow_mut() = None;
                *self.channel.borrow_mut() = Some(channel.clone());
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

    /// Looks for requests that have waited too long.
    pub fn check(&self) {
        if let Some(channel) = self.channel.borrow().as_ref() {
            channel.check();
        }
    }

    /// Closes everything once nothing waits any more.
    pub fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        if let Some(channel) = self.channel.borrow().as_ref() {
            channel.retire();
        }
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
