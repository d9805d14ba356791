//! Heartbeats: carried for the caller, who says when, and who knows what an epoch means. They say
//! nothing of members, and change none.

use std::net::SocketAddr;

use piccolo_schema::ids::NodeId;
use piccolo_schema::time::Moment;

use crate::gossip::Gossip;
use crate::message::Body;

impl Gossip {
    /// Asks a member for an answer, and for its support if it `asks`. `sent` is the caller's time,
    /// which comes back with the answer as [`Event::Supported`](crate::Event::Supported).
    pub fn send_heartbeat(&mut self, to: SocketAddr, id: NodeId, sent: Moment, asks: bool) {
        self.send(to, id, Body::Heartbeat { sent, asks }, Vec::new());
    }

    /// Answers an [`Event::Heartbeat`](crate::Event::Heartbeat): its sender is supported under this
    /// epoch, or only heard if it is zero.
    pub fn answer_heartbeat(&mut self, to: SocketAddr, id: NodeId, sent: Moment, epoch: u64) {
        self.send(to, id, Body::Support { sent, epoch }, Vec::new());
    }
}
