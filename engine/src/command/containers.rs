//! The subcommands of commands that have some, as tables. A name begins with that of its
//! container and a bar, as in Redis 7.

use super::object;
use super::spec::Place::{Session, Slot};
use super::spec::SessionCommand::{
    Client, Cluster, Command as CommandDetails, Config, Configure, Help, Latency, Slowlog,
};
use super::spec::{Command, Flags, Group, KeySpec};
use super::table::{SUBCOMMANDS, behind, commands};

/// CLIENT
pub(super) const CLIENT: &[Command] = commands! {
    numbers from SUBCOMMANDS;
    "client|getname" 2 [NOSCRIPT LOADING STALE] (0 0 0) Connection "2.6.9" Session(Client),
        "Get the name of the connection";
    "client|getredir" 2 [NOSCRIPT LOADING STALE] (0 0 0) Connection "6.0.0" Session(Client),
        "Get the connection that invalidations go to, if any";
    "client|help" 2 [LOADING STALE] (0 0 0) Connection "5.0.0" Session(Help),
        "Show helpful text about the subcommands";
    "client|id" 2 [NOSCRIPT LOADING STALE] (0 0 0) Connection "5.0.0" Session(Client),
        "Return the id of the connection";
    "client|info" 2 [NOSCRIPT LOADING STALE] (0 0 0) Connection "6.2.0" Session(Client),
        "Return information about the connection";
    "client|kill" -3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection "2.4.0" Session(Client),
        "End connections of this node";
    "client|list" -2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection "2.4.0" Session(Client),
        "List the connections of this node";
    "client|no-evict" 3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection "7.0.0" Session(Client),
        "Keep the connection though memory is short";
    "client|no-touch" 3 [NOSCRIPT LOADING STALE] (0 0 0) Connection "7.2.0" Session(Client),
        "Do not mark keys as used by this connection";
    "client|pause" -3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection "3.0.0" Session(Client),
        "Let the commands of this node's clients wait for a while";
    "client|reply" 3 [NOSCRIPT LOADING STALE] (0 0 0) Connection "3.2.0" Session(Client),
        "Say whether commands are to be answered";
    "client|setinfo" 4 [NOSCRIPT LOADING STALE] (0 0 0) Connection "7.2.0" Session(Client),
        "Tell the name and version of the client's library";
    "client|setname" 3 [NOSCRIPT LOADING STALE] (0 0 0) Connection "2.6.9" Session(Client),
        "Name the connection";
    "client|tracking" -3 [NOSCRIPT LOADING STALE] (0 0 0) Connection "6.0.0" Session(Client),
        "Turn client-side caching on or off";
    "client|unblock" -3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection "5.0.0" Session(Client),
        "Unblock a connection that a blocking command has blocked";
    "client|unpause" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Connection "6.2.0" Session(Client),
        "End a pause begun by CLIENT PAUSE";
};

/// CLUSTER
pub(super) const CLUSTER: &[Command] = commands! {
    numbers from behind(CLIENT);
    "cluster|addslots" -3 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: the ring assigns slots";
    "cluster|addslotsrange" -4 [ADMIN STALE] (0 0 0) Cluster "7.0.0" Session(Cluster),
        "Refused: the ring assigns slots";
    "cluster|count-failure-reports" 3 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return 0: nodes do not report each other";
    "cluster|countkeysinslot" 3 [STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return the number of keys in a slot";
    "cluster|delslots" -3 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: the ring assigns slots";
    "cluster|delslotsrange" -4 [ADMIN STALE] (0 0 0) Cluster "7.0.0" Session(Cluster),
        "Refused: the ring assigns slots";
    "cluster|failover" -2 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: the ring names leaders";
    "cluster|flushslots" 2 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: the ring assigns slots";
    "cluster|forget" 3 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: the ring knows who is a member";
    "cluster|getkeysinslot" 4 [STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return keys in a slot";
    "cluster|help" 2 [LOADING STALE] (0 0 0) Cluster "5.0.0" Session(Cluster),
        "Show helpful text about the subcommands";
    "cluster|info" 2 [STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return information about the cluster";
    "cluster|keyslot" 3 [STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return the slot of a key";
    "cluster|meet" -4 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: start a node to add it";
    "cluster|myid" 2 [STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return the id of this node";
    "cluster|myshardid" 2 [STALE] (0 0 0) Cluster "7.2.0" Session(Cluster),
        "Return the id of this node";
    "cluster|nodes" 2 [STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return the nodes, their state and their slots";
    "cluster|replicas" 3 [ADMIN STALE] (0 0 0) Cluster "5.0.0" Session(Cluster),
        "Return an empty list: no node is a copy of another";
    "cluster|replicate" 3 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: no node is a copy of another";
    "cluster|reset" -2 [ADMIN NOSCRIPT STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: the ring assigns slots";
    "cluster|setslot" -4 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Refused: the ring assigns slots";
    "cluster|shards" 2 [STALE] (0 0 0) Cluster "7.0.0" Session(Cluster),
        "Return ranges of slots and the nodes that hold them";
    "cluster|slaves" 3 [ADMIN STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return an empty list: no node is a copy of another";
    "cluster|slots" 2 [STALE] (0 0 0) Cluster "3.0.0" Session(Cluster),
        "Return ranges of slots and the nodes that lead them";
};

/// COMMAND
pub(super) const COMMAND: &[Command] = commands! {
    numbers from behind(CLUSTER);
    "command|count" 2 [LOADING STALE] (0 0 0) Server "2.8.13" Session(CommandDetails),
        "Return the number of commands";
    "command|docs" -2 [LOADING STALE] (0 0 0) Server "7.0.0" Session(CommandDetails),
        "Return documentation of commands";
    "command|getkeys" -3 [LOADING STALE] (0 0 0) Server "2.8.13" Session(CommandDetails),
        "Return the keys of a whole command";
    "command|help" 2 [LOADING STALE] (0 0 0) Server "5.0.0" Session(Help),
        "Show helpful text about the subcommands";
    "command|info" -2 [LOADING STALE] (0 0 0) Server "2.8.13" Session(CommandDetails),
        "Return details of commands";
    "command|list" -2 [LOADING STALE] (0 0 0) Server "7.0.0" Session(CommandDetails),
        "Return the names of commands";
};

/// CONFIG
pub(super) const CONFIG: &[Command] = commands! {
    numbers from behind(COMMAND);
    "config|get" -3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "2.0.0" Session(Config),
        "Return settings of this node";
    "config|help" 2 [LOADING STALE] (0 0 0) Server "5.0.0" Session(Help),
        "Show helpful text about the subcommands";
    "config|resetstat" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "2.0.0" Session(Configure),
        "Count from zero what INFO counts";
    "config|rewrite" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "2.8.0" Session(Configure),
        "Write the settings to the configuration file";
    "config|set" -4 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "2.0.0" Session(Configure),
        "Change settings of this node until it ends";
};

/// LATENCY
pub(super) const LATENCY: &[Command] = commands! {
    numbers from behind(CONFIG);
    "latency|doctor" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "2.8.13" Session(Latency),
        "Return a report about latency events";
    "latency|help" 2 [LOADING STALE] (0 0 0) Server "2.8.13" Session(Help),
        "Show helpful text about the subcommands";
    "latency|histogram" -2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "7.0.0" Session(Latency),
        "Return histograms of latency per command";
    "latency|history" 3 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "2.8.13" Session(Latency),
        "Return the samples of a latency event";
    "latency|latest" 2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "2.8.13" Session(Latency),
        "Return the latest sample of each latency event";
    "latency|reset" -2 [ADMIN NOSCRIPT LOADING STALE] (0 0 0) Server "2.8.13" Session(Latency),
        "Forget the samples of latency events";
};

/// MEMORY
pub(super) const MEMORY: &[Command] = commands! {
    numbers from behind(LATENCY);
    "memory|help" 2 [LOADING STALE] (0 0 0) Server "4.0.0" Session(Help),
        "Show helpful text about the subcommands";
    "memory|usage" -3 [READONLY] (2 2 1) Server "4.0.0" Slot(object::memory_usage),
        "Return the bytes that a key and its value take";
};

/// OBJECT
pub(super) const OBJECT: &[Command] = commands! {
    numbers from behind(MEMORY);
    "object|encoding" 3 [READONLY] (2 2 1) Generic "2.2.3" Slot(object::encoding),
        "Return how Redis would store the value of a key";
    "object|freq" 3 [READONLY] (2 2 1) Generic "4.0.0" Slot(object::freq),
        "Return how often a key is used";
    "object|help" 2 [LOADING STALE] (0 0 0) Generic "6.2.0" Session(Help),
        "Show helpful text about the subcommands";
    "object|idletime" 3 [READONLY] (2 2 1) Generic "2.2.3" Slot(object::idletime),
        "Return the time since a key was last used";
    "object|refcount" 3 [READONLY] (2 2 1) Generic "2.2.3" Slot(object::refcount),
        "Return the number of references to the value of a key";
};

/// SLOWLOG
pub(super) const SLOWLOG: &[Command] = commands! {
    numbers from behind(OBJECT);
    "slowlog|get" -2 [ADMIN LOADING STALE] (0 0 0) Server "2.2.12" Session(Slowlog),
        "Return the latest entries of this node's slow log";
    "slowlog|help" 2 [LOADING STALE] (0 0 0) Server "6.2.0" Session(Help),
        "Show helpful text about the subcommands";
    "slowlog|len" 2 [ADMIN LOADING STALE] (0 0 0) Server "2.2.12" Session(Slowlog),
        "Return the number of entries in this node's slow log";
    "slowlog|reset" 2 [ADMIN LOADING STALE] (0 0 0) Server "2.2.12" Session(Slowlog),
        "Forget the entries of this node's slow log";
};
