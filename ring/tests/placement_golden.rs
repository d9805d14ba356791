//! Golden vectors: two builds of Piccolo must place alike, or a cluster that is being upgraded
//! would move its slots to and fro.

use piccolo_ring::placement::{ALGORITHM, Candidate, Placement};
use piccolo_schema::ids::{NodeId, Slot};
use std::collections::BTreeMap;

/// What a failure means.
const HINT: &str = "The placement has changed. A node of this build and one of an older build \
    would now disagree about who should own a slot, and an upgrade would move data. If that is \
    not wanted, undo the change. If it is: give the scheme a new number in placement::ALGORITHM, \
    have both numbers spoken during an upgrade, write the reason into docs/journal, then put the \
    new values here.";

/// Name, zone and weight of each member, and the copies wanted.
struct Case {
    members: Vec<(String, &'static str, u16)>,
    replicas: usize,
}

fn case(names: impl IntoIterator<Item = String>, replicas: usize) -> Case {
    Case { members: names.into_iter().map(|name| (name, "", 1)).collect(), replicas }
}

fn cases() -> Vec<Case> {
    let hosts = |count| (1..=count).map(|host| format!("10.0.0.{host}:7380"));
    let nodes = |count| (1..=count).map(|node| format!("node-{node}"));
    let mut weighted = case(nodes(7), 3);
    for ((_, _, weight), of) in weighted.members.iter_mut().zip([1, 2, 3, 1, 2, 3, 0]) {
        *weight = of;
    }
    let mut zoned = case(nodes(12), 3);
    for ((_, zone, _), of) in zoned.members.iter_mut().zip(["a", "b", "c", "c"].iter().cycle()) {
        *zone = of;
    }
    // Few zones, unequal weights: full nodes, swaps and the emptiest node all have a part.
    let mut cramped = case(nodes(9), 3);
    for (index, (_, zone, weight)) in cramped.members.iter_mut().enumerate() {
        (*zone, *weight) = (["a", "b"][usize::from(index > 1)], 1 + index as u16 % 4);
    }
    vec![
        case(hosts(1), 1),
        case(hosts(3), 1),
        case(nodes(3), 2),
        case(hosts(5), 3),
        case(nodes(24), 1),
        case(nodes(24), 5),
        weighted,
        zoned,
        cramped,
    ]
}

fn place(case: &Case) -> Placement {
    let candidate = |(index, (name, zone, weight)): (usize, &(String, &str, u16))| Candidate {
        name: name.clone(),
        id: NodeId(index as u128 + 1),
        zone: (*zone).into(),
        weight: *weight,
    };
    let candidates: Vec<_> = case.members.iter().enumerate().map(candidate).collect();
    Placement::new(&candidates, case.replicas)
}

/// FNV-1a over the names of every slot's owners: written out here, so that a change to the hash
/// of the crate shows.
fn table_digest(placement: &Placement) -> u64 {
    let names: BTreeMap<NodeId, &str> =
        placement.candidates().iter().map(|of| (of.id, of.name.as_str())).collect();
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for &byte in bytes {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for slot in Slot::all() {
        for owner in placement.owners(slot) {
            take(names[owner].as_bytes());
            take(b",");
        }
        take(b"\n");
    }
    digest
}

/// Digest of the table of each case, its number of ranges, and its `Placement::digest`.
const GOLDEN: &[(u64, usize, u64)] = &[
    (0x33f5_fa4d_42fd_2325, 1, 0xc9f9_6690_aebf_891d),
    (0xbb1b_1382_296b_0f25, 117, 0x1585_086c_4583_b459),
    (0xfc1e_b26c_ce24_11e6, 122, 0x97db_7b0a_a68b_c1a7),
    (0xa3a6_7f6e_e14f_07e1, 246, 0x740e_7294_41d2_c5c1),
    (0x80ed_b654_abb8_056f, 1360, 0x6af6_e25d_518b_82d6),
    (0xefc3_db68_4877_6831, 1400, 0x40e7_d601_4b8d_180d),
    (0x431b_cca7_3a77_e86a, 600, 0xa765_0249_c616_6832),
    (0xe718_d9f0_8611_12a3, 678, 0x2437_8a12_9b2e_680e),
    (0x484e_dfd5_465c_4b5e, 1096, 0xede8_c65c_8de5_cc39),
];

#[test]
fn tables_and_digests_are_those_of_every_other_build() {
    let placed: Vec<_> = cases()
        .iter()
        .map(|case| {
            let placement = place(case);
            (table_digest(&placement), placement.ranges().len(), placement.digest())
        })
        .collect();
    assert_eq!(ALGORITHM, 1, "{HINT}");
    assert!(placed == GOLDEN, "{HINT}\nThe values of this build: {placed:#018x?}");
}

/// The first ranges of one table in plain sight, so that a change can be looked at.
#[test]
fn first_ranges_of_three_nodes_are_these() {
    let placement = place(&cases()[2]);
    let first: Vec<String> = placement
        .ranges()
        .take(8)
        .map(|(slots, owners)| {
            let owners: Vec<_> = owners.iter().map(|owner| owner.0).collect();
            format!("{}-{} {owners:?}", slots.start(), slots.end())
        })
        .collect();
    assert_eq!(first, FIRST_RANGES, "{HINT}");
}

const FIRST_RANGES: [&str; 8] = [
    "0-588 [2, 3]",
    "589-610 [3, 1]",
    "611-632 [1, 2]",
    "633-822 [2, 3]",
    "823-986 [3, 1]",
    "987-1192 [1, 3]",
    "1193-1414 [3, 2]",
    "1415-1472 [2, 1]",
];
