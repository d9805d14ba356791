//! How a link is opened: hello, where the cluster has a key a challenge and its proof, welcome.
//!
//! With a key each side proves that it has it, over numbers that both have just drawn: what was
//! said when another link was opened proves nothing. What travels on the link afterwards is
//! neither hidden nor sealed.

use piccolo_gossip::Keys;
use piccolo_schema::ids::NodeId;
use piccolo_schema::limits::PROTOCOL;
use piccolo_schema::link::{self, Challenge, Hello, Welcome};

use super::Shard;
use super::link::Outlink;
use super::mesh::Source;
use super::stream::{Role, StreamKey};
use piccolo_ring::group::Lane;

/// What MACs are made for, so that none passes for another.
const NONCE: u8 = b'n';
const CHALLENGE: u8 = b'c';
const PROOF: u8 = b'p';

/// With what a shard opens links.
#[derive(Debug)]
pub(super) struct Handshake {
    /// Of the cluster, if it has one.
    keys: Option<Keys>,
    /// Oldest and newest version of the protocol spoken here.
    protocol: (u16, u16),
    /// Nonces drawn so far.
    drawn: u64,
}

impl Default for Handshake {
    fn default() -> Self {
        Self { keys: None, protocol: PROTOCOL, drawn: 0 }
    }
}

impl Handshake {
    /// A number that nobody without the key can foretell, and that no life of a node draws twice:
    /// its id is in it. Zero without a key.
    fn nonce(&mut self, me: NodeId, shard: u16) -> u128 {
        let Some(keys) = &self.keys else { return 0 };
        self.drawn += 1;
        let mut text = me.0.to_le_bytes().to_vec();
        text.extend(shard.to_le_bytes());
        text.extend(self.drawn.to_le_bytes());
        u128::from_le_bytes(keys.mac(NONCE, &text))
    }

    /// The newest version that both speak.
    fn version(&self, other: (u16, u16)) -> Result<u16, String> {
        let (oldest, newest) = self.protocol;
        let common = newest.min(other.1);
        if common < oldest.max(other.0) {
            return Err(format!(
                "versions {oldest} to {newest} of the protocol are spoken here, {} to {} there: \
                 upgrade one version at a time",
                other.0, other.1
            ));
        }
        Ok(common)
    }
}

/// What both sides of a link have said before it is open; they make the MACs over it.
fn transcript(hello: &Hello, challenge_nonce: u128) -> Vec<u8> {
    let mut text = Vec::new();
    for long in [hello.cluster.0, hello.from.0, hello.to.0, hello.nonce, challenge_nonce] {
        text.extend(long.to_le_bytes());
    }
    for short in [hello.shard, u16::from(hello.bulk), hello.protocol.0, hello.protocol.1] {
        text.extend(short.to_le_bytes());
    }
    text.extend(hello.features.to_le_bytes());
    text
}

impl Shard {
    /// Opens links, and lets them be opened, with these keys from now on. Links that are open stay
    /// so.
    pub(super) fn set_keys(&mut self, keys: Keys) {
        self.handshake.keys = Some(keys);
    }

    /// Speaks these versions of the protocol, the oldest and the newest, instead of those that
    /// this build speaks: for tests of those to come.
    pub fn set_protocol(&mut self, protocol: (u16, u16)) {
        self.handshake.protocol = protocol;
    }

    /// The first word on a link that this shard opens.
    pub(super) fn link_hello(&mut self, to: NodeId, lane: Lane) -> Hello {
        Hello {
            cluster: self.cluster,
            from: self.me,
            to,
            shard: self.index,
            bulk: lane == Lane::Bulk,
            protocol: self.handshake.protocol,
            features: 0,
            nonce: self.handshake.nonce(self.me, self.index),
        }
    }

    /// Takes in the first word on a link of a peer.
    pub(super) fn greet(&mut self, key: StreamKey, hello: &Hello) -> Result<(), String> {
        if hello.cluster != self.cluster {
            return Err(format!("this is {}, not {}", self.cluster, hello.cluster));
        }
        if hello.to != self.me {
            return Err(format!("this is node {}, not {}", self.me, hello.to));
        }
        self.handshake.version(hello.protocol)?;
        if self.gone.contains(&hello.from) {
            return Err(format!("node {} is known to be gone", hello.from));
        }
        let nonce = self.handshake.nonce(self.me, self.index);
        let Some(keys) = &self.handshake.keys else { return self.welcome(key, hello) };
        let mac = u128::from_le_bytes(keys.mac(CHALLENGE, &transcript(hello, nonce)));
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        link::write_challenge(&Challenge { nonce, mac }, &mut stream.outbox.bytes);
        if let Role::Inlink(inlink) = &mut stream.role {
            inlink.challenged = Some((*hello, nonce));
        }
        self.streams.mark_dirty(key);
        Ok(())
    }

    /// Proves on a link that this shard opens that it has the key, once the peer has.
    pub(super) fn challenged(
        &mut self,
        key: StreamKey,
        challenge: &Challenge,
    ) -> Result<(), String> {
        let Some(keys) = &self.handshake.keys else {
            return Err("the peer asks for the cluster's key: give this node --cluster-key".into());
        };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let Role::Outlink(Outlink { hello, proved, .. }) = &mut stream.role else { return Ok(()) };
        let text = transcript(hello, challenge.nonce);
        if !keys.verify(CHALLENGE, &text, &challenge.mac.to_le_bytes()) {
            return Err("the peer has another key: its --cluster-key differs".into());
        }
        *proved = true;
        let mac = u128::from_le_bytes(keys.mac(PROOF, &text));
        link::write_proof(mac, &mut stream.outbox.bytes);
        self.streams.mark_dirty(key);
        Ok(())
    }

    /// Takes in what a peer proves.
    pub(super) fn proved(&mut self, key: StreamKey, mac: u128) -> Result<(), String> {
        let role = self.streams.get_mut(key).map(|stream| &mut stream.role);
        let Some(Role::Inlink(inlink)) = role else { return Ok(()) };
        let Some((hello, nonce)) = inlink.challenged.take() else {
            return Err("a proof that nobody asked for".into());
        };
        let text = transcript(&hello, nonce);
        let keys = self.handshake.keys.as_ref();
        if keys.is_none_or(|keys| !keys.verify(PROOF, &text, &mac.to_le_bytes())) {
            return Err(format!("node {} has another key: its --cluster-key differs", hello.from));
        }
        self.welcome(key, &hello)
    }

    /// Opens a link of a peer.
    fn welcome(&mut self, key: StreamKey, hello: &Hello) -> Result<(), String> {
        let protocol = self.handshake.version(hello.protocol)?;
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let welcome = Welcome { from: self.me, protocol, features: 0 };
        link::write_welcome(&welcome, &mut stream.outbox.bytes);
        if let Role::Inlink(inlink) = &mut stream.role {
            inlink.source = Some(Source { node: hello.from, shard: hello.shard });
        }
        self.streams.mark_dirty(key);
        Ok(())
    }

    /// Takes in that a peer has opened the link that this shard asked for.
    pub(super) fn welcomed(&mut self, key: StreamKey, welcome: &Welcome) -> Result<(), String> {
        self.handshake.version((welcome.protocol, welcome.protocol))?;
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        let Role::Outlink(link) = &mut stream.role else { return Ok(()) };
        if self.handshake.keys.is_some() && !link.proved {
            return Err("the peer does not ask for the cluster's key: give it --cluster-key".into());
        }
        link.welcome = true;
        let (node, lane) = (link.node, link.lane);
        self.link_opened(node, lane);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
