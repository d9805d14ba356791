//! The sockets of a shard's thread.

use std::io::{self, Read, Write};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;

use crate::shard::StreamKey;

/// Time after which the system probes a silent connection.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Time after which a peer that acknowledges nothing is given up: below the time that gossip
/// takes to call it dead, so that links are made anew as soon as it is back.
const LINK_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection with its state of readiness: events come once per change.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) key: StreamKey,
    stream: TcpStream,
    /// Bytes may be there that were not read.
    pub(super) readable: bool,
    /// The system has taken bytes, as far as known.
    pub(super) writable: bool,
    /// The connection is not made yet.
    pub(super) connecting: bool,
    /// The system said that the end is near: no other event will, so it is read up to.
    pub(super) read_closed: bool,
    /// The other side will send nothing more.
    pub(super) ended: bool,
}

/// What reading came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReadResult {
    /// So many bytes, and perhaps more.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The other side will send nothing more.
    End,
    /// The connection failed.
    Failed,
}

impl Socket {
    pub(super) fn new(key: StreamKey, stream: TcpStream, connecting: bool, link: bool) -> Self {
        // Replies are written once per turn: waiting for more to send would only delay them.
        let options = SockRef::from(&stream);
        let mut set = stream.set_nodelay(true);
        if link {
            set = set.and(options.set_tcp_user_timeout(Some(LINK_TIMEOUT)));
        }
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
        if let Err(error) = set.and(options.set_tcp_keepalive(&keepalive)) {
            log::debug!("an option of a connection cannot be set: {error}");
        }
        Self {
            key,
            stream,
            readable: false,
            writable: !connecting,
            connecting,
            read_closed: false,
            ended: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Whether a connection under way has come about; `None` while it is not known.
    pub(super) fn connected(&mut self) -> Option<bool> {
        if let Ok(Some(_)) | Err(_) = self.stream.take_error() {
            return Some(false);
        }
        match self.stream.peer_addr() {
            Ok(_) => Some(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(_) => Some(false),
        }
    }

    /// Reads what is there into `buffer`. A read that does not fill it has emptied the socket.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> ReadResult {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    (self.readable, self.ended) = (false, true);
                    return ReadResult::End;
                }
                Ok(bytes) => {
                    self.readable = bytes == buffer.len() || self.read_closed;
                    return ReadResult::Bytes(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return ReadResult::Nothing;
                }
                Err(_) => return ReadResult::Failed,
            }
        }
    }

    /// Writes what the system takes. `None`: the connection failed.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut written = 0;
        while self.writable && written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(0) => return None,
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return None,
            }
        }
        Some(written)
    }
}
