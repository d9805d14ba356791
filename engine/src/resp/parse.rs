//! Commands read from a stream of bytes, in place.

use piccolo_schema::limits;

use super::inline::{self, Words};
use super::{Span, number};

/// Bytes of a count or length line at most: the longest integer, its type and its line end fit
/// well, so that a sender who never ends the line is found out at once.
const HEADER_BYTES_MAX: usize = 32;

/// Spans kept for an incomplete command whose memory is given back once it is complete.
const PARTIAL_SPANS_KEPT: usize = 1024;

/// How large a command may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one command, its lengths included. Below 4 GiB, since spans are 32 bits wide.
    pub command_bytes_max: usize,
    /// Arguments of one command.
    pub arguments_max: usize,
    /// Bytes of a line of words, its end included (source: redis `PROTO_INLINE_MAX_SIZE`).
    pub inline_bytes_max: usize,
    /// Bytes of one argument.
    pub bulk_bytes_max: usize,
}

impl Limits {
    /// For whoever has not said the password yet: enough to say it (source: redis, 10 arguments of
    /// 16 KiB).
    pub const BEFORE_AUTH: Self = Self {
        command_bytes_max: 64 << 10,
        arguments_max: 10,
        inline_bytes_max: 64 << 10,
        bulk_bytes_max: 16 << 10,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_bytes_max: limits::COMMAND_BYTES_MAX,
            arguments_max: limits::COMMAND_ARGUMENTS_MAX,
            inline_bytes_max: 64 << 10,
            bulk_bytes_max: limits::VALUE_BYTES_MAX,
        }
    }
}

/// What [`Parser::next`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A command whose arguments were appended to the spans.
    Command {
        /// First byte behind it.
        end: usize,
        /// Spans appended, at least 1.
        arguments: usize,
    },
    /// A line of words some of which were quoted.
    Rewritten {
        /// First byte behind the line.
        end: usize,
        /// The same command, unquoted, in a form that [`Parser::next`] reads.
        command: Vec<u8>,
    },
    /// An empty line, or a command of no arguments: no reply is due.
    Nothing {
        /// First byte behind it.
        end: usize,
    },
    /// The command does not end in the buffer.
    Incomplete {
        /// At least this many bytes are missing.
        bytes_wanted: usize,
    },
}

/// Why a client's bytes are not a command. It is told so, then its connection is closed: where
/// the next command would start is unknown. Texts are those of Redis where it has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The number of arguments is no number, or above [`Limits::arguments_max`].
    #[error("Protocol error: invalid multibulk length")]
    Count,
    /// The length of an argument is no length, or above [`Limits::bulk_bytes_max`].
    #[error("Protocol error: invalid bulk length")]
    Length,
    /// An argument starts with this byte.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    NotBulk(u8),
    /// The command is longer than [`Limits::command_bytes_max`], which is given.
    #[error("Protocol error: command of more than {0} bytes")]
    Command(usize),
    /// A line is longer than [`Limits::inline_bytes_max`].
    #[error("Protocol error: too big inline request")]
    Inline,
    /// A quote in a line does not end.
    #[error("Protocol error: unbalanced quotes in request")]
    Quotes,
    /// The line is one of an HTTP request: a page in somebody's browser was made to send it.
    #[error("Protocol error: HTTP request to a key:value port")]
    Http,
}

/// Reads the commands of one connection. Remembers how far an incomplete command was read, so
/// that nothing is read twice however the stream is cut. Positions inside are relative to the
/// start of the command: the caller may move it to the front of its buffer between calls.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    /// Bytes of the incomplete command already read; of a line, those known to hold no end.
    read: usize,
    /// Arguments of the incomplete command not yet read.
    missing: usize,
    /// Arguments already read.
    partial: Vec<Span>,
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        assert!(limits.command_bytes_max < u32::MAX as usize, "spans are 32 bits wide");
        Self { limits, read: 0, missing: 0, partial: Vec::new() }
    }

    /// Changes what is allowed from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Reads the command at `buffer[from..]` and appends its arguments to `spans`, as positions
    /// in `buffer`, which must be shorter than 4 GiB. After [`Parsed::Incomplete`] the next call
    /// must hold the same bytes again, at any `from`, and may hold more behind them.
    ///
    /// # Errors
    ///
    /// The bytes are no command; the parser is then good for nothing more. `spans` is unchanged.
    #[inline]
    pub fn next(
        &mut self,
        buffer: &[u8],
        from: usize,
        spans: &mut Vec<Span>,
    ) -> Result<Parsed, ProtocolError> {
        if self.missing > 0 {
            return self.resume(buffer, from, spans);
        }
        match buffer.get(from) {
            None => Ok(Parsed::Incomplete { bytes_wanted: 1 }),
            Some(b'*') => self.array(buffer, from, spans),
            Some(_) => self.line(buffer, from, spans),
        }
    }

    fn array(
        &mut self,
        buffer: &[u8],
        from: usize,
        spans: &mut Vec<Span>,
    ) -> Result<Parsed, ProtocolError> {
        let Some((count, at)) = header(buffer, from, ProtocolError::Count)? else {
            return Ok(Parsed::Incomplete { bytes_wanted: 1 });
        };
        let Ok(count) = usize::try_from(count) else { return Ok(Parsed::Nothing { end: at }) };
        if count == 0 {
            return Ok(Parsed::Nothing { end: at });
        }
        if count > self.limits.arguments_max {
            return Err(ProtocolError::Count);
        }
        let before = spans.len();
        match arguments(&self.limits, buffer, 0, from, at, count, spans) {
            Ok(Progress::Complete { end }) => Ok(Parsed::Command { end, arguments: count }),
            Ok(Progress::Incomplete { at, missing, bytes_wanted }) => {
                (self.read, self.missing) = (at - from, missing);
                self.partial.extend(
                    spans.drain(before..).map(|s| Span { start: s.start - from as u32, ..s }),
                );
                Ok(Parsed::Incomplete { bytes_wanted })
            }
            Err(error) => {
                spans.truncate(before);
                Err(error)
            }
        }
    }

    fn resume(
        &mut self,
        buffer: &[u8],
        from: usize,
        spans: &mut Vec<Span>,
    ) -> Result<Parsed, ProtocolError> {
        let (at, count) = (from + self.read, self.missing);
        match arguments(&self.limits, buffer, from, from, at, count, &mut self.partial)? {
            Progress::Complete { end } => {
                let arguments = self.partial.len();
                let moved =
                    self.partial.iter().map(|s| Span { start: s.start + from as u32, ..*s });
                spans.extend(moved);
                self.partial.clear();
                self.partial.shrink_to(PARTIAL_SPANS_KEPT);
                (self.read, self.missing) = (0, 0);
                Ok(Parsed::Command { end, arguments })
            }
            Progress::Incomplete { at, missing, bytes_wanted } => {
                (self.read, self.missing) = (at - from, missing);
                Ok(Parsed::Incomplete { bytes_wanted })
            }
        }
    }

    fn line(
        &mut self,
        buffer: &[u8],
        from: usize,
        spans: &mut Vec<Span>,
    ) -> Result<Parsed, ProtocolError> {
        let line = &buffer[from..];
        let window = &line[..line.len().min(self.limits.inline_bytes_max)];
        let unread = &window[self.read.min(window.len())..];
        let Some(bytes) = unread.iter().position(|byte| *byte == b'\n') else {
            if window.len() == self.limits.inline_bytes_max {
                return Err(ProtocolError::Inline);
            }
            self.read = window.len();
            return Ok(Parsed::Incomplete { bytes_wanted: 1 });
        };
        let bytes = self.read + bytes;
        let end = from + bytes + 1;
        self.read = 0;
        let line = &line[..bytes];
        match inline::split(line.strip_suffix(b"\r").unwrap_or(line))? {
            Words::InPlace(words) if words.is_empty() => Ok(Parsed::Nothing { end }),
            Words::InPlace(words) => {
                let first = &line[words[0].start as usize..][..words[0].bytes as usize];
                if first.eq_ignore_ascii_case(b"post") || first.eq_ignore_ascii_case(b"host:") {
                    return Err(ProtocolError::Http);
                }
                spans.extend(words.iter().map(|s| Span { start: s.start + from as u32, ..*s }));
                Ok(Parsed::Command { end, arguments: words.len() })
            }
            Words::Owned(words) => Ok(Parsed::Rewritten { end, command: inline::rewrite(&words) }),
        }
    }
}

enum Progress {
    Complete { end: usize },
    Incomplete { at: usize, missing: usize, bytes_wanted: usize },
}

/// Reads `missing` arguments from `buffer[at..]`, of the command that starts at `from`, into
/// `spans`, as positions relative to `base`.
#[inline]
fn arguments(
    limits: &Limits,
    buffer: &[u8],
    base: usize,
    from: usize,
    mut at: usize,
    mut missing: usize,
    spans: &mut Vec<Span>,
) -> Result<Progress, ProtocolError> {
    while missing > 0 {
        let Some(first) = buffer.get(at) else {
            return Ok(Progress::Incomplete { at, missing, bytes_wanted: 1 });
        };
        if *first != b'$' {
            return Err(ProtocolError::NotBulk(*first));
        }
        let Some((length, start)) = header(buffer, at, ProtocolError::Length)? else {
            return Ok(Progress::Incomplete { at, missing, bytes_wanted: 1 });
        };
        let bytes = usize::try_from(length).map_err(|_| ProtocolError::Length)?;
        if bytes > limits.bulk_bytes_max {
            return Err(ProtocolError::Length);
        }
        // Two bytes end an argument. Like in Redis, any two do.
        let end = start + bytes + 2;
        if end - from > limits.command_bytes_max {
            return Err(ProtocolError::Command(limits.command_bytes_max));
        }
        if end > buffer.len() {
            return Ok(Progress::Incomplete { at, missing, bytes_wanted: end - buffer.len() });
        }
        spans.push(Span { start: (start - base) as u32, bytes: bytes as u32 });
        at = end;
        missing -= 1;
    }
    Ok(Progress::Complete { end: at })
}

/// Reads the line at `buffer[at..]`, one byte of type and an integer, and returns the integer
/// and the first byte behind the line; `None` if the line does not end in the buffer.
#[inline]
fn header(
    buffer: &[u8],
    at: usize,
    error: ProtocolError,
) -> Result<Option<(i64, usize)>, ProtocolError> {
    // Nearly every length has one or two digits.
    match buffer[at + 1..] {
        [ones @ b'0'..=b'9', b'\r', b'\n', ..] => Ok(Some((i64::from(ones - b'0'), at + 4))),
        [tens @ b'1'..=b'9', ones @ b'0'..=b'9', b'\r', b'\n', ..] => {
            Ok(Some((i64::from(tens - b'0') * 10 + i64::from(ones - b'0'), at + 5)))
        }
        _ => header_of_any_length(buffer, at, error),
    }
}

fn header_of_any_length(
    buffer: &[u8],
    at: usize,
    error: ProtocolError,
) -> Result<Option<(i64, usize)>, ProtocolError> {
    let rest = &buffer[at + 1..];
    let window = &rest[..rest.len().min(HEADER_BYTES_MAX)];
    match window.iter().position(|byte| *byte == b'\r') {
        Some(digits) => match window.get(digits + 1) {
            Some(b'\n') => {
                let value = number::parse_i64(&window[..digits]).ok_or(error)?;
                Ok(Some((value, at + digits + 3)))
            }
            None if window.len() < HEADER_BYTES_MAX => Ok(None),
            _ => Err(error),
        },
        None if window.len() < HEADER_BYTES_MAX => Ok(None),
        None => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: Limits = Limits {
        command_bytes_max: 120,
        arguments_max: 5,
        inline_bytes_max: 40,
        bulk_bytes_max: 20,
    };

    type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

    /// Feeds `stream` in pieces that end at `cuts`; before each, moves what is left to the front.
    fn feed(stream: &[u8], cuts: &[usize], limits: Limits) -> Outcome {
        let (mut parser, mut buffer, mut commands) = (Parser::new(limits), Vec::new(), Vec::new());
        let mut fed = 0;
        let mut from = 0;
        for cut in cuts.iter().copied().filter(|cut| *cut < stream.len()).chain([stream.len()]) {
            buffer.drain(..from);
            from = 0;
            buffer.extend_from_slice(&stream[fed.min(cut)..cut]);
            fed = fed.max(cut);
            loop {
                let mut spans = vec![Span { start: 9, bytes: 9 }];
                let parsed = match parser.next(&buffer, from, &mut spans) {
                    Ok(parsed) => parsed,
                    Err(error) => {
                        assert_eq!(spans.len(), 1);
                        return (commands, Some(error));
                    }
                };
                match parsed {
                    Parsed::Command { end, arguments } => {
                        assert_eq!(spans.len(), arguments + 1);
                        commands.push(words(&buffer, &spans[1..]));
                        from = end;
                    }
                    Parsed::Rewritten { end, command } => {
                        let bytes = command.len();
                        let again = parser.next(&command, 0, &mut spans).unwrap();
                        let arguments = spans.len() - 1;
                        assert_eq!(again, Parsed::Command { end: bytes, arguments });
                        commands.push(words(&command, &spans[1..]));
                        from = end;
                    }
                    Parsed::Nothing { end } => from = end,
                    Parsed::Incomplete { bytes_wanted } => {
                        assert!(spans.len() == 1 && bytes_wanted > 0);
                        assert!(bytes_wanted <= limits.bulk_bytes_max + 2);
                        break;
                    }
                }
            }
        }
        (commands, None)
    }

    fn words(buffer: &[u8], spans: &[Span]) -> Vec<Vec<u8>> {
        let word = |s: &Span| buffer[s.start as usize..][..s.bytes as usize].to_vec();
        spans.iter().map(word).collect()
    }

    fn command() -> impl Strategy<Value = Vec<u8>> {
        let argument = prop::collection::vec(any::<u8>(), 0..12);
        prop::collection::vec(argument, 1..5).prop_map(|words| inline::rewrite(&words))
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let junk = prop::sample::select(&b"*$\r\n0123456789-ab \"'\\x"[..]);
        prop_oneof![
            4 => command(),
            2 => "[a-c ]{0,9}\r?\n".prop_map(String::into_bytes),
            1 => r#"[a-c "'\\]{0,9}\r?\n"#.prop_map(String::into_bytes),
            1 => r"(\*-?[0-9]{0,3}\r\n)?(\$-?[0-9]{0,3}\r\n[a-c]{0,3}\r\n)*"
                .prop_map(String::into_bytes),
            1 => prop::collection::vec(junk, 0..12),
            1 => prop::collection::vec(any::<u8>(), 0..12),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_cut_of_the_stream_makes_no_difference(
            pieces in prop::collection::vec(piece(), 0..6),
            mut cuts in prop::collection::vec(0..200_usize, 0..20),
        ) {
            cuts.sort_unstable();
            let stream = pieces.concat();
            let whole = feed(&stream, &[], SMALL);
            prop_assert_eq!(&feed(&stream, &cuts, SMALL), &whole);
            let bytewise: Vec<_> = (0..stream.len()).collect();
            prop_assert_eq!(&feed(&stream, &bytewise, SMALL), &whole);
            for command in whole.0 {
                // A line may hold more arguments than a command with a count.
                prop_assert!(command.iter().all(|word| word.len() <= SMALL.inline_bytes_max));
                let bytes: usize = command.iter().map(Vec::len).sum();
                prop_assert!(bytes <= SMALL.command_bytes_max);
            }
        }

        #[test]
        fn what_was_written_is_read(commands in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..30), 0..5,
        )) {
            let stream: Vec<_> = commands.iter().flat_map(|words| inline::rewrite(words)).collect();
            prop_assert_eq!(feed(&stream, &[7, 100, 1000], Limits::default()), (commands, None));
        }
    }

    fn refused(stream: &str) -> String {
        feed(stream.as_bytes(), &[], SMALL).1.map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn refusals_read_like_those_of_redis() {
        for (stream, text) in [
            ("*x\r\n", "Protocol error: invalid multibulk length"),
            ("*6\r\n", "Protocol error: invalid multibulk length"),
            ("*99999999999999999999\r\n", "Protocol error: invalid multibulk length"),
            ("*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
            ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            ("*1\r\n$21\r\n", "Protocol error: invalid bulk length"),
            ("*1\r\n$01\r\n", "Protocol error: invalid bulk length"),
            ("GET \"a\r\n", "Protocol error: unbalanced quotes in request"),
            ("POST / HTTP/1.1\r\n", "Protocol error: HTTP request to a key:value port"),
            ("host: localhost\r\n", "Protocol error: HTTP request to a key:value port"),
            ("*0\r\n*-5\r\n\r\n*1\r\n", ""),
        ] {
            assert_eq!(refused(stream), text, "{stream:?}");
        }
        assert_eq!(refused(&"a".repeat(40)), "Protocol error: too big inline request");
        assert_eq!(refused(&"*".repeat(40)), "Protocol error: invalid multibulk length");
        let large = format!("*5\r\n{}", format!("$20\r\n{}\r\n", "a".repeat(20)).repeat(5));
        assert_eq!(refused(&large), "Protocol error: command of more than 120 bytes");
    }

    #[test]
    fn the_bytes_wanted_are_the_bytes_missing() {
        let (command, mut spans) = (b"*2\r\n$3\r\nGET\r\n$16\r\n0123456789abcdef\r\n", Vec::new());
        let mut parser = Parser::new(Limits::default());
        let found = parser.next(&command[..20], 0, &mut spans);
        assert_eq!(found, Ok(Parsed::Incomplete { bytes_wanted: command.len() - 20 }));
    }
}
