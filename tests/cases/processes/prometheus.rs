//! Prometheus itself finds and scrapes a cluster, configured by the file that we ship.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::process::run_well;
use crate::harness::{Admin, Cluster, Process, ports, until};

/// How long a target may take to be found and scraped: a few intervals of a second each.
const SCRAPE_LIMIT: Duration = Duration::from_mins(1);

/// The admin addresses that the file we ship names.
const SHIPPED: [&str; 3] = ["127.0.0.1:7381", "127.0.0.1:7391", "127.0.0.1:7401"];

#[test]
fn prometheus_finds_every_node_by_itself_and_what_it_scrapes_is_clean() {
    let mut cluster = Cluster::start("prometheus", 3, &[]);
    let mut client = cluster.nodes[0].connect();
    client.call(&["SET", "k", "v"]);
    client.call(&["GET", "k"]);

    let prometheus = Prometheus::start(&cluster);
    let (query, field) = ("up{job=\"piccolo\"}", "instance");
    assert_eq!(prometheus.until_up(query, field, 3), names("a b c"));
    let calls = "piccolo_commands_total{command=\"set\",result=\"ok\",node=\"a\"}";
    assert_eq!(prometheus.until_up(calls, "node", 1), names("a"));

    let joined = cluster.add(&[]);
    assert_eq!(prometheus.until_up(query, field, 4), names("a b c d"));
    let targets = prometheus.json("/api/v1/targets?state=active");
    let addresses = strings(&targets["data"]["activeTargets"], "scrapeUrl", |target| {
        target["labels"]["job"] == "piccolo" && target["health"] == "up"
    });
    let metrics = |node: &crate::harness::Node| format!("http://{}/metrics", node.admin.0);
    assert_eq!(addresses, cluster.nodes.iter().map(metrics).collect());

    cluster.nodes[joined].stop();
    assert_eq!(prometheus.until_up(query, field, 3), names("a b c"));

    let (status, text) = cluster.nodes[0].admin.get("/metrics").unwrap();
    assert_eq!(status, 200, "{text}");
    assert_eq!(promtool_says_of(&text, &cluster.folder), "");
}

#[test]
fn the_file_for_prometheus_is_valid() {
    run_well(Command::new("promtool").args(["check", "config"]).arg(shipped()));
}

fn names(text: &str) -> BTreeSet<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The configuration that we ship.
fn shipped() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    root.join("deploy/prometheus/prometheus.yml")
}

/// What `promtool check metrics` has to say, warnings included.
#[track_caller]
fn promtool_says_of(metrics: &str, folder: &Path) -> String {
    let path = folder.join("metrics.txt");
    fs::write(&path, metrics).expect("write the metrics");
    let input = Stdio::from(fs::File::open(&path).expect("open the metrics"));
    let out = Command::new("promtool").args(["check", "metrics"]).stdin(input).output();
    let out = out.expect("run promtool");
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(out.status.success(), "{}: {said}", out.status);
    said
}

/// Values of `field` of those in a list that are meant.
#[track_caller]
fn strings(list: &Value, field: &str, meant: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    let meant = list.iter().filter(|value| meant(value));
    meant.map(|value| value[field].as_str().expect("a string").to_owned()).collect()
}

/// A running Prometheus. Its API is spoken to as an admin listener is: both are plain HTTP.
#[derive(Debug)]
struct Prometheus {
    api: Admin,
    _process: Process,
}

impl Prometheus {
    /// Starts it with the file that we ship, its addresses and intervals exchanged.
    #[track_caller]
    fn start(cluster: &Cluster) -> Self {
        let mut config = fs::read_to_string(shipped()).expect("read the shipped file");
        for (shipped, node) in SHIPPED.iter().zip(&cluster.nodes) {
            assert!(config.contains(shipped), "the shipped file does not name {shipped}");
            config = config.replace(shipped, &node.admin.0.to_string());
        }
        let path = cluster.folder.join("prometheus.yml");
        fs::write(&path, config.replace("15s", "1s")).expect("write the configuration");
        let api = Admin(SocketAddr::from(([127, 0, 0, 1], ports::free())));
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", path.display()));
        command.arg(format!("--storage.tsdb.path={}", cluster.folder.join("tsdb").display()));
        command.arg(format!("--web.listen-address={}", api.0));
        let process = Process::start("prometheus", command, &cluster.folder);
        until(SCRAPE_LIMIT, "Prometheus is ready", || match api.get("/-/ready") {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        Self { api, _process: process }
    }

    /// Waits until a query has exactly so many series above 0; the values of one label in them.
    #[track_caller]
    fn until_up(&self, query: &str, label: &str, count: usize) -> BTreeSet<String> {
        let mut above = String::new();
        for byte in format!("{query} > 0").bytes() {
            write!(above, "%{byte:02X}").unwrap();
        }
        until(SCRAPE_LIMIT, &format!("{query} has {count} series"), || {
            let answer = self.json(&format!("/api/v1/query?query={above}"));
            let result = answer["data"]["result"].as_array().ok_or_else(|| answer.to_string())?;
            let found: BTreeSet<String> = result
                .iter()
                .filter_map(|series| Some(series["metric"][label].as_str()?.to_owned()))
                .collect();
            if result.len() == count { Ok(found) } else { Err(answer.to_string()) }
        })
    }

    #[track_caller]
    fn json(&self, path: &str) -> Value {
        let (status, body) = self.api.get(path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }
}
