//! The options of SET and GETEX, and the times that they and SETEX take.

use piccolo_schema::time::UnixMillis;

use super::bad_argument::{BadArgument, integer};
use crate::resp::Args;

/// When SET writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition<'a> {
    Always,
    /// NX
    Missing,
    /// XX
    Present,
    /// IFEQ
    Equals(&'a [u8]),
    /// IFNE
    Differs(&'a [u8]),
}

impl Condition<'_> {
    /// Whether it holds for what the key holds.
    pub(super) fn holds(self, value: Option<&[u8]>) -> bool {
        match self {
            Self::Always => true,
            Self::Missing => value.is_none(),
            Self::Present => value.is_some(),
            Self::Equals(with) => value == Some(with),
            Self::Differs(with) => value != Some(with),
        }
    }
}

/// What becomes of the entry's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expiry {
    /// Nothing was said.
    Unsaid,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Never,
    /// EX, PX, EXAT, PXAT
    At(UnixMillis),
}

/// What follows key and value of SET, or the key of GETEX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Options<'a> {
    pub(super) condition: Condition<'a>,
    /// Reply what the key held.
    pub(super) get: bool,
    pub(super) expiry: Expiry,
}

/// How a time is stated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// EX: seconds from now.
    Seconds,
    /// PX: milliseconds from now.
    Millis,
    /// EXAT: seconds since 1970.
    UnixSeconds,
    /// PXAT: milliseconds since 1970.
    UnixMillis,
}

/// An expiry as given: its number is judged last, after all words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Given<'a> {
    Unsaid,
    Keep,
    Never,
    At(Unit, &'a [u8]),
}

impl<'a> Options<'a> {
    /// Reads the options of SET.
    pub(super) fn of_set(args: &Args<'a>, now: UnixMillis) -> Result<Self, BadArgument> {
        let mut condition = Condition::Always;
        let (mut get, mut given) = (false, Given::Unsaid);
        let mut index = 3;
        while index < args.len() {
            let word = args.get(index);
            let operand = (index + 1 < args.len()).then(|| args.get(index + 1));
            let asked = condition_named(word, operand);
            if word.eq_ignore_ascii_case(b"get") {
                get = true;
            } else if word.eq_ignore_ascii_case(b"keepttl") {
                given = exclusive(given, Given::Keep)?;
            } else if let Some(asked) = asked {
                if condition != Condition::Always
                    && std::mem::discriminant(&condition) != std::mem::discriminant(&asked)
                {
                    return Err(BadArgument::Syntax);
                }
                condition = asked;
                index += usize::from(matches!(asked, Condition::Equals(_) | Condition::Differs(_)));
            } else {
                given = exclusive(given, timed(word, operand)?)?;
                index += 1;
            }
            index += 1;
        }
        Ok(Self { condition, get, expiry: given.judged("set", now)? })
    }
}

/// The expiry that GETEX asks for; the number is not judged before the key was found.
pub(super) fn of_getex<'a>(
    args: &Args<'a>,
) -> Result<impl FnOnce(UnixMillis) -> Result<Expiry, BadArgument> + use<'a>, BadArgument> {
    let mut given = Given::Unsaid;
    let mut index = 2;
    while index < args.len() {
        let word = args.get(index);
        if word.eq_ignore_ascii_case(b"persist") {
            given = exclusive(given, Given::Never)?;
        } else {
            let operand = (index + 1 < args.len()).then(|| args.get(index + 1));
            given = exclusive(given, timed(word, operand)?)?;
            index += 1;
        }
        index += 1;
    }
    Ok(move |now| given.judged("getex", now))
}

impl Given<'_> {
    fn judged(self, command: &'static str, now: UnixMillis) -> Result<Expiry, BadArgument> {
        Ok(match self {
            Self::Unsaid => Expiry::Unsaid,
            Self::Keep => Expiry::Keep,
            Self::Never => Expiry::Never,
            Self::At(unit, text) => Expiry::At(deadline(text, unit, now, command)?),
        })
    }
}

/// The time that `text` states, which must lie after 1970, or after now if it is relative.
pub(super) fn deadline(
    text: &[u8],
    unit: Unit,
    now: UnixMillis,
    command: &'static str,
) -> Result<UnixMillis, BadArgument> {
    let factor = if matches!(unit, Unit::Seconds | Unit::UnixSeconds) { 1000 } else { 1 };
    let base = if matches!(unit, Unit::Seconds | Unit::Millis) { now.0 as i64 } else { 0 };
    let number = integer(text)?;
    let at = number.checked_mul(factor).and_then(|millis| millis.checked_add(base));
    match at {
        Some(at) if number > 0 => Ok(UnixMillis(at as u64)),
        _ => Err(BadArgument::ExpireTime(command)),
    }
}

fn condition_named<'a>(word: &[u8], operand: Option<&'a [u8]>) -> Option<Condition<'a>> {
    if word.eq_ignore_ascii_case(b"nx") {
        Some(Condition::Missing)
    } else if word.eq_ignore_ascii_case(b"xx") {
        Some(Condition::Present)
    } else if word.eq_ignore_ascii_case(b"ifeq") {
        operand.map(Condition::Equals)
    } else if word.eq_ignore_ascii_case(b"ifne") {
        operand.map(Condition::Differs)
    } else {
        None
    }
}

fn timed<'a>(word: &[u8], operand: Option<&'a [u8]>) -> Result<Given<'a>, BadArgument> {
    const UNITS: [(&[u8], Unit); 4] = [
        (b"ex", Unit::Seconds),
        (b"px", Unit::Millis),
        (b"exat", Unit::UnixSeconds),
        (b"pxat", Unit::UnixMillis),
    ];
    let unit = UNITS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
    match (unit, operand) {
        (Some((_, unit)), Some(text)) => Ok(Given::At(*unit, text)),
        _ => Err(BadArgument::Syntax),
    }
}

/// `new`, unless another way to say when was used before. The same one may come again.
fn exclusive<'a>(old: Given<'a>, new: Given<'a>) -> Result<Given<'a>, BadArgument> {
    match (old, new) {
        (Given::Unsaid, _) => Ok(new),
        (Given::At(before, _), Given::At(unit, _)) if before == unit => Ok(new),
        _ if old == new => Ok(new),
        _ => Err(BadArgument::Syntax),
    }
}
