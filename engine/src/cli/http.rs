//! As much of HTTP/1.1 as it takes to ask a node's admin listener: one request to a connection,
//! answers of known length, everything bounded in bytes and time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::deadline::Deadline;
use super::error::CliError;

/// Bytes of an answer at most. The ring of 256 nodes takes some 2 MiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How long one exchange may take as a whole, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks for `path` and reads the JSON that comes back.
///
/// # Errors
///
/// Nobody there, no answer within `patience`, a status other than 200, or something else than
/// the JSON expected.
pub fn get<T: DeserializeOwned>(
    address: &str,
    path: &str,
    patience: Duration,
) -> Result<T, CliError> {
    let answer = exchange("GET", address, path, patience)?;
    let body = accepted(address, answer, 200)?;
    serde_json::from_slice(&body)
        .map_err(|error| not_a_node(address, format!("unexpected JSON: {error}")))
}

/// Posts to `path`, where the node shall answer 202.
///
/// # Errors
///
/// As [`get`].
pub fn post(address: &str, path: &str, patience: Duration) -> Result<(), CliError> {
    accepted(address, exchange("POST", address, path, patience)?, 202).map(drop)
}

/// Asks to delete what is at `path`, where the node shall answer 202.
///
/// # Errors
///
/// As [`get`].
pub fn delete(address: &str, path: &str, patience: Duration) -> Result<(), CliError> {
    accepted(address, exchange("DELETE", address, path, patience)?, 202).map(drop)
}

/// Sends one request and reads its answer, whatever its status.
///
/// # Errors
///
/// Nobody there, no answer within `patience`, or no HTTP.
pub fn exchange(
    method: &str,
    address: &str,
    path: &str,
    patience: Duration,
) -> Result<Answer, CliError> {
    let deadline = Deadline::after(patience);
    let unreachable = |error: io::Error| unreachable(address, &error);
    let mut stream = connect(address, deadline).map_err(unreachable)?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: 0\r\n\r\n"
    );
    // A node that goes while it answers is a node that cannot be reached.
    let bytes = stream
        .write_all(request.as_bytes())
        .and_then(|()| read_to_end(&mut stream, deadline))
        .map_err(unreachable)?;
    parse(&bytes).ok_or_else(|| not_a_node(address, "no HTTP comes back".into()))
}

fn connect(address: &str, deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "no such host");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, left(deadline)?) {
            Ok(stream) => {
                stream.set_write_timeout(Some(left(deadline)?))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_to_end(stream: &mut TcpStream, deadline: Deadline) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut block = [0; 16 << 10];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut block) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes.extend(block.iter().take(read)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            let reason = format!("an answer of more than {ANSWER_BYTES_MAX} bytes");
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        }
    }
}

fn left(deadline: Deadline) -> io::Result<Duration> {
    deadline.left().ok_or_else(|| ErrorKind::TimedOut.into())
}

/// Splits an answer; none if it is no complete HTTP with a length.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let head_bytes = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..head_bytes)?).ok()?;
    let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    let body = bytes.get(head_bytes + 4..)?.get(..length)?;
    Some(Answer { status, body: body.to_vec() })
}

/// The body, if the status is the one wanted; else the node's own words as an error.
fn accepted(address: &str, answer: Answer, wanted: u16) -> Result<Vec<u8>, CliError> {
    if answer.status == wanted {
        return Ok(answer.body);
    }
    let detail = detail(&answer.body)
        .ok_or_else(|| not_a_node(address, format!("status {}", answer.status)))?;
    Err(CliError::Refused { address: address.into(), status: answer.status, detail })
}

/// What a problem says in words.
pub(super) fn detail(body: &[u8]) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(problem.get("detail")?.as_str()?.replace(char::is_control, " "))
}

fn not_a_node(address: &str, what: String) -> CliError {
    CliError::NotANode { address: address.into(), what }
}

fn unreachable(address: &str, error: &io::Error) -> CliError {
    let closed = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset);
    let reason = match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer in time".into(),
        _ => error.to_string(),
    };
    CliError::Unreachable { address: address.into(), reason, closed }
}

/// `key` as part of a query: what RFC 3986 reserves is escaped.
pub fn percent_encoded(key: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = |&byte: &u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    key.iter().map(escaped).collect()
}
