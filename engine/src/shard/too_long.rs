//! What does not fit into a frame between nodes, and what is said in its place: sent as it is, it
//! would close the link, which others share.

use piccolo_schema::limits::BODY_BYTES_MAX;
use piccolo_schema::link::RequestKind;

use crate::resp::{Reply, value};

/// What is replied in place of `reply`, which has more than [`BODY_BYTES_MAX`] bytes. Of a unit,
/// whose commands have been executed, each reply that does not fit is replaced by itself.
pub(super) fn shortened(kind: RequestKind, reply: &[u8], resp3: bool) -> Vec<u8> {
    let mut error = Vec::new();
    Reply::new(&mut error, false).error(&text(reply.len()));
    let items = match kind {
        RequestKind::Unit => value::array_items(reply),
        RequestKind::Command | RequestKind::Sweep => None,
    };
    let Some(items) = items else { return error };
    // Room for the errors of all, so that what comes last is told as well as what comes first.
    let count = items.clone().count();
    let room = BODY_BYTES_MAX.saturating_sub((count + 1).saturating_mul(error.len()));
    let mut bytes = Vec::new();
    Reply::new(&mut bytes, resp3).array(count);
    let mut told = 0;
    for item in items {
        let fits = item.len() <= error.len() || told + item.len() <= room;
        told += if fits { item.len() } else { 0 };
        bytes.extend_from_slice(if fits { item } else { &error });
    }
    // Hundreds of thousands of commands are more than there are errors for.
    if bytes.len() > BODY_BYTES_MAX { error } else { bytes }
}

fn text(bytes: usize) -> String {
    format!(
        "ERR the reply of {bytes} bytes is longer than the {BODY_BYTES_MAX} that travel between \
         nodes; what was to be written is written. Ask the node that leads the key, or for fewer \
         keys."
    )
}

/// The error of a request that is longer than what travels.
pub(super) fn request(bytes: usize) -> String {
    format!(
        "ERR a request of {bytes} bytes is longer than the {BODY_BYTES_MAX} that travel between \
         nodes. Nothing was changed; send less at once, or to the node that leads the key."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(reply: &[u8]) -> String {
        format!("-{}\r\n", text(reply.len()))
    }

    /// A unit's commands have each their reply, and the client must learn that they were executed.
    #[test]
    fn of_a_unit_only_replies_that_do_not_fit_are_replaced() {
        let mut reply = Vec::new();
        let large = vec![b'x'; BODY_BYTES_MAX / 2];
        let mut writer = Reply::new(&mut reply, false);
        writer.array(4);
        writer.ok();
        writer.bulk(&large);
        writer.bulk(&large);
        writer.ok();
        let short = shortened(RequestKind::Unit, &reply, false);
        assert!(short.len() <= BODY_BYTES_MAX, "{} bytes", short.len());
        let error = error_of(&reply);
        let items: Vec<&[u8]> = value::array_items(&short).unwrap().collect();
        assert_eq!((items.len(), items[0], items[3]), (4, &b"+OK\r\n"[..], &b"+OK\r\n"[..]));
        assert_eq!(value::bulk(items[1]), Some(&large[..]));
        assert_eq!(items[2], error.as_bytes());
    }

    #[test]
    fn a_command_has_one_error_in_place_of_its_reply() {
        let reply = vec![b'x'; BODY_BYTES_MAX + 1];
        let short = shortened(RequestKind::Command, &reply, false);
        assert_eq!(short, error_of(&reply).as_bytes());
    }

    /// So many short replies that their errors would be too long as well.
    #[test]
    fn a_unit_of_too_many_commands_has_one_error() {
        let count = BODY_BYTES_MAX / 100;
        let mut reply = Vec::new();
        let mut writer = Reply::new(&mut reply, false);
        writer.array(count);
        (0..count).for_each(|_| writer.bulk(&[b'x'; 250]));
        let short = shortened(RequestKind::Unit, &reply, false);
        assert_eq!(short, error_of(&reply).as_bytes());
    }
}
