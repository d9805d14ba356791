//! The metrics of a node, out of what its shards and its reactor publish.

use std::sync::Arc;

use piccolo_gossip::{ProbeTimes, Stats};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::families::Families;
use crate::admin::status::{MemberState, Status, View};
use crate::command;
use crate::shard::{CallResult, Gauge, NATIVE_SCAN, NATIVE_TOPOLOGY, OTHER, Path, Proto, Shared};

/// Microseconds of a second.
const MICROSECONDS: f64 = 1e6;

/// Reads what is published, for every scrape anew.
#[derive(Debug)]
pub(super) struct NodeCollector {
    view: Arc<View>,
    shared: Arc<[Shared]>,
    descriptions: Vec<Desc>,
}

impl NodeCollector {
    pub(super) fn new(view: Arc<View>, shared: Arc<[Shared]>) -> Self {
        let mut collector = Self { view, shared, descriptions: Vec::new() };
        collector.descriptions = collector.families().descriptions();
        collector
    }

    fn families(&self) -> Families {
        let status = self.view.status();
        let mut to = Families::default();
        node(&status, &mut to);
        self.commands(&mut to);
        self.keyspace(&mut to);
        self.connections(&status, &mut to);
        self.shards(&mut to);
        self.slots(&mut to);
        cluster(&status, &mut to);
        gossip(&status.counts.gossip, &mut to);
        to
    }

    fn sum(&self, field: impl Fn(&Shared) -> &Gauge) -> u64 {
        self.shared.iter().map(|shared| field(shared).get()).sum()
    }

    fn commands(&self, to: &mut Families) {
        let help = "Commands of clients that were answered, by name and by what became of them.";
        let mut series = to.counter("piccolo_commands_total", help);
        for (proto, name, number) in names() {
            for result in CallResult::ALL {
                let calls: u64 = self.shared.iter().map(|s| s.calls.get(number, result)).sum();
                let labels =
                    [("command", name), ("proto", proto.word()), ("result", result.word())];
                series = series.with(&labels, calls as f64);
            }
        }
        let help = "Time from taking a command in to its answer.";
        let mut series = to.histogram("piccolo_command_duration_seconds", help);
        for path in Path::ALL {
            let shards = self.shared.iter().map(|shared| &shared.durations[path as usize]);
            series = series.durations(&[("path", path.word())], shards);
        }
        to.counter("piccolo_forwarded_commands_total", "Commands sent to other nodes.")
            .is(self.sum(|shared| &shared.forwarded));
        let help = "Commands that came back because their slot had moved, and were sent again.";
        to.counter("piccolo_bounced_commands_total", help).is(self.sum(|shared| &shared.bounced));
        let help = "Commands sent to other shards and nodes that are not answered yet.";
        to.gauge("piccolo_commands_waiting", help).is(self.sum(|shared| &shared.asking));
    }

    fn keyspace(&self, to: &mut Families) {
        let help = "Keys that reading commands looked for here and found.";
        to.counter("piccolo_keyspace_hits_total", help).is(self.sum(|shared| &shared.hits));
        let help = "Keys that reading commands looked for here and did not find.";
        to.counter("piccolo_keyspace_misses_total", help).is(self.sum(|shared| &shared.misses));
        let help = "Keys deleted because their time was over.";
        to.counter("piccolo_expired_keys_total", help).is(self.sum(|shared| &shared.expired));
        to.gauge("piccolo_keys", "Keys held.").is(self.sum(|shared| &shared.keys));
        let help = "Memory that keys, values and their tables take.";
        to.gauge("piccolo_memory_used_bytes", help).is(self.sum(|shared| &shared.bytes));
        let help = "Memory above which writes are refused; 0 for no limit.";
        // Every shard knows that of the node.
        let limit = self.shared.first().map_or(0, |shared| shared.memory_bytes_max.get());
        to.gauge("piccolo_memory_limit_bytes", help).is(limit);
    }

    fn connections(&self, status: &Status, to: &mut Families) {
        let (resp, native) = (("proto", Proto::Resp.word()), ("proto", Proto::Native.word()));
        let open = self.sum(|shared| &shared.connections);
        let open_native = self.sum(|shared| &shared.native_connections);
        to.gauge("piccolo_connections", "Open connections of clients.")
            .with(&[resp], open.saturating_sub(open_native) as f64)
            .with(&[native], open_native as f64);
        let accepted = self.sum(|shared| &shared.accepted);
        let accepted_native = self.sum(|shared| &shared.native_accepted);
        to.counter("piccolo_connections_accepted_total", "Connections of clients taken in.")
            .with(&[resp], accepted.saturating_sub(accepted_native) as f64)
            .with(&[native], accepted_native as f64);
        let counts = &status.counts;
        to.counter("piccolo_connections_rejected_total", "Connections of clients turned away.")
            .with(&[("reason", "full")], counts.clients_refused_full as f64)
            .with(&[("reason", "leaving")], counts.clients_refused_leaving as f64);
        let help = "Clients cut off because they read none of too many replies.";
        to.counter("piccolo_connections_cut_off_total", help)
            .is(self.sum(|shared| &shared.cut_off));
        let gossip = ("gossip", counts.gossip.bytes_in, counts.gossip.bytes_out);
        let received = |proto: Proto| self.sum(|shared| &shared.received[proto as usize]);
        let help = "Bytes received.";
        let mut series = to.counter("piccolo_network_receive_bytes_total", help);
        for proto in Proto::ALL {
            series = series.with(&[("proto", proto.word())], received(proto) as f64);
        }
        series.with(&[("proto", gossip.0)], gossip.1 as f64);
        let sent = |proto: Proto| self.sum(|shared| &shared.sent[proto as usize]);
        let mut series = to.counter("piccolo_network_transmit_bytes_total", "Bytes sent.");
        for proto in Proto::ALL {
            series = series.with(&[("proto", proto.word())], sent(proto) as f64);
        }
        series.with(&[("proto", gossip.0)], gossip.2 as f64);
        let help = "Links between nodes closed because the other side broke the protocol.";
        to.counter("piccolo_link_faults_total", help).is(self.sum(|shared| &shared.link_faults));
    }

    fn shards(&self, to: &mut Families) {
        let busy = |shared: &Shared| shared.busy.get() as f64 / MICROSECONDS;
        let help = "Time spent working; its rate is the share of a core that the shard uses.";
        self.per_shard(to, Kind::Counter, "piccolo_shard_busy_seconds_total", help, busy);
        let commands = |shared: &Shared| shared.commands.get() as f64;
        let help = "Commands of clients taken in.";
        self.per_shard(to, Kind::Counter, "piccolo_shard_commands_total", help, commands);
        let keys = |shared: &Shared| shared.keys.get() as f64;
        self.per_shard(to, Kind::Gauge, "piccolo_shard_keys", "Keys held by the shard.", keys);
        let bytes = |shared: &Shared| shared.bytes.get() as f64;
        let help = "Memory that the shard's keys, values and tables take.";
        self.per_shard(to, Kind::Gauge, "piccolo_shard_memory_bytes", help, bytes);
        let open = |shared: &Shared| shared.connections.get() as f64;
        let help = "Open connections of clients that the shard serves.";
        self.per_shard(to, Kind::Gauge, "piccolo_shard_connections", help, open);
    }

    fn per_shard(
        &self,
        to: &mut Families,
        kind: Kind,
        name: &str,
        help: &str,
        value: impl Fn(&Shared) -> f64,
    ) {
        let mut series = match kind {
            Kind::Counter => to.counter(name, help),
            Kind::Gauge => to.gauge(name, help),
        };
        for (number, shared) in self.shared.iter().enumerate() {
            series = series.with(&[("shard", &number.to_string())], value(shared));
        }
    }

    fn slots(&self, to: &mut Families) {
        to.gauge("piccolo_slots_led", "Slots that this node leads.")
            .is(self.sum(|shared| &shared.slots_led));
        to.gauge("piccolo_slots_moving", "Slots on their way in or out.")
            .is(self.sum(|shared| &shared.slots_moving));
        to.gauge("piccolo_slots_missing", "Slots that this node should lead and does not yet.")
            .is(self.sum(|shared| &shared.slots_missing));
        to.gauge("piccolo_slots_unrouted", "Slots of which this node knows no leader.")
            .is(self.sum(|shared| &shared.slots_unrouted));
        let help =
            "Slots begun anew here, empty, since their only copy was on nodes that are gone.";
        to.counter("piccolo_slots_lost_total", help).is(self.sum(|shared| &shared.slots_lost));
        let help = "Copies of slots held, led here or elsewhere.";
        to.gauge("piccolo_slots_held", help).is(self.sum(|shared| &shared.replicas));
        to.counter("piccolo_migration_snapshots_total", "Snapshots of slots sent to other nodes.")
            .is(self.sum(|shared| &shared.snapshots));
        to.counter("piccolo_migration_bytes_total", "Bytes of snapshots sent to other nodes.")
            .is(self.sum(|shared| &shared.snapshot_bytes));
    }
}

/// Of families with one series for each shard.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

impl Collector for NodeCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.families().into_inner()
    }
}

/// Every command as a label has it, with the number that it is counted by.
fn names() -> impl Iterator<Item = (Proto, &'static str, u8)> {
    let every = command::all().iter();
    let rows = every.flat_map(|row| std::iter::once(row).chain(row.subcommands()));
    let resp = rows.filter(|row| row.is_called()).map(|row| (row.name, row.number));
    let native = command::native::NAMES.iter().filter_map(|(name, internal)| {
        Some((*name, command::find_internal(internal.as_bytes())?.number))
    });
    let rest = [("scan", NATIVE_SCAN), ("topology", NATIVE_TOPOLOGY)];
    let resp = resp.chain([("other", OTHER)]).map(|(name, number)| (Proto::Resp, name, number));
    resp.chain(native.chain(rest).map(|(name, number)| (Proto::Native, name, number)))
}

fn node(status: &Status, to: &mut Families) {
    to.gauge("piccolo_build_info", "Always 1; the version is in the label.")
        .with(&[("version", &status.version)], 1.0);
    to.gauge("piccolo_uptime_seconds", "Time since the node started.").is(status.uptime_seconds);
    let help = "Whether the node is ready, as /readyz says: 1 or 0.";
    to.gauge("piccolo_ready", help).is(u64::from(status.ready));
}

fn cluster(status: &Status, to: &mut Families) {
    let help = "Slots whose leader is dead or gone: commands for them fail until they are back.";
    to.gauge("piccolo_slots_led_by_the_dead", help).is(status.slots_led_by_the_dead().into());
    let help = "Other nodes that answered a heartbeat within the last second.";
    to.gauge("piccolo_supporters", help).is(status.counts.supporters as u64);
    let help = "Members of the cluster as this node sees them, itself included.";
    let mut series = to.gauge("piccolo_cluster_members", help);
    for state in MemberState::ALL {
        let count = status.members.iter().filter(|member| member.state == state).count();
        series = series.with(&[("state", state.word())], count as f64);
    }
    let help = "A number that is equal for nodes that agree on the ring; it means nothing else.";
    to.gauge("piccolo_cluster_ring_digest", help).is(short_digest(&status.ring_digest));
}

/// The upper 48 bits, which a sample holds without rounding. 0 before there is a ring.
fn short_digest(digest: &str) -> u64 {
    u64::from_str_radix(digest, 16).unwrap_or(0) >> 16
}

fn gossip(stats: &Stats, to: &mut Families) {
    to.counter("piccolo_gossip_datagrams_total", "Datagrams of gossip, rejected ones included.")
        .with(&[("direction", "in")], stats.datagrams_in as f64)
        .with(&[("direction", "out")], stats.datagrams_out as f64);
    let help = "Datagrams of gossip not sent because too many waited for sending.";
    to.counter("piccolo_gossip_datagrams_dropped_total", help).is(stats.datagrams_dropped);
    let help = "Datagrams of gossip received and not taken in, by reason.";
    let rejects = [
        ("malformed", stats.rejects_malformed),
        ("foreign", stats.rejects_foreign),
        ("not_for_us", stats.rejects_not_for_us),
        ("unsolicited", stats.rejects_unsolicited),
        ("full", stats.rejects_full),
        ("unauthentic", stats.rejects_unauthentic),
        ("undated", stats.rejects_undated),
        ("other", stats.rejects_other),
    ];
    let mut series = to.counter("piccolo_gossip_rejects_total", help);
    for (reason, count) in rejects {
        series = series.with(&[("reason", reason)], count as f64);
    }
    to.counter("piccolo_gossip_probes_total", "Probes of members started.").is(stats.probes);
    let help = "Probes that nobody answered, directly or for another.";
    to.counter("piccolo_gossip_probes_failed_total", help).is(stats.probes_failed);
    let help = "Members that this node began to suspect.";
    to.counter("piccolo_gossip_suspicions_raised_total", help).is(stats.suspicions_raised);
    let help = "Times that another member was found to hold a suspect silent, too.";
    to.counter("piccolo_gossip_suspicions_confirmed_total", help).is(stats.suspicions_confirmed);
    let help = "Suspicions and deaths of members, whoever raised them, that were refuted.";
    to.counter("piccolo_gossip_suspicions_refuted_total", help).is(stats.suspicions_refuted);
    let help = "Times that this node had to say that it lives.";
    to.counter("piccolo_gossip_refutations_total", help).is(stats.refutations);
    let help = "Members that this node declared dead.";
    to.counter("piccolo_gossip_deaths_total", help).is(stats.deaths);
    let help = "Times that this node itself must have been paused.";
    to.counter("piccolo_gossip_pauses_total", help).is(stats.pauses);
    let help = "How slow this node finds itself: 0 is well, 8 the worst.";
    to.gauge("piccolo_gossip_local_health", help).is(u64::from(stats.local_health));
    let help = "Time from a probe to its direct answer.";
    let ProbeTimes { counts, micros } = stats.probe_times;
    to.histogram("piccolo_gossip_probe_duration_seconds", help).distribution(
        &[],
        &ProbeTimes::BOUNDS_MICROS,
        &counts,
        micros,
    );
    let help = "Claims about unknown members ignored because the table was full.";
    to.counter("piccolo_gossip_claims_ignored_total", help).is(stats.claims_ignored);
}
