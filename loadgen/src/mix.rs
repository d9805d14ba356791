//! Which operations are sent, and in what ratio.

use std::str::FromStr;

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    Get,
    Set,
    Increment,
    Delete,
}

impl Op {
    pub(crate) const ALL: [Self; OPS] = [Self::Get, Self::Set, Self::Increment, Self::Delete];

    /// Its name in `--ratio` and in reports.
    pub(crate) fn name(self) -> &'static str {
        ["get", "set", "incr", "del"][self as usize]
    }
}

/// Number of kinds.
pub(crate) const OPS: usize = 4;

/// A ratio such as `get=9,set=1`: one entry per part, to draw from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix {
    parts: Vec<Op>,
}

impl Mix {
    /// Nothing but `op`.
    pub(crate) fn only(op: Op) -> Self {
        Self { parts: vec![op] }
    }

    /// The operation that `random`, of which the upper 32 bits count, stands for.
    #[inline]
    pub(crate) fn pick(&self, random: u64) -> Op {
        self.parts[(((random >> 32) * self.parts.len() as u64) >> 32) as usize]
    }

    pub(crate) fn has(&self, op: Op) -> bool {
        self.parts.contains(&op)
    }

    /// As `--ratio` takes it.
    pub(crate) fn text(&self) -> String {
        let count = |op| self.parts.iter().filter(|part| **part == op).count();
        let used = Op::ALL.into_iter().filter(|op| self.has(*op));
        used.map(|op| format!("{}={}", op.name(), count(op))).collect::<Vec<_>>().join(",")
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = |part: &str| {
            format!("{part:?} is no part of a ratio: give e.g. get=9,set=1 (get, set, incr, del)")
        };
        let mut parts = Vec::new();
        for part in text.split(',') {
            let (name, count) = part.split_once('=').ok_or_else(|| shape(part))?;
            let op = Op::ALL.into_iter().find(|op| op.name() == name).ok_or_else(|| shape(part))?;
            let count: usize = count.parse().map_err(|_| shape(part))?;
            if parts.len() + count > PARTS_MAX {
                return Err(format!("the parts of a ratio add up to {PARTS_MAX} at most"));
            }
            parts.extend(std::iter::repeat_n(op, count));
        }
        if parts.is_empty() { Err(shape(text)) } else { Ok(Self { parts }) }
    }
}

/// Parts of a ratio at most: one byte each, so that the table stays in the nearest cache.
const PARTS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_drawn_as_often_as_it_was_given() {
        let mix: Mix = "get=9,set=1".parse().unwrap();
        let sets = (0..1000_u64).filter(|at| mix.pick(at * (u64::MAX / 1000)) == Op::Set).count();
        assert!((99..=101).contains(&sets), "{sets} of 1000 are sets");
        assert_eq!(mix.pick(u64::MAX), Op::Set);
        assert_eq!(mix.text(), "get=9,set=1");
        assert_eq!("incr=1,del=2".parse::<Mix>().unwrap().text(), "incr=1,del=2");
    }

    #[test]
    fn what_is_no_ratio_is_refused() {
        for text in ["", "get", "get=", "put=1", "get=-1", "get=0", "get=1001", "get=1;set=1"] {
            assert!(text.parse::<Mix>().is_err(), "{text:?} was taken");
        }
    }
}
