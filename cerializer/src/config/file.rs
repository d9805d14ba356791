//! The configuration file: TOML, each key called as its flag. Its values go through the same
//! parser as the flags', so that both are refused in the same words.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::{Args, FromArgMatches};
use toml::{Table, Value};

use super::error::ConfigError;
use super::flags::Settings;

/// Bytes of a configuration file at most: far above the longest list of nodes, far below what
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
            || "keys are the flags of `cerializer --help`".into(),
            |word| format!("did you mean \"{word}\"?"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::ByteCount;

    fn of(text: &str) -> Result<Settings, ConfigError> {
        parse(Path::new("c.toml"), text)
    }

    fn refusal(text: &str) -> String {
        let message = of(text).unwrap_err().to_string();
        assert!(!message.contains('\n'), "one line: {message}");
        message
    }

    #[test]
    fn keys_are_flags_and_take_toml_values() {
        let settings = of("nodes = ['127.0.0.1:1', '127.0.0.1:2']\nbody-bytes-max = '1m'\n\
                           drain = 4\n");
        let expected = Settings {
            nodes: Some(vec!["127.0.0.1:1".into(), "127.0.0.1:2".into()]),
            body_bytes_max: Some(ByteCount(1 << 20)),
            drain: Some(4),
            ..Settings::default()
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn what_no_flag_takes_is_refused_with_its_place() {
        assert_eq!(
            refusal("body_bytes_max = 1"),
            "c.toml: unknown key \"body_bytes_max\": did you mean \"body-bytes-max\"?"
        );
        assert!(refusal("colour = 'red'").ends_with("keys are the flags of `cerializer --help`"));
        assert!(refusal("print-config = true").contains("unknown key \"print-config\""));
        assert!(refusal("drain = 'long'").starts_with("c.toml: invalid value 'long' for '--drain"));
        assert!(refusal("drain = 1.5").contains("key \"drain\" holds a fraction"));
        assert!(refusal("[nodes]\nx = 1").contains("key \"nodes\" holds a table"));
        assert!(refusal("drain = 4\nlisten =\n").starts_with("c.toml line 2: "));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nonexistent/c.toml")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nonexistent/c.toml: "), "{error}");
    }
}
