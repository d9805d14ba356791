//! What is known about a command without executing it.

use crate::keyspace::Keyspace;
use crate::resp::{Args, Reply};

/// Executes a command on one slot and writes its one reply. Whatever is wrong with the arguments
/// is that reply; nothing was changed then.
pub type Handler = fn(&Args<'_>, &mut Keyspace<'_>, &mut Reply<'_>);

/// A command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// In lower case; that of a subcommand begins with its container's and a bar.
    pub name: &'static str,
    /// Its own, among all commands and subcommands: what counts are kept by.
    pub number: u8,
    /// Arguments, the name included; negative for "at least".
    pub arity: i8,
    /// What it does and when it may.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: KeySpec,
    /// What it is about.
    pub group: Group,
    /// Version of Redis (or Valkey) that had it first.
    pub since: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Where it is executed, and by what.
    pub place: Place,
}

/// Where a command is executed.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// Where the slot of its key, or of all its keys, is led.
    Slot(Handler),
    /// Its keys may lie in several slots: it is cut into one command per slot, each executed
    /// there; the replies are merged.
    Split(Handler, Merge),
    /// By the shard that holds the connection.
    Session(SessionCommand),
    /// By asking every slot.
    Sweep(Sweep),
    /// Its first argument names one of these; COMMAND alone may stand without.
    Container(&'static [Command]),
}

/// How the replies to the parts of a [`Place::Split`] become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// All say `OK`.
    Ok,
    /// Arrays of one value per key: each value takes the place that its key had.
    Values,
}

/// Commands about the connection or the node.
#[expect(missing_docs, reason = "each is the command of the same name")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionCommand {
    Ping,
    Echo,
    Hello,
    Auth,
    Select,
    Quit,
    Reset,
    Client,
    Command,
    Config,
    Configure,
    Help,
    Info,
    Latency,
    Shutdown,
    Slowlog,
    Time,
    Wait,
    WaitAof,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Cluster,
    Readonly,
    Readwrite,
    Asking,
}

/// Questions to every slot, put by the internal command that each names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sweep {
    /// `SLOT.COUNT`, added.
    DbSize,
    /// `SLOT.SCAN`, slot after slot.
    Scan,
    /// `SLOT.KEYS`, joined.
    Keys,
    /// `SLOT.RANDOM` of a random slot that is not empty.
    RandomKey,
    /// `SLOT.CLEAR`.
    FlushAll,
}

/// Properties of a command, as `COMMAND INFO` names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub(super) u16);

impl Flags {
    /// May change keys.
    pub const WRITE: Self = Self(1);
    /// Changes no keys.
    pub const READONLY: Self = Self(1 << 1);
    /// Refused when memory is full.
    pub const DENYOOM: Self = Self(1 << 2);
    /// Not for scripts.
    pub const NOSCRIPT: Self = Self(1 << 3);
    /// Answered while data is being loaded.
    pub const LOADING: Self = Self(1 << 4);
    /// Answered by a copy that has lost touch.
    pub const STALE: Self = Self(1 << 5);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 6);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 7);
    /// For who runs the server.
    pub const ADMIN: Self = Self(1 << 8);
    /// Not in a transaction.
    pub const NO_MULTI: Self = Self(1 << 9);
    /// Can block a server that holds much, or tells much about it. Not one of the flags, but the
    /// category `@dangerous`.
    pub const DANGEROUS: Self = Self(1 << 10);

    /// Whether all of `flags` are among these.
    #[inline]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// The names of these.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; 10] = [
            "write", "readonly", "denyoom", "noscript", "loading", "stale", "fast", "no_auth",
            "admin", "no_multi",
        ];
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, n)| n)
    }
}

/// Which arguments are keys: every `step`th from `first` to `last`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySpec {
    /// Index of the first, 0 if there are no keys.
    pub first: u8,
    /// Index of the last; if negative, counted from the end, -1 being the last argument.
    pub last: i8,
    /// From one to the next, 0 if there are no keys.
    pub step: u8,
}

/// What a command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// The client's connection.
    Connection,
    /// The node.
    Server,
    /// MULTI and what belongs to it.
    Transactions,
    /// What only clients of Redis Cluster ask.
    Cluster,
    /// Commands between shards, which no client can send.
    Internal,
}

impl Group {
    /// As `COMMAND DOCS` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Transactions => "transactions",
            Self::Cluster => "cluster",
            Self::Internal => "internal",
        }
    }
}

impl Command {
    /// Whether it may be called with this many arguments, its name included.
    #[inline]
    pub fn arity_ok(&self, arguments: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { arguments >= least } else { arguments == least }
    }

    /// The indices of the keys among this many arguments, its name included.
    #[inline]
    pub fn keys(&self, arguments: usize) -> impl Iterator<Item = usize> + use<> {
        let KeySpec { first, last, step } = self.keys;
        let behind_last = match usize::try_from(last) {
            Ok(0) => 0,
            Ok(last) => arguments.min(last + 1),
            Err(_) => (arguments + 1).saturating_sub(usize::from(last.unsigned_abs())),
        };
        (usize::from(first)..behind_last).step_by(usize::from(step.max(1)))
    }

    /// Those that its first argument chooses from; none if it is not a container.
    pub fn subcommands(&self) -> &'static [Command] {
        match self.place {
            Place::Container(subcommands) => subcommands,
            Place::Slot(_) | Place::Split(..) | Place::Session(_) | Place::Sweep(_) => &[],
        }
    }

    /// Whether it does anything itself: of the containers, only COMMAND does.
    pub fn is_called(&self) -> bool {
        !matches!(self.place, Place::Container(_)) || self.name == "command"
    }

    /// The subcommand of this name, in capitals or not.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Command> {
        let behind_bar = self.name.len() + 1;
        self.subcommands()
            .iter()
            .find(|sub| sub.name.as_bytes()[behind_bar..].eq_ignore_ascii_case(name))
    }

    /// Whether it may change keys.
    #[inline]
    pub fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// Whether a transaction refuses it when it is queued: it is about the connection, or about
    /// the shards of the node.
    pub fn stands_alone(&self) -> bool {
        use SessionCommand as C;
        self.flags.contains(Flags::NO_MULTI)
            || matches!(
                self.place,
                Place::Session(
                    C::Client | C::Cluster | C::Configure | C::Hello | C::Auth | C::Slowlog
                )
            )
    }

    /// Whether it may need memory, and is refused when that is full.
    #[inline]
    pub fn needs_memory(&self) -> bool {
        self.flags.contains(Flags::DENYOOM)
    }
}

/// Why a command is not executed. The client is told so; its connection goes on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refuse {
    /// No command has this name; how its arguments begin.
    #[error("ERR unknown command '{name}', with args beginning with: {arguments}")]
    Unknown {
        /// At most 128 bytes of it.
        name: String,
        /// Each in quotes and followed by a space, about 128 bytes in all.
        arguments: String,
    },
    /// The container of this name has no such subcommand; at most 128 bytes of what was asked for.
    #[error("ERR unknown subcommand '{name}'. Try {container} HELP.")]
    Subcommand {
        /// What was asked for.
        name: String,
        /// The container, in capitals.
        container: String,
    },
    /// The command of this name takes another number of arguments.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// A key is longer than keys may be.
    #[error("ERR key of {bytes} bytes; at most {bytes_max} are taken")]
    Key {
        /// Bytes of the key.
        bytes: usize,
        /// Bytes of a key at most.
        bytes_max: usize,
    },
}
