//! One connection: a socket, what waits to be sent, and what waits for its reply.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::protocol::{Answer, Fault, Protocol, REPLY_BYTES_MAX, Request};

/// A connection that can be made anew. `F` says what a request was, for its answer.
#[derive(Debug)]
pub(crate) struct Link<P, F> {
    pub(crate) address: SocketAddr,
    protocol: P,
    stream: Option<TcpStream>,
    open: bool,
    out: Vec<u8>,
    /// Bytes of `out` that are sent.
    sent: usize,
    /// The front part of a reply whose rest has not come yet.
    partial: Vec<u8>,
    flights: VecDeque<F>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("closed by the target")]
    Closed,
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("a reply is longer than {REPLY_BYTES_MAX} bytes, or nobody asked for it")]
    Excess,
}

impl<P: Protocol, F> Link<P, F> {
    /// Not connected yet.
    pub(crate) fn new(address: SocketAddr, protocol: P) -> Self {
        Self {
            address,
            protocol,
            stream: None,
            open: false,
            out: Vec::new(),
            sent: 0,
            partial: Vec::new(),
            flights: VecDeque::new(),
        }
    }

    /// Begins to connect. What was asked before is sent once the connection stands.
    pub(crate) fn connect(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.stream = Some(stream);
        let asked = std::mem::take(&mut self.out);
        self.protocol.greet(&mut self.out);
        self.out.extend_from_slice(&asked);
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether it is connected or connecting.
    pub(crate) fn is_up(&self) -> bool {
        self.stream.is_some()
    }

    /// Requests without an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.flights.len()
    }

    /// The oldest request without an answer.
    pub(crate) fn oldest(&self) -> Option<&F> {
        self.flights.front()
    }

    /// Puts a request behind those that wait to be sent.
    #[inline]
    pub(crate) fn ask(&mut self, request: &Request<'_>, flight: F) {
        self.protocol.encode(request, &mut self.out);
        self.flights.push_back(flight);
    }

    /// Sends what the socket takes; the rest goes when it is writable again.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        if !self.open {
            return Ok(());
        }
        self.protocol.finish(&mut self.out);
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.sent < self.out.len() {
            match stream.write(&self.out[self.sent..]) {
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// The socket is writable: perhaps it has just been connected.
    pub(crate) fn writable(&mut self) -> Result<(), Broken> {
        if !self.open
            && let Some(stream) = &self.stream
        {
            if let Some(error) = stream.take_error()? {
                return Err(error.into());
            }
            match stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            stream.set_nodelay(true)?;
            self.open = true;
        }
        self.flush()
    }

    /// Reads what is there and hands each answer to `sink`. `scratch` is shared by all links of a
    /// thread, so that it stays in the nearest cache; it is read into once per call, as long as
    /// one read empties the socket.
    pub(crate) fn read<S: FnMut(F, Answer<'_>)>(
        &mut self,
        scratch: &mut Vec<u8>,
        sink: &mut S,
    ) -> Result<(), Broken> {
        loop {
            let held = self.partial.len();
            if scratch.len() < held + READ_BYTES_MIN {
                scratch.resize((held * 2).max(SCRATCH_BYTES), 0);
            }
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let bytes = match stream.read(&mut scratch[held..]) {
                Ok(0) => return Err(Broken::Closed),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            scratch[..held].copy_from_slice(&self.partial);
            self.partial.clear();
            self.take(&scratch[..held + bytes], sink)?;
            // A read that leaves room has emptied the socket (source: epoll(7)).
            if held + bytes < scratch.len() {
                return Ok(());
            }
        }
    }

    /// Takes the replies of `input` and keeps what is behind the last whole one.
    fn take<S: FnMut(F, Answer<'_>)>(&mut self, input: &[u8], sink: &mut S) -> Result<(), Broken> {
        let Self { protocol, flights, .. } = self;
        let mut excess = false;
        let taken = protocol.decode(input, &mut |answer| match flights.pop_front() {
            Some(flight) => sink(flight, answer),
            None => excess = true,
        })?;
        let rest = &input[taken..];
        if excess || rest.len() > REPLY_BYTES_MAX {
            return Err(Broken::Excess);
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Closes the socket; what had no answer gets [`Answer::Lost`].
    pub(crate) fn close<S: FnMut(F, Answer<'_>)>(&mut self, registry: &Registry, sink: &mut S) {
        if let Some(mut stream) = self.stream.take() {
            // Closing takes it out of epoll as well; an error here changes nothing.
            drop(registry.deregister(&mut stream));
        }
        self.open = false;
        self.protocol.reset();
        self.out.clear();
        self.sent = 0;
        self.partial.clear();
        while let Some(flight) = self.flights.pop_front() {
            sink(flight, Answer::Lost);
        }
    }
}

impl Broken {
    /// Whether connecting anew cannot help.
    pub(crate) fn for_good(&self) -> bool {
        match self {
            Self::Fault(fault) => fault.for_good(),
            Self::Excess => true,
            Self::Socket(_) | Self::Closed => false,
        }
    }
}

/// Room for one read at least.
const READ_BYTES_MIN: usize = 32 << 10;
/// What the scratch buffer has at first: replies of many pipelined requests.
const SCRATCH_BYTES: usize = 128 << 10;
