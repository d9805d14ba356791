//! The end of entries that have one.

use super::Shard;
use crate::keyspace::Key;

/// Entries that one look for ended ones sees at most: about a millisecond, if all have ended and
/// are deleted.
const EXPIRY_ENTRIES: usize = 2048;

/// If one of so many seen had ended, the next look follows at once (source: redis, which makes an
/// extra effort while it finds more than 10 % ended).
const ENDED_AMONG: usize = 10;

/// Where the shard looks for entries that have ended.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// The seat to look at next.
    place: usize,
    /// The last look found much, and did not see all: the next one is due at once.
    pub(super) goes_on: bool,
}

impl Shard {
    /// Deletes entries that have ended, as changes of their slots; a bounded number of slots and
    /// entries at a time.
    pub(super) fn expire(&mut self) {
        let (mut left, mut ended) = (EXPIRY_ENTRIES, 0);
        for _ in 0..self.seats.len() {
            let place = self.expiry.place;
            // Onwards even from a table that was not seen to its end, which goes on from there
            // when its turn comes again: a large one may always have something to end.
            self.expiry.place = (place + 1) % self.seats.len();
            let (seen, deleted) = self.expire_at(place, left);
            (left, ended) = (left.saturating_sub(seen), ended + deleted);
            if left == 0 {
                break;
            }
        }
        self.expiry.goes_on = left == 0 && ended * ENDED_AMONG >= EXPIRY_ENTRIES;
    }

    /// Returns how many entries were seen, and how many of them deleted.
    fn expire_at(&mut self, place: usize, entries_max: usize) -> (usize, usize) {
        let wall = self.now.wall;
        let seat = &mut self.seats[place];
        // The table lies in the seat, the group elsewhere: few tables have anything to end.
        if seat.table.first_expiry().is_none_or(|at| at > wall)
            || seat.group.as_ref().is_none_or(|group| !group.serves())
        {
            return (0, 0);
        }
        let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
        let seen = seat.table.sweep_expired(&self.hasher, wall, entries_max, |hash, key| {
            found.push((hash, key.to_vec()));
        });
        self.change(place, |keyspace| {
            for (hash, key) in &found {
                keyspace.expire(Key { bytes: key, hash: *hash });
            }
        });
        (seen, found.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use piccolo_schema::key_slot::slot_of;
    use piccolo_schema::time::{Moment, Now, UnixMillis};

    use super::*;
    use crate::shard::TEND;
    use crate::shard::testing::leader;

    fn shard() -> Shard {
        leader(Now { moment: Moment(1), wall: UnixMillis(1_700_000_000_000) })
    }

    /// Writes an entry that ends in so many milliseconds.
    fn put(shard: &mut Shard, key: &str, millis: u64) {
        let place = shard.place(slot_of(key.as_bytes()));
        let ends = UnixMillis(shard.now.wall.0 + millis);
        shard.change(place, |keyspace| {
            let key = keyspace.key(key.as_bytes());
            keyspace.put(key, b"v", Some(ends));
        });
    }

    fn wait(shard: &mut Shard, time: Duration) {
        let wall = UnixMillis(shard.now.wall.0 + time.as_millis() as u64);
        shard.set_now(Now { moment: shard.now.moment + time, wall });
        shard.turn();
    }

    /// Turns that the shard takes without waiting.
    fn turns_at_once(shard: &mut Shard) -> usize {
        let mut turns = 0;
        while shard.deadline() <= shard.now.moment && turns < 1000 {
            shard.turn();
            turns += 1;
        }
        turns
    }

    #[test]
    fn a_large_slot_that_always_has_something_to_end_keeps_no_other_waiting() {
        let mut shard = shard();
        for i in 0..5000 {
            put(&mut shard, &format!("{{large}}{i}"), 1_000_000);
        }
        put(&mut shard, "other", 1000);
        for _ in 0..100 {
            put(&mut shard, "{large}0", 1);
            wait(&mut shard, TEND);
        }
        assert!(shard.seats[shard.place(slot_of(b"other"))].table.is_empty());
    }

    #[test]
    fn while_much_has_ended_another_look_follows_at_once() {
        for key in ["", "{one}"] {
            let mut shard = shard();
            for i in 0..20_000 {
                put(&mut shard, &format!("{key}{i}"), 100);
            }
            wait(&mut shard, Duration::from_millis(100));
            let turns = turns_at_once(&mut shard);
            assert_eq!((shard.counters.keys, turns), (0, 20_000 / EXPIRY_ENTRIES), "{key}");
        }
    }

    #[test]
    fn where_little_has_ended_the_next_look_waits() {
        let mut shard = shard();
        for i in 0..20_000 {
            put(&mut shard, &format!("{{one}}{i}"), if i % 20 == 0 { 100 } else { 100_000 });
        }
        wait(&mut shard, Duration::from_millis(100));
        assert_eq!(turns_at_once(&mut shard), 0);
        for _ in 0..20 {
            wait(&mut shard, TEND);
        }
        assert_eq!(shard.counters.keys, 19_000);
    }
}
