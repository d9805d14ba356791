//! The house rules, as tests: what a reviewer would otherwise have to remember.
//!
//! Every rule reads the files that git tracks, so a file counts from the commit that adds it.

#![expect(clippy::unwrap_used, reason = "this is a test all through, its helpers included")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Columns of a line of code at most, the same as in `rustfmt.toml`.
const LINE_COLUMNS_MAX: usize = 100;
/// Lines of a file at most, inline tests left out. A longer one has swallowed a second noun.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function at most, its signature and closing brace included.
const FUNCTION_LINES_MAX: usize = 70;

/// Who may depend on whom inside the workspace: the picture in `docs/architecture.md`.
const ARROWS: &[(&str, &[&str])] = &[
    ("piccolo-schema", &[]),
    ("piccolo-ring", &["piccolo-schema"]),
    ("piccolo-gossip", &["piccolo-schema"]),
    ("piccolo-client", &["piccolo-schema"]),
    ("piccolo-engine", &["piccolo-schema", "piccolo-ring", "piccolo-gossip"]),
    ("piccolo-cerializer", &["piccolo-schema", "piccolo-client"]),
    ("piccolo-loadgen", &["piccolo-schema", "piccolo-client"]),
    (
        "piccolo-tests",
        &["piccolo-schema", "piccolo-ring", "piccolo-gossip", "piccolo-client", "piccolo-engine"],
    ),
    ("piccolo-loom", &[]),
];

/// The only files in which `unsafe` may stand, each for one idea.
const UNSAFE_FILES: &[&str] = &["engine/src/store/raw.rs"];

/// Where code is pure: no clock, no socket, no thread. The rest of `engine` is its driver.
const PURE: &[&str] = &[
    "schema/src/",
    "ring/src/",
    "gossip/src/",
    "engine/src/store/",
    "engine/src/resp/",
    "engine/src/command/",
    "engine/src/shard/",
    "engine/src/node/",
    "engine/src/keyspace.rs",
];

/// What pure code may not name.
const IMPURE: &[&str] = &[
    "mio::",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::{Tcp",
    "std::net::{Udp",
    "std::os::unix::net",
    "std::thread",
    "std::fs",
    "std::process",
    "std::env",
    "socket2",
    "tokio",
    "hyper::",
    "core_affinity",
    "signal_hook",
    "Instant::now",
    "SystemTime",
];

#[test]
fn the_arrows_between_crates_hold() {
    let metadata = cargo_metadata();
    let mut wrong = String::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some((_, allowed)) = ARROWS.iter().find(|(package, _)| *package == name) else {
            writeln!(wrong, "{name}: not in ARROWS; say there whom it may depend on").unwrap();
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let inside = dependency["path"].is_string();
            if inside && !allowed.contains(&on) {
                writeln!(wrong, "{name} -> {on}: this arrow does not exist").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn pure_crates_depend_on_nothing_that_does_io() {
    let metadata = cargo_metadata();
    let driver = ["mio", "socket2", "tokio", "hyper", "hyper-util", "core_affinity", "signal-hook"];
    let pure = ["piccolo-schema", "piccolo-ring", "piccolo-gossip"];
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if !pure.contains(&name) {
            continue;
        }
        seen += 1;
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            assert!(!driver.contains(&on), "{name} is pure and may not depend on {on}");
        }
    }
    assert_eq!(seen, pure.len(), "a pure crate changed its name");
}

#[test]
fn text_is_ascii() {
    report(&tracked(), |path, text| {
        let licence = path.starts_with("LICENSE");
        text.lines()
            .enumerate()
            .filter_map(|(at, line)| {
                let odd = line.chars().find(|c| !c.is_ascii() && !licence)?;
                Some((at + 1, format!("{odd:?} is not ASCII")))
            })
            .collect()
    });
}

#[test]
fn lines_of_code_fit() {
    let code: Vec<Tracked> =
        tracked().into_iter().filter(|file| file.is(&["rs", "capnp", "sh", "py"])).collect();
    report(&code, |path, text| {
        let generated = path.contains("/generated/");
        text.lines()
            .enumerate()
            .filter_map(|(at, line)| {
                let columns = line.chars().count();
                let long = columns > LINE_COLUMNS_MAX && !generated;
                long.then(|| (at + 1, format!("{columns} columns, at most {LINE_COLUMNS_MAX}")))
            })
            .collect()
    });
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in halves so that this file does not accuse itself.
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK")];
    report(&tracked(), |_, text| {
        text.lines()
            .enumerate()
            .filter_map(|(at, line)| {
                let mark = marks.iter().find(|mark| has_word(line, mark))?;
                Some((at + 1, format!("{mark}: do it now, or file an issue")))
            })
            .collect()
    });
}

#[test]
fn unsafe_stands_only_where_it_is_listed() {
    let word = concat!("un", "safe");
    report(&product(), |path, text| {
        let allowed = UNSAFE_FILES.contains(&path);
        code_lines(text)
            .filter_map(|(at, line)| {
                let found = !allowed && has_word(line, word);
                found
                    .then(|| (at, format!("{word} outside of UNSAFE_FILES in tests/cases/tidy.rs")))
            })
            .collect()
    });
}

#[test]
fn pure_code_names_no_io() {
    let pure: Vec<Tracked> = product()
        .into_iter()
        .filter(|file| PURE.iter().any(|start| file.path.starts_with(start)) && !file.is_test())
        .collect();
    assert!(pure.len() > 10, "the list PURE no longer matches the tree");
    report(&pure, |_, text| {
        code_lines(without_tests(text))
            .filter_map(|(at, line)| {
                let name = IMPURE.iter().find(|name| line.contains(*name))?;
                Some((at, format!("{name} in pure code; it belongs to engine/src/io")))
            })
            .collect()
    });
}

#[test]
fn mio_is_known_to_io_alone() {
    let elsewhere: Vec<Tracked> = product()
        .into_iter()
        .filter(|file| file.path.starts_with("engine/src/") && !file.path.contains("/io/"))
        .collect();
    report(&elsewhere, |_, text| {
        code_lines(text)
            .filter_map(|(at, line)| {
                let name = ["mio::", "socket2::"].into_iter().find(|name| line.contains(name))?;
                Some((at, format!("{name} outside of engine/src/io")))
            })
            .collect()
    });
}

#[test]
fn files_stay_small() {
    let code: Vec<Tracked> = rust().into_iter().filter(|file| !file.is_test()).collect();
    report(&code, |_, text| {
        let lines = without_tests(text).lines().count();
        let long = lines > FILE_LINES_MAX;
        long.then(|| (lines, format!("{lines} lines without tests, at most {FILE_LINES_MAX}")))
            .into_iter()
            .collect()
    });
}

#[test]
fn functions_stay_small() {
    report(&rust(), |_, text| {
        functions(text)
            .into_iter()
            .filter_map(|(at, name, lines)| {
                let long = lines > FUNCTION_LINES_MAX;
                long.then(|| {
                    (at, format!("{name} has {lines} lines, at most {FUNCTION_LINES_MAX}"))
                })
            })
            .collect()
    });
}

#[test]
fn links_in_documents_resolve() {
    let root = root();
    let pages: Vec<Tracked> = tracked().into_iter().filter(|file| file.is(&["md"])).collect();
    report(&pages, |path, text| {
        let folder = root.join(path).parent().unwrap().to_path_buf();
        links(text)
            .into_iter()
            .filter_map(|(at, link)| {
                let outside = link.contains("://") || link.starts_with("mailto:");
                let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
                let target =
                    if file.is_empty() { root_page(&folder, path) } else { folder.join(file) };
                if outside || (target.exists() && has_anchor(&target, anchor)) {
                    return None;
                }
                Some((at, format!("link to {link} leads nowhere")))
            })
            .collect()
    });
}

#[test]
fn every_document_is_reached_from_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let journal = fs::read_to_string(root().join("docs/journal/README.md")).unwrap();
    for file in tracked() {
        let Some(page) = file.path.strip_prefix("docs/") else { continue };
        let name = page.strip_prefix("journal/").unwrap_or(page);
        let known = index.contains(page) || journal.contains(name);
        assert!(known || page.ends_with("README.md"), "no index names {}", file.path);
    }
}

#[test]
fn the_checks_themselves_see_what_they_look_for() {
    assert!(has_word("    // XYZ: later", "XYZ") && !has_word("    aXYZ", "XYZ"));
    let text =
        "fn one() {\n    two();\n}\n\n    fn three(\n        a: u8,\n    ) {\n        b\n    }\n";
    let found = functions(text);
    assert_eq!(found, [(1, "one".to_owned(), 3), (5, "three".to_owned(), 5)]);
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\n"), "a\n");
    assert_eq!(links("a [b](c.md) d\n[e](f#g)"), [(1, "c.md".to_owned()), (2, "f#g".to_owned())]);
    assert_eq!(code_lines("// a\nb // c\n").collect::<Vec<_>>(), [(2, "b ")]);
    assert_eq!(anchor_of("Must show: the `ring`"), "must-show-the-ring");
}

/// A file under version control, by its path from the root.
#[derive(Clone)]
struct Tracked {
    path: String,
}

impl Tracked {
    fn is(&self, endings: &[&str]) -> bool {
        let ending = Path::new(&self.path).extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| endings.contains(&ending))
    }

    /// Whether the whole file is tests: a module `tests`, or a case of its own.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every tracked file that is text and still exists.
fn tracked() -> Vec<Tracked> {
    let list = Command::new("git").args(["ls-files"]).current_dir(root()).output().unwrap();
    assert!(list.status.success(), "git ls-files: {}", String::from_utf8_lossy(&list.stderr));
    let list = String::from_utf8(list.stdout).unwrap();
    let binary = ["png", "svg", "lock", "bin", "gz"];
    let files: Vec<Tracked> = list
        .lines()
        .map(|path| Tracked { path: path.to_owned() })
        .filter(|file| !file.is(&binary) && root().join(&file.path).exists())
        .collect();
    assert!(!files.is_empty(), "git lists no file");
    files
}

/// The Rust files that people wrote.
fn rust() -> Vec<Tracked> {
    tracked().into_iter().filter(|f| f.is(&["rs"]) && !f.path.contains("/generated/")).collect()
}

/// The Rust files of the product: its tests, benches and examples left out.
fn product() -> Vec<Tracked> {
    let aside = ["tests/cases/", "/benches/", "/examples/", "tests/fuzz/"];
    rust().into_iter().filter(|file| !aside.iter().any(|part| file.path.contains(part))).collect()
}

/// Fails with one line for each finding of `check`, as `path:line: what`.
fn report(files: &[Tracked], check: impl Fn(&str, &str) -> Vec<(usize, String)>) {
    let root = root();
    let mut wrong = String::new();
    for file in files {
        let text = fs::read_to_string(root.join(&file.path)).unwrap();
        for (line, what) in check(&file.path, &text) {
            writeln!(wrong, "{}:{line}: {what}", file.path).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// The part of `text` in front of its inline tests.
fn without_tests(text: &str) -> &str {
    match text.find("\n#[cfg(test)]\nmod ") {
        Some(at) => &text[..=at],
        None => text,
    }
}

/// Lines with code in them, numbered from one, comments cut off.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(at, line)| {
        let code = line.find("//").map_or(line, |comment| &line[..comment]);
        (!code.trim().is_empty()).then_some((at + 1, code))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part);
        let after = line[at + word.len()..].chars().next().is_some_and(part);
        !before && !after
    })
}

/// Line, name and length of every function in formatted Rust. Nested ones count by themselves.
fn functions(text: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let closes = |line: &&str| line.trim_end() == end || line.trim_end() == format!("{end},");
        let one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
        let length = if one_line { 1 } else { body_lines(&lines[at..], indent, closes) };
        found.push((at + 1, name, length));
    }
    found
}

/// Lines up to the one that closes a function, or to the `;` of one without a body.
fn body_lines(lines: &[&str], indent: usize, closes: impl Fn(&&str) -> bool) -> usize {
    let open = lines.iter().position(|line| line.trim_end().ends_with('{'));
    let bodiless = lines.iter().position(|line| {
        line.trim_end().ends_with(';') && line.len() - line.trim_start().len() <= indent
    });
    match (open, bodiless) {
        (Some(open), Some(end)) if end < open => end + 1,
        (None, end) => end.map_or(1, |end| end + 1),
        _ => lines.iter().position(closes).map_or(lines.len(), |end| end + 1),
    }
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let mut word = words.next()?;
    while word.starts_with("pub") || ["const", "async", "unsafe", "extern"].contains(&word) {
        word = words.next()?;
    }
    if word != "fn" {
        return None;
    }
    let name: String =
        words.next()?.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// Line and target of every inline link of a Markdown page, code blocks left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (at, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        let parts = line.split("](").skip(1).filter(|_| !fenced);
        found.extend(parts.filter_map(|part| Some((at + 1, part.split_once(')')?.0.to_owned()))));
    }
    found
}

fn root_page(folder: &Path, path: &str) -> PathBuf {
    folder.join(Path::new(path).file_name().unwrap())
}

/// Whether the page has a heading whose anchor is `anchor`; any page has the empty one.
fn has_anchor(page: &Path, anchor: &str) -> bool {
    if anchor.is_empty() || page.extension().is_none_or(|ending| ending != "md") {
        return true;
    }
    let text = fs::read_to_string(page).unwrap();
    text.lines()
        .any(|line| line.starts_with('#') && anchor_of(line.trim_matches(['#', ' '])) == anchor)
}

/// The anchor that a heading gets: lower case, punctuation dropped, spaces turned to hyphens.
fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_ascii_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn cargo_metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> =
        packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert!(names.contains("piccolo-schema"), "the metadata names no crate of ours: {names:?}");
    metadata
}
