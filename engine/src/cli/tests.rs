use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::http::{self, percent_encoded};
use super::*;
use crate::admin::status::{MemberState, MemberStatus, RangeStatus, ShardStatus, SlotRangeStatus};
use crate::admin::{AdminHandle, AdminRequest, Metrics, Requests, Status, View, start};
use crate::shard::Shared;

const SHORT: Duration = Duration::from_millis(50);

fn ask(admin: &str, output: Output) -> AskFlags {
    AskFlags { admin: admin.into(), output }
}

fn status() -> Status {
    let member = |name: &str, client: &str| MemberStatus {
        name: name.into(),
        id: format!("id of {name}"),
        state: MemberState::Alive,
        peer: "p".into(),
        client: client.into(),
        cluster_client: "127.0.0.1:1".into(),
        admin: "127.0.0.1:1".into(),
        zone: String::new(),
        weight: 1,
        shards: 2,
    };
    Status {
        cluster: Some("c1".into()),
        majority: true,
        name: "anna".into(),
        id: "id of anna".into(),
        members: vec![member("anna", "c1"), member("ben", "c2")],
        ring: vec![RangeStatus { first: 0, last: 16383, owners: vec!["anna".into()] }],
        ring_digest: "d".into(),
        slots: vec![SlotRangeStatus { first: 0, last: 16383, leader: Some("ben".into()) }],
        shards: vec![ShardStatus { slots_led: 3, ..ShardStatus::default() }],
        ..Status::default()
    }
}

/// A node's admin listener that shows `status` and does nothing else.
fn node(status: Status) -> (String, AdminHandle, Arc<Requests>) {
    let (address, handle, requests, _) = changing_node(status);
    (address, handle, requests)
}

/// The same, and the view in which something else can be shown.
fn changing_node(status: Status) -> (String, AdminHandle, Arc<Requests>, Arc<View>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(Requests::new(|| {}));
    let view = Arc::new(View::new(status));
    let metrics = Metrics::new(Arc::clone(&view), [Shared::default()].into());
    let handle = start(listener, Arc::clone(&view), Arc::clone(&requests), metrics).unwrap();
    (address, handle, requests, view)
}

/// Somebody who answers the first connection with `bytes` and closes it.
fn stranger(bytes: Vec<u8>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = move || {
        let (mut stream, _) = listener.accept().unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
        // The other side may have had enough before the end.
        stream.write_all(&bytes).unwrap_or_default();
    };
    (address, std::thread::spawn(answer))
}

/// An address at which nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn shown(run: impl FnOnce(&mut dyn Write) -> Result<(), CliError>) -> String {
    let mut out = Vec::new();
    run(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let address = nobody();
    let error = members::run(&ask(&address, Output::Table), &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot reach a node at {address}: connection refused (is it running? use --admin \
             ADDR)"
        )
    );
    assert_eq!(error.exit_code(), 1);
    let error = http::exchange("GET", "no address", "/", SHORT).unwrap_err();
    assert!(matches!(error, CliError::Unreachable { closed: false, .. }), "{error}");
}

#[test]
fn silence_is_not_waited_for_longer_than_patience() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = http::exchange("GET", &address, "/", SHORT).unwrap_err();
    assert!(error.to_string().contains("no answer in time"), "{error}");
}

#[test]
fn a_stranger_is_no_node() {
    for answer in [
        "",
        "-ERR unknown command\r\n",
        "HTTP/1.1 200 OK\r\n\r\nno length",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhtml",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nhtml",
    ] {
        let (address, thread) = stranger(answer.into());
        let error = members::run(&ask(&address, Output::Table), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, CliError::NotANode { .. }), "{answer:?}: {error}");
        thread.join().unwrap();
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let (address, thread) = stranger(vec![b'x'; 17 << 20]);
    let error = http::exchange("GET", &address, "/", http::PATIENCE).unwrap_err();
    assert!(error.to_string().contains("more than 16777216 bytes"), "{error}");
    thread.join().unwrap();
}

#[test]
fn a_refusal_is_told_in_the_nodes_words() {
    let (address, _handle, _requests) = node(status());
    let error = http::get::<Status>(&address, "/nowhere", http::PATIENCE).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{address} refused with status 404: no such path: /nowhere")
    );
}

#[test]
fn members_are_listed() {
    let (address, _handle, _requests) = node(status());
    let table = shown(|out| members::run(&ask(&address, Output::Table), out));
    assert_eq!(
        table,
        "NAME  STATE  CLIENT  PEER  ADMIN        SHARDS  WEIGHT  ZONE  ID\n\
         anna  alive  c1      p     127.0.0.1:1  2       1       -     id of anna\n\
         ben   alive  c2      p     127.0.0.1:1  2       1       -     id of ben\n"
    );
    let json = shown(|out| members::run(&ask(&address, Output::Json), out));
    assert_eq!(serde_json::from_str::<Vec<MemberStatus>>(&json).unwrap(), status().members);
}

#[test]
fn the_ring_is_shown_for_people_and_programs() {
    let (address, _handle, _requests) = node(status());
    let table = shown(|out| ring::run(&ask(&address, Output::Table), out));
    assert!(table.ends_with(
        "   NODE  STATE  SHARE     SLOTS LED  KEYS\n\
         A  anna  alive  100.00 %  0          -\n\
         B  ben   alive  0.00 %    16384      -\n"
    ));
    let json = shown(|out| ring::run(&ask(&address, Output::Json), out));
    let view: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(view["nodes"][1]["slots_led"], 16384);
    assert_eq!(view["ranges"][0]["owners"][0], "anna");
}

#[test]
fn a_key_of_any_bytes_is_located() {
    let (address, _handle, _requests) = node(status());
    let locate = |key: &[u8], output| {
        use std::os::unix::ffi::OsStringExt;
        let key = std::ffi::OsString::from_vec(key.to_vec());
        let flags = locate::LocateFlags { key, ask: ask(&address, output) };
        shown(|out| locate::run(flags, out))
    };
    assert_eq!(
        locate(b"foo", Output::Table),
        "KEY  SLOT   LEADER  CLIENT  SHOULD BE\nfoo  12182  ben     c2      anna\n"
    );
    let json = locate(b"{foo}&key=\xff %\n", Output::Json);
    let located: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&located["slot"], &located["client"]), (&12182.into(), &"c2".into()));
    assert_eq!(percent_encoded(b"a-z &\xff"), "a-z%20%26%FF");
}

#[test]
fn removing_is_watched_until_the_node_says_so() {
    let mut with_dead = status();
    with_dead.members[1].state = MemberState::Dead;
    let (address, _handle, requests) = node(with_dead);
    let remove = |name: &str, output| {
        let ask = ask(&address, output);
        let flags = remove::RemoveFlags { name: name.into(), force: false, ask };
        let mut out = Vec::new();
        remove::run(&flags, &mut out).map(|()| String::from_utf8(out).unwrap())
    };
    let refused = remove("anna", Output::Table).unwrap_err().to_string();
    assert!(refused.contains("anna is not dead"), "{refused}");
    assert_eq!(requests.pop(), None);
    // Nobody takes the request here.
    let error = remove("ben", Output::Table).unwrap_err().to_string();
    assert_eq!(error, "ben is not removed after 5 seconds: see the node's log");
    assert_eq!(requests.pop(), Some(AdminRequest::Remove("ben".into())));
}

/// The member that was to be removed answers after all, or another life of it comes in.
#[test]
fn a_member_that_comes_back_is_not_called_removed() {
    for (id, expected) in [
        ("id of ben", Err("ben is not removed: it has come back just now")),
        ("another", Ok("ben is removed\n")),
    ] {
        let mut shown = status();
        shown.members[1].id = "id of ben".into();
        shown.members[1].state = MemberState::Dead;
        shown.majority = false;
        let (address, _handle, requests, view) = changing_node(shown.clone());
        let reactor = std::thread::spawn(move || {
            while requests.pop().is_none() {
                std::thread::yield_now();
            }
            shown.members[1].id = id.into();
            shown.members[1].state = MemberState::Alive;
            view.publish(shown);
        });
        let ask = ask(&address, Output::Table);
        let flags = remove::RemoveFlags { name: "ben".into(), force: true, ask };
        let mut out = Vec::new();
        let result = remove::run(&flags, &mut out).map_err(|error| error.to_string());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(result.map(|()| text), expected.map(Into::into).map_err(Into::into));
        reactor.join().unwrap();
    }
}

#[test]
fn leaving_is_watched_until_the_node_has_gone() {
    let lost = "anna has ended, and 3 slots were not handed over: keys of which no other node has \
                a copy are lost (its log says why)";
    for (shards, expected) in [(Vec::new(), Ok(())), (status().shards, Err(lost.to_owned()))] {
        let (address, handle, requests) = node(Status { shards, ..status() });
        // The reactor's part: it takes the request, and the process ends.
        let reactor = std::thread::spawn(move || {
            while requests.pop().is_none() {
                std::thread::yield_now();
            }
            handle.stop();
        });
        let flags = leave::LeaveFlags { ask: ask(&address, Output::Table), wait: 60 };
        let mut out = Vec::new();
        let result = leave::run(&flags, &mut out).map_err(|error| error.to_string());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.ends_with("anna has left\n"), result.is_ok(), "{text}");
        assert_eq!(result, expected);
        reactor.join().unwrap();
    }
}

#[test]
fn leaving_that_takes_longer_says_how_far_it_is() {
    let (address, _handle, _requests) = node(status());
    let flags = leave::LeaveFlags { ask: ask(&address, Output::Json), wait: 0 };
    let error = leave::run(&flags, &mut Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "anna has still 3 slots to hand over after 0 seconds; it goes on by itself (see \
         `piccolo members`)"
    );
}

/// Whoever removes a member should know beforehand when it is refused, and what is lost.
#[test]
fn the_help_of_remove_says_what_is_lost() {
    let mut cli = Cli::command();
    let help = cli.find_subcommand_mut("remove").unwrap().render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [
        "Refused while the member lives",
        "whose only copy it had begin anew at once, empty",
        "Make sure first that it does not run",
        "all its keys are lost with it",
    ] {
        assert!(help.contains(text), "{text}: {help}");
    }
}
