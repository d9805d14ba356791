//! Inline commands: a line of words, as typed into a bare socket.

use super::{ProtocolError, Span};

/// The words of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Words {
    /// Each lies in the line as it is.
    InPlace(Vec<Span>),
    /// Quotes or escapes had to be taken out.
    Owned(Vec<Vec<u8>>),
}

/// Splits `line` at white space, honouring quotes (source: redis `sdssplitargs`).
///
/// # Errors
///
/// [`ProtocolError::Quotes`] if a quote does not end, or ends inside a word.
pub(super) fn split(line: &[u8]) -> Result<Words, ProtocolError> {
    if !line.iter().any(|byte| matches!(byte, b'"' | b'\'')) {
        return Ok(Words::InPlace(split_in_place(line)));
    }
    let mut words = Vec::new();
    let mut rest = trim_start(line);
    while !rest.is_empty() {
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?;
        words.push(word);
        rest = trim_start(rest);
    }
    Ok(Words::Owned(words))
}

/// The words as a command in the protocol's own form.
pub(super) fn rewrite(words: &[Vec<u8>]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        command.extend_from_slice(word);
        command.extend_from_slice(b"\r\n");
    }
    command
}

fn split_in_place(line: &[u8]) -> Vec<Span> {
    let mut words = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let bytes = line[at..].iter().position(|byte| is_space(*byte)).unwrap_or(line.len() - at);
        if bytes > 0 {
            words.push(Span { start: at as u32, bytes: bytes as u32 });
        }
        at += bytes + 1;
    }
    words
}

/// Takes one word off the start of `rest`, which is not empty and starts with no space.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] => return Ok(rest),
            [first, ..] if is_space(*first) => return Ok(rest),
            [quote @ (b'"' | b'\''), behind @ ..] => {
                rest = take_quoted(*quote, behind, word)?;
                // A closing quote ends the word.
                return match rest.first() {
                    Some(next) if !is_space(*next) => Err(ProtocolError::Quotes),
                    _ => Ok(rest),
                };
            }
            [byte, behind @ ..] => {
                word.push(*byte);
                rest = behind;
            }
        }
    }
}

fn take_quoted<'a>(
    quote: u8,
    mut rest: &'a [u8],
    word: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        let byte;
        (byte, rest) = match (quote, rest) {
            (_, []) => return Err(ProtocolError::Quotes),
            (b'"', [b'\\', b'x', high, low, behind @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (nibble(*high) << 4 | nibble(*low), behind)
            }
            (b'"', [b'\\', escaped, behind @ ..]) => (unescape(*escaped), behind),
            (b'\'', [b'\\', b'\'', behind @ ..]) => (b'\'', behind),
            (_, [byte, behind @ ..]) if *byte == quote => return Ok(behind),
            (_, [byte, behind @ ..]) => (*byte, behind),
        };
        word.push(byte);
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// White space of C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn trim_start(rest: &[u8]) -> &[u8] {
    let spaces = rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
    &rest[spaces..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(line: &str) -> Result<Vec<Vec<u8>>, ProtocolError> {
        Ok(match split(line.as_bytes())? {
            Words::Owned(words) => words,
            Words::InPlace(spans) => spans
                .iter()
                .map(|s| line.as_bytes()[s.start as usize..][..s.bytes as usize].to_vec())
                .collect(),
        })
    }

    #[test]
    fn words_are_split_and_unquoted_like_redis_does() {
        let cases: [(&str, &[&[u8]]); 7] = [
            ("  set  a\tb ", &[b"set", b"a", b"b"]),
            (r#"set "a b" 'c d'"#, &[b"set", b"a b", b"c d"]),
            (r#""\x41\xfF\n\q" '\x41\''"#, &[b"A\xff\nq", br"\x41'"]),
            (r#"a"b c" d"#, &[b"ab c", b"d"]),
            (r#""" ''"#, &[b"", b""]),
            (r"a\ b", &[br"a\", b"b"]),
            ("", &[]),
        ];
        for (line, words) in cases {
            assert_eq!(owned(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn quotes_that_do_not_end_are_refused() {
        for line in [r#""a"#, "'a", r#""a"b"#, r#""a\""#, r#"a "b" "c"#] {
            assert_eq!(owned(line), Err(ProtocolError::Quotes), "{line}");
        }
    }
}
