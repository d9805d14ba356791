//! The commands: one registry, and what each of them does to one slot.
