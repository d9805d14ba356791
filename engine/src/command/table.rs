//! Every command, as a table. Names, arities, flags and positions of keys are those of Redis 7,
//! from which clients learn how to route.

use super::spec::Merge::{Ok, Sum, Values};
use super::spec::Place::{Container, Session, Slot, Split};
use super::spec::SessionCommand::{
    Asking, Auth, Discard, Echo, Exec, Hello, Info, Multi, Ping, Quit, Readonly, Readwrite, Reset,
    Select, Shutdown, Time, Unwatch, Wait, WaitAof, Watch,
};
use super::spec::Sweep::{DbSize, FlushAll, Keys, RandomKey, Scan};
use super::spec::{Command, Flags, Group, KeySpec, Place};
use super::{containers, counters, expiry, many, native, rename, slot, strings};
use crate::shard::calls;

/// One command per row, numbered as they stand: name, arity, flags, (first key, last key, step),
/// group, the version that had it first, place, summary.
macro_rules! commands {
    (numbers from $number:expr;
        $($name:literal $arity:literal [$($flag:ident)*]
            ($first:literal $last:literal $step:literal)
            $group:ident $since:literal $place:expr, $summary:literal;)*) => {
        &$crate::command::table::numbered($number, [$(Command {
            name: $name,
            number: 0,
            arity: $arity,
            flags: Flags(0 $(| Flags::$flag.0)*),
            keys: KeySpec { first: $first, last: $last, step: $step },
            group: Group::$group,
            since: $since,
            summary: $summary,
            place: $place,
        }),*])
    };
}
pub(super) use commands;

/// What clients can call.
pub(super) const CLIENT: &[Command] = commands! {
    numbers from 0;
    "get" 2 [READONLY FAST] (1 1 1) String "1.0.0" Slot(strings::get),
        "Get the value of a key";
    "set" -3 [WRITE DENYOOM] (1 1 1) String "1.0.0" Slot(strings::set),
        "Set the string value of a key";
    "setnx" 3 [WRITE DENYOOM FAST] (1 1 1) String "1.0.0" Slot(strings::setnx),
        "Set the value of a key, only if the key does not exist";
    "setex" 4 [WRITE DENYOOM] (1 1 1) String "2.0.0" Slot(strings::setex),
        "Set the value and expiration of a key";
    "psetex" 4 [WRITE DENYOOM] (1 1 1) String "2.6.0" Slot(strings::psetex),
        "Set the value and expiration in milliseconds of a key";
    "getset" 3 [WRITE DENYOOM FAST] (1 1 1) String "1.0.0" Slot(strings::getset),
        "Set the string value of a key and return its old value";
    "getdel" 2 [WRITE FAST] (1 1 1) String "6.2.0" Slot(strings::getdel),
        "Get the value of a key and delete the key";
    "getex" -2 [WRITE FAST] (1 1 1) String "6.2.0" Slot(strings::getex),
        "Get the value of a key and optionally set its expiration";
    "strlen" 2 [READONLY FAST] (1 1 1) String "2.2.0" Slot(strings::strlen),
        "Get the length of the value stored in a key";
    "append" 3 [WRITE DENYOOM FAST] (1 1 1) String "2.0.0" Slot(strings::append),
        "Append a value to a key";
    "getrange" 4 [READONLY] (1 1 1) String "2.4.0" Slot(strings::getrange),
        "Get a substring of the string stored at a key";
    "substr" 4 [READONLY] (1 1 1) String "1.0.0" Slot(strings::substr),
        "Get a substring of the string stored at a key";
    "setrange" 4 [WRITE DENYOOM] (1 1 1) String "2.2.0" Slot(strings::setrange),
        "Overwrite part of a string at key starting at the specified offset";
    "incr" 2 [WRITE DENYOOM FAST] (1 1 1) String "1.0.0" Slot(counters::incr),
        "Increment the integer value of a key by one";
    "decr" 2 [WRITE DENYOOM FAST] (1 1 1) String "1.0.0" Slot(counters::decr),
        "Decrement the integer value of a key by one";
    "incrby" 3 [WRITE DENYOOM FAST] (1 1 1) String "1.0.0" Slot(counters::incrby),
        "Increment the integer value of a key by the given amount";
    "decrby" 3 [WRITE DENYOOM FAST] (1 1 1) String "1.0.0" Slot(counters::decrby),
        "Decrement the integer value of a key by the given number";
    "incrbyfloat" 3 [WRITE DENYOOM FAST] (1 1 1) String "2.6.0" Slot(counters::incrbyfloat),
        "Increment the float value of a key by the given amount";
    "mget" -2 [READONLY FAST] (1 -1 1) String "1.0.0" Split(many::mget, Values),
        "Get the values of all the given keys";
    "mset" -3 [WRITE DENYOOM] (1 -1 2) String "1.0.1" Split(many::mset, Ok),
        "Set multiple keys to multiple values";
    "msetnx" -3 [WRITE DENYOOM] (1 -1 2) String "1.0.1" Slot(many::msetnx),
        "Set multiple keys to multiple values, only if none of the keys exist";
    "delex" -2 [WRITE FAST] (1 1 1) String "8.4.0" Slot(strings::delex),
        "Delete a key if its value is, or is not, the one stated";
    "delifeq" 3 [WRITE FAST] (1 1 1) String "9.0.0" Slot(strings::delifeq),
        "Delete a key if its value is the one stated";
    "del" -2 [WRITE] (1 -1 1) Generic "1.0.0" Split(many::del, Sum),
        "Delete a key";
    "unlink" -2 [WRITE FAST] (1 -1 1) Generic "4.0.0" Split(many::unlink, Sum),
        "Delete a key";
    "exists" -2 [READONLY FAST] (1 -1 1) Generic "1.0.0" Split(many::exists, Sum),
        "Determine if a key exists";
    "touch" -2 [READONLY FAST] (1 -1 1) Generic "3.2.1" Split(many::touch, Sum),
        "Count the keys that exist and mark them as used";
    "expire" -3 [WRITE FAST] (1 1 1) Generic "1.0.0" Slot(expiry::expire),
        "Set a key's time to live in seconds";
    "pexpire" -3 [WRITE FAST] (1 1 1) Generic "2.6.0" Slot(expiry::pexpire),
        "Set a key's time to live in milliseconds";
    "expireat" -3 [WRITE FAST] (1 1 1) Generic "1.2.0" Slot(expiry::expireat),
        "Set the expiration for a key as a UNIX timestamp";
    "pexpireat" -3 [WRITE FAST] (1 1 1) Generic "2.6.0" Slot(expiry::pexpireat),
        "Set the expiration for a key as a UNIX timestamp specified in milliseconds";
    "ttl" 2 [READONLY FAST] (1 1 1) Generic "1.0.0" Slot(expiry::ttl),
        "Get the time to live for a key in seconds";
    "pttl" 2 [READONLY FAST] (1 1 1) Generic "2.6.0" Slot(expiry::pttl),
        "Get the time to live for a key in milliseconds";
    "expiretime" 2 [READONLY FAST] (1 1 1) Generic "7.0.0" Slot(expiry::expiretime),
        "Get the expiration Unix timestamp for a key";
    "pexpiretime" 2 [READONLY FAST] (1 1 1) Generic "7.0.0" Slot(expiry::pexpiretime),
        "Get the expiration Unix timestamp for a key in milliseconds";
    "persist" 2 [WRITE FAST] (1 1 1) Generic "2.2.0" Slot(expiry::persist),
        "Remove the expiration from a key";
    "rename" 3 [WRITE] (1 2 1) Generic "1.0.0" Slot(rename::rename),
        "Rename a key";
    "renamenx" 3 [WRITE FAST] (1 2 1) Generic "1.0.0" Slot(rename::renamenx),
        "Rename a key, only if the new key does not exist";
    "copy" -3 [WRITE DENYOOM] (1 2 1) Generic "6.2.0" Slot(rename::copy),
        "Copy a key";
    "object" -2 [] (0 0 0) Generic "2.2.3" Container(containers::OBJECT),
        "A container for object introspection commands";
    "wait" 3 [NOSCRIPT] (0 0 0) Generic "3.0.0" Session(Wait),
        "Wait for the synchronous replication of all writes of the connection";
    "waitaof" 4 [NOSCRIPT] (0 0 0) Generic "7.2.0" Session(WaitAof),
        "Wait for all writes of the connection to be on disk";
    "type" 2 [READONLY FAST] (1 1 1) Generic "1.0.0" Slot(slot::kind),
        "Determine the type stored at key";
    "dbsize" 1 [READONLY FAST] (0 0 0) Server "1.0.0" Place::Sweep(DbSize),
        "Return the number of keys";
    "scan" -2 [READONLY] (0 0 0) Generic "2.8.0" Place::Sweep(Scan),
        "Incrementally iterate the keys space";
    "keys" 2 [READONLY DANGEROUS] (0 0 0) Generic "1.0.0" Place::Sweep(Keys),
        "Find all keys matching the given pattern";
    "randomkey" 1 [READONLY] (0 0 0) Generic "1.0.0" Place::Sweep(RandomKey),
        "Return a random key from the keyspace";
    "flushall" -1 [WRITE DANGEROUS] (0 0 0) Server "1.0.0" Place::Sweep(FlushAll),
        "Remove all keys";
    "flushdb" -1 [WRITE DANGEROUS] (0 0 0) Server "1.0.0" Place::Sweep(FlushAll),
        "Remove all keys";
    "ping" -1 [FAST] (0 0 0) Connection "1.0.0" Session(Ping),
        "Ping the server";
    "echo" 2 [LOADING STALE FAST] (0 0 0) Connection "1.0.0" Session(Echo),
        "Echo the given string";
    "hello" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH] (0 0 0) Connection "6.0.0" Session(Hello),
        "Choose the version of the protocol, authenticate and name the connection";
    "auth" -2 [NOSCRIPT LOADING STALE FAST NO_AUTH] (0 0 0) Connection "1.0.0" Session(Auth),
        "Authenticate to the server";
    "select" 2 [LOADING STALE FAST] (0 0 0) Connection "1.0.0" Session(Select),
        "Change the selected database for the current connection";
    "quit" -1 [NOSCRIPT LOADING STALE FAST NO_AUTH] (0 0 0) Connection "1.0.0" Session(Quit),
        "Close the connection";
    "reset" 1 [NOSCRIPT LOADING STALE FAST NO_AUTH] (0 0 0) Connection "6.2.0" Session(Reset),
        "Reset the connection";
    "client" -2 [] (0 0 0) Connection "2.4.0" Container(containers::CLIENT),
        "A container for client connection commands";
    "command" -1 [LOADING STALE] (0 0 0) Server "2.8.13" Container(containers::COMMAND),
        "Get array of command details";
    "config" -2 [] (0 0 0) Server "2.0.0" Container(containers::CONFIG),
        "A container for server configuration commands";
    "latency" -2 [] (0 0 0) Server "2.8.13" Container(containers::LATENCY),
        "A container for latency diagnostics commands";
    "memory" -2 [] (0 0 0) Server "4.0.0" Container(containers::MEMORY),
        "A container for memory diagnostics commands";
    "slowlog" -2 [] (0 0 0) Server "2.2.12" Container(containers::SLOWLOG),
        "A container for slow log commands";
    "shutdown" -1 [ADMIN NOSCRIPT LOADING STALE NO_MULTI] (0 0 0) Server "1.0.0" Session(Shutdown),
        "Move the keys of this node to the others and end it";
    "info" -1 [LOADING STALE DANGEROUS] (0 0 0) Server "1.0.0" Session(Info),
        "Get information and statistics about the server";
    "time" 1 [LOADING STALE FAST] (0 0 0) Server "2.6.0" Session(Time),
        "Return the current server time";
    "multi" 1 [NOSCRIPT LOADING STALE FAST] (0 0 0) Transactions "1.2.0" Session(Multi),
        "Mark the start of a transaction block";
    "exec" 1 [NOSCRIPT LOADING STALE] (0 0 0) Transactions "1.2.0" Session(Exec),
        "Execute all commands issued after MULTI";
    "discard" 1 [NOSCRIPT LOADING STALE FAST] (0 0 0) Transactions "2.0.0" Session(Discard),
        "Discard all commands issued after MULTI";
    "watch" -2 [NOSCRIPT LOADING STALE FAST] (1 -1 1) Transactions "2.2.0" Session(Watch),
        "Watch the given keys to determine execution of the MULTI/EXEC block";
    "unwatch" 1 [NOSCRIPT LOADING STALE FAST] (0 0 0) Transactions "2.2.0" Session(Unwatch),
        "Forget about all watched keys";
    "cluster" -2 [] (0 0 0) Cluster "3.0.0" Container(containers::CLUSTER),
        "A container for commands about the cluster, at the cluster door";
    "readonly" 1 [LOADING STALE FAST] (0 0 0) Cluster "3.0.0" Session(Readonly),
        "Allow reads of copies on this connection, at the cluster door";
    "readwrite" 1 [LOADING STALE FAST] (0 0 0) Cluster "3.0.0" Session(Readwrite),
        "Undo READONLY, at the cluster door";
    "asking" 1 [FAST] (0 0 0) Cluster "3.0.0" Session(Asking),
        "Announce a command sent here by ASK, at the cluster door";
};

/// What only shards send to each other.
pub(super) const INTERNAL: &[Command] = commands! {
    numbers from behind(CLIENT);
    "expect" 3 [READONLY FAST] (1 1 1) Internal "0.1.0" Slot(slot::expect),
        "Whether a key still has a version, 0 standing for no key";
    "version" 2 [READONLY FAST] (1 1 1) Internal "0.1.0" Slot(slot::version),
        "The version of a key, 0 for no key";
    "slot.count" 1 [READONLY FAST] (0 0 0) Internal "0.1.0" Slot(slot::count),
        "The number of keys of a slot";
    "slot.scan" -3 [READONLY] (0 0 0) Internal "0.1.0" Slot(slot::scan),
        "Some keys of a slot and the hash to go on from";
    "slot.keys" 2 [READONLY] (0 0 0) Internal "0.1.0" Slot(slot::keys),
        "The keys of a slot that match a pattern";
    "slot.random" 2 [READONLY] (0 0 0) Internal "0.1.0" Slot(slot::random),
        "A random key of a slot";
    "slot.clear" 1 [WRITE] (0 0 0) Internal "0.1.0" Slot(slot::clear),
        "Remove all keys of a slot";
    "n.get" 3 [READONLY FAST] (1 1 1) Internal "0.1.0" Slot(native::get),
        "An entry, or all of it but its value";
    "n.set" 6 [WRITE DENYOOM FAST] (1 1 1) Internal "0.1.0" Slot(native::set),
        "Write an entry under a condition";
    "n.delete" 3 [WRITE FAST] (1 1 1) Internal "0.1.0" Slot(native::delete),
        "Delete an entry under a condition";
    "n.incr" 3 [WRITE DENYOOM FAST] (1 1 1) Internal "0.1.0" Slot(native::incr),
        "Add to an integer";
    "n.append" 3 [WRITE DENYOOM FAST] (1 1 1) Internal "0.1.0" Slot(native::append),
        "Add bytes at the end of a value";
    "n.expire" 4 [WRITE FAST] (1 1 1) Internal "0.1.0" Slot(native::expire),
        "Set when an entry ends under a condition";
};

/// Numbers from here on are not those of rows.
const NUMBERS: usize = calls::RESERVED as usize;

/// Where the numbers of subcommands begin, which cannot know how many commands there are.
pub(super) const SUBCOMMANDS: usize = 128;

const _: () = assert!(behind(INTERNAL) <= SUBCOMMANDS);

/// The same commands with numbers from `first` on.
pub(super) const fn numbered<const N: usize>(
    first: usize,
    mut commands: [Command; N],
) -> [Command; N] {
    assert!(first + N <= NUMBERS);
    let mut at = 0;
    while at < N {
        commands[at].number = (first + at) as u8;
        at += 1;
    }
    commands
}

/// The number behind those of these commands.
pub(super) const fn behind(commands: &[Command]) -> usize {
    commands[commands.len() - 1].number as usize + 1
}
