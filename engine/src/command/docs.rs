//! COMMAND: what the registry knows, told to clients.

use super::registry::{all, find, find_full};
use super::spec::{Command, Flags, Group, Merge, Place, SessionCommand, Sweep};
use super::{bad_argument::BadArgument, glob};
use crate::resp::{Args, Reply};

/// Answers COMMAND and its subcommands COUNT, LIST, INFO, DOCS and GETKEYS, as resolved.
pub fn command(args: &Args<'_>, reply: &mut Reply<'_>) {
    if args.len() == 1 {
        return details_of(all().iter().map(Some), all().len(), reply);
    }
    match args.get(1).to_ascii_lowercase().as_slice() {
        b"count" => reply.integer(all().len() as i64),
        b"info" => info(args, reply),
        b"docs" => docs(args, reply),
        b"list" => list(args, reply),
        _ => get_keys(args, reply),
    }
}

fn info(args: &Args<'_>, reply: &mut Reply<'_>) {
    if args.len() == 2 {
        details_of(all().iter().map(Some), all().len(), reply);
    } else {
        details_of(args.iter().skip(2).map(find_full), args.len() - 2, reply);
    }
}

fn details_of<'c>(
    commands: impl Iterator<Item = Option<&'c Command>>,
    count: usize,
    reply: &mut Reply<'_>,
) {
    reply.array(count);
    for command in commands {
        match command {
            Some(command) => details(command, reply),
            None => reply.null(),
        }
    }
}

fn details(command: &Command, reply: &mut Reply<'_>) {
    let keys = command.keys;
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(i64::from(command.arity));
    statuses(command.flags.names(), reply);
    reply.integer(i64::from(keys.first));
    reply.integer(i64::from(keys.last));
    reply.integer(i64::from(keys.step));
    statuses(categories(command), reply);
    let tips = tips(command);
    reply.set(tips.len());
    for tip in tips {
        reply.bulk(tip.as_bytes());
    }
    key_specs(command, reply);
    let subcommands = command.subcommands();
    reply.set(subcommands.len());
    for subcommand in subcommands {
        details(subcommand, reply);
    }
}

fn statuses(names: impl Iterator<Item = &'static str>, reply: &mut Reply<'_>) {
    let names: Vec<_> = names.collect();
    reply.set(names.len());
    for name in names {
        reply.status(name);
    }
}

/// Where the keys are, in the form that Redis 7 began: one range that starts at an index.
fn key_specs(command: &Command, reply: &mut Reply<'_>) {
    let keys = command.keys;
    if keys.first == 0 {
        return reply.set(0);
    }
    reply.set(1);
    reply.map(3);
    reply.bulk(b"flags");
    statuses(std::iter::once(if command.is_write() { "RW" } else { "RO" }), reply);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(i64::from(keys.first));
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    // Counted from the first key, unless from the end.
    let last = i64::from(keys.last);
    let relative = if last < 0 { last } else { last - i64::from(keys.first) };
    for (name, value) in [("lastkey", relative), ("keystep", keys.step.into()), ("limit", 0)] {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
}

/// The categories that access control lists of Redis would put the command in.
fn categories(command: &Command) -> impl Iterator<Item = &'static str> {
    use SessionCommand as S;
    let flagged = |flag, name| command.flags.contains(flag).then_some(name);
    let group = match command.group {
        _ if command.name.starts_with("command") => Some("@connection"),
        // Its subcommands are in categories, not it.
        _ if matches!(command.place, Place::Container(_)) => None,
        Group::Generic if matches!(command.place, Place::Session(S::Wait | S::WaitAof)) => {
            Some("@connection")
        }
        Group::Generic => Some("@keyspace"),
        Group::String => Some("@string"),
        Group::Connection => Some("@connection"),
        Group::Transactions => Some("@transaction"),
        Group::Server if matches!(command.place, Place::Sweep(_)) => Some("@keyspace"),
        Group::Cluster if !command.name.starts_with("cluster") => Some("@connection"),
        Group::Server | Group::Cluster | Group::Internal => None,
    };
    let speed = if command.flags.contains(Flags::FAST) { "@fast" } else { "@slow" };
    [
        group,
        flagged(Flags::READONLY, "@read"),
        flagged(Flags::WRITE, "@write"),
        Some(speed),
        flagged(Flags::ADMIN, "@admin"),
        flagged(Flags::DANGEROUS, "@dangerous").or(flagged(Flags::ADMIN, "@dangerous")),
    ]
    .into_iter()
    .flatten()
}

/// How a client that knows the nodes may cut a command and join its replies.
fn tips(command: &Command) -> &'static [&'static str] {
    match command.place {
        Place::Split(_, Merge::Sum) => &["request_policy:multi_shard", "response_policy:agg_sum"],
        Place::Split(_, Merge::Ok) => {
            &["request_policy:multi_shard", "response_policy:all_succeeded"]
        }
        Place::Split(_, Merge::Values) => &["request_policy:multi_shard"],
        Place::Sweep(Sweep::DbSize) => &["request_policy:all_shards", "response_policy:agg_sum"],
        Place::Sweep(Sweep::FlushAll) => {
            &["request_policy:all_shards", "response_policy:all_succeeded"]
        }
        Place::Sweep(Sweep::Keys) => {
            &["request_policy:all_shards", "nondeterministic_output_order"]
        }
        Place::Sweep(Sweep::Scan | Sweep::RandomKey) => &["nondeterministic_output"],
        Place::Slot(_) | Place::Session(_) | Place::Container(_) => &[],
    }
}

fn docs(args: &Args<'_>, reply: &mut Reply<'_>) {
    let named: Vec<&Command> = if args.len() == 2 {
        all().iter().collect()
    } else {
        args.iter().skip(2).filter_map(find_full).collect()
    };
    docs_of(named.into_iter(), reply);
}

fn docs_of<'c>(commands: impl ExactSizeIterator<Item = &'c Command>, reply: &mut Reply<'_>) {
    reply.map(commands.len());
    for command in commands {
        let subcommands = command.subcommands();
        reply.bulk(command.name.as_bytes());
        reply.map(3 + usize::from(!subcommands.is_empty()));
        for (name, text) in [
            ("summary", command.summary),
            ("since", command.since),
            ("group", command.group.name()),
        ] {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
        if !subcommands.is_empty() {
            reply.bulk(b"subcommands");
            docs_of(Box::new(subcommands.iter()) as Box<dyn ExactSizeIterator<Item = _>>, reply);
        }
    }
}

fn list(args: &Args<'_>, reply: &mut Reply<'_>) {
    let filter: Vec<&[u8]> = args.iter().skip(2).collect();
    let names = |keep: &dyn Fn(&Command) -> bool| {
        let every = all().iter().flat_map(|one| std::iter::once(one).chain(one.subcommands()));
        every.filter(|command| keep(command)).map(|command| command.name).collect::<Vec<_>>()
    };
    let names = match filter[..] {
        [] => names(&|_| true),
        [by, kind, value] if by.eq_ignore_ascii_case(b"filterby") => {
            match kind.to_ascii_lowercase().as_slice() {
                b"pattern" => names(&|c| glob::matches(value, c.name.as_bytes())),
                b"aclcat" => names(&|c| categories(c).any(|name| value == &name.as_bytes()[1..])),
                // There are no modules, so none of the commands is of one.
                b"module" => Vec::new(),
                _ => return BadArgument::Syntax.write(reply),
            }
        }
        _ => return BadArgument::Syntax.write(reply),
    };
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
}

fn get_keys(args: &Args<'_>, reply: &mut Reply<'_>) {
    let arguments = args.len() - 2;
    let command = find(args.get(2)).and_then(|command| match command.place {
        Place::Container(_) if arguments > 1 => command.subcommand(args.get(3)),
        _ => Some(command),
    });
    let Some(command) = command else {
        return reply.error("ERR Invalid command specified");
    };
    if command.keys.first == 0 {
        return reply.error("ERR The command has no key arguments");
    }
    if !command.arity_ok(arguments) {
        return reply.error("ERR Invalid number of arguments specified for command");
    }
    reply.array(command.keys(arguments).count());
    for index in command.keys(arguments) {
        reply.bulk(args.get(index + 2));
    }
}
