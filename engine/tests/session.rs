//! What one client of one shard is told, from bytes in to bytes out: each case was a fault once.

use std::sync::Arc;

use piccolo_engine::resp::parse::Limits;
use piccolo_engine::shard::{Control, Shard, ShardConfig, Shared};
use piccolo_schema::ids::{ClusterId, NodeId};
use piccolo_schema::time::{Moment, Now, UnixMillis};

/// What a client that sends `lines`, all at once, is told, and whether it is then cut off.
fn told(lines: &str) -> (String, bool) {
    let now = Now { moment: Moment(1), wall: UnixMillis(1_700_000_000_000) };
    let shared: Arc<[Shared]> = [Shared::default()].into();
    let config = ShardConfig {
        index: 0,
        shards: 1,
        me: NodeId(1),
        password: None,
        limits: Limits::default(),
        memory_max: 0,
        shared,
    };
    let mut shard = Shard::new(config, now);
    shard.control(Control::Enter { cluster: ClusterId(7), create: true });
    let client = shard.accept_client(([127, 0, 0, 1], 1).into());
    shard.received(client, lines.replace('\n', "\r\n").as_bytes());
    for _ in 0..100 {
        shard.turn();
    }
    let told = String::from_utf8_lossy(shard.output(client)).into_owned();
    let closes = shard.sent(client, told.len());
    (told.replace("\r\n", "\n"), closes)
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
