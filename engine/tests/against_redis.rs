//! Random commands, executed here on one slot and by redis-server 7: every reply must be the
//! same, in both versions of the protocol. Fails if there is no redis-server: the texts and odd
//! cases of Redis are the contract, and nothing else can tell whether it is kept.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use piccolo_engine::command::{self, Place, docs};
use piccolo_engine::keyspace::Keyspace;
use piccolo_engine::resp::{Args, Limits, Parsed, Parser, Reply, value};
use piccolo_engine::shard::{Control, Door, Shard, ShardConfig, Shared, StreamKey};
use piccolo_engine::store::{KeyHasher, SlotTable};
use piccolo_schema::ids::{ClusterId, NodeId, Version};
use piccolo_schema::time::{Moment, Now, UnixMillis};

const SEEDS: u64 = 64;
const COMMANDS_PER_SEED: usize = 400;

/// How far two answers about the time left may differ, in milliseconds: the run's own time.
const DRIFT_MILLIS_MAX: i64 = 600_000;

type Words = Vec<Vec<u8>>;

/// A redis-server of its own, ended with the value.
struct Redis {
    process: Child,
    folder: PathBuf,
}

impl Redis {
    fn start(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("piccolo-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(folder.join("socket"))
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server 7 is installed (Debian: apt-get install redis-server)");
        let mut redis = Self { process, folder };
        let output = redis.process.stdout.take().expect("its output is piped");
        let ready = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("accept connections at"));
        assert!(ready, "redis-server ended before it was ready");
        redis
    }

    fn connect(&self) -> Connection {
        let socket = UnixStream::connect(self.folder.join("socket")).expect("redis-server listens");
        Connection { socket }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().expect("it still runs");
        self.process.wait().expect("it was killed");
        std::fs::remove_dir_all(&self.folder).expect("the folder is ours");
    }
}

struct Connection {
    socket: UnixStream,
}

impl Connection {
    fn ask(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        self.socket.write_all(&encoded(words)).expect("redis-server reads");
        let (mut reply, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
        while value::skip(&reply).expect("redis-server replies") != Some(reply.len()) {
            let bytes = self.socket.read(&mut chunk).expect("redis-server replies");
            assert!(bytes > 0, "redis-server closed the connection");
            reply.extend_from_slice(&chunk[..bytes]);
        }
        reply
    }

    fn ask_line(&mut self, line: &str) -> Vec<u8> {
        self.ask(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    /// Its clock.
    fn now(&mut self) -> UnixMillis {
        let reply = self.ask_line("TIME");
        let seconds = value::array_items(&reply).and_then(|mut items| value::bulk(items.next()?));
        let text = String::from_utf8_lossy(seconds.expect("TIME starts with seconds")).into_owned();
        UnixMillis(text.parse::<u64>().expect("a number") * 1000)
    }
}

fn encoded(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, false);
    reply.array(words.len());
    for word in words {
        reply.bulk(word);
    }
    bytes
}

/// One slot of ours.
struct Slot {
    table: SlotTable,
    now: UnixMillis,
    version: Version,
    resp3: bool,
}

impl Slot {
    fn ask(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let (bytes, mut spans) = (encoded(words), Vec::new());
        let parsed = Parser::new(Limits::default()).next(&bytes, 0, &mut spans);
        assert_eq!(parsed, Ok(Parsed::Command { end: bytes.len(), arguments: words.len() }));
        let args = Args::new(&bytes, &spans);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.resp3);
        match command::resolve(&args).map(|command| command.place) {
            Ok(Place::Slot(handler) | Place::Split(handler, _)) => {
                self.execute(handler, &args, &mut reply);
            }
            Ok(Place::Sweep(command::Sweep::Keys)) => {
                let handler = internal(b"slot.keys");
                self.execute(handler, &args, &mut reply);
            }
            Ok(Place::Session(command::SessionCommand::Command) | Place::Container(_)) => {
                docs::command(&args, &mut reply);
            }
            Ok(place) => panic!("{place:?} is not of one slot"),
            Err(refuse) => reply.error(&refuse.to_string()),
        }
        out
    }

    fn execute(&mut self, handler: command::Handler, args: &Args<'_>, reply: &mut Reply<'_>) {
        self.version = self.version.next();
        let hasher = KeyHasher::new(ClusterId(7));
        let mut keyspace = Keyspace::new(&mut self.table, hasher, self.now, self.version, None)
            .with_value_bytes_max(512 << 20);
        handler(args, &mut keyspace, reply);
    }
}

fn internal(name: &[u8]) -> command::Handler {
    match command::find_internal(name).map(|command| command.place) {
        Some(Place::Slot(handler)) => handler,
        other => panic!("{other:?} is not of one slot"),
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const NAMES: [&str; 46] = [
    "get",
    "SET",
    "Set",
    "set",
    "setnx",
    "setex",
    "psetex",
    "getset",
    "getdel",
    "getex",
    "strlen",
    "append",
    "getrange",
    "substr",
    "setrange",
    "mget",
    "mset",
    "msetnx",
    "rename",
    "renamenx",
    "copy",
    "object",
    "del",
    "unlink",
    "exists",
    "touch",
    "incr",
    "decr",
    "incrby",
    "decrby",
    "incrbyfloat",
    "incrbyfloat",
    "expire",
    "pexpire",
    "expireat",
    "pexpireat",
    "expireat",
    "pexpireat",
    "ttl",
    "pttl",
    "expiretime",
    "pexpiretime",
    "persist",
    "type",
    "keys",
    "foo",
];

const KEYS: [&str; 5] = ["a", "b", "c", "h[llo", "x*y\\z"];

const VALUES: [&str; 30] = [
    "",
    "0",
    "-0",
    "7",
    "10",
    "-5",
    "01",
    " 1",
    "1 ",
    "+1",
    "3.0",
    "1e2",
    "0.1",
    "-1.5",
    "abc",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "3.14159265358979323846",
    "1e-30",
    "-1e-30",
    "1e300",
    "1e4932",
    "1e4933",
    "inf",
    "-inf",
    "nan",
    "18446744073709551615.5",
    "0.000000000000000005",
    "some longer text",
];

/// Relative times here are invalid, or end a key: others would differ by the time passed.
const RELATIVE: [&str; 5] = ["0", "-1", "abc", "9223372036854775807", "-9223372036854775808"];

const ABSOLUTE: [&str; 10] = [
    "33177117420",
    "33177117421",
    "33177117420000",
    "33177117420499",
    "33177117420500",
    "1",
    "0",
    "-1",
    "9223372036854775807",
    "abc",
];

const INDICES: [&str; 10] =
    ["0", "1", "2", "5", "-1", "-3", "100", "-100", "x", "9223372036854775807"];

/// One command, most often a valid one.
fn draw(random: &mut Random) -> Words {
    let mut words = vec![random.pick(&NAMES)];
    let name = words[0].to_ascii_lowercase();
    if name == "keys" {
        let pattern: String = (0..random.below(8))
            .map(|_| {
                random.pick(&["*", "?", "[", "]", "^", "-", "a", "b", "h", "l", "o", "\\", "x"])
            })
            .collect();
        return vec![b"KEYS".to_vec(), pattern.into_bytes()];
    }
    if name == "object" {
        let sub = ["freq", "REFCOUNT", "encoding", "foo", "ENCODING"];
        let among = [4, 5, 5, 5][random.below(4)];
        words.push(random.pick(&sub[..among]));
    }
    words.push(random.pick(&KEYS));
    match name.as_str() {
        "set" => {
            words.push(random.pick(&VALUES));
            draw_options(random, &mut words);
        }
        "getex" => draw_options(random, &mut words),
        "setnx" | "getset" | "append" | "incrby" | "decrby" | "incrbyfloat" => {
            words.push(random.pick(&VALUES));
        }
        "setex" | "psetex" => words.extend([random.pick(&RELATIVE), random.pick(&VALUES)]),
        "getrange" | "substr" => words.extend([random.pick(&INDICES), random.pick(&INDICES)]),
        "setrange" => words.extend([random.pick(&INDICES), random.pick(&VALUES)]),
        "rename" | "renamenx" => words.push(random.pick(&KEYS)),
        "copy" => {
            words.push(random.pick(&KEYS));
            for _ in 0..[0, 0, 1, 2][random.below(4)] {
                words.push(random.pick(&["replace", "REPLACE", "db", "0", "x"]));
            }
        }
        "mset" | "msetnx" => {
            words.extend([random.pick(&VALUES), random.pick(&KEYS), random.pick(&VALUES)]);
        }
        "mget" | "del" | "unlink" | "exists" | "touch" => {
            (0..random.below(3)).for_each(|_| words.push(random.pick(&KEYS)));
        }
        "expire" | "pexpire" => draw_expiry(random, &RELATIVE, &mut words),
        "expireat" | "pexpireat" => draw_expiry(random, &ABSOLUTE, &mut words),
        _ => {}
    }
    match random.below(40) {
        0 => drop(words.pop()),
        1 if name != "set" && name != "getex" => words.push("more"),
        2 => drop(words.splice(0..0, ["COMMAND", "GETKEYS"])),
        _ => {}
    }
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn draw_options(random: &mut Random, words: &mut Vec<&str>) {
    for _ in 0..[0, 0, 1, 1, 2, 3][random.below(6)] {
        match random.below(10) {
            0..=2 => words.extend([random.pick(&["EX", "px"]), random.pick(&RELATIVE)]),
            3..=5 => words.extend([random.pick(&["exat", "PXAT"]), random.pick(&ABSOLUTE)]),
            _ => words.push(random.pick(&["NX", "xx", "GET", "get", "KEEPTTL", "PERSIST", "foo"])),
        }
    }
}

fn draw_expiry(random: &mut Random, times: &[&'static str], words: &mut Vec<&str>) {
    words.push(random.pick(times));
    for _ in 0..[0, 0, 1, 1, 2][random.below(5)] {
        words.push(random.pick(&["NX", "xx", "GT", "lt", "foo"]));
    }
}

/// Whether two replies to `words` say the same.
fn same(words: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    if ours == theirs {
        return true;
    }
    match words[0].to_ascii_lowercase().as_slice() {
        // Of values that SET did not write, only Redis knows how they came about; and it shares
        // small integers.
        b"object" => {
            let both = |is: fn(&[u8]) -> bool| is(ours) && is(theirs);
            both(|reply| value::bulk(reply).is_some())
                || both(|reply| value::integer(reply).is_some())
        }
        b"keys" => sorted(ours).is_some_and(|keys| Some(keys) == sorted(theirs)),
        b"ttl" | b"pttl" => match (value::integer(ours), value::integer(theirs)) {
            (Some(ours @ 1..), Some(theirs @ 1..)) => (ours - theirs).abs() < DRIFT_MILLIS_MAX,
            _ => false,
        },
        _ => false,
    }
}

fn sorted(array: &[u8]) -> Option<Vec<&[u8]>> {
    let mut items: Vec<_> = value::array_items(array)?.collect();
    items.sort_unstable();
    Some(items)
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn compare(redis: &Redis, seed: u64, resp3: bool) {
    let mut connection = redis.connect();
    connection.ask_line("FLUSHALL");
    let mut slot = Slot {
        table: SlotTable::new(),
        now: connection.now(),
        version: Version::unpacked(1 << 40),
        resp3,
    };
    if resp3 {
        connection.ask_line("HELLO 3");
    }
    let (mut random, mut history) = (Random(seed), String::new());
    for _ in 0..COMMANDS_PER_SEED {
        let words = draw(&mut random);
        let (ours, theirs) = (slot.ask(&words), connection.ask(&words));
        let line: Vec<_> = words.iter().map(|word| format!("\"{}\"", shown(word))).collect();
        history.extend([line.join(" "), " -> ".to_owned(), shown(&theirs), "\n".to_owned()]);
        assert!(
            same(&words, &ours, &theirs),
            "{history}ours: {}\nreplay: PICCOLO_SEED={seed} cargo test -p piccolo-engine --test \
             against_redis",
            shown(&ours)
        );
    }
}

#[test]
fn replies_are_those_of_redis() {
    let redis = Redis::start("replies");
    let seeds = match std::env::var("PICCOLO_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("PICCOLO_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        compare(&redis, seed, false);
        compare(&redis, seed, true);
    }
}

/// Commands about connections and the node: every line of the script is said to both.
#[test]
fn sessions_are_answered_like_by_redis() {
    let redis = Redis::start("sessions");
    let mut differing = Vec::new();
    for script in SCRIPTS {
        let (mut connection, mut node) = (redis.connect(), Node::start());
        connection.ask_line("FLUSHALL");
        for line in *script {
            let words: Words = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            let (ours, theirs) = (node.ask(&words), connection.ask(&words));
            if ours != theirs {
                let (ours, theirs) = (shown(&ours), shown(&theirs));
                differing.push(format!("{line}\nours:   {ours}\ntheirs: {theirs}\n"));
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.concat());
}

const SCRIPTS: &[&[&str]] = &[
    &[
        "HELLO 4",
        "HELLO x",
        "HELLO 2 FOO",
        "HELLO 2 AUTH me",
        "HELLO 2 SETNAME",
        "HELLO 2 auth a b",
    ],
    &["AUTH x", "AUTH default x", "AUTH a b", "AUTH a b c", "SELECT 0", "SELECT x", "ECHO x"],
    &["PING", "PING x", "PING x y", "ECHO", "RESET", "QUIT x"],
    &["CLIENT", "CLIENT FOO", "CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT GETNAME"],
    &["CLIENT GETREDIR", "CLIENT UNBLOCK 0", "CLIENT UNBLOCK x", "CLIENT UNBLOCK 5 FOO"],
    &["CLIENT UNBLOCK 999999 TIMEOUT", "CLIENT UNBLOCK", "CLIENT NO-EVICT on", "CLIENT NO-EVICT x"],
    &["CLIENT PAUSE x", "CLIENT PAUSE -1", "CLIENT PAUSE 1 FOO", "CLIENT PAUSE", "CLIENT UNPAUSE"],
    &["CLIENT PAUSE 1 ALL x", "CLIENT KILL ID 0", "CLIENT KILL ID -1", "SLOWLOG get 1 2"],
    &["CLIENT REPLY x", "CLIENT REPLY ON", "CLIENT REPLY", "CLIENT TRACKING off", "CLIENT ID x"],
    &["CLIENT KILL 1.2.3.4:5", "CLIENT KILL ID x", "CLIENT KILL ID 99999999", "CLIENT KILL FOO x"],
    &["CLIENT KILL", "CLIENT KILL ADDR 1.2.3.4:5", "CLIENT KILL TYPE foo", "CLIENT KILL SKIPME x"],
    &["CLIENT LIST ID x", "CLIENT LIST ID 1 x", "CLIENT LIST ID", "CLIENT LIST ID -1 0 99999999"],
    &["CLIENT LIST FOO", "CLIENT LIST TYPE foo", "CLIENT LIST x y z"],
    &["MULTI", "SET k v", "GET k", "MSETNX k 1", "RENAME k {k}l", "OBJECT ENCODING {k}l", "EXEC"],
    &["MULTI", "SET k", "EXEC", "EXEC", "DISCARD", "MULTI", "MULTI", "WATCH k", "DISCARD"],
    &["MULTI", "SHUTDOWN", "EXEC", "WATCH", "WATCH k", "UNWATCH", "UNWATCH x"],
    &["MULTI", "NOSUCH", "EXEC", "MULTI", "OBJECT NOSUCH", "EXEC", "MULTI", "PING", "EXEC"],
    &["WAIT 0 0", "WAIT x 0", "WAIT 0 x", "WAIT 0 -1", "WAIT 1 1", "WAIT 1"],
    &[
        "SLOWLOG RESET",
        "SLOWLOG GET x",
        "SLOWLOG GET -2",
        "SLOWLOG FOO",
        "SLOWLOG LEN x",
        "SLOWLOG",
    ],
    &["LATENCY LATEST", "LATENCY HISTORY x", "LATENCY RESET", "LATENCY RESET x", "LATENCY FOO"],
    &["SHUTDOWN FOO", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN ABORT NOW"],
    &[
        "CONFIG GET slowlog-log*",
        "CONFIG GET maxmemory",
        "CONFIG GET nosuch",
        "CONFIG GET",
        "CONFIG",
    ],
    &["CONFIG SET nosuch 1", "CONFIG SET maxmemory x", "CONFIG SET maxmemory 1 maxmemory 2"],
    &["CONFIG SET maxmemory", "CONFIG SET maxmemory 1 save", "CONFIG SET databases 7"],
    &["CONFIG SET slowlog-max-len x", "CONFIG SET slowlog-log-slower-than -2", "CONFIG FOO x"],
    &[
        "CONFIG SET slowlog-max-len 7 maxmemory 3gb",
        "CONFIG GET slowlog-max-le?",
        "CONFIG GET maxmemory",
    ],
    &["CONFIG SET slowlog-max-len 128 maxmemory 0", "CONFIG RESETSTAT", "CONFIG RESETSTAT x"],
    &[
        "COMMAND GETKEYS RENAME a b",
        "COMMAND GETKEYS OBJECT FREQ k",
        "COMMAND FOO",
        "COMMAND COUNT x",
    ],
    &["COMMAND GETKEYS MEMORY USAGE k SAMPLES 5", "COMMAND INFO nosuch", "MEMORY FOO", "MEMORY"],
    &[
        "FLUSHALL x",
        "FLUSHALL ASYNC",
        "DBSIZE",
        "DBSIZE x",
        "RANDOMKEY",
        "KEYS",
        "SCAN x",
        "SCAN 0 FOO",
    ],
];

/// A shard of ours that leads every slot, and a client of it.
struct Node {
    shard: Shard,
    client: StreamKey,
}

impl Node {
    fn start() -> Self {
        let shared: Arc<[Shared]> = [Shared::default()].into();
        let limits = Limits::default();
        let (me, password) = (NodeId(1), None);
        let config =
            ShardConfig { index: 0, shards: 1, me, password, limits, memory_max: 0, shared };
        let mut shard = Shard::new(config, Now { moment: Moment(1), wall: UnixMillis(1) });
        shard.control(Control::Enter { cluster: ClusterId(7), create: true });
        let client = shard.accept_client(([127, 0, 0, 1], 1).into(), Door::Client);
        Self { shard, client }
    }

    fn ask(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        self.shard.received(self.client, &encoded(words));
        (0..100).for_each(|_| self.shard.turn());
        let told = self.shard.output(self.client).to_vec();
        self.shard.sent(self.client, told.len());
        told
    }
}

/// How Redis stores what SET writes.
#[test]
fn encodings_are_those_of_redis() {
    let redis = Redis::start("encodings");
    let mut connection = redis.connect();
    let (now, version) = (connection.now(), Version::unpacked(1 << 40));
    let mut slot = Slot { table: SlotTable::new(), now, version, resp3: false };
    let (embedded, raw) = ("x".repeat(44), "x".repeat(45));
    for value in VALUES.into_iter().chain([&embedded[..], &raw]) {
        let words = |words: &[&str]| words.iter().map(|w| w.as_bytes().to_vec()).collect::<Words>();
        let (set, ask) = (words(&["SET", "k", value]), words(&["OBJECT", "ENCODING", "k"]));
        assert_eq!(slot.ask(&set), connection.ask(&set));
        assert_eq!(shown(&slot.ask(&ask)), shown(&connection.ask(&ask)), "{value}");
    }
}

/// Every command of Redis is there, or the guide says that it is not.
#[test]
fn the_guide_names_what_is_missing() {
    let redis = Redis::start("missing");
    let list = redis.connect().ask_line("COMMAND LIST");
    let missing: Vec<&str> = command::page::missing().collect();
    for name in value::array_items(&list).expect("names") {
        let name = value::bulk(name).expect("a name");
        if name.contains(&b'|') {
            continue;
        }
        let known = missing.iter().any(|one| one.as_bytes() == name);
        assert!(known != command::find(name).is_some(), "{}", shown(name));
    }
}

const LEFT_OUT: [&str; 3] = ["allow_busy", "skip_slowlog", "no_async_loading"];

/// Name, arity, flags, positions of keys and categories: what clients route by. Three flags are
/// left out: they are about scripts, the slow log and replicas, which are not there or not so.
#[test]
fn command_info_is_that_of_redis() {
    let redis = Redis::start("info");
    let mut connection = redis.connect();
    let (now, version) = (UnixMillis(0), Version::unpacked(1 << 40));
    let mut slot = Slot { table: SlotTable::new(), now, version, resp3: false };
    let every = command::all().iter();
    for command in every.flat_map(|command| std::iter::once(command).chain(command.subcommands())) {
        let words: Words =
            ["COMMAND", "INFO", command.name].iter().map(|word| word.as_bytes().to_vec()).collect();
        let (ours, theirs) = (slot.ask(&words), connection.ask(&words));
        // What came after 7.0 is not known to every redis-server 7. GETKEYS took more arguments.
        let later = command.since > "7.0.0" || command.name == "command|getkeys";
        if !later {
            assert_eq!(details(&ours), details(&theirs), "{}", command.name);
        }
    }
}

fn details(reply: &[u8]) -> Vec<Vec<String>> {
    let info = value::array_items(reply).and_then(|mut items| items.next()).expect("one command");
    let Some(fields) = value::array_items(info) else { return Vec::new() };
    let fields = fields.take(7);
    fields
        .map(|field| match sorted(field) {
            Some(names) => {
                let names = names.into_iter().map(shown);
                names.filter(|name| !LEFT_OUT.iter().any(|flag| name.contains(flag))).collect()
            }
            None => vec![shown(field)],
        })
        .collect()
}
