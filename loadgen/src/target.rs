//! What is measured: a protocol and an address.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

/// A target as given on the command line, e.g. `resp://127.0.0.1:7379`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    /// `host:port` as given.
    pub(crate) authority: String,
}

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Redis' protocol, to this one address.
    Resp,
    /// Redis' protocol, each key to the node that CLUSTER SLOTS names.
    RespCluster,
    /// cerializer's REST.
    Http,
    /// Piccolo's native protocol.
    Native,
}

impl Target {
    /// The first address that the name resolves to.
    pub(crate) fn resolve(&self) -> Result<SocketAddr, String> {
        let mut found = self.authority.to_socket_addrs().map_err(|error| {
            format!("cannot resolve {}: {error}; check the name of the host", self.authority)
        })?;
        found.next().ok_or_else(|| format!("{} has no address", self.authority))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || {
            format!(
                "{text:?} is no target: give resp://HOST:PORT, resp+cluster://HOST:PORT, \
                 http://HOST:PORT or capnp://HOST:PORT"
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(shape)?;
        let kind = SCHEMES.iter().find(|(name, _)| *name == scheme).ok_or_else(shape)?.1;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or_else(shape)?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(shape());
        }
        Ok(Self { kind, authority: authority.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = SCHEMES.iter().find(|(_, kind)| *kind == self.kind).map_or("", |s| s.0);
        write!(f, "{scheme}://{}", self.authority)
    }
}

const SCHEMES: [(&str, Kind); 4] = [
    ("resp", Kind::Resp),
    ("resp+cluster", Kind::RespCluster),
    ("http", Kind::Http),
    ("capnp", Kind::Native),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_printed_alike() {
        for text in ["resp://h:1", "resp+cluster://[::1]:65535", "http://a.b:80", "capnp://h:2"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("http://h:80/".parse::<Target>().unwrap().authority, "h:80");
    }

    #[test]
    fn what_is_no_target_says_what_to_give() {
        for text in ["", "h:1", "redis://h:1", "resp://h", "resp://:1", "resp://h:65536"] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains("resp://HOST:PORT"), "{error}");
        }
    }
}
