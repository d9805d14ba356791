//! A conversation with its socket: connecting and greeting.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use piccolo_client::{Broken, Conversation, Event, Greeting};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answer::Failure;

/// Bytes read at once: the answers of many small requests, or a piece of a large one.
pub const READ_BYTES: usize = 64 << 10;

/// How long connecting and greeting may take: less than what a request may, so that there is
/// time left to ask another node.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A conversation that has been welcomed, with its socket.
#[derive(Debug)]
pub struct Socket {
    /// The connection.
    pub stream: TcpStream,
    /// What is said on it.
    pub conversation: Conversation,
    /// Takes what comes; empty between reads.
    pub buffer: BytesMut,
}

impl Socket {
    /// Connects and waits for the welcome. With `pieces` long values come in pieces.
    ///
    /// # Errors
    ///
    /// The node cannot be reached within [`CONNECT_LIMIT`], refuses, or is no node.
    pub async fn connect(
        address: &str,
        password: Option<&str>,
        pieces: bool,
    ) -> Result<Self, Failure> {
        let password = password.unwrap_or_default().as_bytes().to_vec();
        let greeting = Greeting { password, name: "cerializer".to_owned(), pieces };
        let greeted = Self::greet(address, Conversation::new(greeting));
        tokio::time::timeout(CONNECT_LIMIT, greeted)
            .await
            .unwrap_or_else(|_| Err(Failure::Connect("it did not greet in time".to_owned())))
    }

    async fn greet(address: &str, conversation: Conversation) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await.map_err(|error| unconnected(&error))?;
        stream.set_nodelay(true).map_err(|error| unconnected(&error))?;
        let mut socket = Self { stream, conversation, buffer: BytesMut::new() };
        socket.flush().await.map_err(|error| unconnected(&error))?;
        while socket.conversation.host().is_none() {
            if socket.read().await.map_err(|error| unconnected(&error))? == 0 {
                return Err(Failure::Connect("it closed before it greeted".to_owned()));
            }
            socket.take(|_| ()).map_err(refused)?;
        }
        Ok(socket)
    }

    /// Sends everything that is asked.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn flush(&mut self) -> io::Result<()> {
        let output = self.conversation.output();
        let bytes = output.len();
        self.stream.write_all(output).await?;
        self.conversation.sent(bytes);
        Ok(())
    }

    /// Waits for bytes; how many came, 0 for the end.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn read(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Hands over what came.
    ///
    /// # Errors
    ///
    /// The conversation is over.
    pub fn take(&mut self, take: impl FnMut(Event<'_>)) -> Result<(), Broken> {
        let taken = self.conversation.received(&self.buffer, take);
        self.buffer.clear();
        taken
    }
}

fn unconnected(error: &io::Error) -> Failure {
    Failure::Connect(error.to_string())
}

fn refused(broken: Broken) -> Failure {
    match broken {
        Broken::Refused { reason, detail } => Failure::Refused { reason, detail },
        other => Failure::Connect(format!("this is no native door: {other}")),
    }
}
