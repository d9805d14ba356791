//! INFO and CONFIG GET: what the node says about itself.

use std::fmt::Write as _;

use super::Shard;
use super::answers::REDIS_VERSION;
use super::counters::Shared;
use crate::command::glob;
use crate::resp::{Args, Reply};

/// Writes the lines of one section.
type Section = fn(&Shard, &mut String);

/// The text of INFO, for the sections asked for.
pub(super) fn info(shard: &Shard, args: &Args<'_>) -> String {
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
            write(shard, &mut text);
        }
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    if text.write_fmt(line).is_err() {
        unreachable!("writing into a String does not fail");
    }
    text.push_str("\r\n");
}

fn sum(shard: &Shard, field: impl Fn(&Shared) -> u64) -> u64 {
    shard.shared.iter().map(field).sum()
}

fn server(shard: &Shard, text: &mut String) {
    line(text, format_args!("redis_version:{REDIS_VERSION}"));
    line(text, format_args!("redis_mode:standalone"));
    line(text, format_args!("piccolo_version:{}", env!("CARGO_PKG_VERSION")));
    line(text, format_args!("piccolo_node:{}", shard.me));
    line(text, format_args!("piccolo_shards:{}", shard.shards));
    line(text, format_args!("run_id:{:032x}{:08x}", shard.me.0, shard.me.0 as u32));
    line(text, format_args!("uptime_in_seconds:{}", shard.now.moment.since(shard.began).as_secs()));
}

fn clients(shard: &Shard, text: &mut String) {
    line(text, format_args!("connected_clients:{}", sum(shard, |s| s.connections.get())));
    line(text, format_args!("blocked_clients:0"));
}

fn memory(shard: &Shard, text: &mut String) {
    line(text, format_args!("used_memory:{}", sum(shard, |s| s.bytes.get())));
    line(text, format_args!("maxmemory:{}", shard.memory_max));
    line(text, format_args!("maxmemory_policy:noeviction"));
}

fn persistence(_: &Shard, text: &mut String) {
    line(text, format_args!("loading:0"));
    line(text, format_args!("rdb_bgsave_in_progress:0"));
    line(text, format_args!("aof_enabled:0"));
}

fn stats(shard: &Shard, text: &mut String) {
    line(text, format_args!("total_connections_received:{}", sum(shard, |s| s.accepted.get())));
    line(text, format_args!("total_commands_processed:{}", sum(shard, |s| s.commands.get())));
    line(text, format_args!("expired_keys:{}", sum(shard, |s| s.expired.get())));
    line(text, format_args!("evicted_keys:0"));
    line(text, format_args!("piccolo_forwarded_commands:{}", sum(shard, |s| s.forwarded.get())));
    line(text, format_args!("piccolo_bounced_commands:{}", sum(shard, |s| s.bounced.get())));
}

fn replication(_: &Shard, text: &mut String) {
    line(text, format_args!("role:master"));
    line(text, format_args!("connected_slaves:0"));
}

fn cluster(shard: &Shard, text: &mut String) {
    line(text, format_args!("cluster_enabled:0"));
    line(text, format_args!("piccolo_slots_led:{}", sum(shard, |s| s.slots_led.get())));
    line(text, format_args!("piccolo_slots_moving:{}", sum(shard, |s| s.slots_moving.get())));
}

fn keyspace(shard: &Shard, text: &mut String) {
    let keys = sum(shard, |s| s.keys.get());
    if keys > 0 {
        line(text, format_args!("db0:keys={keys}"));
    }
}

/// CONFIG GET pattern ..: settings that clients ask for.
pub(super) fn config(shard: &Shard, args: &Args<'_>, reply: &mut Reply<'_>) {
    if !args.get(1).eq_ignore_ascii_case(b"get") || args.len() < 3 {
        return reply.error("ERR only CONFIG GET pattern [pattern ...] is supported");
    }
    let settings = [
        ("appendonly", "no".to_owned()),
        ("databases", "1".to_owned()),
        ("maxmemory", shard.memory_max.to_string()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("proto-max-bulk-len", shard.limits.bulk_bytes_max.to_string()),
        ("save", String::new()),
        ("timeout", "0".to_owned()),
    ];
    let asked: Vec<Vec<u8>> = args.iter().skip(2).map(<[u8]>::to_ascii_lowercase).collect();
    let found: Vec<_> = settings
        .iter()
        .filter(|(name, _)| asked.iter().any(|pattern| glob::matches(pattern, name.as_bytes())))
        .collect();
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}
