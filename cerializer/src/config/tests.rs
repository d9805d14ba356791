use clap::{CommandFactory, FromArgMatches};

use super::*;

fn flags(line: &str) -> Flags {
    let command = Flags::command().no_binary_name(true).mut_args(|flag| flag.env(None::<&str>));
    let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
    Flags::from_arg_matches(&matches).unwrap()
}

fn config(line: &str) -> Config {
    Config::load(flags(line)).unwrap()
}

fn refusal(line: &str) -> String {
    let message = Config::load(flags(line)).unwrap_err().to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

#[test]
fn defaults_listen_on_this_machine_only() {
    let config = config("");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.nodes, ["127.0.0.1:7379"]);
    assert_eq!((config.body_bytes_max, config.connections_max), (64 << 20, 10_000));
    assert_eq!(config.drain, Duration::from_secs(30));
    assert!(config.node_timeout > Duration::from_secs(5));
}

#[test]
fn an_address_open_to_others_needs_a_token() {
    let open = "--listen 0.0.0.0:8080";
    assert!(refusal(open).contains("set --token too"));
    assert!(refusal("--listen [::]:8080").contains("set --token too"));
    assert_eq!(config(&format!("{open} --token t")).token.as_deref(), Some("t"));
}

#[test]
fn what_is_out_of_range_is_named_with_its_flag() {
    for (line, named) in [
        ("--listen 127.0.0.1:0", "--listen"),
        ("--nodes nowhere", "--nodes"),
        ("--nodes a:1,b", "\"b\""),
        ("--body-bytes-max 10", "--body-bytes-max 10"),
        ("--body-bytes-max 65m", "--body-bytes-max"),
        ("--connections-max 0", "--connections-max 0"),
        ("--idle-timeout 0", "--idle-timeout 0"),
        ("--drain 3601", "--drain 3601"),
        ("--node-timeout 5", "--node-timeout 5"),
    ] {
        assert!(refusal(line).contains(named), "{line}: {}", refusal(line));
    }
    let empty = Flags {
        settings: Settings { token: Some(String::new()), ..Settings::default() },
        ..Flags::default()
    };
    assert!(Config::load(empty).unwrap_err().to_string().contains("--token"));
}

#[test]
fn what_is_printed_gives_the_same_configuration_without_secrets() {
    let config = config("--nodes a:1,b:2 --token hush --body-bytes-max 1m --log-level debug");
    let printed = config.to_toml();
    assert!(!printed.contains("hush") && printed.contains("# token is set"), "{printed}");
    let file = std::env::temp_dir().join(format!("cerializer-{}.toml", std::process::id()));
    std::fs::write(&file, &printed).unwrap();
    let again = Config::load(flags(&format!("--config {} --token hush", file.display())));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(again, Ok(config));
    let secrets = ["token", "node-password"];
    for word in Settings::words().iter().filter(|word| !secrets.contains(&word.as_str())) {
        assert!(printed.contains(&format!("{word} = ")), "{word}");
    }
}

/// Each flag has its row in the guide, and each row its flag.
#[test]
fn the_guide_has_every_flag() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/rest.md");
    let page = std::fs::read_to_string(page).unwrap();
    let words = [Settings::words(), vec!["config".into(), "print-config".into()]].concat();
    for word in &words {
        assert!(page.contains(&format!("| `--{word}` |")), "no row for --{word}");
    }
    for row in page.lines().filter_map(|line| line.strip_prefix("| `--")) {
        let word = row.split('`').next().unwrap_or_default().to_owned();
        assert!(words.contains(&word), "--{word} is documented but does not exist");
    }
}
