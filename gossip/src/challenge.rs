//! Challenges: what is sealed may be a recording, of an earlier life of ours or of another cluster
//! with the same key. A node's id is drawn for one life, so whoever addresses us by it has heard
//! it from us; a stranger who does not is told it, and heard when it speaks again.

use std::net::SocketAddr;

use piccolo_schema::ids::ClusterId;

use crate::gossip::{Gossip, Phase};
use crate::message::Message;
use crate::reject::Reject;
use crate::seal::SealFault;

impl Gossip {
    /// Takes in the number of a message.
    ///
    /// # Errors
    ///
    /// It came before, or may have: then its sender is asked, at the price of one datagram.
    pub(crate) fn check_time(
        &mut self,
        from: SocketAddr,
        message: &Message,
        number: u64,
    ) -> Result<(), Reject> {
        if message.from == self.id {
            return Err(Reject::FromOurselves);
        }
        self.seal.forget(self.config.members_max, |id| self.table.with_id(id).is_some());
        let fault = self.seal.first_time(message.from, number, message.to == self.id);
        if fault == Err(SealFault::Undated) {
            self.challenge(from, message);
        }
        Ok(fault?)
    }

    /// Speaks to a stranger in a way that it answers: who has no cluster joins again, a member
    /// acknowledges, and both address us.
    fn challenge(&mut self, from: SocketAddr, message: &Message) {
        match self.phase {
            Phase::Stopped => {}
            // Meant for whoever had our address before: it would call us into its cluster.
            Phase::Seeking { .. } | Phase::Asking { .. }
                if message.cluster.is_some() && !self.is_meant(message.to, &message.updates) => {}
            Phase::Seeking { .. } => self.send_join(from, message.from, ClusterId::NONE),
            // Who still addresses an earlier life of ours learns of this one.
            Phase::Asking { .. } | Phase::Member => self.introduce(from, message.from),
        }
    }
}
