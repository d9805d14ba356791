//! SHUTDOWN: the node begins to leave, as on SIGTERM.

use super::stream::StreamKey;
use super::{Action, Shard};
use crate::resp::Args;

impl Shard {
    pub(super) fn shutdown(&mut self, key: StreamKey, args: &Args<'_>) {
        match allowed(args) {
            Ok(()) => {
                // No reply: like that of Redis, the connection ends.
                self.actions.push_back(Action::Leave);
                self.close_after_replies(key);
            }
            Err(text) => self.say(key, |reply| reply.error(text)),
        }
    }
}

/// NOW and FORCE are about disks and copies that are not there: they change nothing.
fn allowed(args: &Args<'_>) -> Result<(), &'static str> {
    let (mut save, mut no_save, mut abort) = (false, false, false);
    for word in args.iter().skip(1) {
        match word.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => no_save = true,
            b"abort" => abort = true,
            b"now" | b"force" => {}
            _ => return Err(SYNTAX),
        }
    }
    match (abort, save, no_save) {
        (true, _, _) if args.len() > 2 => Err(SYNTAX),
        (_, true, true) => Err(SYNTAX),
        (true, ..) => Err(NO_ABORT),
        (_, true, _) => Err(NO_SAVE),
        _ => Ok(()),
    }
}

const SYNTAX: &str = "ERR syntax error";

const NO_ABORT: &str = "ERR SHUTDOWN ABORT is not supported: a node that has begun to leave ends";

const NO_SAVE: &str = "ERR SHUTDOWN SAVE is not supported: nothing is kept on disk. SHUTDOWN \
     NOSAVE moves the keys to the other nodes first";
