//! Whether `Accept` asks for JSON (RFC 9110, 12.5.1).

use hyper::header::{ACCEPT, HeaderMap};

const JSON: &str = "application/json";

/// Whether the value is wanted in its JSON envelope: `application/json` is named, and nothing that
/// is named is wanted more. `*/*` names nothing, so that curl gets the value as it is.
pub fn wants_json(headers: &HeaderMap) -> bool {
    let (mut json, mut other) = (0, 0);
    for line in headers.get_all(ACCEPT) {
        // A line with odd bytes in it names no type that we could give.
        for range in line.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().unwrap_or_default();
            let quality = parts.find_map(quality).unwrap_or(1000);
            if named.eq_ignore_ascii_case(JSON) {
                json = json.max(quality);
            } else if !named.is_empty() && !named.contains('*') {
                other = other.max(quality);
            }
        }
    }
    json > 0 && json >= other
}

/// Thousandths that `q=0.5` says; what is no number counts as nothing wanted.
fn quality(parameter: &str) -> Option<u32> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let number: f32 = value.trim().parse().unwrap_or(0.0);
    Some((number.clamp(0.0, 1.0) * 1000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(lines: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT, line.parse().unwrap());
        }
        wants_json(&headers)
    }

    #[test]
    fn json_is_given_to_who_names_it() {
        for line in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json, text/plain, */*",
            "text/html;q=0.5, application/json;q=0.9",
        ] {
            assert!(wants(&[line]), "{line}");
        }
        assert!(wants(&["text/html;q=0.1", "application/json"]));
    }

    #[test]
    fn everybody_else_gets_the_bytes() {
        for line in [
            "*/*",
            "",
            "application/*",
            "text/html",
            "application/json;q=0",
            "application/json;q=x",
            "text/html, application/json;q=0.9",
            "application/jsonx",
        ] {
            assert!(!wants(&[line]), "{line}");
        }
        assert!(!wants(&[]));
    }
}
