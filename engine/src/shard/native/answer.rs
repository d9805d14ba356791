//! Replies of internal commands as answers of the native protocol.

use piccolo_schema::kv::{Answer, Entry, Reason, Refusal, Value};

use crate::resp::value;

/// What a reply is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Entry,
    Written,
    Number,
    Page,
}

/// The answer that `reply` gives. What is no such reply comes from a node of another build, or
/// from a fault of ours.
pub(super) fn answer(form: Form, reply: &[u8]) -> Answer<'_> {
    match reply.first() {
        Some(b'-') => error(reply),
        Some(b'$' | b'_') => Answer::Absent,
        Some(b':') => value::integer(reply).map_or(UNREADABLE, |version| {
            // Packed versions use the sign bit, too.
            Answer::Unmet(version as u64)
        }),
        _ => read(form, reply).unwrap_or(UNREADABLE),
    }
}

const UNREADABLE: Answer<'static> =
    Answer::Unknown("the node that leads this key gave an answer that this one cannot read");

fn read(form: Form, reply: &[u8]) -> Option<Answer<'_>> {
    let mut items = value::array_items(reply)?;
    let mut integer = || value::integer(items.next()?);
    Some(match form {
        Form::Written => Answer::Written { version: integer()? as u64, created: integer()? == 1 },
        Form::Number => Answer::Number { value: integer()?, version: integer()? as u64 },
        Form::Entry => {
            let (version, expires_at_ms) = (integer()? as u64, integer()? as u64);
            let meta = value::bulk(items.next()?)?;
            let value_bytes = u32::try_from(value::integer(items.next()?)?).ok()?;
            let value = items.next()?;
            let value = if is_null(value) { None } else { Some(Value::Here(value::bulk(value)?)) };
            Answer::Entry(Entry { version, expires_at_ms, meta, value_bytes, value })
        }
        Form::Page => {
            let cursor = std::str::from_utf8(value::bulk(items.next()?)?).ok()?.parse().ok()?;
            let keys = value::array_items(items.next()?)?;
            Answer::Page { cursor, keys: keys.map(value::bulk).collect::<Option<_>>()? }
        }
    })
}

fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"_\r\n")
}

/// Errors of the shard, by their first words.
fn error(reply: &[u8]) -> Answer<'_> {
    let text = reply.strip_prefix(b"-").and_then(|text| text.strip_suffix(b"\r\n"));
    let text = text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("unreadable");
    let reason = match text.split(' ').next() {
        Some("UNKNOWN") => return Answer::Unknown(text),
        Some("CLUSTERDOWN") => Reason::NotServed,
        Some("BUSY") => Reason::Busy,
        Some("OOM") => Reason::OutOfMemory,
        _ if text.contains("not an integer") => Reason::WrongType,
        _ if text.contains("overflow") || text.contains("maximum allowed size") => Reason::TooLarge,
        _ => Reason::Malformed,
    };
    Answer::Refused(Refusal { reason, detail: text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::native::write_command;
    use crate::shard::replies;
    use piccolo_schema::ids::Slot;
    use piccolo_schema::kv::Op;
    use proptest::prelude::*;

    #[test]
    fn errors_of_the_shard_keep_their_meaning() {
        let reason = |text: &str| match answer(Form::Entry, format!("-{text}\r\n").as_bytes()) {
            Answer::Refused(refusal) => Some(refusal.reason),
            Answer::Unknown(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(replies::UNKNOWN), None);
        assert_eq!(reason(replies::READ_LOST), Some(Reason::NotServed));
        assert_eq!(reason(&replies::not_served(Slot::default())), Some(Reason::NotServed));
        assert_eq!(reason(replies::BUSY), Some(Reason::Busy));
        assert_eq!(reason(replies::OUT_OF_MEMORY), Some(Reason::OutOfMemory));
        let integer = "ERR value is not an integer or out of range";
        assert_eq!(reason(integer), Some(Reason::WrongType));
        let overflow = "ERR increment or decrement would overflow";
        assert_eq!(reason(overflow), Some(Reason::TooLarge));
        assert_eq!(reason("ERR syntax error"), Some(Reason::Malformed));
    }

    proptest! {
        #[test]
        fn any_reply_becomes_an_answer(
            reply in prop::collection::vec(
                prop::sample::select(&b"+-:$*_0123456789\r\na"[..]), 0..40,
            ),
        ) {
            for form in [Form::Entry, Form::Written, Form::Number, Form::Page] {
                drop(answer(form, &reply));
            }
            // Neither is a command a reply.
            let mut body = Vec::new();
            write_command(&reply, &Op::Append(&reply), b"", &mut body);
            prop_assert!(matches!(answer(Form::Entry, &body), Answer::Unknown(_)));
        }
    }
}
