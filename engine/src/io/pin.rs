//! Threads bound to cores.

use core_affinity::CoreId;

use super::error::ServeError;
use crate::config::Pin;

/// The core of each shard; shorter than the shards, or empty, where none is to be used. To be
/// asked before anything is bound.
///
/// # Errors
///
/// A core was named that this process may not use. Where the system does not tell which it may,
/// none is refused.
pub(super) fn cores(pin: &Pin, shards: u16) -> Result<Vec<CoreId>, ServeError> {
    let all = core_affinity::get_core_ids().unwrap_or_default();
    Ok(match pin {
        Pin::Off => Vec::new(),
        Pin::Cores(list) => {
            let absent = list.iter().find(|id| all.iter().all(|core| core.id != **id));
            if let (Some(core), false) = (absent, all.is_empty()) {
                let cores = all.iter().map(|core| core.id.to_string()).collect::<Vec<_>>();
                return Err(ServeError::NoSuchCore { core: *core, cores: cores.join(",") });
            }
            list.iter().map(|id| CoreId { id: *id }).collect()
        }
        Pin::Auto => {
            // Fewer cores than shards: binding would only keep two shards on one while another
            // idles. One core: there is nothing to choose.
            if all.len() < usize::from(shards) || all.len() < 2 { Vec::new() } else { all }
        }
    })
}

/// Binds this thread to a core.
pub(super) fn pin(core: Option<CoreId>) {
    if let Some(core) = core
        && !core_affinity::set_for_current(core)
    {
        log::warn!("core {} cannot be had for a shard; it runs where the system puts it", core.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_not_there_is_refused_and_those_that_are_named() {
        let all = core_affinity::get_core_ids().unwrap_or_default();
        let own = Pin::Cores(all.iter().map(|core| core.id).collect());
        assert_eq!(cores(&own, 1).unwrap(), all);
        let text = cores(&Pin::Cores(vec![100_000]), 1).unwrap_err().to_string();
        assert!(text.contains("core 100000") && text.contains(&all[0].id.to_string()), "{text}");
    }
}
