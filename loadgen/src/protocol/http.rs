//! HTTP/1.1 with connections kept alive: cerializer's `/v1/kv/{key}`.

use std::io::Write as _;

use httparse::{EMPTY_HEADER, Response, Status};

use super::{Answer, Ask, Fault, Protocol, Request, Setup};

/// One connection that speaks HTTP.
#[derive(Debug)]
pub(crate) struct Http {
    /// Host line, authorisation and the end of the head.
    head: Vec<u8>,
}

impl Protocol for Http {
    fn new(setup: &Setup) -> Self {
        let password = setup.password.as_ref();
        let bearer = password.map(|password| format!("Authorization: Bearer {password}\r\n"));
        let head = format!("Host: {}\r\n{}", setup.authority, bearer.unwrap_or_default());
        Self { head: head.into_bytes() }
    }

    fn greet(&mut self, _out: &mut Vec<u8>) {}

    fn encode(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        let (verb, query) = match request.ask {
            Ask::Get => ("GET", String::new()),
            Ask::Set { ttl: 0, .. } => ("PUT", String::new()),
            Ask::Set { ttl, .. } => ("PUT", format!("?ttl={ttl}s")),
            Ask::Increment => ("POST", "?op=incr&by=1".to_owned()),
            Ask::Delete => ("DELETE", String::new()),
        };
        out.extend_from_slice(verb.as_bytes());
        out.extend_from_slice(b" /v1/kv/");
        // Our keys have letters, digits and colons only: nothing to escape.
        out.extend_from_slice(request.key);
        out.extend_from_slice(query.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        out.extend_from_slice(&self.head);
        let body: &[u8] = if let Ask::Set { value, .. } = request.ask { value } else { b"" };
        if !matches!(request.ask, Ask::Get | Ask::Delete) {
            // Writing into a vector cannot fail.
            write!(out, "Content-Length: {}\r\n", body.len()).unwrap_or_default();
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    fn decode<S: FnMut(Answer<'_>)>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Fault> {
        let mut taken = 0;
        while let Some((bytes, answer)) = reply(&input[taken..])? {
            taken += bytes;
            sink(answer);
        }
        Ok(taken)
    }
}

fn reply(input: &[u8]) -> Result<Option<(usize, Answer<'_>)>, Fault> {
    if input.is_empty() {
        return Ok(None);
    }
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let head = match response.parse(input) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) if input.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(Status::Partial) => return Err(Fault::of_bytes("the head has no end", input)),
        Err(error) => return Err(Fault::of_bytes(&error.to_string(), input)),
    };
    let status = response.code.unwrap_or(0);
    // Goes on with the reply proper: not one of ours to count.
    if (100..200).contains(&status) {
        return Err(Fault::of_bytes("an interim reply to no Expect", input));
    }
    let length = body_length(status, response.headers, input)?;
    let Some(body) = input.get(head..head + length) else { return Ok(None) };
    Ok(Some((head + length, answer(status, body))))
}

fn body_length(
    status: u16,
    headers: &[httparse::Header<'_>],
    input: &[u8],
) -> Result<usize, Fault> {
    if status == 204 || status == 304 {
        return Ok(0);
    }
    let length = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| str::from_utf8(header.value).ok()?.trim().parse().ok());
    length
        .filter(|length| *length <= super::REPLY_BYTES_MAX)
        .ok_or_else(|| Fault::of_bytes("a body without a plain Content-Length", input))
}

fn answer(status: u16, body: &[u8]) -> Answer<'_> {
    match status {
        200 => Answer::Value(body),
        201 | 204 => Answer::Done,
        404 => Answer::Absent,
        // The gateway waited in vain, or lost its node: the write may have been executed.
        500 | 502 | 504 => Answer::Unknown(body),
        _ => Answer::Refused(body),
    }
}

/// Lines of a reply's head at most.
const HEADERS_MAX: usize = 32;
/// Bytes of a reply's head at most.
const HEAD_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nETag: \"1\"\r\n\r\na\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}\
        HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n\
        HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";

    fn answers(pieces: &[&[u8]]) -> Vec<String> {
        let mut http = Http::new(&Setup::default());
        let (mut found, mut held) = (Vec::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let taken = http.decode(&held, &mut |answer| found.push(format!("{answer:?}")));
            held.drain(..taken.unwrap());
        }
        assert!(held.is_empty());
        found
    }

    #[test]
    fn status_and_body_make_the_answer() {
        let wanted = [
            Answer::Value(b"a\r\n\r\n"),
            Answer::Done,
            Answer::Absent,
            Answer::Unknown(b""),
            Answer::Refused(b"big"),
        ];
        assert_eq!(answers(&[STREAM]), wanted.map(|answer| format!("{answer:?}")));
    }

    #[test]
    fn requests_are_whole() {
        let setup = Setup { password: Some("p".to_owned()), authority: "h:80".to_owned() };
        let mut http = Http::new(&setup);
        let mut out = Vec::new();
        http.encode(&Request { key: b"k:1", ask: Ask::Get }, &mut out);
        http.encode(&Request { key: b"k", ask: Ask::Set { value: b"v", ttl: 9 } }, &mut out);
        let wanted = "GET /v1/kv/k:1 HTTP/1.1\r\nHost: h:80\r\nAuthorization: Bearer p\r\n\r\n\
            PUT /v1/kv/k?ttl=9s HTTP/1.1\r\nHost: h:80\r\nAuthorization: Bearer p\r\n\
            Content-Length: 1\r\n\r\nv";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn a_body_of_unknown_length_is_refused() {
        for input in [
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
            b"+OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        ] {
            let mut http = Http::new(&Setup::default());
            assert!(http.decode(input, &mut |_| ()).is_err(), "{}", input.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_replies(
            cuts in prop::collection::vec(0..=STREAM.len(), 0..40),
        ) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|two| &STREAM[two[0]..two[1]]).collect();
            prop_assert_eq!(answers(&pieces), answers(&[STREAM]));
        }
    }
}
