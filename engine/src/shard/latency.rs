//! LATENCY: no event is recorded, and that is what every subcommand says.

use crate::resp::{Args, Reply};

const DOCTOR: &str = "No latency event is recorded here: the latency monitor of Redis is not \
     there. SLOWLOG GET tells of turns that took long.\n";

/// Answers a subcommand of LATENCY, as resolved.
pub(super) fn answer(args: &Args<'_>, reply: &mut Reply<'_>) {
    match args.get(1).to_ascii_lowercase().as_slice() {
        b"doctor" => reply.verbatim(*b"txt", DOCTOR),
        b"histogram" => reply.map(0),
        // Of so many events the samples were forgotten.
        b"reset" => reply.integer(0),
        _ => reply.array(0),
    }
}
