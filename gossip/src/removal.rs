//! Removal: an operator says that a dead member will not come back.

use piccolo_schema::time::Moment;

use crate::gossip::Gossip;
use crate::member::{Member, State};

/// Why a member was not removed. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RemoveError {
    /// No member has that name.
    #[error("no member has that name")]
    Unknown,
    /// It lives: it must leave by itself.
    #[error("it is not dead: let it leave, or stop it first")]
    Live,
    /// It has left, or was removed before.
    #[error("it has left already")]
    Gone,
}

impl Gossip {
    /// Ends the life of a dead member for good: under its id it is never a member again, and if it
    /// comes back after all it is told so and stops. Its name is free.
    ///
    /// # Errors
    ///
    /// Why not; nothing changed then.
    pub fn remove(&mut self, now: Moment, name: &str) -> Result<(), RemoveError> {
        let member = self.table.get(name).ok_or(RemoveError::Unknown)?;
        match member.state {
            State::Dead => {}
            State::Left => return Err(RemoveError::Gone),
            _ => return Err(RemoveError::Live),
        }
        // What it said last stays: that tells a removal from a good-bye.
        let claim = Member { state: State::Left, ..member.clone() };
        self.mark(now, claim);
        Ok(())
    }
}
