//! The program against a real `redis-server` (Debian package `redis-server`).

#![expect(clippy::unwrap_used, reason = "this is a test all through, its helpers included")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A server on a free port of loopback that keeps nothing on disk and ends with its test.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir", env!("CARGO_TARGET_TMPDIR")]);
        command.args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("redis-server is installed");
        // It says so when it listens; from then on nobody needs to read.
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = said.map_while(Result::ok).find(|line| line.contains("Ready to accept"));
        assert!(ready.is_some(), "redis-server did not start");
        Self { process, port }
    }

    fn url(&self) -> String {
        format!("resp://127.0.0.1:{}", self.port)
    }

    fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// Sends one inline command; what comes back until the server closes.
    fn call(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Asks until it is so. Each look costs a connection, so that many of them are many seconds.
#[track_caller]
fn until(mut condition: impl FnMut() -> bool) {
    assert!((0..LOOKS_MAX).any(|_| condition()), "it did not come to be");
}

/// Looks at a condition at most.
const LOOKS_MAX: usize = 100_000;

fn loadgen(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(words).env_remove("LOADGEN_PASSWORD").stdin(Stdio::null()).output().unwrap()
}

fn code(out: &Output) -> i32 {
    out.status.code().unwrap()
}

/// Runs it well, and reads its JSON.
#[track_caller]
fn json(words: &[&str]) -> Value {
    let out = loadgen(&[words, &["--format", "json"]].concat());
    assert_eq!(code(&out), 0, "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn load_writes_every_key_once_and_run_finds_them_all() {
    let server = Server::start(&[]);
    let keys = ["--keys", "1003", "--key-size", "20", "-c", "5"];
    let load = ["load", &server.url(), "-t", "3", "-P", "7", "--value-size", "10..20"];
    assert_eq!(json(&[&load[..], &keys].concat())["operations"], 1003);
    assert_eq!(server.call("DBSIZE"), ":1003\r\n+OK\r\n");
    for dist in ["uniform", "zipf:0.99", "seq"] {
        let run = ["run", &server.url(), "--requests", "5000", "--ratio", "get=1", "--dist", dist];
        let report = json(&[&run[..], &keys].concat());
        assert_eq!((&report["operations"], &report["misses"]), (&5000.into(), &0.into()), "{dist}");
        assert_eq!(report["errors"]["total"], 0);
        assert_eq!(report["model"], "closed");
    }
}

#[test]
fn every_operation_and_the_cpu_of_the_server_are_told() {
    let server = Server::start(&[]);
    let ratio = ["--ratio", "get=2,set=2,incr=1,del=1", "--ttl", "100"];
    let more = ["--requests", "20k", "-P", "8", "--keys", "100", "--pid", &server.pid()];
    let report = json(&[&["run", &server.url()], &ratio[..], &more[..]].concat());
    assert_eq!((&report["operations"], &report["errors"]["total"]), (&20_000.into(), &0.into()));
    let rows = report["by_operation"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["operation"].as_str().unwrap()).collect();
    assert_eq!(names, ["get", "set", "incr", "del"]);
    let count: u64 = rows.iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!(count, 20_000);
    for row in rows {
        let at = |name: &str| row["latency_us"][name].as_u64().unwrap();
        assert!(at("p50") >= 1 && at("p50") <= at("p99") && at("p99") <= at("max"), "{row}");
    }
    assert!(report["own_cpu_us_per_operation"].as_f64().unwrap() > 0.0);
    assert!(report["server_cpu_us_per_operation"].is_number());
}

#[test]
fn open_loop_sends_at_its_rate_and_counts_from_the_schedule() {
    let server = Server::start(&[]);
    let words = ["run", &server.url(), "--rate", "2000", "--duration", "1s", "-t", "2"];
    let report = json(&[&words[..], &["--warmup", "100ms"]].concat());
    assert_eq!((&report["model"], &report["operations"]), (&"open".into(), &2000.into()));
    for row in report["by_operation"].as_array().unwrap() {
        let mean = |name: &str| row[name]["mean"].as_f64().unwrap();
        assert!(mean("latency_us") >= mean("service_us"), "{row}");
    }
}

#[test]
fn a_server_that_stops_is_seen_in_the_latency_of_an_open_loop() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut run = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    run.args(["run", &server.url(), "--rate", "1000", "--duration", "3s", "--format", "json"]);
    let run = run.stdout(Stdio::piped()).spawn().unwrap();
    // The connections are there: the run has begun. Then the server sleeps for a second.
    until(|| server.call("INFO clients").contains("connected_clients:51"));
    server.call("DEBUG SLEEP 1");
    let report: Value = serde_json::from_slice(&run.wait_with_output().unwrap().stdout).unwrap();
    let row = &report["by_operation"][0];
    let at = |name: &str, part: &str| row[name][part].as_u64().unwrap();
    // A third of the sends fell into the second; a closed loop would show 50 slow ones.
    assert!(at("latency_us", "p90") > 300_000, "{row}");
    assert!(at("latency_us", "max") > 900_000, "{row}");
    assert_eq!(report["operations"], 3000);
}

#[test]
fn passwords_are_given_and_wrong_ones_are_told() {
    let server = Server::start(&["--requirepass", "secret"]);
    let run = ["run", &server.url(), "--requests", "100", "--password"];
    assert_eq!(json(&[&run[..], &["secret"]].concat())["operations"], 100);
    let out = loadgen(&[&run[..], &["wrong"]].concat());
    assert_eq!(code(&out), 1);
    assert!(String::from_utf8_lossy(&out.stderr).contains("WRONGPASS"));
}

/// Two nodes that share the slots.
fn cluster() -> [Server; 2] {
    let config = |name: &str| format!("nodes-{}-{name}.conf", std::process::id());
    let start = |name| {
        let config = config(name);
        let server = Server::start(&["--cluster-enabled", "yes", "--cluster-config-file", &config]);
        std::fs::remove_file(format!("{}/{config}", env!("CARGO_TARGET_TMPDIR"))).unwrap();
        server
    };
    let nodes = [start("a"), start("b")];
    for (node, range, epoch) in [(&nodes[0], "0 8191", 1), (&nodes[1], "8192 16383", 2)] {
        assert!(node.call(&format!("CLUSTER SET-CONFIG-EPOCH {epoch}")).starts_with("+OK"));
        assert!(node.call(&format!("CLUSTER ADDSLOTSRANGE {range}")).starts_with("+OK"));
    }
    nodes[0].call(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[1].port));
    let whole = |node: &Server| node.call("CLUSTER INFO").contains("cluster_state:ok");
    until(|| nodes.iter().all(whole));
    nodes
}

#[test]
fn a_cluster_is_asked_where_each_key_lies_and_moves_are_followed() {
    let [a, b] = cluster();
    let url = a.url().replace("resp", "resp+cluster");
    assert_eq!(json(&["load", &url, "--keys", "2k", "-c", "4"])["errors"]["total"], 0);
    let keys = |node: &Server| node.call("DBSIZE")[1..].split('\r').next().unwrap().to_owned();
    let count = |node| keys(node).parse::<u64>().unwrap();
    assert!(count(&a) > 500 && count(&a) + count(&b) == 2000);
    let words = ["verify", &url, "--duration", "1s", "-c", "4", "--keys", "100"];
    let report = json(&words);
    let clean = (&report["errors"], &report["moved"], &report["cut"]);
    assert_eq!(clean, (&0.into(), &0.into(), &0.into()), "{report}");

    for node in [&a, &b] {
        node.call("FLUSHALL");
    }
    let mut run = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    run.args(["run", &url, "--ratio", "get=1", "--duration", "3s", "-c", "4", "--format", "json"]);
    let run = run.stdout(Stdio::piped()).spawn().unwrap();
    // Both have the connections of the four clients, our own, and no other.
    let all_in = |node: &&Server| node.call("INFO clients").contains("connected_clients:5");
    until(|| [&a, &b].iter().all(all_in));
    let id = b.call("CLUSTER MYID").lines().nth(1).unwrap().to_owned();
    for slot in 0..400 {
        let move_to_b = format!("CLUSTER SETSLOT {slot} NODE {id}");
        assert!(b.call(&move_to_b).starts_with("+OK") && a.call(&move_to_b).starts_with("+OK"));
    }
    let report: Value = serde_json::from_slice(&run.wait_with_output().unwrap().stdout).unwrap();
    assert!(report["moved"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["errors"]["total"], 0, "{report}");
}

#[test]
fn verify_finds_nothing_in_an_honest_server() {
    let server = Server::start(&[]);
    let words = ["verify", &server.url(), &server.url(), "--duration", "1s", "--keys", "50"];
    let report = json(&[&words[..], &["-c", "6", "-P", "4", "-t", "2"]].concat());
    for count in ["lost", "stale", "corrupt", "errors", "unknown", "unread"] {
        assert_eq!(report[count], 0, "{report}");
    }
    assert!(report["acknowledged"].as_u64().unwrap() > 100, "{report}");
    assert!(report["read_back"].as_u64().unwrap() >= 50, "{report}");
}

#[test]
fn verify_finds_a_key_that_was_deleted_or_rolled_back_or_spoilt() {
    for (plant, found) in [("DEL {key}", "lost"), ("back", "lost"), ("SET {key} x", "corrupt")] {
        let server = Server::start(&[]);
        let mut verify = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        verify.args(["verify", &server.url(), "--duration", "5s", "--format", "json"]);
        // Hundreds of keys: what is planted in each stands until its writer comes by again.
        verify.args(["--keys", "500", "-c", "4", "-P", "4"]);
        let verify = verify.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        until(|| server.call("DBSIZE").starts_with(":500\r\n"));
        let keys = server.call("KEYS verify:*");
        let keys: Vec<&str> =
            keys.lines().filter(|line| line.starts_with("verify:")).take(50).collect();
        let old: Vec<String> = keys.iter().map(|key| value(&server, key)).collect();
        // Old values are no longer the last ones once every key has had more writes.
        let newer = |(key, old): (&&str, &String)| number(&value(&server, key)) > number(old) + 1;
        until(|| plant != "back" || keys.iter().zip(&old).all(newer));
        for (key, old) in keys.iter().zip(&old) {
            let back = format!("SET {key} {old}");
            server.call(&if plant == "back" { back } else { plant.replace("{key}", key) });
        }
        let out = verify.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(code(&out), 4, "{plant}: {report}");
        assert!(report[found].as_u64().unwrap() > 0, "{plant}: {report}");
        assert!(!report["faults"].as_array().unwrap().is_empty());
    }
}

/// The value of a key, as one line.
fn value(server: &Server, key: &str) -> String {
    server.call(&format!("GET {key}")).lines().nth(1).unwrap_or_default().to_owned()
}

/// The number of the write in a value of verify.
fn number(value: &str) -> u64 {
    u64::from_str_radix(value.split(':').nth(3).unwrap(), 16).unwrap()
}

#[test]
fn verify_goes_on_elsewhere_when_connections_are_cut() {
    let server = Server::start(&[]);
    let mut verify = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    verify.args(["verify", &server.url(), &server.url(), "--duration", "2s", "--format", "json"]);
    let verify = verify.args(["-c", "5"]).stdout(Stdio::piped()).spawn().unwrap();
    until(|| server.call("INFO clients").contains("connected_clients:6"));
    server.call("CLIENT KILL TYPE normal SKIPME yes");
    let out = verify.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(code(&out), 0, "{report}");
    let ended = report["cut"].as_u64().unwrap() + report["closed"].as_u64().unwrap();
    assert!(ended >= 5, "{report}");
    assert!(report["unknown"].as_u64().unwrap() <= 5 && report["errors"] == 0, "{report}");
}

#[test]
fn compare_prints_medians_and_ratios() {
    let server = Server::start(&[]);
    let (one, two) = (format!("one={}", server.url()), format!("two={}", server.url()));
    let pid = format!("two={}", server.pid());
    let words = ["compare", "--target", &one, "--target", &two, "--pid", &pid, "--repeat", "3"];
    let report = json(&[&words[..], &["--interleave", "--requests", "2000"]].concat());
    let rows = report["targets"].as_array().unwrap();
    assert_eq!((rows.len(), rows[1]["runs"].as_array().unwrap().len()), (2, 3));
    let figure = &rows[0]["figures"][0];
    assert_eq!(
        (&figure["name"], &figure["ratio"]["median"]),
        (&"operations/s".into(), &1.0.into())
    );
}

#[test]
fn a_wrong_command_line_is_told_in_one_line_that_says_what_to_do() {
    for (words, wanted) in [
        (&["run", "redis://h:1"][..], "resp://HOST:PORT"),
        (&["run", "resp://h:1", "--ratio", "put=1"], "get=9,set=1"),
        (&["run", "resp://127.0.0.1:1", "--key-size", "4"], "--key-size"),
        (&["run", "resp://127.0.0.1:1", "-t", "9", "-c", "2"], "-c"),
        (&["run", "resp://127.0.0.1:1", "--pid", "4294967295"], "4294967295"),
        (&["run", "http://127.0.0.1:1", "--ratio", "incr=1"], "--ratio"),
        (&["verify", "resp://h:1", "http://h:1"], "one protocol"),
        (&["compare", "--target", "a=resp://h:1", "--pid", "b=1"], "--pid names"),
    ] {
        let out = loadgen(words);
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(code(&out), 2, "{words:?}: {told}");
        assert!(told.contains(wanted) && told.lines().count() == 1, "{words:?}: {told}");
    }
}

#[test]
fn a_target_that_is_not_there_ends_with_one() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for kind in ["resp", "resp+cluster", "http"] {
        let out = loadgen(&["run", &format!("{kind}://127.0.0.1:{free}")]);
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(code(&out), 1, "{kind}: {told}");
        assert!(told.contains("running there?") && told.lines().count() == 1, "{kind}: {told}");
    }
    let server = Server::start(&[]);
    let out = loadgen(&["run", &server.url().replace("resp", "resp+cluster")]);
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(code(&out) == 1 && told.contains("use resp://"), "{told}");
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let out = loadgen(&["completions", shell]);
        assert!(code(&out) == 0 && String::from_utf8_lossy(&out.stdout).contains("verify"));
    }
}
