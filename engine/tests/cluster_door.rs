//! What a client at the cluster door of a node that leads every slot is told.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use piccolo_engine::resp::parse::Limits;
use piccolo_engine::shard::{Control, Door, Members, NodeView, Shard, ShardConfig, Shared};
use piccolo_gossip::State;
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::{Moment, Now, UnixMillis};

/// What a client that comes by `door` and sends `lines` is told.
fn told(door: Door, lines: &str) -> String {
    told_of(([127, 0, 0, 1], 7382).into(), door, lines)
}

/// The same of a node with this cluster door.
fn told_of(cluster_client: SocketAddr, door: Door, lines: &str) -> String {
    let now = Now { moment: Moment(1), wall: UnixMillis(1_700_000_000_000) };
    let shared: Arc<[Shared]> = [Shared::default()].into();
    let config = ShardConfig {
        index: 0,
        shards: 1,
        me: NodeId(0xabc),
        password: None,
        limits: Limits::default(),
        memory_max: 0,
        shared,
    };
    let mut shard = Shard::new(config, now);
    shard.control(Control::Enter { cluster: ClusterId(7), create: true });
    let node = NodeView {
        id: NodeId(0xabc),
        name: "anna".into(),
        client: ([127, 0, 0, 1], 7379).into(),
        cluster_client,
        peer: ([127, 0, 0, 1], 7380).into(),
        state: State::Alive,
        zone: String::new(),
        weight: 1,
        shards: 1,
    };
    let members = Members { nodes: vec![node], majority: true, ..Members::default() };
    shard.control(Control::Members(Arc::new(members)));
    let client = shard.accept_client(([127, 0, 0, 1], 1).into(), door);
    shard.received(client, lines.replace('\n', "\r\n").as_bytes());
    for _ in 0..500 {
        shard.turn();
    }
    let told = String::from_utf8_lossy(shard.output(client)).into_owned();
    shard.sent(client, told.len());
    told.replace("\r\n", "\n")
}

fn at_door(lines: &str) -> String {
    told(Door::Cluster, lines)
}

const ID: &str = "0000000000000000000000000000000000000abc";

#[test]
fn the_map_of_slots_names_cluster_doors() {
    assert_eq!(
        at_door("CLUSTER SLOTS\n"),
        format!("*1\n*3\n:0\n:16383\n*4\n$9\n127.0.0.1\n:7382\n$40\n{ID}\n*0\n")
    );
    let resp3 = at_door("HELLO 3\nCLUSTER SLOTS\n");
    assert!(resp3.ends_with(&format!("{ID}\n%0\n")), "{resp3}");
    let line = format!("{ID} 127.0.0.1:7382@7380 myself,master - 0 0 1 connected 0-16383\n");
    assert_eq!(at_door("CLUSTER NODES\n"), format!("${}\n{line}\n", line.len()));
    assert_eq!(at_door("CLUSTER MYID\n"), format!("$40\n{ID}\n"));
    let shards = at_door("CLUSTER SHARDS\n");
    assert!(shards.starts_with("*1\n*4\n$5\nslots\n*2\n:0\n:16383\n$5\nnodes\n*1\n*14\n"));
    assert!(shards.contains("$8\nendpoint\n$9\n127.0.0.1\n$4\nrole\n$6\nmaster\n"), "{shards}");
    let info = at_door("CLUSTER INFO\n");
    assert!(info.contains("cluster_state:ok\ncluster_slots_assigned:16384\n"), "{info}");
}

#[test]
fn keys_of_a_slot_are_counted_and_named() {
    let lines = "SET a{t} 1\nSET b{t} 2\nSET other 3\nCLUSTER KEYSLOT {t}\n";
    assert_eq!(at_door(lines), "+OK\n+OK\n+OK\n:15891\n");
    let told = at_door(&format!("{lines}CLUSTER COUNTKEYSINSLOT 15891\n"));
    assert!(told.ends_with(":15891\n:2\n"), "{told}");
    let told = at_door(&format!("{lines}CLUSTER GETKEYSINSLOT 15891 1\n"));
    assert!(told.ends_with("*1\n$4\na{t}\n") || told.ends_with("*1\n$4\nb{t}\n"), "{told}");
    assert_eq!(at_door("CLUSTER COUNTKEYSINSLOT 16384\n"), "-ERR Invalid slot\n");
    let invalid = "-ERR Invalid slot or number of keys\n";
    assert_eq!(at_door("CLUSTER GETKEYSINSLOT 1 -1\n"), invalid);
    assert_eq!(at_door("CLUSTER GETKEYSINSLOT 16384 1\n"), invalid);
    let integer = "-ERR value is not an integer or out of range\n";
    assert_eq!(at_door("CLUSTER COUNTKEYSINSLOT x\n"), integer);
    assert_eq!(at_door("CLUSTER GETKEYSINSLOT 1 x\n"), integer);
    assert_eq!(at_door("DBSIZE\n"), ":0\n");
}

/// However many they are, though one step of a scan is bounded.
#[test]
fn all_keys_of_a_slot_are_named() {
    let sets: Vec<String> = (0..10_000).map(|i| format!("SET {{t}}{i:05} v\n")).collect();
    let sets = sets.concat();
    for (count, expected) in [(20_000, 10_000), (9_999, 9_999), (0, 0)] {
        let told = at_door(&format!("{sets}CLUSTER GETKEYSINSLOT 15891 {count}\n"));
        let told = &told[10_000 * "+OK\n".len()..];
        assert!(told.starts_with(&format!("*{expected}\n")), "{}", &told[..20]);
        let mut keys: Vec<&str> = told.lines().filter(|line| line.starts_with("{t}")).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), expected);
    }
}

#[test]
fn a_node_that_is_not_there_is_unknown() {
    for sub in ["REPLICAS", "SLAVES", "COUNT-FAILURE-REPORTS"] {
        assert_eq!(at_door(&format!("CLUSTER {sub} foo\n")), "-ERR Unknown node foo\n", "{sub}");
    }
    assert_eq!(at_door(&format!("CLUSTER REPLICAS {ID}\n")), "*0\n");
}

#[test]
fn addresses_of_ipv6_have_no_brackets() {
    let door = SocketAddr::from((Ipv6Addr::LOCALHOST, 7382));
    let line = format!("{ID} ::1:7382@7380 myself,master - 0 0 1 connected 0-16383\n");
    let told = told_of(door, Door::Cluster, "CLUSTER NODES\n");
    assert_eq!(told, format!("${}\n{line}\n", line.len()));
}

#[test]
fn keys_of_several_slots_are_refused_as_by_a_cluster() {
    let cross = "-CROSSSLOT Keys in request don't hash to the same slot\n";
    for line in ["MGET a b\n", "MSET a 1 b 2\n", "DEL a b\n", "WATCH a b\n"] {
        assert_eq!(at_door(line), cross, "{line}");
        assert_ne!(told(Door::Client, line), cross, "{line}");
    }
    for line in ["MSETNX a 1 b 2\n", "RENAME a b\n", "RENAMENX a b\n", "COPY a b\n"] {
        assert_eq!(at_door(line), cross, "{line}");
        assert_eq!(told(Door::Client, line), cross, "{line}");
    }
    assert_eq!(at_door("MSET {t}a 1 {t}b 2\nMGET {t}a {t}b\n"), "+OK\n*2\n$1\n1\n$1\n2\n");
    assert_eq!(
        at_door("MULTI\nMGET a b\nEXEC\n"),
        format!("+OK\n{cross}-EXECABORT Transaction discarded because of previous errors.\n")
    );
    assert_eq!(
        at_door("MULTI\nSET a 1\nSET b 1\nEXEC\nEXISTS a\n"),
        format!("+OK\n+QUEUED\n+QUEUED\n{cross}:0\n")
    );
}

#[test]
fn each_door_says_what_it_is() {
    let disabled = "-ERR This instance has cluster support disabled\n";
    for line in ["CLUSTER SLOTS\n", "READONLY\n", "ASKING\n", "CLUSTER KEYSLOT a\n"] {
        assert_eq!(told(Door::Client, line), disabled, "{line}");
    }
    assert_eq!(at_door("READONLY\nREADWRITE\nASKING\n"), "+OK\n+OK\n+OK\n");
    let queued = "MULTI\nREADONLY\nREADWRITE\nASKING\nEXEC\n";
    assert!(at_door(queued).ends_with("*3\n+OK\n+OK\n+OK\n"));
    assert!(at_door("INFO cluster\n").contains("cluster_enabled:1\n"));
    assert!(told(Door::Client, "INFO cluster\n").contains("cluster_enabled:0\n"));
    assert!(at_door("INFO server\n").contains("redis_mode:cluster\n"));
    assert!(at_door("HELLO 2\n").contains("$4\nmode\n$7\ncluster\n"));
    assert!(at_door("CONFIG GET cluster-enabled\n").contains("yes"));
}

#[test]
fn nobody_moves_slots_by_hand() {
    for line in ["CLUSTER MEET 127.0.0.1 7000\n", "CLUSTER SETSLOT 1 NODE x\n"] {
        assert!(at_door(line).starts_with("-ERR the ring manages itself"), "{line}");
    }
    assert!(at_door("CLUSTER NOSUCH\n").starts_with("-ERR unknown subcommand"));
}
