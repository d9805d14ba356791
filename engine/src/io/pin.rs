//! Threads bound to cores.

use core_affinity::CoreId;

use crate::config::Pin;

/// The core of each shard; shorter than the shards, or empty, where none is to be used.
pub(super) fn cores(pin: &Pin, shards: u16) -> Vec<CoreId> {
    match pin {
        Pin::Off => Vec::new(),
        Pin::Cores(list) => list.iter().map(|id| CoreId { id: *id }).collect(),
        Pin::Auto => {
            // Those that this thread may use: to be asked before anything is bound.
            let all = core_affinity::get_core_ids().unwrap_or_default();
            // Fewer cores than shards: binding would only keep two shards on one while another
            // idles. One core: there is nothing to choose.
            if all.len() < usize::from(shards) || all.len() < 2 { Vec::new() } else { all }
        }
    }
}

/// Binds this thread to a core.
pub(super) fn pin(core: Option<CoreId>) {
    if let Some(core) = core
        && !core_affinity::set_for_current(core)
    {
        log::warn!("core {} cannot be had for a shard; it runs where the system puts it", core.id);
    }
}
