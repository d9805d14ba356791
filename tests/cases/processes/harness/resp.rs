//! A small Redis client of our own, so that a case sees every byte of every reply.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take. Forwarding, a transfer and a retry inside fit many times over.
const REPLY_LIMIT: Duration = Duration::from_secs(20);

/// A reply of RESP2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Reply>),
}

impl Reply {
    pub(crate) fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    pub(crate) fn bulk(bytes: &[u8]) -> Self {
        Self::Bulk(bytes.to_vec())
    }

    /// The text of an error, or `None` if this is none.
    pub(crate) fn error(&self) -> Option<&str> {
        if let Self::Error(text) = self { Some(text) } else { None }
    }

    /// The bytes of a bulk or simple string as text, for a message or a search.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Simple(text) | Self::Error(text) => text.clone(),
            other => format!("{other:?}"),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_write_timeout(Some(REPLY_LIMIT))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, stream) })
    }

    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    pub(crate) fn try_call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Reply> {
        self.send(&command(args))?;
        self.receive()
    }

    /// Sends one command and returns its reply, an error reply included.
    #[track_caller]
    pub(crate) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.try_call(args).unwrap_or_else(|error| {
            let name = args.first().map(|name| String::from_utf8_lossy(name.as_ref()));
            panic!("no reply to {name:?}: {error}")
        })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// The next reply; `UnexpectedEof` with no byte read if the other side closed between replies.
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        let Some(line) = line.strip_suffix(b"\r\n") else {
            let text = String::from_utf8_lossy(&line);
            let kind = if line.is_empty() {
                io::ErrorKind::UnexpectedEof
            } else {
                io::ErrorKind::ConnectionAborted
            };
            return Err(io::Error::new(kind, format!("closed after {text:?}")));
        };
        let text = String::from_utf8_lossy(line.get(1..).unwrap_or_default()).into_owned();
        match line.first() {
            Some(b'+') => Ok(Reply::Simple(text)),
            Some(b'-') => Ok(Reply::Error(text)),
            Some(b':') => Ok(Reply::Integer(number(&text)?)),
            Some(b'$') => self.bulk(number(&text)?),
            Some(b'*') if text == "-1" => Ok(Reply::Null),
            Some(b'*') => (0..number(&text)?)
                .map(|_| self.receive())
                .collect::<io::Result<_>>()
                .map(Reply::Array),
            _ => Err(odd(&String::from_utf8_lossy(line))),
        }
    }

    /// Whether the other side closes within `limit`, what it still sends before not counted.
    pub(crate) fn closes_within(&mut self, limit: Duration) -> bool {
        self.reader.get_ref().set_read_timeout(Some(limit)).expect("a limit above zero");
        let mut rest = [0; 4096];
        loop {
            match self.reader.read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// The socket below, for a case that breaks the rules of the protocol.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    fn bulk(&mut self, bytes: i64) -> io::Result<Reply> {
        let Ok(bytes) = usize::try_from(bytes) else { return Ok(Reply::Null) };
        let mut value = vec![0; bytes + 2];
        self.reader.read_exact(&mut value)?;
        if value.split_off(bytes) != b"\r\n" {
            return Err(odd("a bulk string without its end"));
        }
        Ok(Reply::Bulk(value))
    }
}

/// One command as bytes.
pub(crate) fn command<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| odd(text))
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {what:?}"))
}

#[test]
fn a_command_is_an_array_of_bulk_strings() {
    assert_eq!(command(&["GET", "k"]), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
}
