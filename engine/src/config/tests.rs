use clap::{Command, FromArgMatches};

use super::*;

const CORES: usize = 4;

fn flags(line: &str) -> ServeFlags {
    use clap::Args;
    let command = ServeFlags::augment_args(Command::new("serve").no_binary_name(true));
    let command = command.mut_args(|flag| flag.env(None::<&str>));
    let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
    ServeFlags::from_arg_matches(&matches).unwrap()
}

fn config(line: &str) -> Config {
    Config::load(flags(line), CORES).unwrap()
}

/// The one line with which a command line is refused.
fn refusal(line: &str) -> String {
    let message = Config::load(flags(line), CORES).unwrap_err().to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

fn creating() -> StartFlags {
    StartFlags { create: Some(true), ..StartFlags::default() }
}

/// A file that is removed again.
struct Temporary(PathBuf);

impl Temporary {
    fn holding(name: &str, text: &str) -> Self {
        let name = format!("piccolo-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn defaults_listen_on_this_machine_only() {
    let config = config("--create");
    assert_eq!(config.start, Start::Create);
    assert_eq!(config.client.to_string(), "127.0.0.1:7379");
    assert_eq!(config.peer.to_string(), "127.0.0.1:7380");
    assert_eq!(config.admin.to_string(), "127.0.0.1:7381");
    assert_eq!(config.name, "127.0.0.1:7380");
    assert_eq!((config.shards.get(), &config.pin), (4, &Pin::Auto));
    assert_eq!((config.max_memory, config.value_bytes_max), (0, 64 << 20));
    assert_eq!((config.weight, config.clients_max, config.replicas), (1, 10_000, 1));
    assert_eq!(config.drain, Duration::from_secs(30));
    assert_eq!(config.down_grace, Duration::from_secs(30));
}

#[test]
fn the_name_is_the_advertised_peer_address_unless_given() {
    assert_eq!(config("--create --advertise-peer 10.0.0.7:99").name, "10.0.0.7:99");
    assert_eq!(config("--create --name anna").name, "anna");
}

#[test]
fn a_node_creates_or_joins_and_says_which() {
    assert!(refusal("").starts_with("say --create"));
    assert!(refusal("--create --join a:1").starts_with("--create and --join"));
    assert!(refusal("--create --expect 1").starts_with("--expect counts"));
    assert!(refusal("--expect 1").starts_with("--expect counts"));
    let joins = |seeds: &[&str], expect| Start::Join {
        seeds: seeds.iter().map(ToString::to_string).collect(),
        expect,
    };
    assert_eq!(config("--join a:1").start, joins(&["a:1"], None));
    assert_eq!(
        config("--join node-1.example:7380,[::1]:7380").start,
        joins(&["node-1.example:7380", "[::1]:7380"], None)
    );
}

#[test]
fn expect_is_more_than_half_of_the_list() {
    assert_eq!(
        refusal("--join a:1,b:1,c:1,d:1 --expect 2"),
        "--expect 2 is not more than half of the 4 addresses of --join: give at least 3, or two \
         halves could each create a cluster"
    );
    assert!(refusal("--join a:1 --expect 0").contains("give at least 1"));
    for line in ["--join a:1,b:1,c:1 --expect 2", "--join a:1 --expect 1"] {
        assert!(matches!(config(line).start, Start::Join { expect: Some(_), .. }), "{line}");
    }
}

#[test]
fn expect_is_at_most_the_whole_list() {
    assert_eq!(
        refusal("--join a:1,b:1,c:1 --expect 4"),
        "--expect 4 is more than the 3 addresses of --join, which is to name every node that \
         starts a cluster, this one too: give at most 3, or add those that are missing"
    );
    assert!(matches!(config("--join a:1,b:1 --expect 2").start, Start::Join { .. }));
}

#[test]
fn seeds_are_hosts_with_ports() {
    for seed in ["a", "a:0", ":7380", "a:70000", "::1:7380", "a/b:1", "http://a:1", "a:1,,b:1"] {
        assert!(refusal(&format!("--join {seed}")).contains("write HOST:PORT"), "{seed}");
    }
}

#[test]
fn names_and_zones_are_printable() {
    let long = "x".repeat(65);
    for name in ["\u{e9}", "tab\u{7f}", &long] {
        assert!(refusal(&format!("--create --name {name}")).starts_with("--name"), "{name}");
        assert!(refusal(&format!("--create --zone {name}")).starts_with("--zone"), "{name}");
    }
    let empty = Settings { start: creating(), name: Some(String::new()), ..Settings::default() };
    assert!(matches!(Config::of(empty, CORES), Err(ConfigError::BadName { .. })));
    let spaced = Settings { start: creating(), name: Some("a b".into()), ..Settings::default() };
    assert!(matches!(Config::of(spaced, CORES), Err(ConfigError::BadName { .. })));
    assert_eq!(config(&format!("--create --name {}", "x".repeat(64))).name.len(), 64);
}

#[test]
fn wide_addresses_are_refused_unless_guarded() {
    assert_eq!(
        refusal("--create --client 0.0.0.0:7379"),
        "--client 0.0.0.0:7379 is open to other machines: set --requirepass too, or listen on \
         127.0.0.1"
    );
    assert!(refusal("--create --admin 10.0.0.1:7381").contains("asks for no password"));
    let open = "--create --client 0.0.0.0:7379 --requirepass secret";
    assert_eq!(
        refusal(open),
        "--client: others cannot reach 0.0.0.0:7379: name the address that they shall use with \
         --advertise-client"
    );
    assert!(refusal("--create --peer 10.0.0.1:7380").contains("--cluster-key FILE"));
    let keyed = "--create --peer 10.0.0.1:7380 --cluster-key /etc/piccolo.key";
    assert_eq!(config(keyed).cluster_key.as_deref(), Some("/etc/piccolo.key".as_ref()));
    let peer = "--create --requirepass secret --peer [::]:7380";
    assert!(refusal(peer).contains("--advertise-peer"));
    let config = config(&format!("{open} --advertise-client 10.0.0.1:7379"));
    assert_eq!(config.requirepass.as_deref(), Some("secret"));
    assert_eq!(config.advertise_cluster_client, "10.0.0.1:7382".parse().unwrap());
    let empty =
        Settings { start: creating(), requirepass: Some(String::new()), ..Settings::default() };
    assert_eq!(Config::of(empty, CORES), Err(ConfigError::EmptyPassword));
}

#[test]
fn listeners_need_ports_of_their_own() {
    for flag in ["client", "peer", "admin", "advertise-client", "advertise-peer"] {
        let line = format!("--create --{flag} 127.0.0.1:0");
        assert!(refusal(&line).starts_with(&format!("--{flag} 127.0.0.1:0: port 0")), "{flag}");
    }
    for (one, other) in [("client", "peer"), ("client", "admin"), ("peer", "admin")] {
        let line = format!("--create --{one} 127.0.0.1:9 --{other} 127.0.0.1:9");
        assert_eq!(
            refusal(&line),
            format!("--{one} and --{other} are both 127.0.0.1:9: give each its own port")
        );
    }
    assert_eq!(
        refusal("--create --client 127.0.0.1:7001 --peer 127.0.0.1:7004"),
        "--cluster-client and --peer are both 127.0.0.1:7004: give each its own port \
         (--cluster-client is the port of --client plus 3 unless given)"
    );
}

#[test]
fn numbers_have_their_range() {
    for line in [
        "--shards 0",
        "--shards 257",
        "--weight 0",
        "--weight 101",
        "--drain 3601",
        "--down-grace 0",
        "--down-grace 3601",
        "--clients-max 0",
        "--clients-max 1000001",
        "--max-memory 512",
        "--value-bytes-max 64",
        "--value-bytes-max 65m",
    ] {
        let message = refusal(&format!("--create {line}"));
        assert!(message.starts_with(&format!("{line}: give ").replace("65m", "68157440")));
    }
    assert_eq!(config("--create --drain 0").drain, Duration::ZERO);
    assert_eq!(config("--create --max-memory 1m").max_memory, 1 << 20);
}

#[test]
fn a_core_list_fits_the_shards() {
    assert_eq!(config("--create --pin 0,2").shards.get(), 2);
    assert_eq!(config("--create --pin off --shards 7").shards.get(), 7);
    assert!(
        refusal("--create --pin 0,2 --shards 3").starts_with("--pin names 2 cores for 3 shards")
    );
    assert!(refusal("--create --pin 1,1").starts_with("--pin names core 1 twice"));
}

#[test]
fn what_is_not_built_is_refused_with_the_reason() {
    assert_eq!(
        refusal("--create --replicas 3"),
        "--replicas 3: replication comes with a later version: only 1 is built"
    );
    assert!(refusal("--create --replicas 0").starts_with("--replicas 0: "));
    assert!(refusal("--create --data-dir /tmp").starts_with("--data-dir: writing to disk comes"));
    let file = Temporary::holding("data-dir", "create = true\ndata-dir = '/tmp'\n");
    assert!(refusal(&format!("--config {}", file.0.display())).starts_with("--data-dir: "));
}

#[test]
fn flags_go_before_the_file() {
    let file = Temporary::holding("order", "create = true\nshards = 2\nweight = 5\n");
    let config = config(&format!("--shards 3 --config {}", file.0.display()));
    assert_eq!((config.shards.get(), config.weight), (3, 5));
}

/// Else a node whose file lets it create could never be told to join.
#[test]
fn who_says_how_to_start_says_it_for_all_below() {
    let create = Temporary::holding("create", "create = true\n");
    let join = Temporary::holding("join", "join = ['a:1', 'b:1', 'c:1']\nexpect = 2\n");
    let with = |line: &str, file: &Temporary| format!("{line} --config {}", file.0.display());
    let joins = |start: &Start| matches!(start, Start::Join { expect: None, .. });
    assert!(joins(&config(&with("--join d:1", &create)).start));
    assert!(joins(&config(&with("--join d:1", &join)).start), "expect counts another list");
    assert_eq!(config(&with("--create", &join)).start, Start::Create);
    let more = config(&with("--expect 3", &join)).start;
    assert!(matches!(more, Start::Join { expect: Some(3), .. }));
    let no = StartFlags { create: Some(false), ..StartFlags::default() };
    assert_eq!(no.clone().over(creating()), no);
}

#[test]
fn a_variable_that_is_no_setting_is_named() {
    let names = ["PICCOLO_SHARD", "PICCOLO_SHARDS", "PICCOLO_CONFIG", "PATH", "piccolo_x"];
    let misspelt = Settings::misspelt(names.into_iter().map(str::to_owned));
    assert_eq!(misspelt, ["PICCOLO_SHARD"]);
}

#[test]
fn every_setting_reads_its_environment_variable() {
    use clap::Args;
    let command = ServeFlags::augment_args(Command::new("serve"));
    for flag in command.get_arguments() {
        let word = flag.get_long().unwrap();
        let expected = format!("PICCOLO_{}", word.replace('-', "_").to_uppercase());
        let env = flag.get_env().map(|name| name.to_str().unwrap());
        assert_eq!(env, (word != "print-config").then_some(expected.as_str()), "{word}");
    }
}

#[test]
fn a_printed_configuration_gives_the_same_one() {
    for line in [
        "--create",
        "--join a:1,b:2,c:3 --expect 2 --name anna --client 127.0.0.1:1 --peer 127.0.0.2:2 \
         --admin 127.0.0.1:3 --advertise-client 10.0.0.1:4 --advertise-peer 10.0.0.1:5 \
         --pin 0,3 --max-memory 1500k --value-bytes-max 1m --zone r1 --weight 3 --drain 5 \
         --down-grace 6 --clients-max 7 --log-level debug",
    ] {
        let printed = config(line).to_toml();
        let file = Temporary::holding("print", &printed);
        assert_eq!(config(&format!("--config {}", file.0.display())), config(line), "{printed}");
    }
}

#[test]
fn a_printed_configuration_has_every_key_but_no_password() {
    let printed = config("--create --requirepass hush").to_toml();
    assert!(!printed.contains("hush") && printed.contains("# requirepass is set"), "{printed}");
    let both = printed + &config("--join a:1 --expect 1 --cluster-key k").to_toml();
    let hidden = ["requirepass", "data-dir"];
    for word in Settings::words().iter().filter(|word| !hidden.contains(&word.as_str())) {
        assert!(both.contains(&format!("{word} = ")), "{word}");
    }
}

/// What clap says to a line that it does not take.
fn told(line: &str) -> String {
    use clap::Args;
    let command = ServeFlags::augment_args(Command::new("serve").no_binary_name(true));
    one_line(&command.try_get_matches_from(line.split_whitespace()).unwrap_err())
}

#[test]
fn what_cannot_be_read_is_answered_with_an_example_that_can() {
    let words = Settings::words();
    let texts = ["join", "name", "zone", "requirepass", "cluster-key", "data-dir", "create"];
    for word in words.iter().filter(|word| !texts.contains(&word.as_str())) {
        for wrong in ["30s", "-1", "1.5", "x", "99999999999999999999"] {
            let message = told(&format!("--{word}={wrong}"));
            let (_, example) =
                message.rsplit_once("such as ").unwrap_or_else(|| panic!("{message}"));
            let example = example.split([' ', ';']).next().unwrap().trim_end_matches(',');
            flags(&format!("--{word}={example}"));
        }
    }
    assert_eq!(
        told("--down-grace 30s"),
        "invalid value '30s' for '--down-grace <SECONDS>': write a whole number of seconds \
         without a unit, from 1 to 3600, such as 30"
    );
}

#[test]
fn clap_is_heard_in_one_line() {
    assert_eq!(
        told("--client nowhere"),
        "invalid value 'nowhere' for '--client <ADDR>': write IP:PORT, such as 127.0.0.1:7380; \
         names are not looked up here"
    );
    assert!(told("--max-memory 10mb").ends_with("such as 1048576, 512m or 4g"));
    let typo = told("--clent 127.0.0.1:1");
    assert!(typo.starts_with("unexpected argument '--clent' found"), "{typo}");
    assert!(typo.contains("'--client'") && !typo.contains('\n'), "{typo}");
}

/// The guide names every flag with its environment variable, and no flag that does not exist.
#[test]
fn the_guide_has_every_flag() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let words: Vec<String> =
        Settings::words().into_iter().chain(["config".into(), "print-config".into()]).collect();
    for word in &words {
        let section = page.split(&format!("\n### `--{word}`\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("no section for --{word}"));
        let section = section.split("\n### ").next().unwrap();
        for part in ["Unit:", "Default:", "Reason:"] {
            assert!(section.contains(part), "--{word} has no {part}");
        }
        let variable = format!("`PICCOLO_{}`", word.replace('-', "_").to_uppercase());
        assert!(word == "print-config" || section.contains(&variable), "--{word}: {variable}");
    }
    let headings = page.lines().filter_map(|line| line.strip_prefix("### `--"));
    for heading in headings {
        let word = heading.trim_end_matches('`').to_owned();
        assert!(words.contains(&word), "--{word} is documented but does not exist");
    }
}
