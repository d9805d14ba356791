//! What a group asks its holder to do.

use piccolo_schema::ids::NodeId;
use piccolo_schema::slot_message::{Records, SlotMessage};

/// Which link of a peer a message takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Small and urgent.
    Ordinary,
    /// Snapshots, and what must stay behind them.
    Bulk,
}

/// Something to do, in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send this to the replica on that node.
    Send {
        /// Which node.
        to: NodeId,
        /// By which link.
        lane: Lane,
        /// What.
        message: SlotMessage,
    },
    /// Apply these records to the entries.
    Apply(Records),
    /// A snapshot begins: drop what was built aside, start with nothing.
    BeginAside,
    /// Apply these records to what is built aside.
    AddAside(Records),
    /// The snapshot being built will never be whole: give it back.
    DropAside,
    /// The snapshot is whole: it takes the place of the entries.
    InstallAside,
    /// This replica leads now, though it may not serve yet: tell the others the route.
    Leads,
    /// This replica may serve from now on: run what was held.
    Serves,
    /// This replica knows who leads now: send on what was held.
    Follows,
    /// More is committed: let go what waited for it.
    Committed,
    /// This replica led and does not any more, and a newer reign stands: what waits for a commit
    /// will never know its fate.
    Deposed,
    /// A higher era stands: drop the entries, they are void.
    Void,
    /// This replica is over: drop entries and group.
    Drop,
}
