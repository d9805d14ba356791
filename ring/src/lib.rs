//! Slots and rings.
