//! The `Host` of a request, for doors without a token: a page in a browser can have a name of its
//! own point to this machine ("DNS rebinding"), but it cannot have another name in `Host`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `host`, with or without a port, is an IP address or `localhost`.
pub fn is_literal(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let inside = rest.split_once(']');
        return inside.is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.parse::<Ipv4Addr>().is_ok() || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_told_from_addresses() {
        for host in
            ["127.0.0.1", "127.0.0.1:8080", "[::1]:8080", "[::1]", "localhost:80", "LocalHost"]
        {
            assert!(is_literal(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[x]", "["]
        {
            assert!(!is_literal(host), "{host}");
        }
    }
}
