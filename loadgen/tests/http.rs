//! The program against a small HTTP server that answers as cerializer does.

#![expect(clippy::unwrap_used, reason = "this is a test all through, its helpers included")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

type Store = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Serves `/v1/kv/{key}` until the test ends.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let store = Store::default();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let store = Arc::clone(&store);
            thread::spawn(move || talk(&stream, &store));
        }
    });
    address
}

/// Answers requests until the client closes.
fn talk(mut stream: &TcpStream, store: &Store) -> Option<()> {
    let mut input = BufReader::new(stream);
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let mut words = line.split(' ');
        let (verb, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut length = 0;
        loop {
            let mut head = String::new();
            input.read_line(&mut head).ok()?;
            if head == "\r\n" {
                break;
            }
            if let Some(text) = head.to_lowercase().strip_prefix("content-length: ") {
                length = text.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).ok()?;
        let key = path.strip_prefix("/v1/kv/")?.split('?').next()?.to_owned();
        let reply = act(&verb, &key, body, &mut *store.lock().ok()?);
        stream.write_all(&reply).ok()?;
    }
}

fn act(verb: &str, key: &str, body: Vec<u8>, keys: &mut BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let empty = |status: &str| format!("HTTP/1.1 {status}\r\n\r\n").into_bytes();
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}".to_vec();
    match verb {
        "PUT" if keys.insert(key.to_owned(), body).is_none() => {
            b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_vec()
        }
        "PUT" => empty("204 No Content"),
        "DELETE" if keys.remove(key).is_some() => empty("204 No Content"),
        "GET" if keys.contains_key(key) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", keys[key].len());
            [head.as_bytes(), &keys[key]].concat()
        }
        _ => missing,
    }
}

#[track_caller]
fn json(words: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let out = command.args(words).args(["--format", "json"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn keys_are_put_and_got_over_connections_that_stay() {
    let url = format!("http://{}", serve());
    let load = ["load", &url, "--keys", "500", "-c", "4", "--value-size", "1..9000"];
    assert_eq!(json(&load)["operations"], 500);
    for (pipeline, ttl) in [("1", "0"), ("8", "60")] {
        let run = ["run", &url, "--keys", "500", "-c", "4", "-P", pipeline, "--ttl", ttl];
        let report = json(&[&run[..], &["--requests", "3000"]].concat());
        let counts = (&report["operations"], &report["misses"], &report["errors"]["total"]);
        assert_eq!(counts, (&3000.into(), &0.into(), &0.into()), "{report}");
        assert_eq!(report["errors"]["disconnects"], 0);
    }
    let run = ["run", &url, "--keys", "500", "--ratio", "get=1,del=1", "--requests", "3000"];
    let report = json(&run);
    assert!(report["misses"].as_u64().unwrap() > 0 && report["errors"]["total"] == 0, "{report}");
}

#[test]
fn a_target_that_accepts_and_never_answers_ends_a_run_with_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let out = command.args(["run", &url, "-c", "1", "--requests", "10"]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{told}");
    assert!(told.contains("no answer came"), "{told}");
}

#[test]
fn verify_finds_nothing_in_an_honest_gateway() {
    let url = format!("http://{}", serve());
    let report = json(&["verify", &url, "--duration", "1s", "--keys", "100", "-c", "4"]);
    for count in ["lost", "stale", "corrupt", "errors", "unknown"] {
        assert_eq!(report[count], 0, "{report}");
    }
    assert!(report["acknowledged"].as_u64().unwrap() > 0);
}
