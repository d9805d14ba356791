//! What a client is told that is not taken in.

use mio::net::TcpStream;
use piccolo_schema::kv::{self, PREFACE, Reason, Refusal};

/// What a client is told that is not taken in. Who has not said yet how it speaks is told in RESP:
/// native clients understand that of a node that has not greeted them.
pub(super) fn last_words(stream: &TcpStream, reason: Reason, detail: &str) -> Vec<u8> {
    let mut first = [0];
    if matches!(stream.peek(&mut first), Ok(1)) && first[0] == PREFACE[0] {
        let mut words = Vec::new();
        kv::write_refusal(&Refusal { reason, detail }, &mut words);
        return words;
    }
    format!("-ERR {detail}\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream as StdTcpStream};

    use super::*;
    use piccolo_schema::kv::Item;

    /// What somebody is told who has sent `first`.
    fn told(first: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(first).unwrap();
        let (stream, _) = listener.accept().unwrap();
        if !first.is_empty() {
            // Waits until it is there.
            stream.peek(&mut [0]).unwrap();
        }
        stream.set_nonblocking(true).unwrap();
        last_words(&TcpStream::from_std(stream), Reason::Leaving, "this node is leaving")
    }

    #[test]
    fn a_native_client_is_told_in_its_own_encoding_if_it_has_said_so() {
        let words = told(&PREFACE);
        let mut reasons = Vec::new();
        kv::read(&words, |item| match item {
            Item::Refuse(refusal) => reasons.push(refusal.reason),
            other => panic!("{other:?}"),
        })
        .unwrap();
        assert_eq!(reasons, [Reason::Leaving]);
    }

    #[test]
    fn everybody_else_is_told_in_resp() {
        for first in [&b""[..], b"*1\r\n"] {
            assert_eq!(told(first), b"-ERR this node is leaving\r\n");
        }
    }
}
