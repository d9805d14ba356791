//! Redis' protocol, version 2, as far as simple commands need it.

use super::{Answer, Ask, Fault, Protocol, Request, Setup};

/// One connection that speaks RESP.
#[derive(Debug)]
pub(crate) struct Resp {
    password: Option<String>,
    /// Replies to the greeting that have not come yet.
    greetings: u32,
}

impl Protocol for Resp {
    fn new(setup: &Setup) -> Self {
        Self { password: setup.password.clone(), greetings: 0 }
    }

    fn greet(&mut self, out: &mut Vec<u8>) {
        self.greetings = 0;
        if let Some(password) = &self.password {
            array(&[b"AUTH", password.as_bytes()], out);
            self.greetings = 1;
        }
    }

    #[inline]
    fn encode(&mut self, request: &Request<'_>, out: &mut Vec<u8>) {
        match request.ask {
            Ask::Get => out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n"),
            Ask::Increment => out.extend_from_slice(b"*2\r\n$4\r\nINCR\r\n"),
            Ask::Delete => out.extend_from_slice(b"*2\r\n$3\r\nDEL\r\n"),
            Ask::Set { ttl: 0, .. } => out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n"),
            Ask::Set { .. } => out.extend_from_slice(b"*5\r\n$3\r\nSET\r\n"),
        }
        bulk(request.key, out);
        if let Ask::Set { value, ttl } = request.ask {
            bulk(value, out);
            if ttl > 0 {
                bulk(b"EX", out);
                bulk(ttl.to_string().as_bytes(), out);
            }
        }
    }

    #[inline]
    fn decode<S: FnMut(Answer<'_>)>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Fault> {
        let mut taken = 0;
        while let Some((bytes, answer)) = reply(&input[taken..])? {
            taken += bytes;
            if self.greetings == 0 {
                sink(answer);
                continue;
            }
            self.greetings -= 1;
            if let Answer::Refused(text) = answer {
                return Err(Fault::Greeting(String::from_utf8_lossy(text).into_owned()));
            }
        }
        Ok(taken)
    }
}

/// A command of any words.
pub(crate) fn array(words: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'*');
    number(words.len(), out);
    for word in words {
        bulk(word, out);
    }
}

#[inline]
fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'$');
    number(bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// A length and its line's end.
#[inline]
fn number(value: usize, out: &mut Vec<u8>) {
    let mut text = [0; 22];
    let mut at = 20;
    let mut rest = value;
    text[20..].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// The reply at the front of `input` and its bytes, if all of it is there.
#[inline]
fn reply(input: &[u8]) -> Result<Option<(usize, Answer<'_>)>, Fault> {
    // Most replies to writes; one comparison.
    if input.starts_with(b"+OK\r\n") {
        return Ok(Some((5, Answer::Done)));
    }
    let Some(&kind) = input.first() else { return Ok(None) };
    if kind == b'$' {
        return bulk_reply(input);
    }
    let Some(line) = line(input)? else { return Ok(None) };
    let answer = match kind {
        b'+' | b':' => Answer::Done,
        b'_' => Answer::Absent,
        b'-' => error(&line[1..]),
        _ => return Err(Fault::of_bytes("no simple reply of RESP", input)),
    };
    Ok(Some((line.len() + 2, answer)))
}

#[inline]
fn bulk_reply(input: &[u8]) -> Result<Option<(usize, Answer<'_>)>, Fault> {
    let Some(line) = line(input)? else { return Ok(None) };
    if line == b"$-1" {
        return Ok(Some((5, Answer::Absent)));
    }
    let wrong = || Fault::of_bytes("no length", input);
    let mut length = 0_usize;
    for digit in &line[1..] {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 || length > super::REPLY_BYTES_MAX {
            return Err(wrong());
        }
        length = length * 10 + usize::from(digit);
    }
    if line.len() == 1 || length > super::REPLY_BYTES_MAX {
        return Err(wrong());
    }
    let from = line.len() + 2;
    match input.get(from + length..from + length + 2) {
        Some(b"\r\n") => Ok(Some((from + length + 2, Answer::Value(&input[from..from + length])))),
        Some(_) => Err(Fault::of_bytes("no line's end behind a value", input)),
        None => Ok(None),
    }
}

/// The first line without its end.
#[inline]
fn line(input: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let window = &input[..input.len().min(LINE_BYTES_MAX)];
    match window.iter().position(|&byte| byte == b'\r') {
        Some(at) if at + 1 == input.len() => Ok(None),
        Some(at) if input[at + 1] == b'\n' => Ok(Some(&input[..at])),
        None if input.len() < LINE_BYTES_MAX => Ok(None),
        _ => Err(Fault::of_bytes("no line of RESP", input)),
    }
}

/// Bytes of a line at most, as Redis has it.
const LINE_BYTES_MAX: usize = 64 << 10;

fn error(text: &[u8]) -> Answer<'_> {
    if let Some(to) = text.strip_prefix(b"MOVED ") {
        return Answer::Moved(to);
    }
    if text.starts_with(b"UNKNOWN") { Answer::Unknown(text) } else { Answer::Refused(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &[u8] = b"+OK\r\n$-1\r\n$0\r\n\r\n:42\r\n$5\r\na\r\nbc\r\n-ERR no\r\n_\r\n\
        -MOVED 12 h:1\r\n-UNKNOWN gone\r\n+QUEUED\r\n$12\r\n$3\r\nabc\r\n+OK\r\n";

    /// All answers to a stream that comes in pieces, as text.
    fn answers(pieces: &[&[u8]]) -> Vec<String> {
        let mut resp = Resp::new(&Setup::default());
        let mut found = Vec::new();
        let mut held = Vec::new();
        for piece in pieces {
            held.extend_from_slice(piece);
            let taken = resp.decode(&held, &mut |answer| found.push(format!("{answer:?}")));
            held.drain(..taken.unwrap());
        }
        assert!(held.is_empty());
        found
    }

    #[test]
    fn every_kind_of_reply_is_told_apart() {
        let mut resp = Resp::new(&Setup::default());
        let mut kinds = Vec::new();
        let taken = resp.decode(STREAM, &mut |answer| {
            kinds.push(match answer {
                Answer::Done => "done".to_owned(),
                Answer::Absent => "absent".to_owned(),
                Answer::Value(value) => format!("value {}", value.len()),
                Answer::Moved(to) => format!("moved {}", to.escape_ascii()),
                Answer::Unknown(_) => "unknown".to_owned(),
                Answer::Refused(text) => format!("refused {}", text.escape_ascii()),
                Answer::Lost => "lost".to_owned(),
            });
        });
        assert_eq!(taken, Ok(STREAM.len()));
        let wanted = [
            "done",
            "absent",
            "value 0",
            "done",
            "value 5",
            "refused ERR no",
            "absent",
            "moved 12 h:1",
            "unknown",
            "done",
            "value 12",
        ];
        assert_eq!(kinds, wanted);
    }

    #[test]
    fn what_is_not_resp_is_shown() {
        for input in
            [&b"HTTP/1.1 400 Bad\r\n"[..], b"$x\r\n", b"$3\r\nabcd\r\n", b"+a\rb", b"$\r\n"]
        {
            let mut resp = Resp::new(&Setup::default());
            assert!(resp.decode(input, &mut |_| ()).is_err(), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_wrong_password_ends_the_connection_and_a_right_one_is_silent() {
        let setup = Setup { password: Some("secret".to_owned()), ..Setup::default() };
        let mut resp = Resp::new(&setup);
        let mut out = Vec::new();
        resp.greet(&mut out);
        assert_eq!(out, b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n");
        let mut count = 0;
        assert_eq!(resp.decode(b"+OK\r\n:1\r\n", &mut |_| count += 1), Ok(9));
        assert_eq!(count, 1);
        resp.greet(&mut out);
        let refused = resp.decode(b"-WRONGPASS no\r\n", &mut |_| ());
        assert_eq!(refused, Err(Fault::Greeting("WRONGPASS no".to_owned())));
    }

    #[test]
    fn requests_are_written_as_redis_reads_them() {
        let mut resp = Resp::new(&Setup::default());
        let mut out = Vec::new();
        for ask in [Ask::Get, Ask::Set { value: b"v", ttl: 0 }, Ask::Set { value: b"", ttl: 60 }] {
            resp.encode(&Request { key: b"k", ask }, &mut out);
        }
        resp.encode(&Request { key: b"1234567890", ask: Ask::Increment }, &mut out);
        resp.encode(&Request { key: b"k", ask: Ask::Delete }, &mut out);
        let wanted = "*2 $3 GET $1 k *3 $3 SET $1 k $1 v *5 $3 SET $1 k $0  $2 EX $2 60 \
            *2 $4 INCR $10 1234567890 *2 $3 DEL $1 k ";
        assert_eq!(String::from_utf8(out).unwrap(), wanted.replace(' ', "\r\n"));
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_replies(
            cuts in prop::collection::vec(0..=STREAM.len(), 0..STREAM.len()),
        ) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|two| &STREAM[two[0]..two[1]]).collect();
            prop_assert_eq!(answers(&pieces), answers(&[STREAM]));
        }

        #[test]
        fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut resp = Resp::new(&Setup::default());
            let taken = resp.decode(&input, &mut |_| ());
            prop_assert!(taken.is_err() || taken.is_ok_and(|taken| taken <= input.len()));
        }
    }
}
