use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::status::{Counts, MemberState, MemberStatus, RangeStatus, ShardStatus, SlotRangeStatus};
use super::*;
use crate::cli::http::{self, Answer};
use crate::shard::Shared;

/// Far more than an answer takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn member(name: &str, state: MemberState) -> MemberStatus {
    MemberStatus {
        name: name.into(),
        id: format!("id of {name}"),
        state,
        peer: format!("{name}:7380"),
        client: format!("{name}:7379"),
        cluster_client: format!("{name}:7382"),
        admin: format!("{name}:7381"),
        zone: String::new(),
        weight: 1,
        shards: 2,
    }
}

fn status() -> Status {
    let owned = |first, last, owner: &str| RangeStatus { first, last, owners: vec![owner.into()] };
    let led = |first, last, leader: Option<&str>| SlotRangeStatus {
        first,
        last,
        leader: leader.map(Into::into),
    };
    Status {
        cluster: Some("c1".into()),
        name: "anna".into(),
        id: "id of anna".into(),
        version: "0.1.0".into(),
        uptime_seconds: 5,
        majority: true,
        ready: true,
        not_ready_because: None,
        leaving: false,
        members: vec![member("anna", MemberState::Alive), member("ben", MemberState::Alive)],
        ring: vec![owned(0, 8191, "anna"), owned(8192, 16383, "ben")],
        ring_digest: "d1".into(),
        slots: vec![led(0, 99, None), led(100, 16383, Some("ben"))],
        shards: vec![ShardStatus { slots_led: 7, keys: 70, ..ShardStatus::default() }],
        cluster_keys: vec!["0011aabb".into()],
        counts: Counts::default(),
    }
}

/// A running admin listener.
struct Admin {
    address: SocketAddr,
    view: Arc<View>,
    requests: Arc<Requests>,
    woken: Arc<AtomicUsize>,
    handle: AdminHandle,
}

impl Admin {
    fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let view = Arc::new(View::new(status()));
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let wake = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        let requests = Arc::new(Requests::new(wake));
        let shared: Arc<[Shared]> = [Shared::default()].into();
        let metrics = Metrics::new(Arc::clone(&view), shared);
        let handle =
            start_with(listener, Arc::clone(&view), Arc::clone(&requests), metrics, limits);
        let handle = handle.unwrap();
        Self { address, view, requests, woken, handle }
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        http::exchange(method, &self.address.to_string(), path, PATIENCE).unwrap()
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path);
        assert_eq!(answer.status, 200, "{path}");
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// Everything that comes until the other side closes; fails if it does not close in time.
fn read_until_closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // Closed with something of ours unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed in time: {error}"),
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_path_answers() {
    let admin = Admin::start(Limits::default());
    assert_eq!(admin.json("/livez")["live"], true);
    assert_eq!(admin.json("/readyz")["ready"], true);
    assert_eq!(admin.json("/version")["version"], "0.1.0");
    let cluster = admin.json("/v1/cluster");
    assert_eq!(cluster["cluster"], "c1");
    assert_eq!(cluster["members"]["alive"], 2);
    assert_eq!(cluster["members"]["dead"], 0);
    assert_eq!(cluster["slots_without_leader"], 100);
    let members: Vec<MemberStatus> =
        serde_json::from_value(admin.json("/v1/cluster/members")).unwrap();
    assert_eq!(members, status().members);
    assert_eq!(admin.json("/v1/cluster/ring")["ranges"][1]["owners"][0], "ben");
    assert_eq!(admin.json("/v1/cluster/ring")["digest"], "d1");
    assert_eq!(admin.json("/v1/cluster/slots")[0]["leader"], Value::Null);
    let node: Status = serde_json::from_value(admin.json("/v1/node")).unwrap();
    assert_eq!((node.name.as_str(), node.slots_led(), node.keys()), ("anna", 7, 70));
    assert_eq!(node.members, [member("anna", MemberState::Alive)]);
    assert_eq!(admin.json("/v1/node")["cluster_keys"], serde_json::json!(["0011aabb"]));
    admin.handle.stop();
}

#[test]
fn slots_that_the_dead_lead_are_counted() {
    let admin = Admin::start(Limits::default());
    assert_eq!(admin.json("/v1/cluster")["slots_led_by_the_dead"], 0);
    let mut changed = status();
    let led_by_ben = changed.slots.iter().filter(|range| range.leader.as_deref() == Some("ben"));
    let count: u32 = led_by_ben.map(|range| u32::from(range.last - range.first) + 1).sum();
    assert!(count > 0);
    changed.members.iter_mut().find(|m| m.name == "ben").unwrap().state = MemberState::Dead;
    admin.view.publish(changed);
    assert_eq!(admin.json("/v1/cluster")["slots_led_by_the_dead"], count);
}

/// Each request on the page of the guide is answered, and each that looks is on it.
#[test]
fn the_page_of_the_guide_names_every_path() {
    let admin = Admin::start(Limits::default());
    let page = include_str!("../../../docs/guide/admin.md");
    let requests = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut asked = 0;
    for (request, _) in requests {
        let (method, path) = request.split_once(' ').unwrap();
        let answer = admin.ask(method, &path.replace("NAME", "nobody"));
        let unknown = String::from_utf8_lossy(&answer.body).contains("no such path");
        assert!(!unknown && answer.status != 405, "{request}: {}", answer.status);
        asked += 1;
    }
    let source = include_str!("routes.rs");
    let shown = source.lines().filter(|line| line.starts_with("        \"/"));
    assert_eq!(asked, shown.count() + 2, "paths of `show`, and two that change something");
}

#[test]
fn prometheus_can_scrape_and_finds_the_members_that_may_answer() {
    let admin = Admin::start(Limits::default());
    let metrics = admin.ask("GET", "/metrics");
    let text = String::from_utf8(metrics.body).unwrap();
    assert_eq!(metrics.status, 200);
    assert!(text.contains("\npiccolo_uptime_seconds 5\n"), "{text}");
    assert_eq!(admin.ask("POST", "/metrics").status, 405);
    let zoned = MemberStatus { zone: "east".into(), ..member("carl", MemberState::Suspect) };
    let gone = [member("dora", MemberState::Dead), member("eve", MemberState::Left)];
    let members = [status().members, vec![zoned], gone.into()].concat();
    admin.view.publish(Status { members, ..status() });
    let groups = admin.json("/v1/cluster/prometheus-sd");
    let targets: Vec<&Value> =
        groups.as_array().unwrap().iter().map(|group| &group["targets"][0]).collect();
    assert_eq!(targets, ["anna:7381", "ben:7381", "carl:7381"]);
    assert_eq!(groups[0]["labels"]["node"], "anna");
    assert_eq!(groups[0]["labels"].get("zone"), None);
    assert_eq!(groups[2]["labels"]["zone"], "east");
    assert_eq!(groups[2]["labels"]["__meta_piccolo_state"], "suspect");
    assert_eq!(groups[2]["labels"]["__meta_piccolo_peer"], "carl:7380");
}

#[test]
fn a_key_is_located() {
    let admin = Admin::start(Limits::default());
    // Slots of Redis Cluster: "foo" 12182, "somekey" 11058, hashtags alike.
    let foo = admin.json("/v1/cluster/ring/locate?key=foo");
    assert_eq!(foo["slot"], 12182);
    assert_eq!((&foo["desired"], &foo["leader"]), (&"ben".into(), &"ben".into()));
    assert_eq!(foo["client"], "ben:7379");
    let tagged = admin.json("/v1/cluster/ring/locate?x=1&key=a%7Bfoo%7D%FF");
    assert_eq!(tagged["slot"], 12182);
    assert_eq!(tagged["key"], "a{foo}\u{fffd}");
    // The empty key is in slot 0, which nobody leads.
    let empty = admin.json("/v1/cluster/ring/locate?key=");
    assert_eq!((&empty["slot"], &empty["leader"]), (&0.into(), &Value::Null));
    for path in ["/v1/cluster/ring/locate", "/v1/cluster/ring/locate?key=%f"] {
        assert_eq!(admin.ask("GET", path).status, 400, "{path}");
    }
}

#[test]
fn a_node_that_is_not_ready_says_why() {
    let admin = Admin::start(Limits::default());
    let reason = "3 slots are on their way here";
    admin.view.publish(Status { ready: false, not_ready_because: Some(reason.into()), ..status() });
    let answer = admin.ask("GET", "/readyz");
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &problem["detail"]), (503, &reason.into()));
    assert_eq!(problem["title"], "Service Unavailable");
    assert_eq!(admin.ask("GET", "/livez").status, 200);
}

#[test]
fn leaving_is_handed_to_the_reactor_once() {
    let admin = Admin::start(Limits::default());
    assert_eq!(admin.ask("POST", "/v1/node/leave").status, 202);
    assert_eq!(admin.woken.load(Ordering::SeqCst), 1);
    assert_eq!(admin.requests.pop(), Some(AdminRequest::Leave));
    assert_eq!(admin.requests.pop(), None);
    admin.view.publish(Status { leaving: true, ..status() });
    assert_eq!(admin.ask("POST", "/v1/node/leave").status, 202);
    assert_eq!(admin.requests.pop(), None);
}

#[test]
fn leaving_is_refused_to_the_last_and_when_the_reactor_is_behind() {
    let admin = Admin::start(Limits::default());
    for _ in 0..requests::REQUESTS_MAX {
        assert_eq!(admin.ask("POST", "/v1/node/leave").status, 202);
    }
    assert_eq!(admin.ask("POST", "/v1/node/leave").status, 503);
    while admin.requests.pop().is_some() {}
    for other in [MemberState::Dead, MemberState::Suspect] {
        let members = vec![member("anna", MemberState::Alive), member("ben", other)];
        admin.view.publish(Status { members, ..status() });
        assert_eq!(admin.ask("POST", "/v1/node/leave").status, 409);
        assert_eq!(admin.requests.pop(), None);
    }
    admin.view.publish(Status { cluster: None, ..status() });
    let homeless = admin.ask("POST", "/v1/node/leave");
    let text = String::from_utf8_lossy(&homeless.body);
    assert!(homeless.status == 409 && text.contains("in no cluster yet"), "{text}");
}

#[test]
fn only_the_dead_are_removed() {
    let admin = Admin::start(Limits::default());
    let members = vec![
        member("anna", MemberState::Alive),
        member("a/b", MemberState::Dead),
        member("gone", MemberState::Left),
        member("slow", MemberState::Suspect),
    ];
    admin.view.publish(Status { members, ..status() });
    for (name, answer) in
        [("anna", 409), ("slow", 409), ("gone", 409), ("nobody", 404), ("%f", 404)]
    {
        let path = format!("/v1/cluster/members/{name}");
        assert_eq!(admin.ask("DELETE", &path).status, answer, "{name}");
        assert_eq!(admin.ask("GET", &path).status, 405, "{name}");
    }
    assert_eq!(admin.requests.pop(), None);
    for (name, why) in [("anna", "stop it and ask again"), ("slow", "is not dead yet, but suspect")]
    {
        let refused = admin.ask("DELETE", &format!("/v1/cluster/members/{name}")).body;
        let text = String::from_utf8_lossy(&refused);
        assert!(text.contains(why) && text.contains("up to some 20 s"), "{text}");
    }
    assert_eq!(admin.ask("DELETE", "/v1/cluster/members/a%2Fb").status, 202);
    assert_eq!(admin.requests.pop(), Some(AdminRequest::Remove("a/b".into())));
    let members = vec![member("ben", MemberState::Dead)];
    admin.view.publish(Status { members, majority: false, ..status() });
    let refused = admin.ask("DELETE", "/v1/cluster/members/ben");
    assert_eq!(refused.status, 409);
    assert!(String::from_utf8_lossy(&refused.body).contains("cut off"), "says why");
    assert_eq!(admin.requests.pop(), None);
    assert_eq!(admin.ask("DELETE", "/v1/cluster/members/ben?force=true").status, 202);
    assert_eq!(admin.requests.pop(), Some(AdminRequest::Remove("ben".into())));
}

#[test]
fn a_page_in_a_browser_cannot_make_a_node_leave_or_remove_one() {
    let admin = Admin::start(Limits::default());
    for request in ["POST /v1/node/leave", "DELETE /v1/cluster/members/ben"] {
        let mut stream = admin.connect();
        let head = "HTTP/1.1\r\nhost: x\r\norigin: http://evil.example\r\n\
                    content-length: 0\r\nconnection: close";
        stream.write_all(format!("{request} {head}\r\n\r\n").as_bytes()).unwrap();
        assert!(read_until_closed(&mut stream).starts_with("HTTP/1.1 403 "), "{request}");
        assert_eq!(admin.requests.pop(), None);
    }
}

#[test]
fn what_is_not_there_is_a_problem() {
    let admin = Admin::start(Limits::default());
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v1/cluster/", 404),
        ("POST", "/nowhere", 404),
        ("POST", "/livez", 405),
        ("DELETE", "/v1/cluster/members", 405),
        ("GET", "/v1/node/leave", 405),
    ] {
        let answer = admin.ask(method, path);
        assert_eq!(answer.status, status, "{method} {path}");
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(problem["status"], status, "{method} {path}");
    }
    let mut stream = admin.connect();
    stream.write_all(b"PUT /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let text = read_until_closed(&mut stream).to_lowercase();
    assert!(text.contains("\r\nallow: get, head\r\n"), "{text}");
    assert!(text.contains("\r\ncontent-type: application/problem+json\r\n"), "{text}");
}

#[test]
fn a_body_is_not_read() {
    let admin = Admin::start(Limits::default());
    for head in ["content-length: 1025", "transfer-encoding: chunked"] {
        let mut stream = admin.connect();
        let request = format!("POST /v1/node/leave HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        // It answers without a byte of the body, and closes, since it will not read it.
        assert!(read_until_closed(&mut stream).starts_with("HTTP/1.1 413 "), "{head}");
    }
    assert_eq!(admin.requests.pop(), None);
}

#[test]
fn an_oversized_head_is_refused() {
    let admin = Admin::start(Limits::default());
    let mut stream = admin.connect();
    let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {}", "y".repeat(1 << 20));
    // It may close before all of it is sent.
    stream.write_all(head.as_bytes()).unwrap_or_default();
    let text = read_until_closed(&mut stream);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431 "), "{text}");
    assert_eq!(admin.ask("GET", "/livez").status, 200);
}

#[test]
fn what_is_no_http_is_closed() {
    let admin = Admin::start(Limits::default());
    let mut stream = admin.connect();
    stream.write_all(b"*1\r\n$4\r\nPING\r\n\r\n").unwrap();
    assert!(read_until_closed(&mut stream).starts_with("HTTP/1.1 400 "));
}

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let admin = Admin::start(Limits { first_byte: SHORT, ..Limits::default() });
    assert_eq!(read_until_closed(&mut admin.connect()), "");
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    let admin = Admin::start(Limits { head: SHORT, ..Limits::default() });
    let mut stream = admin.connect();
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n").unwrap();
    // A byte now and then keeps it from being idle, but not from being cut off.
    let mut closed = false;
    for _ in 0..4000 {
        let sent = stream.write_all(b"x");
        let read = stream.read(&mut [0; 256]);
        let waits = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
        closed = sent.is_err() || !read.is_err_and(|error| waits(&error));
        if closed {
            break;
        }
    }
    assert!(closed, "still open after 20 seconds of dripping");
}

#[test]
fn a_connection_that_falls_silent_is_closed() {
    let admin = Admin::start(Limits { idle: SHORT, ..Limits::default() });
    let mut stream = admin.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let text = read_until_closed(&mut stream);
    assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("{\"live\":true}\n"), "{text}");
}

#[test]
fn connections_are_limited() {
    let admin = Admin::start(Limits { connections_max: 1, ..Limits::default() });
    let mut first = admin.connect();
    first.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert!(read_until_closed(&mut admin.connect()).starts_with("HTTP/1.1 503 "));
    drop(first);
    // Its seat is free as soon as the listener has seen it go.
    let answers = || {
        let mut stream = admin.connect();
        stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
        read_until_closed(&mut stream).starts_with("HTTP/1.0 200 ")
    };
    assert!((0..1000).any(|_| answers()));
}

#[test]
fn stopping_ends_idle_connections_and_the_listener() {
    let admin = Admin::start(Limits::default());
    let mut idle = admin.connect();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    let address = admin.address;
    admin.handle.stop();
    assert!(read_until_closed(&mut idle).ends_with("{\"live\":true}\n"));
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
