//! CONFIG: what may be asked of a node's settings, and what may be changed while it runs.

use super::mesh::Errand;
use super::session::Door;
use super::slowlog::SLOWLOG_ENTRIES_MAX;
use super::stream::StreamKey;
use super::task::Form;
use super::{Shard, info};
use crate::command::glob;
use crate::resp::{Args, Reply, number};

/// A change of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setting {
    /// Bytes of entries in the whole node at most; 0 for no limit.
    MemoryMax(usize),
    /// What clients must know, if anything.
    Password(Option<Vec<u8>>),
    /// Microseconds of a turn from which on it is in the slow log; negative for none.
    SlowlogSlowerThan(i64),
    /// Entries of each shard's slow log at most.
    SlowlogEntriesMax(usize),
}

/// How clients reach the node, for CONFIG to tell and to mind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doors {
    /// Connections of clients at most.
    pub clients_max: u32,
    /// Whether other machines reach them.
    pub open: bool,
}

impl Default for Doors {
    fn default() -> Self {
        Self { clients_max: 10_000, open: false }
    }
}

/// CONFIG GET pattern ..
pub(super) fn get(shard: &Shard, args: &Args<'_>, door: Door, reply: &mut Reply<'_>) {
    let asked: Vec<Vec<u8>> = args.iter().skip(2).map(<[u8]>::to_ascii_lowercase).collect();
    let mut found = all(shard, door);
    found.retain(|(name, _)| asked.iter().any(|p| glob::matches(p, name.as_bytes())));
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(name.as_bytes());
        reply.bulk(&value);
    }
}

/// Every setting that can be asked for.
fn all(shard: &Shard, door: Door) -> Vec<(&'static str, Vec<u8>)> {
    let text = |value: &str| value.as_bytes().to_vec();
    vec![
        ("appendonly", text("no")),
        ("cluster-enabled", text(if door == Door::Cluster { "yes" } else { "no" })),
        ("databases", text("1")),
        ("latency-monitor-threshold", text("0")),
        ("latency-tracking", text("no")),
        ("maxclients", text(&shard.doors.clients_max.to_string())),
        ("maxmemory", text(&shard.memory_max.to_string())),
        ("maxmemory-policy", text("noeviction")),
        ("proto-max-bulk-len", text(&shard.limits.bulk_bytes_max.to_string())),
        ("requirepass", shard.password.clone().unwrap_or_default()),
        ("save", Vec::new()),
        ("slowlog-log-slower-than", text(&shard.slowlog.slower_than_micros.to_string())),
        ("slowlog-max-len", text(&shard.slowlog.entries_max().to_string())),
        ("timeout", text("0")),
    ]
}

impl Shard {
    /// CONFIG SET, RESETSTAT and REWRITE. Returns false if it has to wait for what was asked
    /// before it.
    pub(super) fn configure(&mut self, key: StreamKey, args: &Args<'_>) -> bool {
        let Some(door) = self.streams.session(key).map(|session| session.door) else { return true };
        let errand = match args.get(1).to_ascii_lowercase().as_slice() {
            b"set" => self.settings(args, door).map(Errand::Change),
            b"resetstat" => Ok(Errand::CountFrom(info::counts(self))),
            _ => Err(NO_REWRITE.to_owned()),
        };
        match errand {
            Ok(errand) => self.ask_shards(key, &errand, Form::Ok),
            Err(text) => {
                self.say(key, |reply| reply.error(&text));
                true
            }
        }
    }

    /// Reads name and value, as often as there are any: all of them hold, or none.
    fn settings(&self, args: &Args<'_>, door: Door) -> Result<Vec<Setting>, String> {
        if !args.len().is_multiple_of(2) {
            return Err("ERR syntax error".into());
        }
        let mut settings: Vec<Setting> = Vec::new();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for index in (2..args.len()).step_by(2) {
            let (name, value) = (args.get(index).to_ascii_lowercase(), args.get(index + 1));
            let given = String::from_utf8_lossy(args.get(index)).into_owned();
            let failed = |why: &str| {
                let related = format!("possibly related to argument '{given}'");
                format!("ERR CONFIG SET failed ({related}) - {why}")
            };
            if seen.contains(&name) {
                return Err(failed("duplicate parameter"));
            }
            if self.doors.open && name == b"requirepass" && value.is_empty() {
                return Err(failed("other machines reach this node: it needs a password"));
            }
            match setting(&name, value) {
                Some(setting) => settings.push(setting.map_err(|why| failed(&why))?),
                None => match all(self, door).iter().find(|(known, _)| known.as_bytes() == name) {
                    Some((_, same)) if same == value => {}
                    Some(_) => return Err(failed("can't set immutable config")),
                    None => {
                        let what = "Unknown option or number of arguments for CONFIG SET";
                        return Err(format!("ERR {what} - '{given}'"));
                    }
                },
            }
            seen.push(name);
        }
        Ok(settings)
    }

    /// Says how clients reach the node: as [`Doors::default`] unless said.
    pub fn set_doors(&mut self, doors: Doors) {
        self.doors = doors;
    }

    /// Bytes of entries in the whole node at most; 0 for no limit.
    pub(super) fn set_memory_max(&mut self, bytes: usize) {
        self.memory_max = bytes;
        self.shared[usize::from(self.index)].memory_bytes_max.set(bytes as u64);
        self.bytes_max = if bytes == 0 { usize::MAX } else { bytes / usize::from(self.shards) };
    }

    pub(super) fn change_setting(&mut self, setting: &Setting) {
        match setting {
            Setting::MemoryMax(bytes) => self.set_memory_max(*bytes),
            Setting::Password(password) => self.password.clone_from(password),
            Setting::SlowlogSlowerThan(micros) => self.slowlog.slower_than_micros = *micros,
            Setting::SlowlogEntriesMax(entries) => self.slowlog.set_entries_max(*entries),
        }
    }
}

/// One setting that can be changed, or why this value is none; `None` if it cannot be changed.
fn setting(name: &[u8], value: &[u8]) -> Option<Result<Setting, String>> {
    let between = |least: i64, most: i64| match number::parse_i64(value) {
        Some(number) if (least..=most).contains(&number) => Ok(number),
        Some(_) => Err(format!("argument must be between {least} and {most} inclusive")),
        None => Err("argument couldn't be parsed into an integer".to_owned()),
    };
    Some(match name {
        b"maxmemory" => memory_bytes(value)
            .map(Setting::MemoryMax)
            .ok_or_else(|| "argument must be a memory value".to_owned()),
        b"requirepass" => Ok(Setting::Password((!value.is_empty()).then(|| value.to_vec()))),
        b"slowlog-log-slower-than" => between(-1, i64::MAX).map(Setting::SlowlogSlowerThan),
        b"slowlog-max-len" => between(0, SLOWLOG_ENTRIES_MAX as i64)
            .map(|entries| Setting::SlowlogEntriesMax(entries as usize)),
        _ => return None,
    })
}

/// Bytes as Redis writes them: `100mb` is 100 times 1024 times 1024, `100m` a hundred million.
fn memory_bytes(value: &[u8]) -> Option<usize> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let factor = match value[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let text = std::str::from_utf8(&value[..digits]).ok()?;
    text.parse::<usize>().ok()?.checked_mul(factor)
}

const NO_REWRITE: &str = "ERR Rewriting config file: not supported, the file is the operator's. \
     CONFIG SET lasts until the node ends";

#[cfg(test)]
mod tests {
    use super::memory_bytes;

    #[test]
    fn memory_is_read_like_redis_reads_it() {
        assert_eq!(memory_bytes(b"0"), Some(0));
        assert_eq!(memory_bytes(b"100"), Some(100));
        assert_eq!(memory_bytes(b"2K"), Some(2000));
        assert_eq!(memory_bytes(b"2kb"), Some(2048));
        assert_eq!(memory_bytes(b"3gb"), Some(3 << 30));
        for wrong in [&b""[..], b"mb", b"-1", b"1 mb", b"1tb", b"99999999999999999999", b"1.5gb"] {
            assert_eq!(memory_bytes(wrong), None);
        }
    }
}
