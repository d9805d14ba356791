//! What went with nodes that are gone, or while this one was cut off, in one line for all slots
//! that were lost together: there are hundreds, and a shard finds them out one look after another.

use std::time::Duration;

use piccolo_schema::ids::Slot;
use piccolo_schema::time::Moment;

use crate::plural::counted;

/// Time without a further loss after which the operator is told. Longer than the time between two
/// looks at what is vacant.
const QUIET: Duration = Duration::from_secs(1);

/// How long the operator waits at most while there are more.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// How many slots, the first and the last of them, and what this node had of them.
#[derive(Debug, Default)]
struct Tally {
    count: usize,
    ends: Option<(Slot, Slot)>,
    keys: usize,
}

impl Tally {
    fn add(&mut self, slot: Slot, keys: usize) {
        self.count += 1;
        let (first, last) = self.ends.unwrap_or((slot, slot));
        self.ends = Some((first.min(slot), last.max(slot)));
        self.keys += keys;
    }

    /// The slots in words, and the word for one or that for more; `None` if there are none.
    fn named<'a>(&self, one: &'a str, more: &'a str) -> Option<(String, &'a str)> {
        self.ends.map(|(first, last)| match self.count {
            1 => (format!("slot {first}"), one),
            count => (format!("{count} slots, {first} and {last} among them,"), more),
        })
    }
}

/// Losses that the operator has not been told of yet.
#[derive(Debug, Default)]
pub(super) struct Losses {
    begun: Tally,
    revived: Tally,
    overtaken: Tally,
    /// When the first and the last of them was noted.
    noted: Option<(Moment, Moment)>,
}

impl Losses {
    /// Notes a slot that begins anew here with nothing.
    pub(super) fn begins(&mut self, slot: Slot, now: Moment) {
        self.begun.add(slot, 0);
        self.note(now);
    }

    /// Notes a slot that goes on with the keys of this node's replica.
    pub(super) fn goes_on(&mut self, slot: Slot, keys: usize, now: Moment) {
        self.revived.add(slot, keys);
        self.note(now);
    }

    /// Notes a slot that others began anew while this node led it, and the keys that go with it.
    pub(super) fn overtaken(&mut self, slot: Slot, keys: usize, now: Moment) {
        self.overtaken.add(slot, keys);
        self.note(now);
    }

    fn note(&mut self, now: Moment) {
        let (first, _) = self.noted.unwrap_or((now, now));
        self.noted = Some((first, now));
    }

    /// What a shard is to tell now, if it is time: a line for each kind of loss.
    pub(super) fn due(&mut self, shard: u16, now: Moment) -> Vec<String> {
        let Some((first, last)) = self.noted else { return Vec::new() };
        if now.since(last) < QUIET && now.since(first) < QUIET_MAX {
            return Vec::new();
        }
        let Self { begun, revived, overtaken, .. } = std::mem::take(self);
        [data_lost(shard, &begun), went_on(shard, &revived), taken_over(shard, &overtaken)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// What the operator is told of slots that begin anew.
fn data_lost(shard: u16, begun: &Tally) -> Option<String> {
    let (slots, they) = begun.named("it begins", "they begin")?;
    Some(format!(
        "DATA LOST: shard {shard} had {slots} whose only copy was on nodes that are gone; {they} \
         anew here, empty"
    ))
}

/// What the operator is told of slots whose other replicas are gone.
fn went_on(shard: u16, revived: &Tally) -> Option<String> {
    let (slots, they) = revived.named("it goes", "they go")?;
    Some(format!(
        "shard {shard}: {slots} lost the majority of replicas; {they} on here, in a new era, with \
         the {} that this node holds",
        counted(revived.keys, "key", "keys")
    ))
}

/// What the operator is told of slots that others began anew while this node was cut off or stood
/// still.
fn taken_over(shard: u16, overtaken: &Tally) -> Option<String> {
    let &Tally { count, keys, ends: Some(_) } = overtaken else { return None };
    let lost = if keys == 0 { "" } else { "DATA LOST: " };
    Some(format!(
        "{lost}shard {shard}: others took {} over while they did not hear this node; {} here",
        counted(count, "slot", "slots"),
        counted(keys, "key is dropped", "keys are dropped"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn after(milliseconds: u64) -> Moment {
        Moment(7) + Duration::from_millis(milliseconds)
    }

    #[test]
    fn one_slot_that_is_lost_is_no_crowd() {
        let mut losses = Losses::default();
        losses.begins(slot(7), after(0));
        losses.goes_on(slot(8), 1, after(0));
        losses.overtaken(slot(9), 0, after(0));
        assert_eq!(
            losses.due(3, after(1000)),
            [
                "DATA LOST: shard 3 had slot 7 whose only copy was on nodes that are gone; it \
                 begins anew here, empty",
                "shard 3: slot 8 lost the majority of replicas; it goes on here, in a new era, \
                 with the 1 key that this node holds",
                "shard 3: others took 1 slot over while they did not hear this node; 0 keys are \
                 dropped here"
            ]
        );
        assert_eq!(losses.due(3, after(9000)), Vec::<String>::new(), "told once");
    }

    #[test]
    fn what_others_took_over_is_a_loss_if_there_was_something() {
        let mut losses = Losses::default();
        losses.overtaken(slot(1), 1, after(0));
        losses.overtaken(slot(2), 0, after(0));
        let told = losses.due(0, after(1000));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("DATA LOST: shard 0: others took 2 slots over"), "{told:?}");
        assert!(told[0].ends_with("hear this node; 1 key is dropped here"), "{told:?}");
    }

    #[test]
    fn slots_that_are_lost_one_look_after_another_make_one_line() {
        let mut losses = Losses::default();
        for look in 0..10 {
            let now = after(200 * u64::from(look));
            losses.begins(slot(90 - look), now);
            losses.goes_on(slot(200 + look), 20, now);
            assert_eq!(losses.due(0, now), Vec::<String>::new());
        }
        let told = losses.due(0, after(1800 + 1000));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("had 10 slots, 81 and 90 among them, whose"), "{told:?}");
        assert!(told[1].contains("10 slots, 200 and 209 among them, lost"), "{told:?}");
        assert!(told[1].contains("the 200 keys that"), "{told:?}");
    }

    #[test]
    fn losses_without_end_are_told_now_and_then() {
        let mut losses = Losses::default();
        let looks = (0..75).map(|look| after(200 * look)).filter(|now| {
            losses.begins(slot(1), *now);
            !losses.due(0, *now).is_empty()
        });
        assert_eq!(looks.count(), 2, "in 15 s");
    }
}
