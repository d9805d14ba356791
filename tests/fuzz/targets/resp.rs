//! Commands in RESP, cut at any byte: the same commands come out, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use piccolo_engine::resp::{Limits, Parsed, Parser};

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let whole = commands(stream, stream.len());
    let step = usize::from(cut).max(1);
    assert_eq!(whole, commands(stream, step), "cut every {step} bytes");
});

/// Where a command ends, and its arguments.
type Command = (usize, Vec<Vec<u8>>);

/// All commands, given so many more bytes at a time; and how it ended.
fn commands(stream: &[u8], step: usize) -> (Vec<Command>, Option<String>) {
    let mut parser = Parser::new(Limits::default());
    let (mut found, mut from, mut seen) = (Vec::new(), 0, 0);
    loop {
        let mut spans = Vec::new();
        match parser.next(&stream[..seen], from, &mut spans) {
            Err(error) => return (found, Some(error.to_string())),
            Ok(Parsed::Command { end, arguments }) => {
                assert_eq!(spans.len(), arguments);
                let texts = spans.iter().map(|span| {
                    let start = span.start as usize;
                    stream[start..start + span.bytes as usize].to_vec()
                });
                found.push((end, texts.collect()));
                from = end;
            }
            Ok(Parsed::Rewritten { end, command }) => {
                found.push((end, vec![command]));
                from = end;
            }
            Ok(Parsed::Nothing { end }) => from = end,
            Ok(Parsed::Incomplete { .. }) if seen == stream.len() => return (found, None),
            Ok(Parsed::Incomplete { bytes_wanted }) => {
                assert!(bytes_wanted > 0);
                seen = (seen + step).min(stream.len());
            }
        }
    }
}
