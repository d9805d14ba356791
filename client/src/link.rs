//! A conversation over a socket of the standard library.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::call::Call;
use crate::conversation::{Broken, Conversation, Event, Greeting, Unasked};
use crate::error::Error;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Bytes of requests that may be unanswered while more is written. A node goes on reading so many
/// whatever it has to send, so that the two never wait for each other.
const WINDOW_BYTES: usize = 512 << 10;

/// Requests that may be unanswered while more is written.
const WINDOW_REQUESTS: usize = 1024;

/// Why a link cannot go on.
#[derive(Debug)]
pub(crate) enum Trouble {
    Socket(io::Error),
    Broken(Broken),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl From<Broken> for Trouble {
    fn from(error: Broken) -> Self {
        Self::Broken(error)
    }
}

/// A conversation over a socket.
#[derive(Debug)]
pub(crate) struct Link {
    address: String,
    stream: TcpStream,
    conversation: Conversation,
    buffer: Vec<u8>,
    /// Bytes of the requests that are unanswered.
    window_bytes: usize,
    /// It was seen to be quiet, for the calls that are being asked.
    quiet: bool,
}

impl Link {
    /// Connects to a node and greets it.
    pub(crate) fn open(
        address: &str,
        greeting: Greeting,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let unreachable =
            |error: &io::Error| Error::Unreachable { detail: format!("{address}: {error}") };
        let stream = connect(address, timeout).map_err(|error| unreachable(&error))?;
        let mut link = Self {
            address: address.to_owned(),
            stream,
            conversation: Conversation::new(greeting),
            buffer: vec![0; READ_BYTES],
            window_bytes: 0,
            quiet: true,
        };
        while link.conversation.host().is_none() {
            match link.send().and_then(|()| link.receive(|_| ())) {
                Ok(()) => {}
                Err(Trouble::Socket(error)) => return Err(unreachable(&error)),
                Err(Trouble::Broken(broken)) => return Err(Error::of_broken(address, broken)),
            }
        }
        Ok(link)
    }

    /// The node's, as it was given.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Requests that wait for their answers.
    pub(crate) fn unanswered(&self) -> usize {
        self.conversation.unanswered()
    }

    /// Has the next [`Self::is_quiet`] look again.
    pub(crate) fn doubt(&mut self) {
        self.quiet = false;
    }

    /// Whether the node is not known to have hung up. One that leaves closes connections between
    /// requests: a write on such a link would be of unknown fate, though it never arrives.
    pub(crate) fn is_quiet(&mut self) -> bool {
        if !self.quiet && self.unanswered() == 0 {
            let seen = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut [0]));
            let blocks = self.stream.set_nonblocking(false);
            let nothing = seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            self.quiet = nothing && blocks.is_ok();
        }
        self.quiet
    }

    /// Whether a call may be asked before the answers to those before it have come.
    pub(crate) fn has_room(&self, call: &Call<'_>) -> bool {
        let requests = self.conversation.unanswered();
        let small = self.window_bytes + call.bytes() <= WINDOW_BYTES;
        requests == 0 || (requests < WINDOW_REQUESTS && small)
    }

    /// Asks something; it is sent by [`Self::send`].
    pub(crate) fn ask(&mut self, call: &Call<'_>) -> Result<u64, Unasked> {
        let id = self.conversation.ask(call.key, call.op)?;
        if self.conversation.unanswered() == 1 {
            self.window_bytes = 0;
        }
        self.window_bytes += call.bytes();
        Ok(id)
    }

    /// Sends what was asked.
    pub(crate) fn send(&mut self) -> Result<(), Trouble> {
        loop {
            let bytes = self.conversation.output();
            if bytes.is_empty() {
                return Ok(());
            }
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(bytes) => self.conversation.sent(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for something to come and hands it over.
    pub(crate) fn receive(&mut self, take: impl FnMut(Event<'_>)) -> Result<(), Trouble> {
        let bytes = loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(bytes) => break bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        Ok(self.conversation.received(&self.buffer[..bytes], take)?)
    }

    /// Requests without an answer, with whether they may have been executed.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (u64, bool)> + '_ {
        self.conversation.lost()
    }
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for socket in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&socket, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
