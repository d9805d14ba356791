//! Prometheus' service discovery over HTTP: who is to be scraped.

use std::collections::BTreeMap;

use serde::Serialize;

use super::status::{MemberState, MemberStatus};

/// One entry of the list that Prometheus reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct TargetGroup {
    targets: [String; 1],
    /// Those that begin with `__meta_` are for rules of relabelling, and dropped after that.
    labels: BTreeMap<&'static str, String>,
}

/// Every member that may answer. Who is dead or has left is not scraped any more: that it died is
/// seen in the metrics of the others.
pub(super) fn target_groups(members: &[MemberStatus]) -> Vec<TargetGroup> {
    let gone = [MemberState::Dead, MemberState::Left];
    members.iter().filter(|member| !gone.contains(&member.state)).map(target_group).collect()
}

fn target_group(member: &MemberStatus) -> TargetGroup {
    // The same from whichever node the list comes, so that targets named twice are scraped once.
    let mut labels = BTreeMap::from([("node", member.name.clone())]);
    if !member.zone.is_empty() {
        labels.insert("zone", member.zone.clone());
    }
    labels.insert("__meta_piccolo_state", member.state.word().to_owned());
    labels.insert("__meta_piccolo_peer", member.peer.clone());
    labels.insert("__meta_piccolo_client", member.client.clone());
    TargetGroup { targets: [member.admin.clone()], labels }
}
