use std::sync::Arc;

use piccolo_schema::ids::ClusterId;
use piccolo_schema::link::Item;
use piccolo_schema::time::{Moment, Now};

use super::*;
use crate::shard::testing::alone;
use crate::shard::{Action, Control, Members, PeerView};

const ONE: &str = "00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";
const OPENER: NodeId = NodeId(1);
const HOST: NodeId = NodeId(2);

fn now() -> Now {
    Now { moment: Moment(1_000_000), ..Now::default() }
}

/// A shard in a cluster of two, with these keys.
fn shard(me: NodeId, peer: NodeId, keys: Option<&str>) -> Shard {
    let mut shard = alone(me, now());
    if let Some(text) = keys {
        shard.control(Control::Keys(Keys::parse(text).unwrap()));
    }
    shard.control(Control::Enter { cluster: ClusterId(7), create: false });
    let address = ([127, 0, 0, 1], 7380).into();
    let peers = vec![PeerView { id: peer, address }];
    shard.control(Control::Members(Arc::new(Members { peers, ..Members::default() })));
    shard
}

/// The streams that a shard has asked to be connected: an ordinary link, and one for bulk.
fn connecting(shard: &mut Shard) -> Vec<StreamKey> {
    std::iter::from_fn(|| shard.next_action())
        .filter_map(|action| match action {
            Action::Connect { stream, .. } => Some(stream),
            _ => None,
        })
        .collect()
}

fn take_output(shard: &mut Shard, key: StreamKey) -> Vec<u8> {
    let bytes = shard.output(key).to_vec();
    shard.sent(key, bytes.len());
    bytes
}

/// Carries what both say until neither says more. Returns every frame, and who said it.
fn talk(
    opener: &mut Shard,
    key: StreamKey,
    host: &mut Shard,
    inlink: StreamKey,
) -> Vec<(NodeId, Vec<u8>)> {
    let mut said = Vec::new();
    loop {
        let from_opener = take_output(opener, key);
        host.received(inlink, &from_opener);
        let from_host = take_output(host, inlink);
        opener.received(key, &from_host);
        if from_opener.is_empty() && from_host.is_empty() {
            return said;
        }
        said.extend([(OPENER, from_opener), (HOST, from_host)]);
    }
}

/// What somebody is warned of, by either.
fn warnings(shards: [&mut Shard; 2]) -> Vec<String> {
    let mut texts = Vec::new();
    for shard in shards {
        while let Some(action) = shard.next_action() {
            if let Action::Warn(text) = action {
                texts.push(text);
            }
        }
    }
    texts
}

/// Opens one link between two nodes with these keys. Whether it is open, and what was warned of.
fn open(opener: Option<&str>, host: Option<&str>) -> (bool, Vec<String>) {
    let (mut a, mut b) = (shard(OPENER, HOST, opener), shard(HOST, OPENER, host));
    let (key, inlink) = (connecting(&mut a)[0], b.accept_link());
    drop(connecting(&mut b));
    talk(&mut a, key, &mut b, inlink);
    let open = a.open_link(HOST, Lane::Ordinary).is_some();
    (open, warnings([&mut a, &mut b]))
}

#[test]
fn nodes_with_a_key_in_common_open_links() {
    let (old_first, new_first) = (format!("{ONE}\n{OTHER}"), format!("{OTHER}\n{ONE}"));
    let stages = [ONE, &old_first, &new_first, OTHER].map(Some);
    let neighbours = stages.windows(2).flat_map(|pair| [(pair[0], pair[1]), (pair[1], pair[0])]);
    for (opener, host) in neighbours.chain([(None, None), (Some(ONE), Some(ONE))]) {
        assert_eq!(open(opener, host), (true, Vec::new()), "{opener:?} to {host:?}");
    }
}

#[test]
fn nodes_without_a_key_in_common_do_not_and_say_why() {
    for (opener, host, why) in [
        (Some(ONE), Some(OTHER), "has another key"),
        (Some(ONE), None, "does not ask for the cluster's key"),
        (None, Some(ONE), "give this node --cluster-key"),
    ] {
        let (open, warned) = open(opener, host);
        assert!(!open, "{opener:?} to {host:?}");
        assert!(warned.iter().any(|text| text.contains(why)), "{warned:?}");
    }
}

/// A node that was started again is found by the peers of its last life before it is in the
/// cluster: nothing to alarm anybody with, on either side.
#[test]
fn links_to_a_node_without_a_cluster_are_refused_without_alarm() {
    let (mut a, mut b) = (shard(OPENER, HOST, None), alone(NodeId(3), now()));
    let (key, inlink) = (connecting(&mut a)[0], b.accept_link());
    talk(&mut a, key, &mut b, inlink);
    assert!(a.open_link(HOST, Lane::Ordinary).is_none());
    assert_eq!(b.counters.link_faults, 1, "it is counted");
    assert_eq!(warnings([&mut a, &mut b]), Vec::<String>::new());
}

/// A node of another cluster is one to be told of.
#[test]
fn links_to_a_node_of_another_cluster_are_told_on_both_sides() {
    let (mut a, mut b) = (shard(OPENER, HOST, None), alone(HOST, now()));
    b.control(Control::Enter { cluster: ClusterId(8 << 96), create: false });
    let (key, inlink) = (connecting(&mut a)[0], b.accept_link());
    talk(&mut a, key, &mut b, inlink);
    assert!(a.open_link(HOST, Lane::Ordinary).is_none());
    let warned = warnings([&mut a, &mut b]);
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(warned.iter().all(|text| text.contains("this is 00000008, not")), "{warned:?}");
}

/// Somebody on the path says again what an opener with the key said: it opens nothing.
#[test]
fn a_handshake_said_again_opens_nothing() {
    let (mut a, mut b) = (shard(OPENER, HOST, Some(ONE)), shard(HOST, OPENER, Some(ONE)));
    let (key, inlink) = (connecting(&mut a)[0], b.accept_link());
    let said = talk(&mut a, key, &mut b, inlink);
    assert!(a.open_link(HOST, Lane::Ordinary).is_some());
    let again = b.accept_link();
    for (_, frame) in said.iter().filter(|(by, _)| *by == OPENER) {
        b.received(again, frame);
    }
    let answer = take_output(&mut b, again);
    let mut welcome = false;
    let mut rest = &answer[..];
    while let Ok(Some(bytes)) = piccolo_schema::framing::frame_bytes(rest) {
        link::read(&rest[..bytes], |item| welcome |= matches!(item, Item::Welcome(_))).unwrap();
        rest = &rest[bytes..];
    }
    assert!(!welcome);
    assert!(warnings([&mut a, &mut b]).iter().any(|text| text.contains("another key")));
}

/// Nothing but the proof is taken from one who was challenged.
#[test]
fn who_was_challenged_has_to_prove_first() {
    let mut b = shard(HOST, OPENER, Some(ONE));
    drop(connecting(&mut b));
    let inlink = b.accept_link();
    let mut a = shard(OPENER, HOST, Some(ONE));
    let mut hello = Vec::new();
    link::write_hello(&a.link_hello(HOST, Lane::Ordinary), &mut hello);
    b.received(inlink, &hello);
    b.received(inlink, &hello);
    assert!(warnings([&mut a, &mut b]).iter().any(|text| text.contains("out of turn")));
}

/// A node of one version and one of the next open links; two versions apart they say so.
#[test]
fn versions_overlap_or_the_link_is_refused() {
    for (opener, host, opens) in
        [((1, 1), (1, 2), true), ((2, 3), (1, 2), true), ((1, 1), (2, 3), false)]
    {
        let (mut a, mut b) = (alone(OPENER, now()), alone(HOST, now()));
        a.set_protocol(opener);
        b.set_protocol(host);
        for shard in [&mut a, &mut b] {
            shard.control(Control::Enter { cluster: ClusterId(7), create: false });
        }
        let address = ([127, 0, 0, 1], 7380).into();
        let peers = vec![PeerView { id: HOST, address }];
        a.control(Control::Members(Arc::new(Members { peers, ..Members::default() })));
        let (key, inlink) = (connecting(&mut a)[0], b.accept_link());
        talk(&mut a, key, &mut b, inlink);
        assert_eq!(a.open_link(HOST, Lane::Ordinary).is_some(), opens, "{opener:?} to {host:?}");
        let warned = warnings([&mut a, &mut b]);
        let told = warned.iter().any(|text| text.contains("versions 2 to 3"));
        assert_eq!(told, !opens, "{warned:?}");
    }
}

/// Whoever reaches the peer port can open links: they are bounded, so is what is read of them
/// before they say who they are, and so is what is said of them in the log.
#[test]
fn strangers_get_little_memory_and_one_line_in_the_log() {
    let mut host = shard(HOST, OPENER, Some(ONE));
    let links: Vec<_> = (0..1000).map(|_| host.accept_link()).collect();
    let closed: Vec<_> = std::iter::from_fn(|| host.next_action())
        .filter_map(|action| match action {
            Action::Close(key) => Some(key),
            _ => None,
        })
        .collect();
    assert_eq!(closed, links[..744], "256 stay");
    let mut long = Vec::new();
    link::write_refusal(&"x".repeat(5000), &mut long);
    for link in &links[744..] {
        host.received(*link, &long);
    }
    let told = warnings([&mut host, &mut shard(OPENER, HOST, None)]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("no hello"), "{told:?}");
}

/// Nor has a peer more than that before it says welcome, and what it says is quoted in part.
#[test]
fn a_peer_is_a_stranger_until_it_says_welcome() {
    for (chars, expected) in [(5000, "no hello"), (1000, "refused: xx")] {
        let mut opener = shard(OPENER, HOST, None);
        let key = connecting(&mut opener)[0];
        let mut refusal = Vec::new();
        link::write_refusal(&format!("xx\n{}", "y".repeat(chars)), &mut refusal);
        opener.received(key, &refusal);
        let told = warnings([&mut opener, &mut shard(HOST, OPENER, None)]);
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
        assert!(told[0].len() < 400 && !told[0].contains('\n'), "{told:?}");
    }
}
