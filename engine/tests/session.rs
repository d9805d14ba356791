//! What one client of one shard is told, from bytes in to bytes out: each case was a fault once.

use std::sync::Arc;
use std::time::Duration;

use piccolo_engine::resp::parse::Limits;
use piccolo_engine::shard::{Action, Control, Door, Doors, Shard, ShardConfig, Shared, StreamKey};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::{Moment, Now, UnixMillis};

/// One shard that leads every slot, and one client of it.
struct Node {
    shard: Shard,
    client: StreamKey,
    now: Now,
}

impl Node {
    fn new(password: Option<&str>) -> Self {
        let now = Now { moment: Moment(1), wall: UnixMillis(1_700_000_000_000) };
        let shared: Arc<[Shared]> = [Shared::default()].into();
        let config = ShardConfig {
            index: 0,
            shards: 1,
            me: NodeId(1),
            password: password.map(Into::into),
            limits: Limits::default(),
            memory_max: 0,
            shared,
        };
        let mut shard = Shard::new(config, now);
        shard.control(Control::Enter { cluster: ClusterId(7), create: true });
        let client = shard.accept_client(([127, 0, 0, 1], 1).into(), Door::Client);
        Self { shard, client, now }
    }

    fn wait(&mut self, millis: u64) {
        self.now.moment = self.now.moment + Duration::from_millis(millis);
        self.shard.set_now(self.now);
    }

    /// What the client that sends `lines`, all at once, is told, and whether it is then cut off.
    fn told(&mut self, lines: &str) -> (String, bool) {
        self.told_to(self.client, lines)
    }

    fn told_to(&mut self, client: StreamKey, lines: &str) -> (String, bool) {
        self.shard.received(client, lines.replace('\n', "\r\n").as_bytes());
        for _ in 0..100 {
            self.shard.turn();
        }
        let told = String::from_utf8_lossy(self.shard.output(client)).into_owned();
        let closes = self.shard.sent(client, told.len());
        (told.replace("\r\n", "\n"), closes)
    }
}

fn told(lines: &str) -> (String, bool) {
    Node::new(None).told(lines)
}

/// The same of a node that wants a password.
fn told_with(password: Option<&str>, lines: &str) -> (String, bool) {
    Node::new(password).told(lines)
}

#[test]
fn a_command_over_several_slots_with_an_argument_too_few_is_not_queued() {
    let (told, closes) = told("MULTI\nMSET a 1 b\nEXEC\nPING\n");
    assert_eq!(
        told,
        "+OK\n-ERR wrong number of arguments for 'mset' command\n\
         -EXECABORT Transaction discarded because of previous errors.\n+PONG\n"
    );
    assert!(!closes);
}

#[test]
fn what_is_sent_behind_quit_is_not_executed() {
    assert_eq!(told("SET k 1\nQUIT\nSET k 2\nGET k\n"), ("+OK\n+OK\n".into(), true));
    assert_eq!(told("MULTI\nQUIT\nSET k 2\nEXEC\n"), ("+OK\n+OK\n".into(), true));
}

#[test]
fn reply_skip_covers_exactly_the_next_command() {
    assert_eq!(told("CLIENT REPLY SKIP\nCLIENT ID\nPING\n").0, "+PONG\n");
    assert_eq!(told("CLIENT REPLY SKIP\nNOSUCH\nPING\n").0, "+PONG\n");
    assert_eq!(told("CLIENT REPLY SKIP\nSET k 1\nGET k\n").0, "$1\n1\n");
    let off = "CLIENT REPLY OFF\nCLIENT REPLY SKIP\nPING\nPING\nCLIENT REPLY ON\nPING\n";
    assert_eq!(told(off).0, "+OK\n+PONG\n");
}

#[test]
fn a_scan_of_everything_at_once_finds_everything() {
    let (told, _) = told("MSET a 1 b 2 c 3\nSCAN 0 COUNT 9223372036854775807\nSCAN 0 COUNT -1\n");
    let mut lines = told.lines();
    assert_eq!(lines.next(), Some("+OK"));
    let keys = lines.clone().filter(|line| ["a", "b", "c"].contains(line)).count();
    // It looks at a bounded number of slots a call, so the cursor may go on; a count that
    // overflowed once ended the scan at once.
    assert!(keys > 0 || !told.contains("$1\n0\n"), "{told}");
    assert!(told.ends_with("-ERR syntax error\n"), "{told}");
}

#[test]
fn a_transaction_refuses_what_is_about_the_connection_when_it_is_queued() {
    let (told, _) = told("MULTI\nCLIENT ID\nEXEC\nMULTI\nUNWATCH\nSET k 1\nEXEC\n");
    assert_eq!(
        told,
        "+OK\n-ERR Command not allowed inside a transaction\n\
         -EXECABORT Transaction discarded because of previous errors.\n\
         +OK\n+QUEUED\n+QUEUED\n*2\n+OK\n+OK\n"
    );
}

#[test]
fn who_has_not_said_the_password_is_told_so_before_much_is_taken_in() {
    let long = "x".repeat(20_000);
    let set = format!("*3\n$3\nSET\n$1\nk\n$20000\n{long}\n");
    let refused = "-ERR Protocol error: invalid bulk length (before AUTH)\n";
    assert_eq!(told_with(Some("secret"), &set), (refused.into(), true));
    let wrong = format!("AUTH wrong\n{set}");
    let (text, closes) = told_with(Some("secret"), &wrong);
    assert!(text.starts_with("-WRONGPASS") && text.ends_with(refused) && closes, "{text}");
    // What follows AUTH in one go is read as AUTH has made it.
    let right = format!("AUTH secret\n{set}STRLEN k\n");
    assert_eq!(told_with(Some("secret"), &right), ("+OK\n+OK\n:20000\n".into(), false));
    let many = "*11\n".to_owned() + &"$1\na\n".repeat(11);
    let (text, closes) = told_with(Some("secret"), &many);
    assert!(text.contains("invalid multibulk length (before AUTH)") && closes, "{text}");
}

/// Of two keys in two slots neither is touched; in a transaction the others are executed.
#[test]
fn commands_on_two_keys_that_are_atomic_want_one_slot() {
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\n";
    for line in ["MSETNX a 1 b 2", "RENAME a b", "RENAMENX a b", "COPY a b"] {
        let (told, _) = told(&format!("SET a v\n{line}\nGET a\nGET b\n"));
        assert_eq!(told, format!("+OK\n{crossed}$1\nv\n$-1\n"), "{line}");
    }
    let (told, _) = told(
        "MSETNX {s}a 1 {s}b 2\nRENAME {s}a {s}c\nCOPY {s}b {s}a\nMGET {s}a {s}b {s}c\n\
         MULTI\nRENAME a b\nDELIFEQ {s}a 2\nMSETNX x 1\nEXEC\n",
    );
    assert_eq!(
        told,
        format!(
            ":1\n+OK\n:1\n*3\n$1\n2\n$1\n2\n$1\n1\n\
             +OK\n+QUEUED\n+QUEUED\n+QUEUED\n*3\n{crossed}:1\n:1\n"
        )
    );
}

#[test]
fn subcommands_are_checked_before_anything_is_asked() {
    let (told, _) = told(
        "OBJECT HELP\nOBJECT ENCODING\nCLIENT NOSUCH\nMEMORY USAGE k\nSET k 12\n\
         OBJECT ENCODING k\nCOMMAND COUNT\n",
    );
    let head = "*13\n+OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\n";
    assert!(told.starts_with(head), "{told}");
    let rest = "-ERR wrong number of arguments for 'object|encoding' command\n\
                -ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.\n$-1\n+OK\n$3\nint\n:";
    assert!(told.contains(rest), "{told}");
}

#[test]
fn settings_change_all_together_or_not_at_all() {
    let mut node = Node::new(None);
    let (told, _) = node.told(
        "CONFIG SET maxmemory 1mb slowlog-max-len 5\nCONFIG GET maxmemory slowlog-max-len\n\
         CONFIG SET maxmemory 5 appendonly yes\nCONFIG SET maxmemory 5 maxmemory 6\n\
         CONFIG SET maxmemory lots\nCONFIG SET slowlog-max-len 99999999\nCONFIG SET nosuch 1\n\
         CONFIG SET maxmemory 5 appendonly\nCONFIG SET appendonly no\nCONFIG GET maxmemory\n",
    );
    let failed =
        |name| format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - ");
    let (memory, log) = (failed("maxmemory"), failed("slowlog-max-len"));
    assert_eq!(
        told,
        format!(
            "+OK\n*4\n$9\nmaxmemory\n$7\n1048576\n$15\nslowlog-max-len\n$1\n5\n\
             {}can't set immutable config\n{memory}duplicate parameter\n\
             {memory}argument must be a memory value\n\
             {log}argument must be between 0 and 16384 inclusive\n\
             -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'\n\
             -ERR syntax error\n+OK\n*2\n$9\nmaxmemory\n$7\n1048576\n",
            failed("appendonly"),
        )
    );
    let (told, _) = node.told("CONFIG SET maxmemory 1\nSET k v\nSET k v\nGET k\n");
    assert!(told.contains("-OOM "), "{told}");
}

#[test]
fn a_password_set_at_run_time_is_asked_of_those_who_come_later() {
    let mut node = Node::new(None);
    assert_eq!(node.told("CONFIG SET requirepass secret\nPING\n").0, "+OK\n+PONG\n");
    let later = node.shard.accept_client(([127, 0, 0, 1], 2).into(), Door::Client);
    let (told, _) = node.told_to(later, "PING\nAUTH secret\nPING\n");
    assert_eq!(told, "-NOAUTH Authentication required.\n+OK\n+PONG\n");
}

#[test]
fn what_info_counts_begins_again() {
    let mut node = Node::new(None);
    let commands = |node: &mut Node| {
        let (told, _) = node.told("INFO stats\n");
        let line = told.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().parse::<u64>().unwrap()
    };
    node.told(&"PING\n".repeat(50));
    assert!(commands(&mut node) >= 50);
    assert_eq!(node.told("CONFIG RESETSTAT\n").0, "+OK\n");
    assert!(commands(&mut node) < 5);
    assert!(node.told("CONFIG REWRITE\n").0.starts_with("-ERR Rewriting config file: "));
}

#[test]
fn a_slow_turn_is_logged_with_its_last_command() {
    let mut node = Node::new(None);
    let took = |node: &mut Node, lines: &str, micros| {
        node.told(lines);
        node.shard.turn_took(Duration::from_micros(micros));
    };
    took(&mut node, "SET k v\n", 9_999);
    assert_eq!(node.told("SLOWLOG LEN\n").0, ":0\n");
    node.shard.turn_took(Duration::ZERO);
    took(&mut node, "CLIENT SETNAME me\nGET k\n", 10_000);
    took(&mut node, "", 20_000_000);
    took(&mut node, "GET k\n", 20_000);
    let entry = |id, micros, words| {
        format!("*6\n:{id}\n:1700000000\n:{micros}\n{words}$11\n127.0.0.1:1\n$2\nme\n")
    };
    let (last, first) = (
        entry(1, 20_000, "*2\n$3\nGET\n$1\nk\n"),
        entry(0, 10_000, "*3\n$3\nGET\n$1\nk\n$33\n(last of 2 commands in this turn)\n"),
    );
    assert_eq!(node.told("SLOWLOG GET 1\nSLOWLOG LEN\n").0, format!("*1\n{last}:2\n"));
    assert_eq!(node.told("SLOWLOG GET\n").0, format!("*2\n{last}{first}"));
    assert_eq!(node.told("SLOWLOG RESET\nSLOWLOG GET -1\n").0, "+OK\n*0\n");
    node.told("CONFIG SET slowlog-log-slower-than -1\n");
    took(&mut node, "GET k\n", 30_000_000);
    node.told("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 2\n");
    for _ in 0..5 {
        took(&mut node, "GET k\n", 1);
    }
    assert_eq!(node.told("SLOWLOG LEN\n").0, ":2\n");
}

#[test]
fn a_slow_turn_tells_what_it_ended_with_though_the_client_has_gone() {
    let mut node = Node::new(None);
    let (_, closes) = node.told("CLIENT SETNAME me\nAUTH hush\nQUIT\n");
    assert!(closes);
    node.shard.closed(node.client);
    node.shard.turn_took(Duration::from_secs(1));
    let other = node.shard.accept_client(([127, 0, 0, 1], 2).into(), Door::Client);
    let entry = "*1\n*6\n:0\n:1700000000\n:1000000\n*2\n$4\nQUIT\n\
                 $33\n(last of 3 commands in this turn)\n$11\n127.0.0.1:1\n$2\nme\n";
    assert_eq!(node.told_to(other, "SLOWLOG GET\n").0, entry);
}

#[test]
fn a_slow_turn_tells_what_a_client_ended_itself_with() {
    let mut node = Node::new(None);
    node.told("CLIENT KILL 127.0.0.1:1\n");
    node.shard.turn_took(Duration::from_secs(1));
    let other = node.shard.accept_client(([127, 0, 0, 1], 2).into(), Door::Client);
    let (told, _) = node.told_to(other, "SLOWLOG GET\n");
    assert!(told.ends_with("*1\n$11\nclient|kill\n$11\n127.0.0.1:1\n$0\n\n"), "{told}");
}

#[test]
fn a_slow_turn_does_not_tell_passwords() {
    let mut node = Node::new(Some("hush"));
    for lines in ["AUTH hush\n", "HELLO 2 AUTH default hush\n", "CONFIG SET requirepass hush\n"] {
        node.told(lines);
        node.shard.turn_took(Duration::from_secs(1));
    }
    let (told, _) = node.told("SLOWLOG GET\n");
    assert!(told.starts_with("*3\n") && !told.contains("hush"), "{told}");
}

#[test]
fn a_node_that_other_machines_reach_keeps_a_password() {
    let mut node = Node::new(Some("hush"));
    node.shard.set_doors(Doors { clients_max: 77, open: true });
    let (told, _) = node.told("AUTH hush\nCONFIG SET requirepass \"\"\nCONFIG GET maxclients\n");
    assert_eq!(
        told,
        "+OK\n-ERR CONFIG SET failed (possibly related to argument 'requirepass') - other \
         machines reach this node: it needs a password\n*2\n$10\nmaxclients\n$2\n77\n"
    );
    node.shard.set_doors(Doors::default());
    assert_eq!(node.told("CONFIG SET requirepass \"\"\n").0, "+OK\n");
}

#[test]
fn paused_clients_wait_and_lose_nothing() {
    let mut node = Node::new(None);
    let other = node.shard.accept_client(([127, 0, 0, 1], 2).into(), Door::Client);
    let lines = "SET k 1\nCLIENT PAUSE 1000 WRITE\nGET k\nMULTI\nGET k\nEXEC\nINCR k\nGET k\n";
    let read = "+OK\n+OK\n$1\n1\n+OK\n+QUEUED\n*1\n$1\n1\n";
    assert_eq!(node.told(lines).0, read);
    let (reader, _) = node.told_to(other, "GET k\nNOSUCH\nCLIENT PAUSE 500 ALL\nPING\n");
    assert!(reader.starts_with("$1\n1\n-ERR unknown ") && reader.ends_with("\n+OK\n"), "{reader}");
    // The longer pause holds.
    node.wait(999);
    assert_eq!(node.told_to(other, "GET k\n").0, "");
    assert_eq!(node.shard.deadline(), Moment(1) + Duration::from_secs(1));
    node.wait(1);
    let (other_told, _) = node.told_to(other, "");
    assert!(other_told.starts_with("+PONG\n$1\n"), "{other_told}");
    assert_eq!(node.told("").0, ":2\n$1\n2\n");
    node.told("CLIENT PAUSE 1000 WRITE\n");
    assert_eq!(node.told_to(other, "INCR k\n").0, "");
    assert_eq!(node.told("CLIENT UNPAUSE\n").0, "+OK\n");
    assert_eq!(node.told_to(other, "").0, ":3\n");
    let wrong = "CLIENT PAUSE x\nCLIENT PAUSE -1\nCLIENT PAUSE 3600001\nCLIENT PAUSE 1 FOO\n";
    assert_eq!(
        node.told(wrong).0,
        "-ERR timeout is not an integer or out of range\n-ERR timeout is negative\n\
         -ERR timeout of 3600001 ms; at most 3600000 are taken\n\
         -ERR CLIENT PAUSE mode must be WRITE or ALL\n"
    );
}

#[test]
fn shutdown_ends_the_connection_and_asks_the_node_to_leave() {
    for line in ["SHUTDOWN\n", "shutdown nosave now force\n"] {
        let mut node = Node::new(None);
        assert_eq!(node.told(&format!("PING\n{line}PING\n")), ("+PONG\n".into(), true));
        assert_eq!(node.shard.next_action(), Some(Action::Leave));
    }
    let mut node = Node::new(None);
    let refused = ["SAVE", "ABORT", "SAVE NOSAVE", "ABORT NOW", "LATER"];
    for words in refused {
        let (told, closes) = node.told(&format!("SHUTDOWN {words}\n"));
        assert!(told.starts_with("-ERR ") && !closes, "{words}: {told}");
    }
    assert_eq!(
        node.told("MULTI\nSHUTDOWN\nEXEC\n").0,
        "+OK\n-ERR Command not allowed inside a transaction\n\
         -EXECABORT Transaction discarded because of previous errors.\n"
    );
    assert_eq!(node.shard.next_action(), None);
}

#[test]
fn what_is_not_kept_is_told_as_such() {
    let (told, _) = told(
        "WAIT 1 0\nLATENCY LATEST\nLATENCY HISTORY command\nLATENCY RESET\nLATENCY HISTOGRAM\n\
         CLIENT GETREDIR\nCLIENT UNBLOCK 7\nCLIENT NO-EVICT on\nCLIENT NO-TOUCH off\n\
         CLIENT TRACKING off\nCLIENT TRACKING on\nCLIENT NO-EVICT maybe\nWAITAOF 1 0 0\n",
    );
    assert_eq!(
        told,
        ":0\n*0\n*0\n:0\n*0\n:-1\n:0\n+OK\n+OK\n+OK\n-ERR CLIENT TRACKING is not supported\n\
         -ERR syntax error\n-ERR WAITAOF cannot be used: no appendonly file is kept here\n"
    );
}

#[test]
fn clients_are_listed_by_id() {
    let mut node = Node::new(None);
    let other = node.shard.accept_client(([127, 0, 0, 1], 2).into(), Door::Client);
    let third = node.shard.accept_client(([127, 0, 0, 1], 3).into(), Door::Client);
    let id_of = |node: &mut Node, client| {
        node.told_to(client, "CLIENT ID\n").0.trim_matches([':', '\n']).to_owned()
    };
    let (other, third) = (id_of(&mut node, other), id_of(&mut node, third));
    let (told, _) = node.told(&format!("CLIENT LIST ID {other} {third} 999\n"));
    let ids: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("id=")).collect();
    assert_eq!(ids.len(), 2, "{told}");
    assert!(ids[0].starts_with(&format!("{other} ")) && ids[1].starts_with(&format!("{third} ")));
}
