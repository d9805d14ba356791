//! What goes wrong, and how often: drawn from the seed.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// What the network does.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Microseconds that a datagram or a piece of a stream takes.
    pub delay_micros: (u64, u64),
    /// Share of datagrams lost.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplication: f64,
    /// Bytes under way in one direction of a connection at most.
    pub window_bytes: usize,
    /// Share of pieces of streams that are cut once more.
    pub cuts: f64,
}

impl Weather {
    /// Fair weather of a local network, still with some loss.
    pub fn fair(rng: &mut Xoshiro256PlusPlus) -> Self {
        Self {
            delay_micros: (30, rng.random_range(60..500)),
            loss: rng.random_range(0.0..0.01),
            duplication: rng.random_range(0.0..0.01),
            window_bytes: 1 << rng.random_range(14..20),
            cuts: rng.random_range(0.0..0.2),
        }
    }

    /// Slow and lossy.
    pub fn foul(rng: &mut Xoshiro256PlusPlus) -> Self {
        Self {
            delay_micros: (30, rng.random_range(1000..15_000)),
            loss: rng.random_range(0.0..0.1),
            duplication: rng.random_range(0.0..0.1),
            window_bytes: 1 << rng.random_range(13..19),
            cuts: rng.random_range(0.0..0.5),
        }
    }
}
