//! One command on keys of several slots: cut per slot, answers merged.

use std::collections::BTreeMap;

use piccolo_schema::ids::Slot;
use piccolo_schema::key_slot::slot_of;
use piccolo_schema::link::RequestKind;

use super::{Ask, is_error, write_command};
use crate::command::{Command, Merge};
use crate::resp::{Args, Reply, value};

/// A command cut per slot. Each part is atomic in its slot; the whole is not.
#[derive(Debug)]
pub(in crate::shard) struct Split {
    merge: Merge,
    asks: Vec<Ask>,
    /// Per part, the places of its keys among all keys.
    places: Vec<Vec<u32>>,
    missing: usize,
    sum: i64,
    values: Vec<Vec<u8>>,
    error: Option<Vec<u8>>,
}

impl Split {
    pub(in crate::shard) fn new(command: &Command, merge: Merge, args: &Args<'_>) -> Self {
        let step = usize::from(command.keys.step.max(1));
        let keys: Vec<usize> = command.keys(args.len()).collect();
        let mut slots: BTreeMap<Slot, Vec<u32>> = BTreeMap::new();
        for (place, index) in keys.iter().enumerate() {
            slots.entry(slot_of(args.get(*index))).or_default().push(place as u32);
        }
        let write = command.is_write();
        let mut split = Self {
            merge,
            asks: Vec::new(),
            places: Vec::new(),
            missing: slots.len(),
            sum: 0,
            values: if merge == Merge::Values { vec![Vec::new(); keys.len()] } else { Vec::new() },
            error: None,
        };
        for (slot, places) in slots {
            let mut body = Vec::new();
            let arguments = places.iter().flat_map(|place| {
                let index = keys[*place as usize];
                (index..index + step).map(|index| args.get(index))
            });
            let arguments: Vec<&[u8]> = std::iter::once(args.get(0)).chain(arguments).collect();
            write_command(&mut body, arguments.into_iter());
            let part = split.places.len() as u32;
            split.asks.push(Ask { part, slot, kind: RequestKind::Command, write, body });
            split.places.push(places);
        }
        split
    }

    pub(super) fn poll(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asks)
    }

    pub(super) fn take(&mut self, part: u32, answer: &[u8]) {
        self.missing -= 1;
        if is_error(answer) {
            // An unknown outcome says more than a refusal.
            if self.error.is_none() || answer.starts_with(b"-UNKNOWN") {
                self.error = Some(answer.to_vec());
            }
            return;
        }
        match self.merge {
            Merge::Ok => {}
            Merge::Sum => self.sum += value::integer(answer).unwrap_or(0),
            Merge::Values => {
                let items = value::array_items(answer).into_iter().flatten();
                for (place, item) in self.places[part as usize].iter().zip(items) {
                    self.values[*place as usize] = item.to_vec();
                }
            }
        }
    }

    pub(super) fn done(&self) -> bool {
        self.missing == 0
    }

    pub(super) fn write(&self, reply: &mut Reply<'_>) {
        if let Some(error) = &self.error {
            return reply.raw(error);
        }
        match self.merge {
            Merge::Ok => reply.ok(),
            Merge::Sum => reply.integer(self.sum),
            Merge::Values => {
                reply.array(self.values.len());
                self.values.iter().for_each(|value| reply.raw(value));
            }
        }
    }
}
