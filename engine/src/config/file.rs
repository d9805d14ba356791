//! The configuration file: TOML, each key called as its flag. Its values go through the same
//! parser as the flags', so that both are refused in the same words.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::{Args, FromArgMatches};
use toml::{Table, Value};

use super::error::ConfigError;
use super::flags::Settings;

/// Bytes of a configuration file at most: far above the longest list of seeds, far below what
/// would hurt if `--config` named the wrong file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the settings in `file`.
///
/// # Errors
///
/// A file that cannot be read or is no TOML, and the first key or value that no flag takes.
pub fn read(file: &Path) -> Result<Settings, ConfigError> {
    let mut text = String::new();
    File::open(file)
        .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| ConfigError::Unreadable {
        file: file.to_owned(),
        reason: error.to_string(),
    })?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::FileTooLong { file: file.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    parse(file, &text)
}

/// Parses the `text` of `file`.
fn parse(file: &Path, text: &str) -> Result<Settings, ConfigError> {
    let table: Table = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        ConfigError::NotToml {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            reason: error.message().replace('\n', " "),
        }
    })?;
    let known = Settings::words();
    let mut flags = Vec::new();
    for (key, value) in &table {
        if !known.contains(key) {
            return Err(unknown(file, key, &known));
        }
        flags.extend(as_flag(file, key, value)?);
    }
    let command = Settings::augment_args(clap::Command::new("config").no_binary_name(true));
    command
        .mut_args(|flag| flag.env(None::<&str>))
        .try_get_matches_from(flags)
        .and_then(|matches| Settings::from_arg_matches(&matches))
        .map_err(|error| ConfigError::BadValue {
            file: file.to_owned(),
            reason: super::one_line(&error),
        })
}

/// A key and its value as a flag; nothing for `false`, which is how a switch is left out.
fn as_flag(file: &Path, key: &str, value: &Value) -> Result<Option<String>, ConfigError> {
    let wrong = |found| ConfigError::WrongKind { file: file.to_owned(), key: key.into(), found };
    let text = match value {
        Value::Boolean(false) => return Ok(None),
        Value::Boolean(true) => return Ok(Some(format!("--{key}"))),
        Value::Array(list) => {
            let texts: Option<Vec<String>> = list.iter().map(scalar).collect();
            texts.ok_or_else(|| wrong("a list of lists or tables"))?.join(",")
        }
        Value::Table(_) => return Err(wrong("a table")),
        Value::Float(_) => return Err(wrong("a fraction")),
        Value::Datetime(_) => return Err(wrong("a date")),
        Value::String(_) | Value::Integer(_) => scalar(value).unwrap_or_default(),
    };
    Ok(Some(format!("--{key}={text}")))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn unknown(file: &Path, key: &str, known: &[String]) -> ConfigError {
    let plain = key.replace('_', "-").to_lowercase();
    let similar = known.iter().find(|word| {
        **word == plain || plain.len() > 2 && (word.starts_with(&plain) || plain.starts_with(*word))
    });
    ConfigError::UnknownKey {
        file: file.to_owned(),
        key: key.into(),
        hint: similar.map_or_else(
            || "keys are the flags of `piccolo serve --help`".into(),
            |word| format!("did you mean \"{word}\"?"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::StartFlags;
    use crate::config::value::{ByteCount, Pin};

    fn of(text: &str) -> Result<Settings, ConfigError> {
        parse(Path::new("p.toml"), text)
    }

    fn refusal(text: &str) -> String {
        let message = of(text).unwrap_err().to_string();
        assert!(!message.contains('\n'), "one line: {message}");
        message
    }

    #[test]
    fn keys_are_flags_and_take_toml_values() {
        let settings = of("join = ['a:1', 'b:2']\nshards = 4\nmax-memory = '2g'\npin = [0, 2]\n\
                           create = false\nvalue-bytes-max = 1048576\n");
        let join = Some(vec!["a:1".into(), "b:2".into()]);
        let expected = Settings {
            start: StartFlags { join, ..StartFlags::default() },
            shards: Some(4),
            max_memory: Some(ByteCount(2 << 30)),
            value_bytes_max: Some(ByteCount(1 << 20)),
            pin: Some(Pin::Cores(vec![0, 2])),
            ..Settings::default()
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file() {
        assert_eq!(
            refusal("max_memory = 1"),
            "p.toml: unknown key \"max_memory\": did you mean \"max-memory\"?"
        );
        assert_eq!(
            refusal("colour = 'red'"),
            "p.toml: unknown key \"colour\": keys are the flags of `piccolo serve --help`"
        );
        assert!(refusal("print-config = true").contains("unknown key \"print-config\""));
    }

    #[test]
    fn a_value_is_refused_in_the_words_of_its_flag() {
        let message = refusal("shards = 'many'");
        assert!(
            message.starts_with("p.toml: invalid value 'many' for '--shards <N>'"),
            "{message}"
        );
        assert!(refusal("create = 'yes'").starts_with("p.toml: unexpected value 'yes'"));
    }

    #[test]
    fn a_value_of_another_kind_is_refused() {
        assert!(refusal("[shards]\nx = 1").contains("key \"shards\" holds a table"));
        assert!(refusal("shards = 1.5").contains("key \"shards\" holds a fraction"));
        assert!(refusal("name = 2026-01-01").contains("key \"name\" holds a date"));
        assert!(refusal("join = [['a:1']]").contains("key \"join\" holds a list of lists"));
    }

    #[test]
    fn what_is_no_toml_is_named_with_its_line() {
        assert!(refusal("shards = 4\nname =\n").starts_with("p.toml line 2: "));
        assert!(refusal("shards = 4\nshards = 5\n").starts_with("p.toml line 2: "));
    }

    #[test]
    fn a_file_that_is_missing_or_too_long_is_refused() {
        let missing = PathBuf::from("/nonexistent/p.toml");
        let error = read(&missing).unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
        assert!(error.to_string().starts_with("cannot read /nonexistent/p.toml: "), "{error}");

        let long = std::env::temp_dir().join(format!("piccolo-long-{}.toml", std::process::id()));
        std::fs::write(&long, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        let error = read(&long).unwrap_err();
        std::fs::remove_file(&long).unwrap();
        assert!(matches!(error, ConfigError::FileTooLong { .. }), "{error}");
    }
}
