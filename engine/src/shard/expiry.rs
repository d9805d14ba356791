//! The end of entries that have one.

use super::Shard;

/// Entries that one look for expired ones may see.
const EXPIRY_ENTRIES: usize = 2048;

impl Shard {
    /// Deletes entries that have ended, as changes of their slots; a bounded number of slots and
    /// entries at a time.
    pub(super) fn expire(&mut self) {
        let wall = self.now.wall;
        let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut budget = EXPIRY_ENTRIES;
        for _ in 0..self.seats.len() {
            let place = self.expiry_place;
            let seat = &mut self.seats[place];
            // The table lies in the seat, the group elsewhere: few tables have anything to end.
            if seat.table.first_expiry().is_some_and(|at| at <= wall)
                && seat.group.as_ref().is_some_and(|group| group.serves())
            {
                let looked = budget.min(seat.table.len());
                seat.table.sweep_expired(&self.hasher, wall, looked, |hash, key| {
                    found.push((hash, key.to_vec()));
                });
                budget -= looked;
                let found = std::mem::take(&mut found);
                self.change(place, |keyspace| {
                    for (hash, key) in &found {
                        keyspace.expire(crate::keyspace::Key { bytes: key, hash: *hash });
                    }
                });
                if budget == 0 {
                    return;
                }
            }
            self.expiry_place = (place + 1) % self.seats.len();
        }
    }
}
