//! Every example of the guide does what the guide says: its pages are read, and their commands run.
//!
//! `docs/guide/rest.md` has a case of its own, where cerializer is.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::process::{MARK, folder, piccolo, run_well};
use crate::harness::{Admin, Process, until};

/// How long something of the guide may take to be ready, or to end.
const LIMIT: Duration = Duration::from_mins(2);

/// The examples of a page: every line between fences, continued lines joined, comments behind two
/// spaces cut off.
fn examples(page: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    let text = fs::read_to_string(root.join("docs/guide").join(page)).expect("read the page");
    let (mut found, mut inside, mut open) = (Vec::<String>::new(), false, false);
    for line in text.replace("\\\n", " ").lines() {
        if line.starts_with("```") {
            inside = !inside;
            open = inside && line == "```";
        } else if inside && open {
            let command = line.split("  ").next().unwrap_or(line);
            // A continued line begins with spaces of its own.
            let command = if line.starts_with("piccolo serve") { line } else { command };
            found.push(command.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    found.retain(|command| !command.is_empty());
    found
}

/// Runs a command as a shell would, with our programs in its path.
fn shell(command: &str, folder: &Path) -> Command {
    let programs = piccolo().parent().map(PathBuf::from).expect("a program has a folder");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {command}")]).env("PATH", path).env(MARK, folder);
    shell.current_dir(folder);
    shell
}

/// The admin address in a command line.
fn admin(command: &str) -> Admin {
    let address = command.split_once("--admin ").and_then(|(_, rest)| rest.split(' ').next());
    let address: Option<SocketAddr> = address.and_then(|address| address.parse().ok());
    Admin(address.expect("the example names its admin address"))
}

#[test]
fn a_new_user_gets_on_by_the_guide() {
    let folder = folder("guide");
    let examples = examples("getting-started.md");
    let with = |start: &str| -> Vec<&String> {
        examples.iter().filter(|line| line.starts_with(start)).collect()
    };

    assert_eq!(with("cargo build --release").len(), 1);
    assert_eq!(with("target/release/piccolo dev").len(), 1);
    let mut dev = Process::start("dev", shell("piccolo dev", &folder), &folder);
    until(LIMIT, "dev is ready", || {
        let said = dev.printed();
        if said.contains("Ctrl-C ends it.") { Ok(()) } else { Err(said) }
    });
    let tries = [with("redis-cli"), with("curl http://127.0.0.1:8080")].concat();
    assert!(tries.len() >= 4, "{examples:?}");
    for command in tries {
        let said = run_well(&mut shell(command, &folder));
        let expected = ["OK", "good day", "greeting"];
        assert!(expected.iter().any(|text| said.starts_with(text)), "{command} said {said}");
    }
    dev.signal_group("INT");
    assert!(dev.wait(LIMIT).success(), "{}", dev.printed());

    let mut nodes = Vec::new();
    for command in with("piccolo serve") {
        if command.ends_with("...") {
            continue;
        }
        let name = format!("node-{}", nodes.len());
        nodes.push(Process::start(&name, shell(command, &folder), &folder));
        until(LIMIT, &format!("{name} is ready"), || admin(command).ready());
    }
    assert_eq!(nodes.len(), 2, "{examples:?}");
    let looks = ["piccolo members", "piccolo ring", "piccolo locate", "curl http://127.0.0.1:7013"];
    let looks = looks.map(with).concat();
    assert_eq!(looks.len(), 5, "{examples:?}");
    for command in looks {
        let said = run_well(&mut shell(command, &folder));
        assert!(!said.trim().is_empty(), "{command} said nothing");
    }
    for command in with("piccolo leave") {
        run_well(&mut shell(command, &folder));
    }
    let left = nodes.pop().map(|mut node| node.wait(LIMIT));
    assert!(left.is_some_and(|status| status.success()));
}

#[test]
fn the_file_of_the_guide_is_read() {
    let folder = folder("guide-file");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent");
    let text = fs::read_to_string(root.join("docs/guide/configuration.md")).unwrap();
    let (_, rest) = text.split_once("```toml\n").expect("a file");
    let (file, _) = rest.split_once("```").expect("the end of the file");
    let path = folder.join("piccolo.toml");
    fs::write(&path, file).unwrap();
    let command = format!("piccolo serve --config {} --print-config", path.display());
    let said = run_well(&mut shell(&command, &folder));
    for wanted in ["name = \"anna\"", "max-memory = \"4g\"", "expect = 2"] {
        assert!(said.contains(wanted), "{said}");
    }
}
