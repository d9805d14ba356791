//! What a shard counts: moved by its own thread, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::calls::{Calls, SharedCalls};
use super::durations::{Durations, Path, SharedDurations};
use crate::keyspace::Lookups;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proto {
    /// A client that speaks RESP, whatever its door.
    Resp,
    /// A client that speaks the native protocol.
    Native,
    /// Another node.
    Peer,
}

impl Proto {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Resp, Self::Native, Self::Peer];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resp => "resp",
            Self::Native => "native",
            Self::Peer => "peer",
        }
    }
}

/// Counts of one shard, kept where only it writes.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commands: u64,
    pub(super) keys: u64,
    pub(super) bytes: usize,
    pub(super) expired: u64,
    pub(super) accepted: u64,
    pub(super) connections: u64,
    /// Of those accepted and of those open, the ones that speak the native protocol.
    pub(super) native_accepted: u64,
    pub(super) native_connections: u64,
    pub(super) cut_off: u64,
    pub(super) forwarded: u64,
    pub(super) bounced: u64,
    pub(super) link_faults: u64,
    pub(super) slots_led: u64,
    pub(super) slots_lost: u64,
    pub(super) snapshots: u64,
    pub(super) snapshot_bytes: u64,
    /// Commands of those counted whose replies were not known at once.
    pub(super) asked: u64,
    /// Commands whose time is counted with that of their turn.
    pub(super) timed: u64,
    /// Of keys, by commands that only read.
    pub(super) lookups: Lookups,
    /// Bytes by [`Proto`].
    pub(super) received: [u64; Proto::ALL.len()],
    pub(super) sent: [u64; Proto::ALL.len()],
    /// Microseconds spent in turns.
    pub(super) busy: u64,
    pub(super) calls: Calls,
    /// By [`Path`].
    pub(super) durations: [Durations; Path::ALL.len()],
}

impl Counters {
    /// A connection of which so many bytes have come turns out to speak the native protocol.
    pub(super) fn turned_native(&mut self, bytes: usize) {
        self.native_accepted += 1;
        self.native_connections += 1;
        self.received[Proto::Resp as usize] -= bytes as u64;
        self.received[Proto::Native as usize] += bytes as u64;
    }

    /// Accounts for a table of which entries and bytes are told before and after a change.
    #[inline]
    pub(super) fn account(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.keys = self.keys.wrapping_add(after.0 as u64).wrapping_sub(before.0 as u64);
        self.bytes = self.bytes.wrapping_add(after.1).wrapping_sub(before.1);
    }
}

impl super::Shard {
    /// Tells how long the last turn took, with all that the caller did for it: no command that was
    /// read and answered in it took longer, from the read of its bytes to the write of its reply.
    #[inline]
    pub fn turn_took(&mut self, took: Duration) {
        let took = took.as_secs() * 1_000_000 + u64::from(took.subsec_micros());
        self.log_turn(took);
        let counters = &mut self.counters;
        counters.busy += took;
        let at_once = counters.commands.saturating_sub(counters.asked);
        let commands = at_once.saturating_sub(counters.timed);
        if commands > 0 {
            counters.timed = at_once;
            counters.durations[Path::Local as usize].add(took, commands);
        }
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
    /// Bytes of entries in the whole node above which writes are refused; 0 for no limit.
    pub memory_bytes_max: Gauge,
    /// Entries that ended.
    pub expired: Gauge,
    /// Connections of clients that are open.
    pub connections: Gauge,
    /// Clients taken in that turned out to speak the native protocol.
    pub native_accepted: Gauge,
    /// Open connections of those.
    pub native_connections: Gauge,
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
    /// Slots begun anew, empty, so far.
    pub slots_lost: Gauge,
    /// Snapshots sent so far.
    pub snapshots: Gauge,
    /// Bytes of snapshots sent so far.
    pub snapshot_bytes: Gauge,
    /// Work asked of others and not answered.
    pub asking: Gauge,
    /// Keys that reading commands looked for and found.
    pub hits: Gauge,
    /// Keys that reading commands looked for and did not find.
    pub misses: Gauge,
    /// Bytes received, by [`Proto`].
    pub received: [Gauge; Proto::ALL.len()],
    /// Bytes sent, by [`Proto`].
    pub sent: [Gauge; Proto::ALL.len()],
    /// Microseconds spent in turns.
    pub busy: Gauge,
    /// Commands by name and result.
    pub calls: SharedCalls,
    /// How long commands took, by [`Path`].
    pub durations: [SharedDurations; Path::ALL.len()],
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
        self.slots_lost.set(counters.slots_lost);
        self.snapshots.set(counters.snapshots);
        self.snapshot_bytes.set(counters.snapshot_bytes);
        self.connections.set(counters.connections);
        self.native_accepted.set(counters.native_accepted);
        self.native_connections.set(counters.native_connections);
        self.asking.set(asking);
    }

    /// Publishes what nobody waits for, now and then: it is much.
    pub(super) fn publish_rest(&self, counters: &Counters) {
        self.hits.set(counters.lookups.hits);
        self.misses.set(counters.lookups.misses);
        for proto in Proto::ALL {
            self.received[proto as usize].set(counters.received[proto as usize]);
            self.sent[proto as usize].set(counters.sent[proto as usize]);
        }
        self.busy.set(counters.busy);
        self.calls.publish(&counters.calls);
        for (shared, durations) in self.durations.iter().zip(&counters.durations) {
            shared.publish(durations);
        }
    }
}
