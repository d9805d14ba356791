//! The page of commands in the guide, made from the registry so that it cannot lag behind.

use std::fmt::Write as _;

use super::registry::all;
use super::spec::{Command, Flags, Group, Place};

/// What is told of a command beside what its row says.
const NOTES: &[(&str, &str)] = &[
    ("client|getredir", "Always -1."),
    ("client|kill", "By `ID`, `ADDR`, `TYPE normal`, `SKIPME`."),
    ("client|list", "By `ID`, or `TYPE normal`: there are no other types."),
    ("client|no-evict", "Accepted; no client is ever evicted."),
    ("client|no-touch", "Accepted; no use of keys is kept."),
    ("client|pause", "At most an hour. Clients of other nodes go on; so do expiry and moves."),
    ("client|tracking", "`OFF` is accepted, anything else refused."),
    ("client|unblock", "Always 0: no command blocks."),
    ("cluster|getkeysinslot", "All in one reply, read step by step."),
    ("cluster|info", "Every slot is `ok`: whatever it waits for is waited for inside."),
    ("cluster|myshardid", "The same as MYID: a node is a shard of its own."),
    ("command|docs", "Summary, since, group and subcommands."),
    ("config|get", "The settings that Redis has, too; see the configuration page for the others."),
    ("config|resetstat", "What INFO shows begins at zero; the metrics count on."),
    ("config|rewrite", "Refused: the file is the operator's."),
    (
        "config|set",
        "`maxmemory`, `requirepass` (not empty where other machines reach the node), \
         `slowlog-log-slower-than` (-1 or more), `slowlog-max-len` (up to 16384). Of this node, \
         until it ends.",
    ),
    ("copy", "`DB 0` alone."),
    ("dbsize", "Of the whole cluster."),
    ("delex", "`IFEQ` and `IFNE`; conditions on digests are refused."),
    ("delifeq", "Of Valkey."),
    ("exec", "Commands on one slot are one atomic unit; over several slots, one unit per slot."),
    ("flushall", "The whole cluster. `ASYNC` and `SYNC` do the same."),
    ("flushdb", "The whole cluster. `ASYNC` and `SYNC` do the same."),
    ("hello", "Versions 2 and 3; `AUTH` and `SETNAME`."),
    ("info", "Of this node; `DBSIZE` counts the cluster."),
    ("keys", "All in one reply, however long: SCAN is for many keys."),
    ("latency|doctor", "Says that nothing is recorded."),
    ("latency|histogram", "Empty: nothing is recorded."),
    ("latency|history", "Empty: nothing is recorded."),
    ("latency|latest", "Empty: nothing is recorded."),
    ("latency|reset", "Always 0: nothing is recorded."),
    ("memory|usage", "Bytes of the entry, as `used_memory` counts them."),
    ("object|encoding", "What SET would make of the value, though APPEND may have written it."),
    ("object|freq", "Refused: not kept."),
    ("object|idletime", "Refused: not kept, and the text differs from that of Redis."),
    ("object|refcount", "Always 1; Redis shares small integers."),
    ("scan", "A page ends at about 256 KiB of keys, whatever COUNT says."),
    ("select", "0 alone."),
    ("set", "With all options of Redis 7, and `IFEQ` and `IFNE`."),
    (
        "shutdown",
        "Begins what SIGTERM begins: the keys move to other nodes first. `SAVE` and `ABORT` are \
         refused, `NOW` and `FORCE` change nothing.",
    ),
    (
        "slowlog|get",
        "An entry is a whole turn of a shard, with the last command in it, passwords left out.",
    ),
    ("slowlog|len", "Of all shards of this node, each with a log of its own."),
    ("time", "Of this node."),
    ("wait", "0 at once: no key has a second copy."),
    ("waitaof", "Refused: nothing is kept on disk."),
    ("watch", "A key that is not there may be set and deleted again unseen."),
];

/// The commands of Redis 7.0 that there are not, by the group that Redis has them in.
const MISSING: &[(&str, &str)] = &[
    ("bitmap", "bitcount bitfield bitfield_ro bitop bitpos getbit setbit"),
    ("generic", "dump migrate move restore sort sort_ro"),
    (
        "geo",
        "geoadd geodist geohash geopos georadius georadius_ro georadiusbymember \
         georadiusbymember_ro geosearch geosearchstore",
    ),
    (
        "hash",
        "hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan \
         hset hsetnx hstrlen hvals",
    ),
    ("hyperloglog", "pfadd pfcount pfdebug pfmerge pfselftest"),
    (
        "list",
        "blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush \
         lpushx lrange lrem lset ltrim rpop rpoplpush rpush rpushx",
    ),
    (
        "pubsub",
        "psubscribe publish pubsub punsubscribe spublish ssubscribe subscribe sunsubscribe \
         unsubscribe",
    ),
    ("scripting", "eval eval_ro evalsha evalsha_ro fcall fcall_ro function script"),
    (
        "server",
        "acl bgrewriteaof bgsave debug failover lastsave lolwut module monitor psync replconf \
         replicaof restore-asking role save slaveof swapdb sync",
    ),
    (
        "set",
        "sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember \
         smove spop srandmember srem sscan sunion sunionstore",
    ),
    (
        "sorted-set",
        "bzmpop bzpopmax bzpopmin zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard \
         zinterstore zlexcount zmpop zmscore zpopmax zpopmin zrandmember zrange zrangebylex \
         zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank zremrangebyscore \
         zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore",
    ),
    (
        "stream",
        "xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup \
         xrevrange xsetid xtrim",
    ),
    ("string", "lcs"),
];

const HEAD: &str = "\
# Commands

Made from the registry of commands by `cargo run -p piccolo-engine --example command_page`; a test
fails when it is out of date.

\"Since\" is the version of Redis that had the command first (of Valkey, where it says so). What is
not noted is as in Redis 7. Where a command says

* **one slot**, all its keys must be in one slot (give them a `{hashtag}`), else the reply is
  `-CROSSSLOT`; it is atomic;
* **per slot**, its keys may be anywhere; it is atomic for the keys of each slot, not over all;
* **every slot**, it asks the whole cluster, slot after slot, and is not atomic;
* **this node**, it is about the node that was asked, and no other;
* **cluster door**, it is refused at the client door, as by a Redis that is no cluster. At the
  cluster door a key led elsewhere is answered with `-MOVED`, keys in several slots with
  `-CROSSSLOT` whatever the command, and what asks every slot asks those that the node leads.
";

/// The page.
pub fn page() -> String {
    let mut text = HEAD.to_owned();
    let groups = [
        ("Strings", Group::String),
        ("Keys", Group::Generic),
        ("Transactions", Group::Transactions),
        ("Connections", Group::Connection),
        ("Server", Group::Server),
        ("Cluster", Group::Cluster),
    ];
    for (title, group) in groups {
        line(&mut text, format_args!("\n## {title}\n"));
        line(&mut text, format_args!("| command | since | what it does | notes |"));
        line(&mut text, format_args!("|---|---|---|---|"));
        for command in all().iter().filter(|command| command.group == group) {
            for row in std::iter::once(command).chain(command.subcommands()) {
                write_row(row, &mut text);
            }
        }
    }
    text.push_str("\n## Not supported\n\nOf the commands of Redis 7.0, by its groups:\n\n");
    for (group, names) in MISSING {
        let names = names.to_uppercase().replace(' ', ", ");
        line(&mut text, format_args!("* {group}: {names}"));
    }
    let missing = "\nNor are there, within commands that are there: `CLIENT CACHING` and \
                   `TRACKINGINFO`, `CLUSTER BUMPEPOCH`,\n`LINKS`, `SAVECONFIG` and \
                   `SET-CONFIG-EPOCH`, `COMMAND GETKEYSANDFLAGS`, `LATENCY GRAPH`, and\n\
                   `MEMORY` other than `USAGE`.\n";
    text.push_str(missing);
    text
}

/// The commands of Redis 7.0 that there are not.
pub fn missing() -> impl Iterator<Item = &'static str> {
    MISSING.iter().flat_map(|(_, names)| names.split(' '))
}

fn write_row(command: &Command, text: &mut String) {
    // HELP says nothing that is not here, and a container does nothing itself.
    if !command.is_called() || command.name.ends_with("|help") {
        return;
    }
    let name = command.name.to_uppercase().replace('|', " ");
    let note = NOTES.iter().find(|(noted, _)| *noted == command.name).map(|(_, note)| *note);
    // Those that Redis refuses, too, are not noted.
    let alone = command.stands_alone() && !command.flags.contains(Flags::NO_MULTI);
    let alone = alone.then_some("Not inside MULTI.");
    let notes: Vec<&str> = reach(command).into_iter().chain(note).chain(alone).collect();
    let (since, summary) = (command.since, command.summary);
    line(text, format_args!("| `{name}` | {since} | {summary} | {} |", notes.join(" ")));
}

/// How far a command reaches, if that is not just its key.
fn reach(command: &Command) -> Option<&'static str> {
    match command.place {
        Place::Split(..) => Some("Per slot."),
        Place::Slot(_) if command.keys.last != i8::try_from(command.keys.first).unwrap_or(0) => {
            Some("One slot.")
        }
        Place::Sweep(_) => Some("Every slot."),
        Place::Session(_) if command.name.starts_with("config|") => Some("This node."),
        Place::Session(_) if command.group == Group::Cluster => Some("Cluster door."),
        Place::Slot(_) | Place::Session(_) | Place::Container(_) => None,
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    if writeln!(text, "{line}").is_err() {
        unreachable!("writing into a String does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find_full;

    #[test]
    fn every_note_is_about_a_command() {
        for (name, _) in NOTES {
            assert!(find_full(name.as_bytes()).is_some(), "{name}");
        }
        for name in missing() {
            assert!(find_full(name.as_bytes()).is_none(), "{name} is there");
        }
    }
}
