//! Keys over HTTP: `cerializer` in front of real nodes, spoken to by curl.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::process::{MARK, cerializer, run, run_well};
use crate::harness::{Cluster, Process, Reply, ports, until};

/// How long a small thing may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Memory that a body of 10 MiB may cost.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

const BODY_BYTES: usize = 10 << 20;

/// A running cerializer.
struct Front {
    address: SocketAddr,
    folder: PathBuf,
    process: Process,
}

impl Front {
    /// In front of the nodes of `cluster` that run, and ready.
    #[track_caller]
    fn start(cluster: &Cluster, flags: &[&str]) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let nodes: Vec<String> = cluster.live().map(|node| node.client.to_string()).collect();
        let mut command = Command::new(cerializer());
        command.args(["--listen", &address.to_string(), "--nodes", &nodes.join(",")]);
        command.args(flags).env(MARK, &cluster.folder);
        let process = Process::start("cerializer", command, &cluster.folder);
        let front = Self { address, folder: cluster.folder.clone(), process };
        until(LIMIT, "cerializer is ready", || match front.status(&["/readyz"]) {
            200 => Ok(()),
            status => Err(format!("/readyz says {status}")),
        });
        front
    }

    /// `curl`, whose first argument is a path.
    fn curl(&self, args: &[&str]) -> Command {
        let (path, flags) = args.split_first().expect("a path");
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "120"]).args(flags);
        command.arg(format!("http://{}{path}", self.address));
        command
    }

    /// What curl prints.
    #[track_caller]
    fn get(&self, args: &[&str]) -> String {
        run_well(&mut self.curl(args))
    }

    /// The status alone; 0 if nobody answers.
    fn status(&self, args: &[&str]) -> u16 {
        let mut command = self.curl(args);
        command.args(["--output", "/dev/null", "--write-out", "%{http_code}"]);
        let (_, text) = run(&mut command);
        text.get(..3).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// A header of an answer.
    #[track_caller]
    fn header(&self, name: &str, args: &[&str]) -> Option<String> {
        let mut command = self.curl(args);
        let text = run_well(command.args(["--output", "/dev/null", "--dump-header", "-"]));
        let prefix = format!("{name}: ");
        text.lines()
            .find_map(|line| line.strip_prefix(&prefix).map(|value| value.trim().to_owned()))
    }

    /// A file of 10 MiB in which no two places look alike.
    fn body(&self) -> PathBuf {
        let path = self.folder.join("body");
        let bytes: Vec<u8> = (0..BODY_BYTES as u32 / 4).flat_map(u32::to_be_bytes).collect();
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// Every example of the guide prints what the guide says.
#[test]
fn the_guide_says_what_happens() {
    let cluster = Cluster::start("rest-guide", 1, &[]);
    let front = Front::start(&cluster, &[]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/rest.md");
    let page = fs::read_to_string(page).unwrap();
    let page = page.replace("127.0.0.1:8080", &front.address.to_string());
    let mut examples = 0;
    for block in page.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let lines = |told: bool| block.lines().filter(move |line| line.starts_with("# ->") == told);
        let script: Vec<&str> = lines(false).collect();
        let wanted: Vec<&str> = lines(true).map(|line| line[4..].trim()).collect();
        let said = run_well(Command::new("sh").args(["-c", &script.join("\n")]));
        assert_eq!(said.trim(), wanted.join("\n"), "{}", script.join("\n"));
        examples += 1;
    }
    assert!(examples > 10, "{examples} examples");
}

#[test]
fn conditions_and_times_to_live_hold_beside_redis_clients() {
    let cluster = Cluster::start("rest-conditions", 1, &[]);
    let front = Front::start(&cluster, &[]);
    let mut redis = cluster.nodes[0].connect();
    let put = |args: &[&str]| front.status(&[&["/v1/kv/k", "-X", "PUT", "-d", "v"], args].concat());
    assert_eq!(put(&["-H", "If-Match: *"]), 412);
    assert_eq!(put(&["-H", "If-None-Match: *"]), 201);
    let tag = front.header("etag", &["/v1/kv/k"]).unwrap();
    // Somebody else writes: the version is another one.
    assert_eq!(redis.call(&["SET", "k", "theirs"]), Reply::ok());
    assert_eq!(put(&["-H", &format!("If-Match: {tag}")]), 412);
    assert_eq!(front.get(&["/v1/kv/k"]), "theirs");
    let tag = front.header("etag", &["/v1/kv/k"]).unwrap();
    assert_eq!(front.status(&["/v1/kv/k", "-H", &format!("If-None-Match: {tag}")]), 304);
    let both = format!("If-Match: \"0000000000000001\", {tag}");
    assert_eq!(put(&["-H", &both]), 204);
    assert_eq!(put(&["-H", &format!("If-None-Match: {tag}")]), 204);
    assert_eq!(front.status(&["/v1/kv/k", "-X", "DELETE", "-H", &both]), 412);
    assert_eq!(redis.call(&["GET", "k"]), Reply::bulk(b"v"));

    assert_eq!(front.status(&["/v1/kv/brief?ttl=1h", "-X", "PUT", "-d", "v"]), 201);
    assert_eq!(redis.call(&["PEXPIRE", "brief", "200"]), Reply::Integer(1));
    until(LIMIT, "the key has expired", || match front.status(&["/v1/kv/brief"]) {
        404 => Ok(()),
        status => Err(format!("{status}")),
    });
}

#[test]
fn wrong_requests_are_told_so() {
    let cluster = Cluster::start("rest-wrong", 1, &[]);
    let front = Front::start(&cluster, &["--token", "secret", "--body-bytes-max", "1m"]);
    let token = ["-H", "Authorization: Bearer secret"];
    let status = |args: &[&str]| front.status(&[args, &token].concat());
    assert_eq!(front.status(&["/v1/kv/k"]), 401);
    assert_eq!(front.status(&["/v1/kv/k", "-H", "Authorization: Bearer secre"]), 401);
    assert_eq!(front.header("www-authenticate", &["/v1/kv/k"]).as_deref(), Some("Bearer"));
    assert_eq!(front.status(&["/livez"]), 200);
    for (path, wanted) in [
        ("/v1/kv/%zz", 400),
        ("/v1/kv/", 400),
        ("/v1/kv/k?x=1", 400),
        ("/v1/keys?limit=0", 400),
        ("/v1/keys?cursor=x", 400),
        ("/v2", 404),
        ("/v1/kv/none", 404),
    ] {
        assert_eq!(status(&[path]), wanted, "{path}");
    }
    assert_eq!(status(&["/v1/kv/k?ttl=soon", "-X", "PUT", "-d", "v"]), 400);
    assert_eq!(status(&["/v1/kv/k", "-X", "PATCH", "-d", "v"]), 405);
    let allowed = front.header("allow", &["/v1/kv/k", "-X", "POST", token[0], token[1]]);
    assert_eq!(allowed.as_deref(), Some("GET, HEAD, PUT, DELETE"));
    let body = front.body();
    assert_eq!(status(&["/v1/kv/k", "-T", body.to_str().unwrap()]), 413);
    let chunked = ["-H", "Transfer-Encoding: chunked", "-T", body.to_str().unwrap()];
    assert_eq!(status(&[&["/v1/kv/k"][..], &chunked].concat()), 411);
    assert_eq!(status(&["/v1/kv/k"]), 404);
}

#[test]
fn a_long_body_passes_in_pieces_and_holds_up_nobody() {
    let cluster = Cluster::start("rest-long", 2, &[]);
    let front = Front::start(&cluster, &[]);
    let body = front.body();
    let copy = front.folder.join("copy");
    let copy_name = copy.to_str().unwrap();
    // Names for several slots, so that some of these pass from node to node.
    for name in ["one", "two", "three"] {
        let path = format!("/v1/kv/{name}");
        assert_eq!(front.status(&[&path, "-T", body.to_str().unwrap()]), 201);
        front.get(&[&path, "-o", copy_name]);
        assert!(fs::read(&copy).unwrap() == fs::read(&body).unwrap(), "{name} came back changed");
    }
    // A slow reader takes 10 s or more, and small requests go on meanwhile.
    let slow = ["/v1/kv/one", "--limit-rate", "1M", "-o", copy_name];
    let mut slow = Ended(front.curl(&slow).stdout(Stdio::null()).spawn().unwrap());
    for at in 0..20 {
        assert_eq!(front.status(&[&format!("/v1/kv/small{at}"), "-X", "PUT", "-d", "v"]), 201);
    }
    assert!(slow.0.try_wait().unwrap().is_none(), "the slow reader is through already");
    drop(slow);
    let peak = front.process.resident_bytes_peak();
    assert!(peak < MEMORY_BYTES_MAX, "it took {} MiB", peak >> 20);
}

#[test]
fn without_nodes_it_says_so_and_comes_back() {
    let mut cluster = Cluster::start("rest-gone", 1, &[]);
    let front = Front::start(&cluster, &[]);
    assert_eq!(front.status(&["/v1/kv/k", "-X", "PUT", "-d", "v"]), 201);
    cluster.nodes[0].kill();
    assert_eq!(front.status(&["/v1/kv/k"]), 503);
    assert_eq!(front.header("retry-after", &["/v1/kv/k"]).as_deref(), Some("1"));
    assert_eq!(front.status(&["/v1/kv/k", "-X", "PUT", "-d", "v"]), 503);
    until(LIMIT, "it is not ready", || match front.status(&["/readyz"]) {
        503 => Ok(()),
        status => Err(format!("{status}")),
    });
    assert_eq!(front.status(&["/livez"]), 200);
    cluster.nodes[0].start();
    until(LIMIT, "keys are served again", || match front.status(&["/v1/kv/k"]) {
        404 => Ok(()),
        status => Err(format!("{status}")),
    });
}

#[test]
fn stopping_ends_what_is_in_flight_first() {
    let cluster = Cluster::start("rest-drain", 1, &[]);
    let mut front = Front::start(&cluster, &[]);
    let body = front.body();
    let slow = ["/v1/kv/k", "--limit-rate", "4M", "-T", body.to_str().unwrap()];
    let mut slow = front.curl(&slow);
    slow.args(["--write-out", "%{http_code}"]).stdout(Stdio::piped());
    let slow = slow.spawn().unwrap();
    until(LIMIT, "the body is under way", || {
        let metrics = front.get(&["/metrics"]);
        // Itself and the body.
        let found = metrics.contains("cerializer_inflight_requests 2");
        if found { Ok(()) } else { Err("only this request".to_owned()) }
    });
    front.process.signal("TERM");
    until(LIMIT, "nobody is let in any more", || match front.status(&["/livez"]) {
        0 => Ok(()),
        status => Err(format!("{status}")),
    });
    let out = slow.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "201");
    assert!(front.process.wait(LIMIT).success());
    assert_eq!(cluster.nodes[0].connect().call(&["STRLEN", "k"]), Reply::Integer(10 << 20));
}

/// A child that is ended with its case.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
