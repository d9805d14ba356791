//! Shards for the tests of this module.

use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::Now;

use super::{Control, Shard, ShardConfig, Shared};
use crate::resp::parse::Limits;

/// The only shard of a node, in no cluster.
pub(super) fn alone(me: NodeId, now: Now) -> Shard {
    let config = ShardConfig {
        index: 0,
        shards: 1,
        me,
        password: None,
        limits: Limits::default(),
        memory_max: 0,
        shared: [Shared::default()].into(),
    };
    Shard::new(config, now)
}

/// The same, which leads every slot and holds nothing.
pub(super) fn leader(now: Now) -> Shard {
    let mut shard = alone(NodeId(1), now);
    shard.control(Control::Enter { cluster: ClusterId(7), create: true });
    shard
}
