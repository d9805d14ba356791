//! Which of a node's shared connections a request takes.

/// Which of a node's shared connections a request takes. Answers of one connection come in order,
/// and a node holds for 5 s what it cannot serve: so what it can answer by itself never stands
/// behind what it must wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// What the node leads itself, and what it knows.
    Led,
    /// What it has to ask other nodes for.
    Forwarded,
    /// Keys of slots that were not served lately, or that nobody is known to lead.
    Doubted,
}

impl Lane {
    /// Every lane, each at its own place.
    pub const ALL: [Self; 3] = [Self::Led, Self::Forwarded, Self::Doubted];
}
