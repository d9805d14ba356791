//! Protocols behind one face: requests go into bytes, bytes come out as answers.

mod http;
mod native;
mod resp;

pub(crate) use http::Http;
pub(crate) use native::Native;
pub(crate) use resp::{Resp, array};

/// What is asked about one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) ask: Ask<'a>,
}

/// What to do with the key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask<'a> {
    Get,
    Set {
        value: &'a [u8],
        /// Seconds that the key shall live; 0 for ever.
        ttl: u32,
    },
    Increment,
    Delete,
}

/// What came back for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// It was done, and nothing about it matters here.
    Done,
    /// There is no such key.
    Absent,
    Value(&'a [u8]),
    /// Another node leads the slot: `SLOT HOST:PORT`.
    Moved(&'a [u8]),
    /// Whether the write was executed cannot be told, says the target.
    Unknown(&'a [u8]),
    /// An error, by its text.
    Refused(&'a [u8]),
    /// The connection ended first.
    Lost,
}

/// What makes a connection useless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// These bytes are not of the protocol.
    #[error("the target speaks another protocol or out of turn: {0}")]
    Malformed(String),
    /// The target does not want us.
    #[error("the target refused the connection's greeting: {0}")]
    Greeting(String),
    /// This node is about to stop; another one serves.
    #[error("the target takes no more connections: it leaves")]
    Leaving,
    /// This node has as many connections as it may; another one may have room.
    #[error("the target takes no more connections: {0}")]
    Full(String),
}

impl Fault {
    /// Whether connecting anew cannot help.
    pub(crate) fn for_good(&self) -> bool {
        !matches!(self, Self::Leaving | Self::Full(_))
    }

    /// A fault that shows the start of what came.
    fn of_bytes(what: &str, bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
        Self::Malformed(format!("{what}: {:?}", shown.escape_ascii().to_string()))
    }
}

/// Bytes of a wrong reply that a fault shows.
const SHOWN_BYTES_MAX: usize = 60;

/// Bytes of one reply at most: the longest value, and room for what stands around it.
pub(crate) const REPLY_BYTES_MAX: usize = crate::values::VALUE_BYTES_MAX + (64 << 10);

/// What connections need to know to introduce themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) password: Option<String>,
    /// For the Host line of HTTP.
    pub(crate) authority: String,
}

/// One connection's side of a protocol. It keeps no bytes: who calls owns the buffers.
pub(crate) trait Protocol {
    fn new(setup: &Setup) -> Self;

    /// Begins a connection: what goes in front of the first request.
    fn greet(&mut self, out: &mut Vec<u8>);

    /// Puts one request behind `out`, or keeps it until [`Self::finish`].
    fn encode(&mut self, request: &Request<'_>, out: &mut Vec<u8>);

    /// Puts what is kept behind `out`, which is about to be sent.
    fn finish(&mut self, _out: &mut Vec<u8>) {}

    /// The connection ended: what is kept is dropped.
    fn reset(&mut self) {}

    /// Takes the whole replies at the front of `input`, in order; the number of bytes they have.
    fn decode<S: FnMut(Answer<'_>)>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Fault>;
}
