//! Which path is what.

use bytes::Bytes;
use piccolo_schema::limits::KEY_BYTES_MAX;

use super::percent::{self, BadPercent};

/// In front of every key.
const KV: &str = "/v1/kv/";

/// A path that is served.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Route {
    /// `/v1/kv/{key}`
    Kv,
    /// `/v1/keys`
    Keys,
    /// `/v1/cluster/members`
    Members,
    /// `/v1/cluster/prometheus-sd`
    Discovery,
    /// `/metrics`
    Metrics,
    /// `/livez`
    Live,
    /// `/readyz`
    Ready,
    /// Anything else.
    None,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 8] = [
        Self::Kv,
        Self::Keys,
        Self::Members,
        Self::Discovery,
        Self::Metrics,
        Self::Live,
        Self::Ready,
        Self::None,
    ];

    /// The route of `path`.
    pub fn of(path: &str) -> Self {
        // Without a slash, too: an empty key is a better guess than another path.
        if path.starts_with(KV) || path == "/v1/kv" {
            return Self::Kv;
        }
        match path {
            "/v1/keys" => Self::Keys,
            "/v1/cluster/members" => Self::Members,
            "/v1/cluster/prometheus-sd" => Self::Discovery,
            "/metrics" => Self::Metrics,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            _ => Self::None,
        }
    }

    /// The path with the key left open: what metrics are labelled with.
    pub fn template(self) -> &'static str {
        match self {
            Self::Kv => "/v1/kv/{key}",
            Self::Keys => "/v1/keys",
            Self::Members => "/v1/cluster/members",
            Self::Discovery => "/v1/cluster/prometheus-sd",
            Self::Metrics => "/metrics",
            Self::Live => "/livez",
            Self::Ready => "/readyz",
            Self::None => "other",
        }
    }

    /// The methods it takes, as `Allow` lists them.
    pub fn allow(self) -> &'static str {
        if self == Self::Kv { "GET, HEAD, PUT, DELETE" } else { "GET, HEAD" }
    }

    /// Whether it answers without a token: what supervisors and load balancers ask.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Live | Self::Ready)
    }
}

/// Why a path names no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadKey {
    /// Nothing behind `/v1/kv/`.
    #[error("the key is empty: write /v1/kv/KEY")]
    Empty,
    /// Longer than `limits::KEY_BYTES_MAX`.
    #[error("the key has {bytes} bytes: at most {KEY_BYTES_MAX} are taken")]
    TooLong {
        /// Bytes, decoded.
        bytes: usize,
    },
    /// A broken escape.
    #[error("the key is not percent-encoded: {0}")]
    Percent(#[from] BadPercent),
}

/// The key that `path`, of [`Route::Kv`], names: everything behind `/v1/kv/`, percent-decoded.
///
/// # Errors
///
/// It is empty, longer than `limits::KEY_BYTES_MAX`, or not percent-encoded.
pub fn key(path: &str) -> Result<Bytes, BadKey> {
    let text = path.strip_prefix(KV).unwrap_or_default();
    let key = percent::decode(text.as_bytes())?;
    match key.len() {
        0 => Err(BadKey::Empty),
        bytes if bytes > KEY_BYTES_MAX => Err(BadKey::TooLong { bytes }),
        _ => Ok(Bytes::copy_from_slice(&key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_route() {
        for route in Route::ALL {
            assert_eq!(Route::of(route.template()), route);
        }
        for path in ["", "/", "/v1", "/v1/kvx", "/v1/keys/", "*", "/metrics/x"] {
            assert_eq!(Route::of(path), Route::None, "{path}");
        }
        assert_eq!(Route::of("/v1/kv"), Route::Kv);
    }

    #[test]
    fn the_key_is_everything_behind_the_prefix() {
        for (path, bytes) in [
            ("/v1/kv/a", &b"a"[..]),
            ("/v1/kv/a/b//c", b"a/b//c"),
            ("/v1/kv//", b"/"),
            ("/v1/kv/..", b".."),
            ("/v1/kv/%2Fa%00%ff", b"/a\0\xff"),
            ("/v1/kv/a+b", b"a+b"),
        ] {
            assert_eq!(key(path).unwrap(), bytes, "{path}");
        }
        assert_eq!(key("/v1/kv/"), Err(BadKey::Empty));
        assert_eq!(key("/v1/kv"), Err(BadKey::Empty));
        assert!(matches!(key("/v1/kv/%4"), Err(BadKey::Percent(_))));
        let long = format!("/v1/kv/{}", "k".repeat(KEY_BYTES_MAX + 1));
        assert_eq!(key(&long), Err(BadKey::TooLong { bytes: KEY_BYTES_MAX + 1 }));
        assert_eq!(key(&long[..long.len() - 1]).unwrap().len(), KEY_BYTES_MAX);
    }
}
