//! What clients are told when a node does what real nodes do rarely, by the real program.

#![expect(clippy::unwrap_used, reason = "this is a test all through, its helpers included")]

mod fake;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A running cerializer, which ends with its test.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(node: SocketAddr, flags: &[&str]) -> Self {
        // The port is free now, and nobody else asks for ports by number here.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cerializer"));
        command.args(["--listen", &address.to_string(), "--nodes", &node.to_string()]);
        let mut child = command.args(flags).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
        }
        // Nobody reads the rest, but somebody has to take it.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let running = Self { child, address };
        // Until it knows who leads what, everything shares one connection.
        until("ready", || running.ask("GET", "/readyz", "", b"").0 == 200);
        running
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Status, head and body of one request on a connection of its own.
    fn ask(&self, method: &str, key: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        let length = body.len();
        let head = format!(
            "{method} {key} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The answer may come before the body is through.
        drop(stream.write_all(body));
        answer(&mut stream)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn answer(stream: &mut TcpStream) -> (u16, String, Vec<u8>) {
    let mut all = Vec::new();
    drop(stream.read_to_end(&mut all));
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let body = all.split_off(end + 4);
    let head = String::from_utf8(all).unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body)
}

/// Looks at a condition at most.
const LOOKS_MAX: usize = 100_000;

/// Asks until it is so. Each look costs a connection, so that many of them are many seconds.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    assert!((0..LOOKS_MAX).any(|_| condition()), "it did not come to be: {what}");
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[test]
fn a_write_without_an_answer_is_unknown_and_a_read_is_not() {
    let running = Running::start(fake::start(), &["--node-timeout", "6"]);
    let put = |key: &str, bytes: usize| {
        let (status, _, body) =
            running.ask("PUT", &format!("/v1/kv/{key}"), "", &vec![b'x'; bytes]);
        assert_eq!(status, 504, "{key}");
        assert!(text(&body).contains("\"outcome\":\"unknown\""), "{key}: {}", text(&body));
    };
    for key in [fake::CLOSES, fake::UNKNOWN] {
        put(key, 1);
        put(key, 100_000);
    }
    // At once, since each takes as long as a node may.
    thread::scope(|scope| {
        scope.spawn(|| put(fake::SILENT, 1));
        scope.spawn(|| put(fake::SILENT, 100_000));
        let (status, _, body) = running.ask("GET", &format!("/v1/kv/{}", fake::SILENT), "", b"");
        assert_eq!(status, 504);
        assert!(!text(&body).contains("outcome"), "{}", text(&body));
    });
    // Other requests go on afterwards.
    assert_eq!(running.ask("PUT", "/v1/kv/after", "", b"x").0, 201);
}

/// A request that no node answers, and one for another key beside it once `meanwhile` holds.
#[track_caller]
fn beside(running: &Running, silent: &str, meanwhile: &str) {
    thread::scope(|scope| {
        let waits = scope.spawn(|| running.ask("GET", &format!("/v1/kv/{silent}"), "", b"").0);
        until(meanwhile, || text(&running.ask("GET", "/metrics", "", b"").2).contains(meanwhile));
        let (status, _, body) = running.ask("PUT", "/v1/kv/other", "", b"x");
        assert_eq!(status, 201, "{}", text(&body));
        assert!(!waits.is_finished(), "it waited as long as the other one");
        assert_eq!(waits.join().unwrap(), 504);
    });
}

#[test]
fn a_slot_that_is_not_served_holds_up_nobody_else() {
    let running = Running::start(fake::start(), &["--node-timeout", "6"]);
    assert_eq!(running.ask("GET", &format!("/v1/kv/{}", fake::HELD), "", b"").0, 503);
    // The one that waits, and the question itself.
    beside(&running, fake::HELD, "cerializer_inflight_requests 2\n");
}

#[test]
fn what_is_asked_behind_an_unanswered_request_goes_over_a_new_connection() {
    let running = Running::start(fake::start(), &["--node-timeout", "6"]);
    beside(&running, fake::SILENT, "cerializer_upstream_connections 2\n");
}

#[test]
fn what_a_node_refuses_has_its_own_status() {
    let running = Running::start(fake::start(), &[]);
    for (key, status) in [(fake::FULL, 507), (fake::HOMELESS, 503)] {
        for bytes in [1, 100_000] {
            let path = format!("/v1/kv/{key}");
            let (found, head, body) = running.ask("PUT", &path, "", &vec![b'x'; bytes]);
            assert_eq!(found, status, "{}", text(&body));
            assert_eq!(head.contains("\r\nretry-after: "), status == 503);
        }
    }
}

#[test]
fn a_body_that_stops_half_way_is_told_so_and_nothing_is_stored() {
    let running = Running::start(fake::start(), &["--body-timeout", "1"]);
    for length in [10, 100_000] {
        let mut stream = running.connect();
        let head = format!(
            "PUT /v1/kv/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nfive."
        );
        stream.write_all(head.as_bytes()).unwrap();
        let (status, _, body) = answer(&mut stream);
        assert_eq!(status, 408, "{}", text(&body));
    }
    assert_eq!(running.ask("GET", "/v1/kv/half", "", b"").0, 404);
}

#[test]
fn a_value_that_stops_half_way_is_cut_off_after_the_time_of_bodies() {
    let running = Running::start(fake::start(), &["--body-timeout", "1", "--idle-timeout", "3600"]);
    let mut stream = running.connect();
    let head = format!("GET /v1/kv/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", fake::STALLS);
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = Vec::new();
    // Else the time of this test's own reads is over first.
    let ended = stream.read_to_end(&mut all);
    assert!(ended.is_ok() && all.len() > 50_000, "{ended:?}, {} bytes", all.len());
    assert!(text(&all).contains("content-length: 100000\r\n"));
}

#[test]
fn a_page_of_long_keys_is_short() {
    let running = Running::start(fake::start(), &[]);
    for at in 0..60 {
        let key = format!("/v1/kv/{at}{}", "k".repeat(20_000));
        assert_eq!(running.ask("PUT", &key, "", b"x").0, 201);
    }
    let (mut cursor, mut found) = ("0".to_owned(), 0);
    while cursor != "null" {
        let (_, _, body) =
            running.ask("GET", &format!("/v1/keys?limit=1000&cursor={cursor}"), "", b"");
        assert!(body.len() < 600_000, "{} bytes", body.len());
        let page = text(&body);
        found += page.matches("kkk\"").count();
        cursor =
            page.split("\"cursor\":").nth(1).unwrap().trim_matches(['"', '}', '\n']).to_owned();
    }
    assert_eq!(found, 60);
}

#[test]
fn an_answer_without_its_body_says_how_the_whole_one_is_kept() {
    let running = Running::start(fake::start(), &[]);
    let (_, head, _) = running.ask("PUT", "/v1/kv/k", "", b"x");
    let tag = head.split("\r\netag: ").nth(1).unwrap()[..18].to_owned();
    for (accept, kept) in [("*/*", "no-cache"), ("application/json", "no-store")] {
        let headers = format!("If-None-Match: {tag}\r\nAccept: {accept}\r\n");
        let (status, head, _) = running.ask("GET", "/v1/kv/k", &headers, b"");
        assert_eq!(status, 304);
        assert!(head.contains("\r\nvary: accept\r\n"), "{head}");
        assert!(head.contains(&format!("\r\ncache-control: {kept}\r\n")), "{head}");
    }
}

#[test]
fn silent_connections_are_closed() {
    let flags = ["--first-byte-timeout", "1", "--head-timeout", "1", "--idle-timeout", "1"];
    let running = Running::start(fake::start(), &flags);
    for sent in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = running.connect();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap_or_else(|error| panic!("{sent:?}: {error}"));
        assert_eq!(text(&all).contains("200 OK"), sent.ends_with("\r\n\r\n"), "{sent:?}");
    }
}

#[test]
fn too_many_connections_are_refused() {
    let running = Running::start(fake::start(), &["--connections-max", "1"]);
    let mut first = running.connect();
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    first.read_exact(&mut [0; 15]).unwrap();
    let mut second = running.connect();
    assert_eq!(answer(&mut second).0, 503);
}

#[test]
fn a_door_without_a_token_answers_no_page_of_another_name() {
    let running = Running::start(fake::start(), &[]);
    let mut stream = running.connect();
    stream
        .write_all(b"GET /v1/kv/x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(answer(&mut stream).0, 403);
}

#[test]
fn values_of_every_length_come_back_as_they_were() {
    let running = Running::start(fake::start(), &[]);
    for bytes in [0, 1, 65_536, 65_537, 1 << 20, 5_000_000] {
        let value: Vec<u8> = (0..bytes).map(|at: usize| (at * 31 % 251) as u8).collect();
        let (status, head, _) =
            running.ask("PUT", "/v1/kv/long", "Content-Type: image/x\r\n", &value);
        assert!(status == 201 || status == 204, "{bytes}: {status}");
        let (status, got, body) = running.ask("GET", "/v1/kv/long", "", b"");
        assert_eq!((status, body.len()), (200, bytes));
        assert!(body == value, "{bytes} bytes came back changed");
        assert!(got.contains("\r\ncontent-type: image/x\r\n"), "{got}");
        let tag = |head: &str| head.split("\r\netag: ").nth(1).unwrap()[..18].to_owned();
        assert_eq!(tag(&head), tag(&got));
    }
    let (status, _, body) = running.ask("GET", "/v1/kv/long", "Accept: application/json\r\n", b"");
    assert_eq!(status, 406, "{}", text(&body));
}
