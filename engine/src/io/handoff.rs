//! The queues between the threads of a node: bounded, each with one writer and one reader.

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use mio::net::TcpStream;
use piccolo_schema::slot_message::Route;

use super::doorbell::Doorbell;
use crate::admin::Requests;
use crate::shard::{Control, Door, MeshBatch};

/// Things that the reactor may have for a shard at most; more wait in the reactor.
const HANDOFFS_MAX: usize = 1024;

/// Batches that one shard may have for another at most; what comes later joins one batch that
/// waits in the writer.
const BATCHES_MAX: usize = 256;

/// Lots of routes that a shard may have for the reactor at most.
const ROUTES_MAX: usize = 256;

/// Something from the reactor for a shard.
#[derive(Debug)]
pub(super) enum Handoff {
    Client(TcpStream, SocketAddr, Door),
    Link(TcpStream),
    Control(Control),
    Stop,
}

/// The reactor's ends.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) shards: Vec<Arc<ArrayQueue<Handoff>>>,
    pub(super) bells: Vec<Arc<Doorbell>>,
    pub(super) routes: Vec<Arc<ArrayQueue<Vec<Route>>>>,
}

/// A shard's ends.
#[derive(Debug)]
pub(super) struct ShardEnd {
    pub(super) bell: Arc<Doorbell>,
    pub(super) handoffs: Arc<ArrayQueue<Handoff>>,
    pub(super) routes: Arc<ArrayQueue<Vec<Route>>>,
    pub(super) reactor: Arc<Doorbell>,
    /// To the reactor: what clients ask of the whole node.
    pub(super) requests: Arc<Requests>,
    /// From each sibling; its own place is never used.
    pub(super) inbound: Vec<Arc<ArrayQueue<MeshBatch>>>,
    pub(super) outbound: Vec<Arc<ArrayQueue<MeshBatch>>>,
    pub(super) bells: Vec<Arc<Doorbell>>,
}

/// Makes the queues between the reactor and shards of these bells, and among the shards.
pub(super) fn wire(
    bells: &[Arc<Doorbell>],
    reactor: &Arc<Doorbell>,
    requests: &Arc<Requests>,
) -> (Wiring, Vec<ShardEnd>) {
    let count = bells.len();
    let handoffs: Vec<_> = bells.iter().map(|_| Arc::new(ArrayQueue::new(HANDOFFS_MAX))).collect();
    let routes: Vec<_> = bells.iter().map(|_| Arc::new(ArrayQueue::new(ROUTES_MAX))).collect();
    let mesh: Vec<Vec<_>> = (0..count)
        .map(|_| (0..count).map(|_| Arc::new(ArrayQueue::new(BATCHES_MAX))).collect())
        .collect();
    let ends = (0..count)
        .map(|index| ShardEnd {
            bell: bells[index].clone(),
            handoffs: handoffs[index].clone(),
            routes: routes[index].clone(),
            reactor: reactor.clone(),
            requests: requests.clone(),
            inbound: mesh.iter().map(|row| row[index].clone()).collect(),
            outbound: mesh[index].clone(),
            bells: bells.to_vec(),
        })
        .collect();
    (Wiring { shards: handoffs, bells: bells.to_vec(), routes }, ends)
}
