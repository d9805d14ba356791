//! Texts of errors that the cluster itself gives. Codes are those that Redis clients know, but
//! for UNKNOWN, which Redis has no word for.

use piccolo_schema::ids::Slot;

/// The fate of a write cannot be told.
pub(super) const UNKNOWN: &str = "UNKNOWN whether this write was executed cannot be told: the \
     node that had it went away before it answered. Read the key before you repeat it.";

/// A read got no answer.
pub(super) const READ_LOST: &str = "CLUSTERDOWN the node that was asked went away. Nothing was \
     changed; try again.";

/// The shard is full of replies that nobody reads.
pub(super) const BUSY: &str = "BUSY too much work is waiting for this slot. Nothing was changed; \
     try again.";

/// Too little memory for what the command would write.
pub(super) const OUT_OF_MEMORY: &str = "OOM command not allowed when used memory > 'maxmemory'.";

/// Nobody took the command in time.
pub(super) fn not_served(slot: Slot) -> String {
    format!(
        "CLUSTERDOWN slot {slot} has no leader that could be reached for 5 s. \
         Nothing was changed; try again."
    )
}
