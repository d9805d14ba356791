//! Makes the requests of one worker up.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

use super::plan::Plan;
use crate::keys::{KeyText, Picker};
use crate::mix::{Mix, Op};
use crate::protocol::{Ask, Request};
use crate::values::Values;

/// Draws operations, keys and values; the same seed draws the same.
#[derive(Debug)]
pub(super) struct Draw {
    mix: Mix,
    picker: Picker,
    values: Values,
    random: Xoshiro256PlusPlus,
    texts: [KeyText; 2],
    ttl: u32,
}

impl Draw {
    pub(super) fn new(plan: &Plan, worker: usize) -> Result<Self, String> {
        let seed = plan.seed.wrapping_add(worker as u64);
        Ok(Self {
            mix: plan.mix.clone(),
            picker: Picker::new(plan.dist, plan.keys, worker as u64, plan.threads as u64),
            values: Values::new(plan.value_size, seed),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            texts: plan.key_texts()?,
            ttl: plan.ttl,
        })
    }

    /// What is asked next, and about which key.
    #[inline]
    pub(super) fn next(&mut self) -> (Op, u64) {
        let op = self.mix.pick(self.random.next_u64());
        (op, self.picker.draw(&mut self.random))
    }

    /// The bytes of a key.
    #[inline]
    pub(super) fn key(&mut self, op: Op, key: u64) -> &[u8] {
        self.texts[usize::from(op == Op::Increment)].render(key)
    }

    /// The request; a set gets a new value each time.
    #[inline]
    pub(super) fn request(&mut self, op: Op, key: u64) -> Request<'_> {
        let ask = match op {
            Op::Get => Ask::Get,
            Op::Increment => Ask::Increment,
            Op::Delete => Ask::Delete,
            Op::Set => Ask::Set { value: self.values.pick(self.random.next_u64()), ttl: self.ttl },
        };
        Request { key: self.texts[usize::from(op == Op::Increment)].render(key), ask }
    }
}
