//! What a shard counts: moved by its own thread, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one shard, kept where only it writes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commands: u64,
    pub(super) keys: u64,
    pub(super) bytes: usize,
    pub(super) expired: u64,
    pub(super) accepted: u64,
    pub(super) connections: u64,
    pub(super) cut_off: u64,
    pub(super) forwarded: u64,
    pub(super) bounced: u64,
    pub(super) link_faults: u64,
    pub(super) slots_led: u64,
    pub(super) snapshots: u64,
    pub(super) snapshot_bytes: u64,
}

impl Counters {
    /// Accounts for a table of which entries and bytes are told before and after a change.
    #[inline]
    pub(super) fn account(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.keys = self.keys.wrapping_add(after.0 as u64).wrapping_sub(before.0 as u64);
        self.bytes = self.bytes.wrapping_add(after.1).wrapping_sub(before.1);
    }
}

/// A number that one thread writes and others read, some time later.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// The number as last told.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, value: u64) {
        // No read-modify-write: there is one writer.
        if self.0.load(Relaxed) != value {
            self.0.store(value, Relaxed);
        }
    }
}

/// Counts of one shard as others see them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Shared {
    /// Commands of clients, executed or sent on.
    pub commands: Gauge,
    /// Entries, those included that have ended but were not met since.
    pub keys: Gauge,
    /// Bytes of entries and tables, as asked of the allocator.
    pub bytes: Gauge,
    /// Entries that ended.
    pub expired: Gauge,
    /// Connections of clients that are open.
    pub connections: Gauge,
    /// Connections of clients taken in so far.
    pub accepted: Gauge,
    /// Clients cut off because they read nothing.
    pub cut_off: Gauge,
    /// Commands sent to other nodes.
    pub forwarded: Gauge,
    /// Commands that came back because the slot had moved.
    pub bounced: Gauge,
    /// Links closed for a fault of the peer.
    pub link_faults: Gauge,
    /// Slots that this shard leads.
    pub slots_led: Gauge,
    /// Slots on the move.
    pub slots_moving: Gauge,
    /// Slots that this shard should lead and does not.
    pub slots_missing: Gauge,
    /// Slots of this shard that nobody is known to lead.
    pub slots_unrouted: Gauge,
    /// Replicas of slots held, led or not.
    pub replicas: Gauge,
    /// Snapshots sent so far.
    pub snapshots: Gauge,
    /// Bytes of snapshots sent so far.
    pub snapshot_bytes: Gauge,
    /// Work asked of others and not answered.
    pub asking: Gauge,
}

impl Shared {
    pub(super) fn publish(&self, counters: &Counters, asking: u64) {
        self.commands.set(counters.commands);
        self.keys.set(counters.keys);
        self.bytes.set(counters.bytes as u64);
        self.expired.set(counters.expired);
        self.accepted.set(counters.accepted);
        self.cut_off.set(counters.cut_off);
        self.forwarded.set(counters.forwarded);
        self.bounced.set(counters.bounced);
        self.link_faults.set(counters.link_faults);
        self.slots_led.set(counters.slots_led);
        self.snapshots.set(counters.snapshots);
        self.snapshot_bytes.set(counters.snapshot_bytes);
        self.connections.set(counters.connections);
        self.asking.set(asking);
    }
}
