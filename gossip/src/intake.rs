//! What a datagram means: first whose cluster it is of, then what it says.

use std::net::SocketAddr;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use crate::action::Event;
use crate::claims::Source;
use crate::gossip::{Gossip, Phase};
use crate::join::newcomer;
use crate::member::State;
use crate::message::{Body, Message};
use crate::reject::{Malformed, Reject};

impl Gossip {
    pub(crate) fn take_in(
        &mut self,
        now: Moment,
        from: SocketAddr,
        message: Message,
    ) -> Result<(), Reject> {
        if self.phase == Phase::Stopped {
            return Err(Reject::Stopped);
        }
        match (self.cluster.is_some(), message.cluster.is_some()) {
            (false, false) => self.seeker_says(now, from, &message),
            (false, true) => self.cluster_says(now, from, message),
            (true, false) => self.outsider_says(now, from, &message),
            (true, true) if message.cluster == self.cluster => self.member_says(now, from, message),
            (true, true) => self.foreigner_says(now, from, &message),
        }
    }

    /// Neither of us has a cluster.
    fn seeker_says(
        &mut self,
        now: Moment,
        from: SocketAddr,
        message: &Message,
    ) -> Result<(), Reject> {
        let (Body::Join(join), Phase::Seeking { .. }) = (&message.body, self.phase) else {
            return Err(Reject::NoCluster);
        };
        self.check_addressee(message.to)?;
        let claim = newcomer(message.from, &message.from_name, &message.updates)
            .ok_or(Reject::Malformed(Malformed::Update))?;
        let others = message.updates.get(1..).unwrap_or(&[]);
        self.found(now, from, claim, others, *join)
    }

    /// The sender has a cluster, we have none.
    fn cluster_says(
        &mut self,
        now: Moment,
        from: SocketAddr,
        message: Message,
    ) -> Result<(), Reject> {
        let seeking = matches!(self.phase, Phase::Seeking { .. });
        match message.body {
            Body::Welcome | Body::Refuse(_) if !seeking || message.to != self.id => {
                Err(Reject::NoCluster)
            }
            Body::Welcome => {
                if self.choose(now, (from, message.from), message.cluster) {
                    self.welcomed(now, message.from, message.cluster, message.updates);
                }
                Ok(())
            }
            Body::Refuse(why) => {
                if self.choose(now, (from, message.from), message.cluster) {
                    self.refused(now, (from, message.from), why);
                }
                Ok(())
            }
            Body::Ping(_) | Body::Ack { .. } | Body::Gossip | Body::Digest(_)
                if self.is_meant(message.to, &message.updates) =>
            {
                self.hear_of_a_cluster(now, (from, message.from), message.cluster);
                Err(Reject::NoCluster)
            }
            _ => Err(Reject::NoCluster),
        }
    }

    /// We have a cluster, the sender has none.
    fn outsider_says(
        &mut self,
        now: Moment,
        from: SocketAddr,
        message: &Message,
    ) -> Result<(), Reject> {
        match message.body {
            Body::Join(join) => {
                let claim = newcomer(message.from, &message.from_name, &message.updates)
                    .ok_or(Reject::Malformed(Malformed::Update))?;
                if join.wanted == self.cluster {
                    return self.admit(now, from, claim);
                }
                // It learns which cluster this is, and asks again if that is the one.
                self.introduce(from, message.from);
                Ok(())
            }
            // One that means to create asks whether there is a cluster.
            Body::Ping(sequence) => {
                self.send(from, message.from, Body::Ack { sequence, by: self.id }, Vec::new());
                Ok(())
            }
            _ => Err(Reject::NoCluster),
        }
    }

    /// Both are members of one cluster.
    fn member_says(
        &mut self,
        now: Moment,
        from: SocketAddr,
        message: Message,
    ) -> Result<(), Reject> {
        if let Err(reject) = self.check_addressee(message.to) {
            if !matches!(message.body, Body::Ping(_)) {
                return Err(reject);
            }
            self.merge(now, message.from, message.updates, Source::News);
            let me = self.me().clone();
            self.send(from, message.from, Body::Mismatch, vec![me]);
            return Ok(());
        }
        // All before the claims count: what is rejected changes nothing.
        match message.body {
            Body::Ack { sequence, by } if !self.probing.expects(sequence, by) => {
                return Err(Reject::Unsolicited { from });
            }
            Body::Nack(sequence) if !self.probing.expects_nack(sequence) => {
                return Err(Reject::Unsolicited { from });
            }
            Body::Join(_) | Body::Refuse(_) | Body::Claimed(_) => return Err(Reject::NoCluster),
            _ => {}
        }
        let source = match message.body {
            Body::Table | Body::Welcome => Source::Table,
            _ => Source::News,
        };
        let sender = (from, message.from);
        let was_dead = self.holds_dead(&message.from_name, message.from);
        self.merge(now, message.from, message.updates, source);
        if self.phase == Phase::Stopped {
            return Ok(());
        }
        self.reply(now, sender, &message.body);
        self.recognise(sender, &message.from_name, was_dead, &message.body);
        Ok(())
    }

    fn reply(&mut self, now: Moment, (from, id): (SocketAddr, NodeId), body: &Body) {
        match *body {
            Body::Ping(sequence) => {
                self.send_with_news(from, id, Body::Ack { sequence, by: self.id });
            }
            Body::Ack { sequence, by } => self.acknowledged(now, from, sequence, by),
            Body::Nack(_) => self.probing.nacked(),
            Body::PingRequest { sequence, target, address } => {
                self.relay(now, (from, id, sequence), target, address);
            }
            Body::Digest(digest) => self.compared((from, id), digest),
            Body::Ranges { ref digests, answer } => {
                self.compared_ranges(now, (from, id), digests, answer);
            }
            Body::Heartbeat { sent, asks } => {
                self.event(Event::Heartbeat { from: id, address: from, sent, asks });
            }
            Body::Support { sent, epoch } => {
                self.event(Event::Supported { by: id, sent, epoch });
            }
            Body::Welcome
            | Body::Gossip
            | Body::Mismatch
            | Body::Table
            | Body::Join(_)
            | Body::Refuse(_)
            | Body::Claimed(_) => {}
        }
    }

    /// Compares what the sender calls itself with what we know: one whose name passed to a later
    /// life is told so; with one unknown, or believed dead until now, tables are compared.
    fn recognise(
        &mut self,
        (from, id): (SocketAddr, NodeId),
        name: &str,
        was_dead: bool,
        body: &Body,
    ) {
        let known = self.table.get(name).cloned();
        match known {
            Some(known) if known.id == id => {
                if was_dead && known.state.is_live() {
                    self.send_digest(from, id);
                }
                if known.state == State::Left && matches!(body, Body::Ping(_)) {
                    self.send(from, id, Body::Gossip, vec![known]);
                }
            }
            Some(known) if matches!(body, Body::Ping(_)) => {
                self.send(from, id, Body::Gossip, vec![known]);
            }
            None if matches!(body, Body::Ping(_) | Body::Ack { .. }) => {
                self.send_digest(from, id);
            }
            Some(_) | None => {}
        }
    }

    fn holds_dead(&self, name: &str, id: NodeId) -> bool {
        self.table.get(name).is_some_and(|known| known.id == id && known.state == State::Dead)
    }

    /// Whether a datagram is for us, or for whoever lives at our address.
    fn check_addressee(&self, to: NodeId) -> Result<(), Reject> {
        if to == self.id || !to.is_some() { Ok(()) } else { Err(Reject::NotForUs { to }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::tests::{alone, member};
    use crate::message::{Join, Refusal};

    /// Found by fuzzing: the claims of such a message counted before it was rejected.
    #[test]
    fn a_join_or_refusal_between_members_changes_nothing() {
        for body in [Body::Join(Join::default()), Body::Refuse(Refusal::Stale(1))] {
            let mut gossip = alone("me");
            let message = Message {
                cluster: gossip.cluster(),
                from: NodeId(9),
                from_name: "x".into(),
                to: NodeId(0),
                updates: vec![member("x", 9)],
                body,
            };
            let address = ([10, 0, 0, 9], 7380).into();
            assert_eq!(gossip.take_in(Moment(1), address, message), Err(Reject::NoCluster));
            assert_eq!(gossip.members().count(), 1);
        }
    }
}
