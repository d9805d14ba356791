//! Wrong bytes, wrong flags and rude clients: a clear word, and a node that lives on.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::process::{MARK, folder, piccolo};
use crate::harness::resp::command;
use crate::harness::tools::RedisServer;
use crate::harness::{Client, Cluster, Node, Process, Reply, until};

/// How long a node may take to close a connection whose protocol is broken.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How long a process with a wrong command line may take to say so.
const REFUSE_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of the largest value, as documented.
const VALUE_BYTES_MAX: usize = 64 << 20;
/// How long a client that never reads may stay, and what it may cost meanwhile.
const RUDE_LIMIT: Duration = Duration::from_mins(2);
const RUDE_BYTES_MAX: u64 = 512 << 20;

/// Bytes of an inline command that no server takes; Redis takes 64 KiB.
const INLINE_BYTES: usize = 70 << 10;

/// What breaks the protocol: the bytes, and how the answer begins, in Redis's own words.
const BROKEN: &[(&[u8], &str)] = &[
    (b"*x\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"*3000000000\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"*99999999999999999999\r\n", "ERR Protocol error: invalid multibulk length"),
    (b"*1\r\n+PING\r\n", "ERR Protocol error: expected '$', got '+'"),
    (b"*1\r\n:4\r\n", "ERR Protocol error: expected '$', got ':'"),
    (b"*1\r\n$x\r\n", "ERR Protocol error: invalid bulk length"),
    (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
    (b"*1\r\n$99999999999999999999\r\n", "ERR Protocol error: invalid bulk length"),
    (b"*2\r\n$3\r\nGET\r\n$1000000000\r\n", "ERR Protocol error: invalid bulk length"),
    (b"SET \"k v\r\n", "ERR Protocol error: unbalanced quotes in request"),
    (b"GET 'k'v\r\n", "ERR Protocol error: unbalanced quotes in request"),
];

/// What is wrong but leaves the connection whole: the command, and how the answer begins.
const WRONG: &[(&[&str], &str)] = &[
    (&["NOSUCH"], "ERR unknown command 'NOSUCH', with args beginning with: "),
    (&["NOSUCH", "a", "b"], "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
    (&["GET"], "ERR wrong number of arguments for 'get' command"),
    (&["GET", "a", "b"], "ERR wrong number of arguments for 'get' command"),
    (&["MSET", "a"], "ERR wrong number of arguments for 'mset' command"),
    (&["MSET", "a", "b", "c"], "ERR wrong number of arguments for 'mset' command"),
    (&["SET", "a", "b", "EX"], "ERR syntax error"),
    (&["SET", "a", "b", "EX", "x"], "ERR value is not an integer or out of range"),
    (&["SET", "a", "b", "EX", "0"], "ERR invalid expire time in 'set' command"),
    (&["SET", "a", "b", "NX", "XX"], "ERR syntax error"),
    (&["SETEX", "a", "-1", "b"], "ERR invalid expire time in 'setex' command"),
    (&["INCRBY", "a", "1.5"], "ERR value is not an integer or out of range"),
    (&["INCRBYFLOAT", "a", "x"], "ERR value is not a valid float"),
    (&["SETRANGE", "a", "-1", "b"], "ERR offset is out of range"),
    (&["SELECT", "x"], "ERR value is not an integer or out of range"),
    (&["SCAN", "x"], "ERR invalid cursor"),
    (&["EXEC"], "ERR EXEC without MULTI"),
    (&["DISCARD"], "ERR DISCARD without MULTI"),
    (&["HELLO", "9"], "NOPROTO unsupported protocol version"),
];

#[test]
fn broken_protocol_is_answered_in_the_words_of_redis() {
    let reference = RedisServer::start();
    answers_broken_protocol(reference.address);
    let cluster = Cluster::start("broken", 1, &[]);
    answers_broken_protocol(cluster.nodes[0].client);
    still_serves(&cluster.nodes[0]);
}

#[test]
fn wrong_commands_leave_the_connection_whole() {
    let reference = RedisServer::start();
    answers_wrong_commands(reference.address);
    let cluster = Cluster::start("wrong", 1, &[]);
    answers_wrong_commands(cluster.nodes[0].client);
}

#[test]
fn random_bytes_at_every_door_harm_nobody() {
    let cluster = Cluster::start("random", 1, &[]);
    let node = &cluster.nodes[0];
    // Drawn from a fixed seed: the same bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for door in [node.client, node.peer, node.admin.0] {
        for bytes in [1, 7, 64, 4096, 65_536] {
            for _ in 0..20 {
                let noise: Vec<u8> = (0..bytes).map(|_| random_byte(&mut state)).collect();
                let mut client = Client::connect(door);
                // The node may close in the middle of it.
                drop(client.stream().write_all(&noise));
                drop(client.stream().shutdown(std::net::Shutdown::Write));
                assert!(client.closes_within(CLOSE_LIMIT * 4), "{door} keeps a broken connection");
            }
        }
    }
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for bytes in 0..1400 {
        let noise: Vec<u8> = (0..bytes).map(|_| random_byte(&mut state)).collect();
        socket.send_to(&noise, node.peer).unwrap();
    }
    still_serves(node);
    node.admin.ready().unwrap();
}

#[test]
fn web_pages_cannot_speak_to_the_client_door() {
    let cluster = Cluster::start("web", 1, &[]);
    for head in ["POST / HTTP/1.1\r\n", "Host: 127.0.0.1\r\n"] {
        let mut client = cluster.nodes[0].connect();
        client.send(head.as_bytes()).unwrap();
        drop(client.send(b"\r\nSET stolen 1\r\n"));
        assert!(client.closes_within(CLOSE_LIMIT), "{head:?} was not closed");
    }
    assert_eq!(cluster.nodes[0].connect().call(&["EXISTS", "stolen"]), Reply::Integer(0));
}

#[test]
fn the_largest_value_passes_and_a_larger_one_is_refused() {
    let cluster = Cluster::start("largest", 3, &[]);
    let mut value = vec![b'v'; VALUE_BYTES_MAX];
    value[12_345_678] = b'!';
    // Names for three slots, so that some of these pass from node to node.
    for name in ["large:1", "large:2", "large:3"] {
        let stored = cluster.nodes[0].connect().call(&[b"SET", name.as_bytes(), &value]);
        assert_eq!(stored, Reply::ok());
        let found = cluster.nodes[1].connect().call(&["GET", name]);
        assert!(found == Reply::Bulk(value.clone()), "{name} came back changed");
    }
    value.push(b'v');
    let mut client = cluster.nodes[0].connect();
    // The node may refuse by the length alone, and close while the value is still on its way.
    drop(client.send(&command(&[b"SET", &b"larger"[..], &value])));
    let reply = client.receive().unwrap();
    assert!(reply.error().is_some_and(|text| text.starts_with("ERR ")), "{}", reply.text());
    assert_eq!(cluster.nodes[1].connect().call(&["EXISTS", "larger"]), Reply::Integer(0));
    let long = "k".repeat((64 << 10) + 1);
    assert!(cluster.nodes[0].connect().call(&["SET", &long, "x"]).error().is_some());
    still_serves(&cluster.nodes[0]);
}

#[test]
fn a_full_node_refuses_and_goes_on() {
    let cluster = Cluster::start("full", 1, &["--max-memory", "67108864"]);
    let mut client = cluster.nodes[0].connect();
    let value = vec![b'v'; 1 << 20];
    let refused = (0..200).find_map(|at| {
        let reply = client.call(&[b"SET", format!("full:{at}").as_bytes(), &value]);
        if reply == Reply::ok() { None } else { Some((at, reply)) }
    });
    let (stored, refusal) = refused.expect("200 MiB do not fit into 64 MiB");
    let text = refusal.error().unwrap_or_default();
    assert!(text.starts_with("OOM command not allowed when used memory > 'maxmemory'"), "{text}");
    assert!((32..=64).contains(&stored), "{stored} MiB were stored under a limit of 64 MiB");
    // What frees or only reads goes on, and then there is room again.
    assert_eq!(client.call(&["GET", "full:0"]), Reply::Bulk(value.clone()));
    for at in 0..stored {
        assert_eq!(client.call(&["DEL", &format!("full:{at}")]), Reply::Integer(1));
    }
    assert_eq!(client.call(&[b"SET", &b"again"[..], &value]), Reply::ok());
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    let cluster = Cluster::start("rude", 1, &[]);
    let node = &cluster.nodes[0];
    let mut polite = node.connect();
    polite.call(&[b"SET", &b"large"[..], &vec![b'v'; 1 << 20]]);
    let before = node.running().resident_bytes();

    let rude = node.connect();
    rude.stream().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut named = command(&["CLIENT", "SETNAME", "rude"]);
    for _ in 0..10_000 {
        named.extend_from_slice(&command(&["GET", "large"]));
    }
    // Ten gigabytes of replies are asked for; the node stops reading, so this may end half-way.
    drop(rude.stream().write_all(&named));
    let mut seen = false;
    until(RUDE_LIMIT, "the client that never reads is gone", || {
        let grown = node.running().resident_bytes().saturating_sub(before);
        assert!(grown < RUDE_BYTES_MAX, "it costs {} MiB", grown >> 20);
        let clients = polite.call(&["CLIENT", "LIST"]).text();
        let there = clients.contains("name=rude");
        seen |= there;
        if there || !seen { Err(format!("clients:\n{clients}")) } else { Ok(()) }
    });
    still_serves(node);
}

#[test]
fn wrong_command_lines_say_what_to_do_in_one_line() {
    let folder = folder("flags");
    let data = folder.display().to_string();
    let lines: &[(&[&str], &str)] = &[
        (&["--create", "--no-such-flag"], "no-such-flag"),
        (&[], "--create"),
        (&["--create", "--join", "127.0.0.1:1"], "--join"),
        (&["--join", "nonsense"], "nonsense"),
        (&["--create", "--shards", "0"], "shards"),
        (&["--create", "--shards", "many"], "shards"),
        (&["--create", "--pin", "sometimes"], "pin"),
        (&["--create", "--max-memory", "lots"], "max-memory"),
        (&["--create", "--data-dir", &data], "data-dir"),
        (&["--create", "--replicas", "3"], "replicas"),
        (&["--create", "--name", ""], "name"),
    ];
    for (flags, named) in lines {
        let node = Node::new("flags", &folder).flags(flags.iter().copied());
        refuses(node.command(), named);
    }
    let mut no_verb = Command::new(piccolo());
    no_verb.arg("no-such-command");
    refuses(no_verb, "no-such-command");
    let mut no_core = Command::new(piccolo());
    no_core.args(["serve", "--create", "--pin", "100000"]);
    refuses(no_core, "core 100000");
}

/// As in `piccolo members 2>&1 | head -0`: no panic, and the exit code that belongs to it.
#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let nobody = ["--admin", "127.0.0.1:1"];
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["serve", "--create", "--print-config"], 0),
        (&[], 2),
        (&["serve"], 2),
        (&["members", "--no-such-flag"], 2),
        (&["members", nobody[0], nobody[1]], 1),
    ] {
        let (reader, writer) = std::io::pipe().expect("the system has pipes");
        drop(reader);
        let mut command = Command::new(piccolo());
        command.args(arguments).stdout(writer.try_clone().unwrap()).stderr(writer);
        let status = command.stdin(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(code), "piccolo {arguments:?} ended with {status}");
    }
}

#[test]
fn a_wider_address_needs_a_password() {
    let folder = folder("wide");
    let wide = SocketAddr::from(([0, 0, 0, 0], crate::harness::ports::free()));
    let node = Node::new("wide", &folder);
    for [client, cluster] in [[wide, node.cluster_client], [node.client, wide]] {
        let addresses = [client, cluster, node.peer, node.admin.0];
        let node = Node::at("wide", addresses, &folder).flags(["--create"]);
        refuses(node.command(), "--requirepass");
    }
}

#[test]
fn a_taken_port_is_named() {
    let folder = folder("taken");
    for door in 0..4 {
        let node = Node::new("taken", &folder).flags(["--create"]);
        let taken = [node.client, node.cluster_client, node.peer, node.admin.0][door];
        let _holder = TcpListener::bind(taken).unwrap();
        refuses(node.command(), &taken.port().to_string());
    }
}

#[test]
fn a_second_node_under_a_live_name_is_refused() {
    let cluster = Cluster::start("twice", 2, &[]);
    let seeds = cluster.seeds();
    let twin = Node::new("b", &cluster.folder).flags(["--join", &seeds]);
    refuses(twin.command(), "choose another with --name");
    // The incumbent is left in peace.
    cluster.settle();
    still_serves(&cluster.nodes[1]);
}

#[test]
fn creating_beside_a_live_cluster_is_refused() {
    let cluster = Cluster::start("created-twice", 1, &[]);
    // The same command line once more: whatever it notices first, it names it and ends.
    refuses(cluster.nodes[0].command(), "");
    still_serves(&cluster.nodes[0]);
}

/// Every line of [`BROKEN`] gets its answer behind what came before it, and then the end.
#[track_caller]
fn answers_broken_protocol(node: SocketAddr) {
    for (bytes, wanted) in BROKEN {
        let mut client = Client::connect(node);
        client.send(&[b"PING\r\n", *bytes].concat()).unwrap();
        assert_eq!(client.receive().unwrap(), Reply::Simple("PONG".to_owned()));
        let shown = String::from_utf8_lossy(bytes);
        let reply = client.receive().unwrap_or_else(|error| panic!("{shown:?}: {error}"));
        let text = reply.error().unwrap_or_default();
        assert!(text.starts_with(wanted), "{shown:?} gave {reply:?}, not {wanted}");
        assert!(client.closes_within(CLOSE_LIMIT), "{shown:?} was not closed");
    }
    let mut client = Client::connect(node);
    drop(client.send(&vec![b'x'; INLINE_BYTES]));
    let text = client.receive().unwrap().text();
    assert!(text.starts_with("ERR Protocol error: too big inline request"), "{text}");
}

#[track_caller]
fn answers_wrong_commands(node: SocketAddr) {
    let mut client = Client::connect(node);
    for (args, wanted) in WRONG {
        let reply = client.call(args);
        let text = reply.error().unwrap_or_default();
        assert!(text.starts_with(wanted), "{args:?} gave {reply:?}, not {wanted}");
    }
    // Empty lines and an empty array are no commands at all.
    client.send(b"\r\n*0\r\n\r\n").unwrap();
    assert_eq!(client.call(&["ECHO", "still here"]), Reply::bulk(b"still here"));
}

/// The command ends with exit code 2 and one line that contains `named`, besides the log of a node
/// that had begun.
#[track_caller]
fn refuses(mut command: Command, named: &str) {
    let folder = folder("refused");
    command.env(MARK, &folder);
    let shown = format!("{command:?}");
    let mut process = Process::start("refused", command, &folder);
    let status = process.wait(REFUSE_LIMIT);
    let said = process.printed();
    let counts = |line: &&str| !line.trim().is_empty() && !line.contains("Z INFO  ");
    let lines = said.lines().filter(counts).count();
    assert_eq!(status.code(), Some(2), "{shown}\nended with {status}: {said}");
    assert!(lines == 1 && said.contains(named), "{shown}\nnot one line with {named:?}: {said}");
}

#[track_caller]
fn still_serves(node: &Node) {
    let mut client = node.connect();
    assert_eq!(client.call(&["SET", "still", "serves"]), Reply::ok());
    assert_eq!(client.call(&["GET", "still"]), Reply::bulk(b"serves"));
}

/// One byte of a xorshift sequence.
fn random_byte(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state as u8
}
