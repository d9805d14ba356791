//! The nodes, reached by native Cap'n Proto.
//!
//! * [`answer`]: what a node says, and what goes wrong on the way.
//! * [`socket`]: a conversation with its socket.
//! * [`channel`]: the one connection to a node that small requests share.
//! * [`stream`]: a connection that carries one body at a time.
//! * [`node`]: a node, with its connections.
//! * [`cluster`]: all nodes, and which of them is asked.

pub mod answer;
pub mod channel;
pub mod cluster;
pub mod lane;
pub mod node;
pub mod socket;
pub mod stream;
