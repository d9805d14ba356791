//! The settings in effect, as a configuration file that would give the same ones.

use std::fmt::Write;

use toml::Value;

use super::Config;
use super::value::ByteCount;

impl Config {
    /// As TOML, one key to a line. Secrets are not shown, only that there are some.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.entries() {
            // Writing to a String cannot fail.
            writeln!(text, "{key} = {value}").unwrap_or_default();
        }
        for (key, secret) in [("token", &self.token), ("node-password", &self.node_password)] {
            if secret.is_some() {
                writeln!(text, "# {key} is set, and not shown").unwrap_or_default();
            }
        }
        text
    }

    fn entries(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &dyn ToString| Value::String(text.to_string());
        let number = |number: u64| Value::Integer(number.cast_signed());
        vec![
            ("listen", text(&self.listen)),
            ("nodes", Value::Array(self.nodes.iter().cloned().map(Value::String).collect())),
            ("body-bytes-max", text(&ByteCount(self.body_bytes_max))),
            ("connections-max", number(self.connections_max.into())),
            ("requests-max", number(self.requests_max.into())),
            ("bodies-max", number(self.bodies_max.into())),
            ("first-byte-timeout", number(self.first_byte_timeout.as_secs())),
            ("head-timeout", number(self.head_timeout.as_secs())),
            ("idle-timeout", number(self.idle_timeout.as_secs())),
            ("body-timeout", number(self.body_timeout.as_secs())),
            ("node-timeout", number(self.node_timeout.as_secs())),
            ("drain", number(self.drain.as_secs())),
            ("log-level", text(&self.log_level.to_string().to_lowercase())),
        ]
    }
}
