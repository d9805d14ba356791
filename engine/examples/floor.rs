//! The floor: a bare Mio server that reads commands and answers constants.
//!
//! One thread, no keys, no table: what the sockets alone cost on this machine. No server can be
//! cheaper per command, so its figures stand beside Piccolo's in the tables.
//!
//! It counts commands by the `*` that begins each and tells them apart by the first letter of the
//! name, which is enough for redis-benchmark: `SET` gives `+OK`, `GET` a value of 100 bytes, all
//! else `+PONG`. Usage: `floor 127.0.0.1:7390`.

use std::env;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
/// Bytes read in one go.
const READ_BYTES: usize = 64 << 10;
/// Bytes of a reply to GET, as redis-benchmark writes with `-d 100`.
const VALUE_BYTES: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("usage: floor ADDR, such as 127.0.0.1:7390")?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(address.parse()?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor::new();
    let mut events = Events::with_capacity(256);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&poll, &listener)?,
                Token(at) => floor.serve(at),
            }
        }
    }
}

/// All connections, by token, and the buffers that they share.
struct Floor {
    connections: Vec<Option<Connection>>,
    input: Vec<u8>,
    value: Vec<u8>,
}

/// One connection: what it may still write, and what its input is in the middle of.
struct Connection {
    stream: TcpStream,
    output: Vec<u8>,
    parser: Parser,
}

impl Floor {
    fn new() -> Self {
        let value = [format!("${VALUE_BYTES}\r\n"), "x".repeat(VALUE_BYTES), "\r\n".into()];
        let value = value.concat().into_bytes();
        Self { connections: Vec::new(), input: vec![0; READ_BYTES], value }
    }

    fn accept(&mut self, poll: &Poll, listener: &TcpListener) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let free = self.connections.iter().position(Option::is_none);
            let at = free.unwrap_or(self.connections.len());
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(at), both)?;
            let connection = Connection { stream, output: Vec::new(), parser: Parser::default() };
            if at == self.connections.len() {
                self.connections.push(None);
            }
            self.connections[at] = Some(connection);
        }
    }

    /// Serves one connection until it would block; drops it if it ended or failed.
    fn serve(&mut self, at: usize) {
        let Some(connection) = self.connections[at].as_mut() else { return };
        match connection.turn(&mut self.input, &self.value) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(()) | Err(_) => self.connections[at] = None,
        }
    }
}

impl Connection {
    /// Reads and answers until the socket would block. `Ok` means that the other side closed.
    fn turn(&mut self, input: &mut [u8], value: &[u8]) -> io::Result<()> {
        loop {
            self.flush()?;
            let bytes = self.stream.read(input)?;
            if bytes == 0 {
                return Ok(());
            }
            let Self { parser, output, .. } = self;
            parser.feed(&input[..bytes], |name| {
                output.extend_from_slice(match name {
                    b'G' | b'g' => value,
                    b'S' | b's' => b"+OK\r\n",
                    _ => b"+PONG\r\n",
                });
            });
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let written = self.stream.write(&self.output)?;
            self.output.drain(..written);
        }
        Ok(())
    }
}

/// Where in a command the input stands.
#[derive(Default)]
struct Parser {
    state: State,
    /// Arguments still to come.
    arguments: usize,
    /// Bytes of the present argument still to come, its line end included.
    bytes: usize,
    /// First letter of the name, once seen.
    name: Option<u8>,
}

#[derive(Default, Clone, Copy)]
enum State {
    /// In front of `*` or of an inline command.
    #[default]
    Start,
    /// In the number behind `*`.
    Count,
    /// In the number behind `$`.
    Length,
    /// In the bytes of an argument.
    Argument,
    /// In an inline command.
    Inline,
}

impl Parser {
    /// Reads `bytes` and tells `answer` the first letter of each command that is complete.
    fn feed(&mut self, bytes: &[u8], mut answer: impl FnMut(u8)) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if matches!(self.state, State::Argument) {
                self.name.get_or_insert(byte);
                let step = self.bytes.min(bytes.len() - at);
                at += step;
                self.bytes -= step;
                if self.bytes == 0 {
                    self.argument_ends(&mut answer);
                }
                continue;
            }
            at += 1;
            self.step(byte, &mut answer);
        }
    }

    fn step(&mut self, byte: u8, answer: &mut impl FnMut(u8)) {
        match (self.state, byte) {
            (State::Start, b'*') => self.state = State::Count,
            (State::Start, b'\r' | b'\n') | (_, b'\r') => {}
            (State::Start, name) => (self.state, self.name) = (State::Inline, Some(name)),
            (State::Count, b'0'..=b'9') => {
                self.arguments = self.arguments * 10 + usize::from(byte - b'0');
            }
            (State::Length, b'0'..=b'9') => {
                self.bytes = self.bytes * 10 + usize::from(byte - b'0');
            }
            (State::Count, b'\n') => self.state = State::Length,
            (State::Length, b'\n') => (self.state, self.bytes) = (State::Argument, self.bytes + 2),
            (State::Inline, b'\n') => self.command_ends(answer),
            _ => {}
        }
    }

    fn argument_ends(&mut self, answer: &mut impl FnMut(u8)) {
        self.arguments = self.arguments.saturating_sub(1);
        self.state = State::Length;
        if self.arguments == 0 {
            self.command_ends(answer);
        }
    }

    fn command_ends(&mut self, answer: &mut impl FnMut(u8)) {
        answer(self.name.take().unwrap_or_default());
        *self = Self::default();
    }
}
