//! The settings in effect, as a configuration file that would give the same ones.

use std::fmt::Write;

use toml::Value;

use super::value::ByteCount;
use super::{Config, Start};

impl Config {
    /// As TOML, one key to a line. The password is not shown, only that there is one.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.entries() {
            // Writing to a String cannot fail.
            writeln!(text, "{key} = {value}").unwrap_or_default();
        }
        if let Some(file) = &self.cluster_key {
            let file = Value::String(file.display().to_string());
            writeln!(text, "cluster-key = {file}").unwrap_or_default();
        }
        if self.requirepass.is_some() {
            text.push_str("# requirepass is set, and not shown\n");
        }
        text
    }

    fn entries(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &dyn ToString| Value::String(text.to_string());
        let number = |number: u64| Value::Integer(number.cast_signed());
        let mut entries = match &self.start {
            Start::Create => vec![("create", Value::Boolean(true))],
            Start::Join { seeds, expect } => {
                let seeds = seeds.iter().cloned().map(Value::String).collect();
                let expect = expect.map(|count| ("expect", number(count as u64)));
                [("join", Value::Array(seeds))].into_iter().chain(expect).collect()
            }
        };
        entries.extend([
            ("name", text(&self.name)),
            ("client", text(&self.client)),
            ("cluster-client", text(&self.cluster_client)),
            ("peer", text(&self.peer)),
            ("admin", text(&self.admin)),
            ("advertise-client", text(&self.advertise_client)),
            ("advertise-cluster-client", text(&self.advertise_cluster_client)),
            ("advertise-peer", text(&self.advertise_peer)),
            ("shards", number(self.shards.get().into())),
            ("pin", text(&self.pin)),
            ("replicas", number(self.replicas.into())),
            ("max-memory", text(&ByteCount(self.max_memory))),
            ("value-bytes-max", text(&ByteCount(self.value_bytes_max as u64))),
            ("zone", text(&self.zone)),
            ("weight", number(self.weight.into())),
            ("drain", number(self.drain.as_secs())),
            ("down-grace", number(self.down_grace.as_secs())),
            ("clients-max", number(self.clients_max.into())),
            ("log-level", text(&self.log_level.to_string().to_lowercase())),
        ]);
        entries
    }
}
