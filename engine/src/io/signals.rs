//! Signals, as something to read.

use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdUnixStream;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Signals that a node acts upon.
#[derive(Debug)]
pub(super) struct Signals {
    stops: UnixStream,
    hangups: UnixStream,
}

impl Signals {
    /// Watches for SIGTERM and SIGINT, which show as the one token, and for SIGHUP, which shows as
    /// the other.
    pub(super) fn watch(registry: &Registry, stops: Token, hangups: Token) -> io::Result<Self> {
        Ok(Self {
            stops: watch(&[SIGTERM, SIGINT], registry, stops)?,
            hangups: watch(&[SIGHUP], registry, hangups)?,
        })
    }

    /// How often the node was told to stop since the last call.
    pub(super) fn stops(&mut self) -> usize {
        count(&mut self.stops)
    }

    /// Forgets that SIGHUP came.
    pub(super) fn clear_hangups(&mut self) {
        count(&mut self.hangups);
    }
}

/// A stream that gets a byte for every such signal.
fn watch(signals: &[i32], registry: &Registry, token: Token) -> io::Result<UnixStream> {
    let (reader, writer) = StdUnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in signals {
        signal_hook::low_level::pipe::register(*signal, writer.try_clone()?)?;
    }
    let mut reader = UnixStream::from_std(reader);
    registry.register(&mut reader, token, Interest::READABLE)?;
    Ok(reader)
}

fn count(stream: &mut UnixStream) -> usize {
    let (mut buffer, mut all) = ([0; 16], 0);
    while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
        all += bytes;
    }
    all
}
