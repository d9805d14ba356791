//! Programs of others that the cases use, and our own scripts in `tests/tools`.

use std::env;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::process::folder;
use super::{Client, Process, Reply, ports, until};
use std::time::Duration;

/// Path of a script in `tests/tools`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name)
}

/// The Python that has redis-py; `tests/run` makes a virtual environment for it.
#[track_caller]
pub(crate) fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    let path = env::var_os("PICCOLO_PYTHON")
        .map_or_else(|| root.join("target/python/bin/python3"), PathBuf::from);
    assert!(path.exists(), "{} is missing: `tests/run tools` makes it", path.display());
    path
}

/// Path of a program in `tests/clients`.
pub(crate) fn client_program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// Where node finds ioredis and node-redis; `tests/run` installs them.
#[track_caller]
pub(crate) fn node_modules() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    let path = env::var_os("PICCOLO_NODE_MODULES")
        .map_or_else(|| root.join("target/node/node_modules"), PathBuf::from);
    assert!(path.exists(), "{} is missing: `tests/run tools` makes it", path.display());
    path
}

/// `redis-cli` (or `redis-benchmark`) aimed at a node.
pub(crate) fn redis(tool: &str, node: SocketAddr) -> Command {
    let mut command = Command::new(tool);
    command.args(["-h", &node.ip().to_string(), "-p", &node.port().to_string()]);
    command
}

/// Runs a command with `input` as its standard input; both outputs are kept.
#[track_caller]
pub(crate) fn feed(command: &mut Command, input: &Path) -> Output {
    let file = File::open(input).expect("open the input");
    let out = command.stdin(Stdio::from(file)).output();
    out.unwrap_or_else(|error| panic!("run {command:?}: {error}"))
}

/// A `redis-server` that keeps nothing: the reference for what clients and servers say.
#[derive(Debug)]
pub(crate) struct RedisServer {
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl RedisServer {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]);
        let process = Process::start("redis-server", command, &folder("redis-server"));
        until(Duration::from_secs(20), "redis-server answers", || {
            Client::try_connect(address).map_err(|error| error.to_string())
        });
        Self { address, _process: process }
    }
}

#[test]
fn our_client_speaks_with_redis_server() {
    let server = RedisServer::start();
    let mut client = Client::connect(server.address);
    assert_eq!(client.call(&["SET", "k", "v\r\nw"]), Reply::ok());
    assert_eq!(client.call(&["GET", "k"]), Reply::bulk(b"v\r\nw"));
    assert_eq!(client.call(&["GET", "none"]), Reply::Null);
    assert_eq!(client.call(&["INCR", "n"]), Reply::Integer(1));
    assert!(client.call(&["INCR", "k"]).error().unwrap().starts_with("ERR value is not an int"));
    let values = Reply::Array(vec![Reply::bulk(b"1"), Reply::Null]);
    assert_eq!(client.call(&["MGET", "n", "none"]), values);
    assert_eq!(client.call(&["QUIT"]), Reply::ok());
    assert!(client.closes_within(Duration::from_secs(5)));
}
