//! How many slots each node should hold, and how many it may.

use piccolo_schema::ids::Slot;

/// What a node may hold, as a ratio to its share: 1.10. Lower evens out the load and moves more
/// when members change (1.05 moves up to 1.70 x the ideal share).
pub(crate) const CAP: (u128, u128) = (11, 10);

/// What sharing needs to know of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharer {
    /// Its part relative to the others'; not zero.
    pub(crate) weight: u64,
    /// Its zone, an index below the number of zones.
    pub(crate) zone: usize,
}

/// The most slots that each node may be the primary of: ceil(1.10 x its share by weight).
pub(crate) fn primary_caps(nodes: &[Sharer]) -> Vec<u64> {
    let parts: Vec<_> = nodes.iter().map(|node| Part::of(node.weight, 0, SLOTS)).collect();
    divide(Share::whole(SLOTS), &parts).into_iter().map(Share::cap).collect()
}

/// The most slots that each node may hold a copy of: ceil(1.10 x its share), `replicas` copies of
/// each slot in all, at most `nodes.len()`.
///
/// The share is by weight as far as that can be: no node can hold a slot twice, and a zone holds
/// one copy of each slot if there are as many zones as replicas, at least one if there are fewer.
pub(crate) fn copy_caps(nodes: &[Sharer], zones: usize, replicas: usize) -> Vec<u64> {
    let total = Share::whole(SLOTS * replicas as u64);
    let of_zone = |zone| nodes.iter().filter(move |node| node.zone == zone);
    let low = if zones <= replicas { SLOTS } else { 0 };
    let repeats_max = replicas.saturating_sub(zones) + 1;
    let parts: Vec<_> = (0..zones)
        .map(|zone| {
            let weight = of_zone(zone).map(|node| node.weight).sum();
            Part::of(weight, low, SLOTS * of_zone(zone).count().min(repeats_max) as u64)
        })
        .collect();
    let mut caps = vec![0; nodes.len()];
    for (zone, share) in divide(total, &parts).into_iter().enumerate() {
        let parts: Vec<_> = of_zone(zone).map(|node| Part::of(node.weight, 0, SLOTS)).collect();
        let places = (0..nodes.len()).filter(|&node| nodes[node].zone == zone);
        for (node, share) in places.zip(divide(share, &parts)) {
            caps[node] = share.cap();
        }
    }
    caps
}

const SLOTS: u64 = Slot::COUNT as u64;

/// An exact number of slots: `slots / of`. Fractions, since floating point that differs in one
/// bit between two builds would have them disagree about the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Share {
    slots: u128,
    of: u128,
}

impl Share {
    fn whole(slots: u64) -> Self {
        Self { slots: u128::from(slots), of: 1 }
    }

    /// ceil(1.10 x the share), and never more than there are slots.
    fn cap(self) -> u64 {
        (self.slots * CAP.0).div_ceil(self.of * CAP.1).min(u128::from(SLOTS)) as u64
    }
}

/// One that takes part in a division: wants by weight, gets `low ..= high` slots.
#[derive(Clone, Copy, Debug)]
struct Part {
    weight: u128,
    low: u128,
    high: u128,
}

impl Part {
    fn of(weight: u64, low: u64, high: u64) -> Self {
        Self { weight: u128::from(weight), low: u128::from(low), high: u128::from(high) }
    }
}

/// Divides `total` by weight within everybody's bounds, which must allow it: the sum of `low` is
/// at most `total`, that of `high` at least.
///
/// Whoever would leave its bounds is held at them and the rest divided anew. Each round holds
/// only those on the side that errs more, since the others may yet come back in.
fn divide(total: Share, parts: &[Part]) -> Vec<Share> {
    let mut held: Vec<Option<u128>> = vec![None; parts.len()];
    loop {
        let taken: u128 = held.iter().flatten().sum();
        let slots = total.slots - taken * total.of;
        let free = || parts.iter().zip(&held).filter(|(_, held)| held.is_none());
        let weights: u128 = free().map(|(part, _)| part.weight).sum();
        // Everything below is in units of 1/of.
        let of = total.of * weights;
        let over = |part: &Part| (slots * part.weight).saturating_sub(part.high * of);
        let under = |part: &Part| (part.low * of).saturating_sub(slots * part.weight);
        let over_sum: u128 = free().map(|(part, _)| over(part)).sum();
        let under_sum: u128 = free().map(|(part, _)| under(part)).sum();
        if over_sum == 0 && under_sum == 0 {
            let share = |(part, held): (&Part, &Option<u128>)| match *held {
                Some(slots) => Share { slots, of: 1 },
                None => Share { slots: slots * part.weight, of },
            };
            return parts.iter().zip(&held).map(share).collect();
        }
        for (part, held) in parts.iter().zip(&mut held).filter(|(_, held)| held.is_none()) {
            if over_sum >= under_sum && over(part) > 0 {
                *held = Some(part.high);
            } else if over_sum < under_sum && under(part) > 0 {
                *held = Some(part.low);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(of: &[(u64, usize)]) -> Vec<Sharer> {
        of.iter().map(|&(weight, zone)| Sharer { weight, zone }).collect()
    }

    #[test]
    fn equal_nodes_are_capped_at_a_tenth_above_the_mean() {
        let five = nodes(&[(1, 0); 5]);
        assert_eq!(primary_caps(&five), [3605; 5]); // ceil(1.1 * 16384 / 5)
        assert_eq!(copy_caps(&five, 1, 3), [10814; 5]); // ceil(1.1 * 3 * 16384 / 5)
    }

    #[test]
    fn weights_divide_the_slots() {
        assert_eq!(primary_caps(&nodes(&[(1, 0), (3, 0)])), [4506, 13517]);
    }

    /// Weight would give the heavy node 20 of every 12 slots; it takes all, the others the rest.
    #[test]
    fn no_node_can_hold_a_slot_twice() {
        let caps = copy_caps(&nodes(&[(10, 0), (1, 0), (1, 0)]), 1, 2);
        assert_eq!(caps, [16384, 9012, 9012]); // ceil(1.1 * 16384 / 2)
    }

    /// Three zones of one, one and four nodes: each holds one of three copies.
    #[test]
    fn zones_outrank_weights() {
        let layout = nodes(&[(1, 0), (1, 1), (1, 2), (1, 2), (1, 2), (1, 2)]);
        let caps = copy_caps(&layout, 3, 3);
        assert_eq!(caps, [16384, 16384, 4506, 4506, 4506, 4506]);
    }

    /// Two zones, three copies: the zone of one node holds each slot once, the other twice.
    #[test]
    fn with_fewer_zones_than_replicas_each_zone_holds_one_of_each() {
        let caps = copy_caps(&nodes(&[(1, 0), (1, 1), (1, 1), (1, 1), (1, 1)]), 2, 3);
        assert_eq!(caps, [16384, 9012, 9012, 9012, 9012]);
    }

    #[test]
    fn a_division_gives_out_the_total() {
        let parts = [Part::of(5, 0, 4), Part::of(1, 9, 9), Part::of(4, 0, 100)];
        let shares = divide(Share::whole(20), &parts);
        let whole = |slots| Share { slots, of: 1 };
        assert_eq!(shares[..2], [whole(4), whole(9)]);
        assert_eq!(shares[2].slots, 7 * shares[2].of);
    }
}
