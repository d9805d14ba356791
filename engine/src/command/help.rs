//! HELP of the commands that have subcommands.

use crate::resp::{Args, Reply};

const CLIENT: &[&str] = &[
    "GETNAME",
    "    Return the name of the current connection.",
    "GETREDIR",
    "    Return -1: there is no client-side caching, so nothing is redirected.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR <ip:port>",
    "      Kill connections made from the specified address",
    "    * ID <client-id>",
    "      Kill the connection of this ID.",
    "    * TYPE NORMAL",
    "      Kill connections by type.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [TYPE NORMAL]",
    "    Return information about client connections of this node.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction: none is ever evicted.",
    "NO-TOUCH (ON|OFF)",
    "    Will not touch LRU/LFU stats when this mode is on: none are kept.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients of this node for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Return 0: no command blocks.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
];

const CLUSTER: &[&str] = &[
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>, 0 if another node leads it.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by this node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MYID",
    "    Return the node id.",
    "NODES",
    "    Return cluster configuration seen by this node, in the text format of Redis.",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SHARDS",
    "    Return information about slot ranges and the nodes that hold them.",
    "SLOTS",
    "    Return information about slots range mappings.",
];

const COMMAND: &[&str] = &[
    "(no subcommand)",
    "    Return details about all commands.",
    "COUNT",
    "    Return the total number of commands in this server.",
    "LIST [FILTERBY <ACLCAT|PATTERN> <value>]",
    "    Return a list of all commands, or of those that a filter lets through.",
    "INFO [<command-name> ...]",
    "    Return details about multiple commands.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple commands.",
    "GETKEYS <full-command>",
    "    Return the keys from a full command.",
];

const CONFIG: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>, for this node and until it ends.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
];

const LATENCY: &[&str] = &[
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class: there are none.",
    "LATEST",
    "    Return the latest latency samples for all events: there are none.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "HISTOGRAM [COMMAND ...]",
    "    Return histograms for the specified command names: none are kept.",
];

const MEMORY: &[&str] =
    &["USAGE <key> [SAMPLES <count>]", "    Return memory in bytes used by <key> and its value."];

const OBJECT: &[&str] = &[
    "ENCODING <key>",
    "    Return the kind of internal representation that Redis would use in order to",
    "    store the value associated with a <key>.",
    "FREQ <key>",
    "    Refused: no access frequency is tracked.",
    "IDLETIME <key>",
    "    Refused: no idle time is tracked.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
];

const SLOWLOG: &[&str] = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "    The time is that of a whole turn of a shard, the command the last one in it.",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

/// Answers HELP of the container that `args` begin with.
pub fn write(args: &Args<'_>, reply: &mut Reply<'_>) {
    let name = String::from_utf8_lossy(args.get(0)).to_uppercase();
    let lines = match &name[..] {
        "CLIENT" => CLIENT,
        "CLUSTER" => CLUSTER,
        "COMMAND" => COMMAND,
        "CONFIG" => CONFIG,
        "LATENCY" => LATENCY,
        "MEMORY" => MEMORY,
        "OBJECT" => OBJECT,
        "SLOWLOG" => SLOWLOG,
        _ => &[],
    };
    reply.array(lines.len() + 3);
    let head = "<subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
    reply.status(&format!("{name} {head}"));
    for line in lines {
        reply.status(line);
    }
    reply.status("HELP");
    reply.status("    Prints this help.");
}
