use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::BodyExt as _;
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::kv::{self, GetKind, Hello, Op, PREFACE, PROTOCOL, Request};
use piccolo_schema::time::{Moment, Now};

use super::*;
use crate::admin::status::{Counts, MemberState, MemberStatus, Status};
use crate::resp::parse::Limits;
use crate::shard::{Control, Door, Shard, ShardConfig};

/// A shard that leads every slot, and the counts that it publishes.
struct Driven {
    shard: Shard,
    shared: Arc<[Shared]>,
    now: u64,
}

impl Driven {
    fn new() -> Self {
        let shared: Arc<[Shared]> = [Shared::default()].into();
        let config = ShardConfig {
            index: 0,
            shards: 1,
            me: NodeId(1),
            password: None,
            limits: Limits::default(),
            memory_max: 1 << 20,
            shared: shared.clone(),
        };
        let mut shard = Shard::new(config, Now::default());
        shard.control(Control::Enter { cluster: ClusterId(7), create: true });
        Self { shard, shared, now: 0 }
    }

    /// Lets a client send this, in a turn of 20 us; then time passes until counts are published.
    fn client_says(&mut self, text: &str) {
        self.client_sends(text.as_bytes());
    }

    fn client_sends(&mut self, bytes: &[u8]) {
        let client =
            self.shard.accept_client(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), Door::Client);
        self.shard.received(client, bytes);
        self.turn();
        while let Some(key) = self.shard.dirty() {
            let bytes = self.shard.output(key).len();
            self.shard.sent(key, bytes);
        }
        self.shard.turn_took(Duration::from_micros(20));
        self.now += 60_000;
        self.turn();
    }

    fn turn(&mut self) {
        self.shard.set_now(Now { moment: Moment(self.now), ..Now::default() });
        self.shard.turn();
    }
}

fn status() -> Status {
    let member = |name: &str, state| MemberStatus {
        name: name.into(),
        id: String::new(),
        state,
        peer: String::new(),
        client: String::new(),
        cluster_client: String::new(),
        admin: String::new(),
        zone: String::new(),
        weight: 1,
        shards: 1,
    };
    let gossip = piccolo_gossip::Stats { bytes_in: 77, deaths: 3, ..Default::default() };
    Status {
        version: "1.2.3".into(),
        uptime_seconds: 9,
        ready: true,
        members: vec![member("a", MemberState::Alive), member("b", MemberState::Dead)],
        ring_digest: "00000000000100ff".into(),
        counts: Counts {
            gossip,
            supporters: 4,
            clients_refused_full: 2,
            clients_refused_leaving: 1,
        },
        ..Status::default()
    }
}

fn text(shared: &Arc<[Shared]>) -> String {
    let view = Arc::new(View::new(status()));
    let reply = Metrics::new(view, shared.clone()).reply();
    assert_eq!(reply.headers()["content-type"], "text/plain; version=0.0.4");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(reply.into_body().collect()).unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|other| other == *line), "no line {line:?} in:\n{text}");
    }
}

#[test]
fn what_native_clients_ask_is_told_apart() {
    let mut driven = Driven::new();
    let mut bytes = PREFACE.to_vec();
    let hello = Hello { protocol: PROTOCOL, features: 0, password: b"", name: "test" };
    kv::write_hello(&hello, &mut bytes);
    for op in [Op::Get(GetKind::Whole), Op::Append(b"v"), Op::Topology] {
        kv::write_request(&Request { id: 1, key: b"k", op }, &mut bytes);
    }
    driven.client_sends(&bytes);
    let text = text(&driven.shared);
    let called = |command: &str| {
        format!("piccolo_commands_total{{command=\"{command}\",proto=\"native\",result=\"ok\"}} 1")
    };
    assert_has(&text, &[&called("get"), &called("append"), &called("topology")]);
    let received =
        format!("piccolo_network_receive_bytes_total{{proto=\"native\"}} {}", bytes.len());
    assert_has(
        &text,
        &[
            "piccolo_connections{proto=\"resp\"} 0",
            "piccolo_connections{proto=\"native\"} 1",
            "piccolo_command_duration_seconds_count{path=\"local\"} 3",
            "piccolo_keyspace_misses_total 1",
            &received,
        ],
    );
}

#[test]
fn what_a_shard_has_done_is_counted() {
    let mut driven = Driven::new();
    driven.client_says(
        "SET k v\r\nGET k\r\nGET none\r\nget none\r\nINCR k\r\nPING\r\nGET\r\nNOPE\r\n\
         MGET k none\r\nMULTI\r\nGET k\r\nEXEC\r\n",
    );
    let text = text(&driven.shared);
    let called = |command: &str, result: &str, calls: u64| {
        let labels = format!("command=\"{command}\",proto=\"resp\",result=\"{result}\"");
        format!("piccolo_commands_total{{{labels}}} {calls}")
    };
    let calls = [
        called("set", "ok", 1),
        called("get", "ok", 4),
        called("get", "error", 0),
        called("incr", "error", 1),
        called("incr", "ok", 0),
        called("ping", "ok", 1),
        called("mget", "ok", 1),
        called("exec", "ok", 1),
        called("other", "error", 2),
        called("other", "ok", 0),
    ];
    assert_has(&text, &calls.each_ref().map(String::as_str));
    assert_has(
        &text,
        &[
            // GET k, MGET k and, in the transaction, GET k again; GET none twice and MGET none.
            "piccolo_keyspace_hits_total 3",
            "piccolo_keyspace_misses_total 3",
            "piccolo_keys 1",
            "piccolo_memory_limit_bytes 1048576",
            "piccolo_connections{proto=\"resp\"} 1",
            "piccolo_connections_accepted_total{proto=\"resp\"} 1",
            "piccolo_network_receive_bytes_total{proto=\"resp\"} 94",
            "piccolo_network_receive_bytes_total{proto=\"peer\"} 0",
            "piccolo_shard_commands_total{shard=\"0\"} 10",
            "piccolo_shard_busy_seconds_total{shard=\"0\"} 0.00002",
            "piccolo_supporters 4",
            "piccolo_slots_led 16384",
        ],
    );
}

#[test]
fn a_command_counts_with_the_time_of_its_turn() {
    let mut driven = Driven::new();
    driven.client_says("SET k v\r\nGET k\r\nMGET k other\r\n");
    let text = text(&driven.shared);
    let local = "piccolo_command_duration_seconds";
    assert_has(
        &text,
        &[
            &format!("{local}_bucket{{path=\"local\",le=\"0.00001\"}} 0"),
            &format!("{local}_bucket{{path=\"local\",le=\"0.000025\"}} 2"),
            &format!("{local}_bucket{{path=\"local\",le=\"+Inf\"}} 2"),
            &format!("{local}_sum{{path=\"local\"}} 0.00004"),
            &format!("{local}_count{{path=\"gathered\"}} 1"),
            &format!("{local}_count{{path=\"forwarded\"}} 0"),
        ],
    );
}

#[test]
fn what_the_reactor_knows_is_told() {
    let text = text(&[Shared::default(), Shared::default()].into());
    assert_has(
        &text,
        &[
            "piccolo_build_info{version=\"1.2.3\"} 1",
            "piccolo_uptime_seconds 9",
            "piccolo_ready 1",
            "piccolo_cluster_members{state=\"alive\"} 1",
            "piccolo_cluster_members{state=\"dead\"} 1",
            "piccolo_cluster_members{state=\"joining\"} 0",
            "piccolo_cluster_ring_digest 1",
            "piccolo_connections_rejected_total{reason=\"full\"} 2",
            "piccolo_connections_rejected_total{reason=\"leaving\"} 1",
            "piccolo_gossip_deaths_total 3",
            "piccolo_network_receive_bytes_total{proto=\"gossip\"} 77",
            "piccolo_shard_keys{shard=\"1\"} 0",
        ],
    );
}

/// Type and names of labels of each family, out of the text of a scrape.
fn exported() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = text(&[Shared::default()].into());
    let mut families: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            families.insert(name.into(), (kind.into(), BTreeSet::new()));
        } else if let Some((name, labels)) = line.split_once('{') {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            let names = labels.split("\",").filter_map(|label| label.split_once('='));
            let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
            if let Some((_, labels)) = families.get_mut(name) {
                labels.extend(names);
            }
        }
    }
    families
}

#[test]
fn the_guide_has_every_family_and_no_other() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut documented = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("not four cells: {row}") };
        assert!(meaning.ends_with('.'), "{row}");
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned());
        let labels: BTreeSet<String> = labels.filter(|label| !label.is_empty()).collect();
        let name = name.trim_matches('`').to_owned();
        assert!(documented.insert(name, (kind.to_owned(), labels)).is_none(), "twice: {row}");
    }
    assert_eq!(documented, exported());
}

#[test]
fn a_scrape_stays_within_its_budget_of_series() {
    let shards: Arc<[Shared]> = (0..16).map(|_| Shared::default()).collect();
    let text = text(&shards);
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= 2500, "{series} series at 16 shards");
}

#[test]
fn the_limit_of_memory_follows_who_changes_it() {
    let mut driven = Driven::new();
    driven.client_says("CONFIG SET maxmemory 3mb\r\n");
    assert_has(&text(&driven.shared), &["piccolo_memory_limit_bytes 3145728"]);
}
