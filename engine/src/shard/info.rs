//! INFO: what the node says about itself.

use std::fmt::Write as _;

use super::Shard;
use super::answers::REDIS_VERSION;
use super::counters::Shared;
use super::session::Door;
use crate::resp::Args;

/// Writes the lines of one section.
type Section = fn(&Shard, Door, &mut String);

/// One of the counts that shards publish.
type Field = fn(&Shared) -> u64;

/// What INFO counts since the node began, or since CONFIG RESETSTAT.
const COUNTS: [(&str, Field); 5] = [
    ("total_connections_received", |shared| shared.accepted.get()),
    ("total_commands_processed", |shared| shared.commands.get()),
    ("expired_keys", |shared| shared.expired.get()),
    ("piccolo_forwarded_commands", |shared| shared.forwarded.get()),
    ("piccolo_bounced_commands", |shared| shared.bounced.get()),
];

/// Where the counts of INFO stood once. Shards themselves count on: others look at their counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts([u64; COUNTS.len()]);

pub(super) fn counts(shard: &Shard) -> Counts {
    Counts(COUNTS.map(|(_, field)| sum(shard, field)))
}

/// The text of INFO, for the sections asked for.
pub(super) fn info(shard: &Shard, args: &Args<'_>, door: Door) -> String {
    const SECTIONS: [(&str, Section); 8] = [
        ("server", server),
        ("clients", clients),
        ("memory", memory),
        ("persistence", persistence),
        ("stats", stats),
        ("replication", replication),
        ("cluster", cluster),
        ("keyspace", keyspace),
    ];
    let asked: Vec<String> =
        args.iter().skip(1).map(|arg| String::from_utf8_lossy(arg).to_lowercase()).collect();
    let all = asked.is_empty()
        || asked.iter().any(|name| ["all", "default", "everything"].contains(&&name[..]));
    let mut text = String::new();
    for (name, write) in SECTIONS {
        if all || asked.iter().any(|asked| asked == name) {
            let title = name[..1].to_uppercase() + &name[1..];
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            line(&mut text, format_args!("# {title}"));
            write(shard, door, &mut text);
        }
    }
    text
}

pub(super) fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    if text.write_fmt(line).is_err() {
        unreachable!("writing into a String does not fail");
    }
    text.push_str("\r\n");
}

fn sum(shard: &Shard, field: impl Fn(&Shared) -> u64) -> u64 {
    shard.shared.iter().map(field).sum()
}

fn server(shard: &Shard, door: Door, text: &mut String) {
    let mode = if door == Door::Cluster { "cluster" } else { "standalone" };
    line(text, format_args!("redis_version:{REDIS_VERSION}"));
    line(text, format_args!("redis_mode:{mode}"));
    line(text, format_args!("piccolo_version:{}", env!("CARGO_PKG_VERSION")));
    line(text, format_args!("piccolo_node:{}", shard.me));
    line(text, format_args!("piccolo_shards:{}", shard.shards));
    line(text, format_args!("run_id:{:032x}{:08x}", shard.me.0, shard.me.0 as u32));
    line(text, format_args!("uptime_in_seconds:{}", shard.now.moment.since(shard.began).as_secs()));
}

fn clients(shard: &Shard, _: Door, text: &mut String) {
    line(text, format_args!("connected_clients:{}", sum(shard, |s| s.connections.get())));
    line(text, format_args!("blocked_clients:0"));
}

fn memory(shard: &Shard, _: Door, text: &mut String) {
    line(text, format_args!("used_memory:{}", sum(shard, |s| s.bytes.get())));
    line(text, format_args!("maxmemory:{}", shard.memory_max));
    line(text, format_args!("maxmemory_policy:noeviction"));
}

fn persistence(_: &Shard, _: Door, text: &mut String) {
    line(text, format_args!("loading:0"));
    line(text, format_args!("rdb_bgsave_in_progress:0"));
    line(text, format_args!("aof_enabled:0"));
}

fn stats(shard: &Shard, _: Door, text: &mut String) {
    for ((name, _), (now, from)) in
        COUNTS.iter().zip(counts(shard).0.iter().zip(shard.counted_from.0))
    {
        line(text, format_args!("{name}:{}", now.saturating_sub(from)));
    }
    line(text, format_args!("evicted_keys:0"));
}

fn replication(_: &Shard, _: Door, text: &mut String) {
    line(text, format_args!("role:master"));
    line(text, format_args!("connected_slaves:0"));
}

fn cluster(shard: &Shard, door: Door, text: &mut String) {
    line(text, format_args!("cluster_enabled:{}", u8::from(door == Door::Cluster)));
    line(text, format_args!("piccolo_slots_led:{}", sum(shard, |s| s.slots_led.get())));
    line(text, format_args!("piccolo_slots_moving:{}", sum(shard, |s| s.slots_moving.get())));
}

fn keyspace(shard: &Shard, _: Door, text: &mut String) {
    let keys = sum(shard, |s| s.keys.get());
    if keys > 0 {
        line(text, format_args!("db0:keys={keys}"));
    }
}
