//! That each claim of `gossip/ALGORITHM.md` has its tests, by name.

use std::fs;
use std::path::{Path, PathBuf};

const GOSSIP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gossip");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/membership");

#[test]
fn every_claim_names_tests_that_exist() {
    let text = fs::read_to_string(Path::new(GOSSIP).join("ALGORITHM.md")).unwrap();
    let claims = claims(&text);
    // The letters that claims are numbered by, so that none is overlooked for its spelling.
    for letter in ["I", "F", "N", "K"] {
        assert!(claims.iter().any(|(number, _)| number.starts_with(letter)), "no claim {letter}");
    }
    let cases = sources(CASES);
    for (number, claim) in claims {
        let names = tests_named(claim);
        assert!(!names.is_empty(), "{number} names no test");
        for name in names {
            let (file, test) = name.split_once("::").map_or((None, name), |(f, t)| (Some(f), t));
            let beside = file.map(|file| Path::new(GOSSIP).join(format!("src/{file}.rs")));
            let sources = beside.map_or_else(|| cases.clone(), |path| vec![path]);
            assert!(sources.iter().any(|path| has_test(path, test)), "{number}: no test {name}");
        }
    }
}

/// Each claim with its number, up to the next one or the next heading.
fn claims(text: &str) -> Vec<(&str, &str)> {
    let mut claims = Vec::new();
    for part in text.split("\n**").skip(1) {
        let Some((number, rest)) = part.split_once(".**") else { continue };
        claims.push((number, rest.split("\n#").next().unwrap_or(rest)));
    }
    claims
}

/// The names in backquotes between square brackets.
fn tests_named(claim: &str) -> Vec<&str> {
    let lists = claim.split('[').skip(1).filter_map(|list| list.split(']').next());
    lists.flat_map(|list| list.split('`').skip(1).step_by(2)).collect()
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the cases");
    entries.map(|entry| entry.expect("a case").path()).filter(|path| path.is_file()).collect()
}

fn has_test(path: &Path, name: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let of_name = format!("fn {name}(");
    let mut before = text.split(of_name.as_str());
    let behind_attribute = before.next().is_some_and(|text| text.trim_end().ends_with("#[test]"));
    behind_attribute && before.next().is_some()
}
