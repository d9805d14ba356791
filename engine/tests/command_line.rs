//! The program `piccolo` as its user calls it.
#![expect(clippy::unwrap_used, reason = "what a test runs into fails it")]

use std::net::TcpListener;
use std::process::{Command, Output};

fn piccolo(arguments: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_piccolo"));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("PICCOLO_") {
            command.env_remove(variable);
        }
    }
    let environment = environment.iter().copied();
    command.args(arguments.split_whitespace()).envs(environment).output().unwrap()
}

/// What it says when it ends with exit code 2: one line on standard error, nothing else.
fn refusal(arguments: &str, environment: &[(&str, &str)]) -> String {
    let output = piccolo(arguments, environment);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments}: {text}");
    assert!(output.stdout.is_empty(), "{arguments}");
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    text.strip_prefix("piccolo: ").unwrap().trim_end().to_owned()
}

fn printed(arguments: &str, environment: &[(&str, &str)]) -> String {
    let output = piccolo(&format!("serve --print-config {arguments}"), environment);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_wrong_ends_it_with_one_line_and_code_2() {
    assert!(refusal("serve", &[]).starts_with("say --create"));
    assert!(refusal("serve --create --data-dir x", &[]).starts_with("--data-dir: "));
    assert!(refusal("serve --create --replicas 3", &[]).contains("only 1 is built"));
    assert!(refusal("serve --create --shards x", &[]).starts_with("invalid value 'x'"));
    assert_eq!(
        refusal("serve --clent x", &[]),
        "unexpected argument '--clent' found; a similar argument exists: '--client' (see `piccolo \
         serve --help`)"
    );
    assert!(refusal("serve --create", &[("PICCOLO_WEIGHT", "0")]).starts_with("--weight 0: give"));
    assert!(refusal("serve", &[("PICCOLO_CREATE", "perhaps")]).contains("--create"));
    assert!(refusal("serve --config /nonexistent", &[]).starts_with("cannot read /nonexistent: "));
    assert!(refusal("locate", &[]).contains("<KEY>"));
    assert!(refusal("dev --nodes 33", &[]).contains("1..=32"));
    assert!(refusal("dev --base-port 65535", &[]).starts_with("--base-port 65535: 3 nodes need"));
}

#[test]
fn a_wrong_command_line_is_told_where_help_is() {
    for (line, help) in [
        ("serve --shards x", "piccolo serve --help"),
        ("dev --nodes 33", "piccolo dev --help"),
        ("locate", "piccolo locate --help"),
        ("members -o xml", "piccolo members --help"),
        ("bogus", "piccolo --help"),
        ("--bogus serve", "piccolo --help"),
    ] {
        let text = refusal(line, &[]);
        assert!(text.ends_with(&format!(" (see `{help}`)")), "{text}");
    }
}

#[test]
fn what_is_no_admin_address_is_refused_before_anybody_is_asked() {
    for command in ["members", "ring", "locate k", "leave"] {
        for address in ["", "nowhere", ":7381", "localhost:0", "http://127.0.0.1:7381"] {
            let text = refusal(&format!("{command} --admin={address}"), &[]);
            assert!(text.contains("'--admin <ADDR>'"), "{text}");
        }
    }
    assert!(refusal("members", &[("PICCOLO_ADMIN", "nowhere")]).contains("write HOST:PORT"));
    assert!(refusal("members --admin", &[]).contains("'--admin <ADDR>'"));
}

#[test]
fn environment_stands_between_file_and_flags() {
    let file = std::env::temp_dir().join(format!("piccolo-line-{}.toml", std::process::id()));
    std::fs::write(&file, "create = true\nweight = 2\nshards = 2\ndrain = 2\n").unwrap();
    let environment = [
        ("PICCOLO_CONFIG", file.to_str().unwrap()),
        ("PICCOLO_WEIGHT", "3"),
        ("PICCOLO_SHARDS", "3"),
    ];
    let text = printed("--shards 4", &environment);
    std::fs::remove_file(&file).unwrap();
    for line in ["create = true", "drain = 2", "weight = 3", "shards = 4"] {
        assert!(text.lines().any(|printed| printed == line), "{line} in {text}");
    }
}

#[test]
fn without_a_command_it_shows_them() {
    let output = piccolo("", &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for command in ["serve", "dev", "members", "ring", "locate", "leave"] {
        assert!(text.contains(&format!("\n  {command} ")), "{command} in {text}");
    }
    assert!(piccolo("--help", &[]).status.success());
    assert_eq!(piccolo("--version", &[]).stdout.get(..8), Some(&b"piccolo "[..]));
}

#[test]
fn dev_names_the_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let base_port = address.port() - 2;
    // The two ports before may be anybody's: then it names one of those.
    let text = refusal(&format!("dev --nodes 1 --base-port {base_port}"), &[]);
    assert!(text.starts_with("address in use: 127.0.0.1:"), "{text}");
    assert!(text.ends_with(" (another Redis or Piccolo? use --base-port)"), "{text}");
}

#[test]
fn a_question_to_nobody_ends_with_code_1() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for command in ["members", "ring", "locate k", "leave"] {
        let output = piccolo(&format!("{command} --admin {nobody}"), &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {text}");
        assert!(text.contains("connection refused (is it running? use --admin ADDR)"), "{text}");
    }
}
