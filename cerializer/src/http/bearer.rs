//! The token of `Authorization: Bearer` (RFC 6750, 2.1).

use hyper::header::{AUTHORIZATION, HeaderMap};

/// Whether `headers` carry `token`, compared in a time that does not tell how much of it fits.
pub fn carries(headers: &HeaderMap, token: &str) -> bool {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let given = line.as_bytes().split_at_checked(7);
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case(b"bearer ") && same(given.trim_ascii(), token.as_bytes())
    })
}

/// Looks at every byte, wherever the first difference is. The length is no secret.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0 && one.len() == other.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, line.parse().unwrap());
        }
        carries(&headers, "secret")
    }

    #[test]
    fn the_token_alone_opens() {
        assert!(carried(&["Bearer secret"]) && carried(&["bearer  secret "]));
        for line in
            ["secret", "Basic secret", "Bearer", "Bearer secre", "Bearer secrets", "Bearer x"]
        {
            assert!(!carried(&[line]), "{line}");
        }
        assert!(!carried(&[]) && !carried(&["Bearer secret", "Bearer secret"]));
    }
}
