//! Patterns of KEYS and SCAN.

/// Whether all of `text` matches `pattern`, by the rules of Redis: `*` any bytes, `?` any one,
/// `[a-z]` and `[^a-z]` one of or none of, `\` the next as it is. Takes at most the product of
/// both lengths, since only the last `*` is ever tried again.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    // What follows the last `*`, and where in the text it was tried.
    let mut star: Option<(&[u8], usize)> = None;
    while at < text.len() {
        if let Some((b'*', behind)) = rest.split_first() {
            if behind.is_empty() {
                return true;
            }
            star = Some((behind, at));
            rest = behind;
        } else if let Some(behind) = match_one(rest, text[at]) {
            rest = behind;
            at += 1;
        } else if let Some((behind, tried)) = star {
            star = Some((behind, tried + 1));
            (rest, at) = (behind, tried + 1);
        } else {
            return false;
        }
    }
    rest.iter().all(|byte| *byte == b'*')
}

/// The pattern behind its first element, which is no `*`, if that matches `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', behind @ ..] => Some(behind),
        [b'[', class @ ..] => match_class(class, byte),
        [b'\\', literal, behind @ ..] | [literal, behind @ ..] => {
            (*literal == byte).then_some(behind)
        }
    }
}

/// The pattern behind a class, whose `[` is taken off already, if it matches `byte`. A class that
/// does not end reaches to the end of the pattern.
fn match_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut rest) = match class {
        [b'^', behind @ ..] => (true, behind),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        let one;
        (one, rest) = match rest {
            [] => break,
            [b'\\', literal, behind @ ..] => (*literal == byte, behind),
            [b']', behind @ ..] => {
                rest = behind;
                break;
            }
            [from, b'-', to, behind @ ..] => {
                ((*from.min(to)..=*from.max(to)).contains(&byte), behind)
            }
            [literal, behind @ ..] => (*literal == byte, behind),
        };
        found |= one;
    }
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_like_those_of_redis() {
        let cases: [(&str, &str, bool); 22] = [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            (r"[\]]", "]", true),
            ("[abc", "c", true),
            ("[abc", "cd", false),
            ("[]a", "a", false),
            (r"a\", r"a\", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("a**", "a", true),
            ("[^]", "a", true),
        ];
        for (pattern, text, expected) in cases {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    /// Would take longer than the universe exists if every `*` were tried again.
    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), &b"a".repeat(5000)));
    }
}
