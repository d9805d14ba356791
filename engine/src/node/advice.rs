//! What the operator is told to do about members that do not come together.

use std::net::SocketAddr;

use piccolo_schema::ids::ClusterId;

use crate::plural::counted;

/// Addresses named in one line.
const NAMED_MAX: usize = 8;

/// No cluster was found for a while. `expect` is how many nodes found one, zero if they never do.
pub(super) fn no_cluster(seeds: &[SocketAddr], expect: u16) -> String {
    let mut named: Vec<_> = seeds.iter().take(NAMED_MAX).map(SocketAddr::to_string).collect();
    if seeds.len() > NAMED_MAX {
        named.push(format!("{} more", seeds.len() - NAMED_MAX));
    }
    let asked = match named.as_slice() {
        [] => "no name in --join could be resolved yet".to_owned(),
        [only] => format!("no member of one answers at {only} (--join)"),
        _ => format!("no member of one answers at {} (--join)", named.join(", ")),
    };
    let founders = match expect {
        0 => "without --expect this node waits until one does".to_owned(),
        _ => format!(
            "{} that look for one, as --expect says, have not found each other",
            counted(usize::from(expect), "node", "nodes")
        ),
    };
    format!(
        "no cluster found yet: {asked}; {founders} (do they run? does UDP get through? have all \
         the same --cluster-key?)"
    )
}

/// The cluster has no room.
pub(super) fn full(by: SocketAddr, members_max: u32) -> String {
    format!(
        "the cluster at {by} takes {members_max} members and is full: remove those that are dead \
         with `piccolo remove NAME`; this node asks again"
    )
}

/// Two clusters count one node.
pub(super) fn disputed(cluster: ClusterId, by: SocketAddr) -> String {
    format!(
        "{cluster:?}, of the node at {by}, and this node's cluster count the same node: end the \
         nodes of the one that is not to go on, and start them anew with --join and a member of \
         the other"
    )
}

/// A seed is in another cluster.
pub(super) fn foreign_seed(cluster: ClusterId, by: SocketAddr) -> String {
    format!(
        "--join names {by}, which is in {cluster:?}, not in this node's: take it out of the list, \
         or this node refuses to start once it hears both"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_and_expected_is_named() {
        let seeds: Vec<SocketAddr> = (1..=10).map(|port| ([10, 0, 0, 1], port).into()).collect();
        let none = no_cluster(&[], 0);
        assert!(none.contains("could be resolved") && none.contains("waits until one"), "{none}");
        let two = no_cluster(&seeds[..2], 3);
        assert!(two.contains("at 10.0.0.1:1, 10.0.0.1:2 (--join); 3 nodes that look"), "{two}");
        let many = no_cluster(&seeds, 1);
        assert!(many.contains("10.0.0.1:8, 2 more (--join); 1 node that"), "{many}");
    }
}
