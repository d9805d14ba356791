//! What the operator is told to do about members that do not come together.

use std::net::SocketAddr;

use piccolo_gossip::Gossip;
use piccolo_schema::ids::ClusterId;

/// Names or addresses in one line, at most.
const NAMED_MAX: usize = 8;

/// Where nodes found their cluster together --create is no advice: it would make a second one.
const WAITS: &str = "without --expect this node waits until one does: check the addresses, or, if \
                     there is no cluster yet, start one node with --create";

/// No cluster was found for a while.
pub(super) fn no_cluster(gossip: &Gossip) -> String {
    let found: Vec<&str> = gossip.founders().collect();
    nobody_answers(gossip.seeds(), usize::from(gossip.expect()), &found)
}

/// `expect` is how many nodes found a cluster, zero if they never do; `found` are the others found.
fn nobody_answers(seeds: &[SocketAddr], expect: usize, found: &[&str]) -> String {
    let seeds: Vec<_> = seeds.iter().map(SocketAddr::to_string).collect();
    let asked = if seeds.is_empty() {
        "--join gives no address but this node's own, or none that could be resolved".to_owned()
    } else {
        format!("no member of one answers at {} (--join)", listed(&seeds))
    };
    let founders = match (expect, found) {
        (0, _) => WAITS.to_owned(),
        (_, []) => format!("of the {expect} that --expect wants this node found nobody else"),
        _ => format!(
            "of the {expect} that --expect wants {} found each other, this node and {}",
            found.len() + 1,
            listed(found)
        ),
    };
    format!(
        "no cluster found yet: {asked}; {founders} (do they run? does UDP get through? have all \
         the same --cluster-key?)"
    )
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let mut named: Vec<&str> = names.iter().take(NAMED_MAX).map(AsRef::as_ref).collect();
    let more = format!("{} more", names.len() - named.len());
    if names.len() > NAMED_MAX {
        named.push(&more);
    }
    named.join(", ")
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
        "--join names {by}, which is in {cluster:?}, not in this node's: if it belongs there, take \
         it out of the list; if it belongs here, it has to be started anew"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_asked_and_expected_is_named() {
        let seeds: Vec<SocketAddr> = (1..=10).map(|port| ([10, 0, 0, 1], port).into()).collect();
        let none = nobody_answers(&[], 0, &[]);
        assert!(none.contains("but this node's own") && none.contains("waits until"), "{none}");
        assert!(
            none.contains("if there is no cluster yet, start one node with --create"),
            "{none}"
        );
        let two = nobody_answers(&seeds[..2], 3, &[]);
        assert!(two.contains("at 10.0.0.1:1, 10.0.0.1:2 (--join); of the 3 that"), "{two}");
        assert!(!two.contains("--create"), "it would make a second one: {two}");
        let many = nobody_answers(&seeds, 4, &["b", "c"]);
        assert!(many.contains("10.0.0.1:8, 2 more (--join)"), "{many}");
        assert!(many.contains("wants 3 found each other, this node and b, c (do"), "{many}");
    }
}
