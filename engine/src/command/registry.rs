//! Finding a command by its name.

use piccolo_schema::limits::KEY_BYTES_MAX;

use super::spec::{Command, Place, Refuse};
use super::table::{CLIENT, INTERNAL};
use crate::resp::Args;

/// Places of an [`Index`]: a power of two, at least twice the commands in it.
const PLACES: usize = 256;

/// A place of an [`Index`] that holds no command.
const EMPTY: u8 = u8::MAX;

/// Bytes of the longest name that is looked for.
const NAME_BYTES_MAX: usize = 16;

/// Bytes of an unknown command, and of its arguments, that are told back (source: redis).
const ECHO_BYTES_MAX: usize = 128;

static CLIENT_INDEX: Index = Index::new(CLIENT);
static INTERNAL_INDEX: Index = Index::new(INTERNAL);

/// The command that clients call by `name`, in capitals or not.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    CLIENT_INDEX.find(CLIENT, name)
}

/// The command that only shards send to each other by `name`: `EXPECT key version` in front of a
/// unit, `VERSION key`, and the parts of sweeps, `SLOT.COUNT`, `SLOT.SCAN cursor count [MATCH
/// pattern] [TYPE type]`, `SLOT.KEYS pattern`, `SLOT.RANDOM seed`, `SLOT.CLEAR`, and what
/// [`super::native`] has.
pub fn find_internal(name: &[u8]) -> Option<&'static Command> {
    INTERNAL_INDEX.find(INTERNAL, name)
}

/// Every command that clients can call.
pub fn all() -> &'static [Command] {
    CLIENT
}

/// The command that a client calls with `args`, if it exists, takes so many arguments, and no
/// key is too long. Handlers rely on all three.
///
/// # Errors
///
/// What to tell the client.
#[inline]
pub fn resolve(args: &Args<'_>) -> Result<&'static Command, Refuse> {
    let mut command = find(args.get(0)).ok_or_else(|| unknown(args))?;
    if matches!(command.place, Place::Container(_)) && args.len() > 1 {
        command = command.subcommand(args.get(1)).ok_or_else(|| no_subcommand(command, args))?;
    }
    if !command.arity_ok(args.len()) {
        return Err(Refuse::Arity(command.name));
    }
    // Behind the name come whole groups of arguments, each beginning with a key.
    let group = usize::from(command.keys.step.max(1));
    if group > 1 && !(args.len() - 1).is_multiple_of(group) {
        return Err(Refuse::Arity(command.name));
    }
    for index in command.keys(args.len()) {
        let bytes = args.get(index).len();
        if bytes > KEY_BYTES_MAX {
            return Err(Refuse::Key { bytes, bytes_max: KEY_BYTES_MAX });
        }
    }
    Ok(command)
}

/// The command of this name, in capitals or not; a subcommand's has a bar in it.
pub fn find_full(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|byte| *byte == b'|') {
        Some(bar) => find(&name[..bar])?.subcommand(&name[bar + 1..]),
        None => find(name),
    }
}

#[cold]
fn no_subcommand(container: &Command, args: &Args<'_>) -> Refuse {
    let (name, container) = (cut(args.get(1), ECHO_BYTES_MAX), container.name.to_uppercase());
    Refuse::Subcommand { name, container }
}

fn cut(bytes: &[u8], bytes_max: usize) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]).into_owned()
}

#[cold]
fn unknown(args: &Args<'_>) -> Refuse {
    let mut arguments = String::new();
    for argument in args.iter().skip(1) {
        let Some(room @ 1..) = ECHO_BYTES_MAX.checked_sub(arguments.len()) else { break };
        arguments.extend(["'", &cut(argument, room), "' "]);
    }
    Refuse::Unknown { name: cut(args.get(0), ECHO_BYTES_MAX), arguments }
}

/// Open addressing over the names of a table, made by the compiler.
struct Index {
    places: [u8; PLACES],
}

impl Index {
    const fn new(commands: &[Command]) -> Self {
        assert!(2 * commands.len() <= PLACES && PLACES <= 1 << 8);
        let mut places = [EMPTY; PLACES];
        let mut next = 0;
        while next < commands.len() {
            let name = commands[next].name.as_bytes();
            assert!(name.len() <= NAME_BYTES_MAX);
            let mut place = first_place(name);
            while places[place] != EMPTY {
                place = (place + 1) % PLACES;
            }
            places[place] = next as u8;
            next += 1;
        }
        Self { places }
    }

    #[inline]
    fn find<'c>(&self, commands: &'c [Command], name: &[u8]) -> Option<&'c Command> {
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        let mut place = first_place(name);
        while self.places[place] != EMPTY {
            let command = &commands[usize::from(self.places[place])];
            if command.name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(command);
            }
            place = (place + 1) % PLACES;
        }
        None
    }
}

/// Where to look for `name` first. Sees every byte of a name up to [`NAME_BYTES_MAX`], and no
/// difference between capitals and others.
#[inline]
const fn first_place(name: &[u8]) -> usize {
    const CAPITALS: u64 = 0xdfdf_dfdf_dfdf_dfdf;
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (head, tail) =
        if let (Some(head), Some(tail)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
        } else if let (Some(head), Some(tail)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
            (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64)
        } else {
            match name {
                [a] => (*a as u64, 0),
                [a, b] => (*a as u64, *b as u64),
                [a, b, c] => (*a as u64, (*b as u64) << 8 | *c as u64),
                _ => (0, 0),
            }
        };
    let mixed = (head & CAPITALS).wrapping_mul(ODD) ^ (tail & CAPITALS).rotate_left(32);
    (mixed.wrapping_add(name.len() as u64).wrapping_mul(ODD) >> 56) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Span;
    use crate::resp::parse::{Limits, Parsed, Parser};

    #[test]
    fn every_command_is_found_by_its_name_in_capitals_or_not_and_by_no_other() {
        for command in CLIENT {
            let name = command.name.as_bytes();
            for spelt in [name.to_vec(), name.to_ascii_uppercase()] {
                assert_eq!(find(&spelt).unwrap().name, command.name);
            }
            assert!(find(&[name, b"x"].concat()).is_none());
            assert!(find_internal(name).is_none());
        }
        for command in INTERNAL {
            assert_eq!(find_internal(command.name.as_bytes()).unwrap().name, command.name);
            assert!(find(command.name.as_bytes()).is_none());
        }
        for name in [&b""[..], b"no", b"slot.count", b"slot\x0ecount", &[b'x'; 17], b"\xff\0"] {
            assert!(find(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn keys_are_where_the_command_has_them() {
        let keys = |name: &[u8], arguments| find(name).unwrap().keys(arguments).collect::<Vec<_>>();
        assert_eq!(keys(b"get", 2), [1]);
        assert_eq!(keys(b"set", 5), [1]);
        assert_eq!(keys(b"mget", 4), [1, 2, 3]);
        assert_eq!(keys(b"mset", 5), [1, 3]);
        assert_eq!(keys(b"ping", 2), [0; 0]);
        assert_eq!(keys(b"get", 1), [0; 0]);
        assert_eq!(keys(b"del", 1), [0; 0]);
    }

    fn refusal(line: &[u8]) -> String {
        let mut spans: Vec<Span> = Vec::new();
        let parsed = Parser::new(Limits::default()).next(line, 0, &mut spans);
        assert!(matches!(parsed, Ok(Parsed::Command { .. })));
        resolve(&Args::new(line, &spans)).unwrap_err().to_string()
    }

    #[test]
    fn refusals_read_like_those_of_redis() {
        assert_eq!(
            refusal(b"foo a b\n"),
            "ERR unknown command 'foo', with args beginning with: 'a' 'b' "
        );
        assert_eq!(refusal(b"GET\n"), "ERR wrong number of arguments for 'get' command");
        assert_eq!(refusal(b"set a\n"), "ERR wrong number of arguments for 'set' command");
        let odd = refusal(b"mset a 1 b\n");
        assert_eq!(odd, "ERR wrong number of arguments for 'mset' command");
    }

    #[test]
    fn a_key_above_the_limit_is_refused_and_one_at_it_is_not() {
        let line = |bytes| [b"*2\r\n$3\r\nDEL\r\n$", format!("{bytes}\r\n").as_bytes()].concat();
        let with_key = |bytes| [line(bytes), vec![b'k'; bytes], b"\r\n".to_vec()].concat();
        assert_eq!(
            refusal(&with_key(KEY_BYTES_MAX + 1)),
            "ERR key of 65537 bytes; at most 65536 are taken"
        );
        let (bytes, mut spans) = (with_key(KEY_BYTES_MAX), Vec::new());
        Parser::new(Limits::default()).next(&bytes, 0, &mut spans).unwrap();
        assert!(resolve(&Args::new(&bytes, &spans)).is_ok());
    }
}
