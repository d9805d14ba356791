//! `If-Match` and `If-None-Match` (RFC 9110, 13.1), and which of them the store can check itself.

use hyper::header::{HeaderMap, IF_MATCH, IF_NONE_MATCH};
use piccolo_schema::kv::Condition;

use super::tag::{BadTags, Compare, Tags, parse};

/// The condition that holds only as long as `current` stays what it is.
pub fn unchanged(current: Option<u64>) -> Condition {
    current.map_or(Condition::Absent, Condition::Version)
}

/// Both headers of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    matches: Option<Tags>,
    none_match: Option<Tags>,
}

impl Conditions {
    /// The conditions in `headers`.
    ///
    /// # Errors
    ///
    /// The name of the header that is no list of entity tags.
    pub fn of(headers: &HeaderMap) -> Result<Self, (&'static str, BadTags)> {
        let read = |name: &'static str, header, compare| {
            parse(headers.get_all(header), compare).map_err(|error| (name, error))
        };
        Ok(Self {
            matches: read("If-Match", IF_MATCH, Compare::Strong)?,
            none_match: read("If-None-Match", IF_NONE_MATCH, Compare::Weak)?,
        })
    }

    /// The same as one condition. `None` if that takes a look first: lists of versions, both
    /// headers together, or `If-None-Match` with versions.
    pub fn single(&self) -> Option<Condition> {
        match (&self.matches, &self.none_match) {
            (None, None) => Some(Condition::Always),
            (Some(Tags::Any), None) => Some(Condition::Present),
            (None, Some(Tags::Any)) => Some(Condition::Absent),
            (Some(Tags::Versions(versions)), None) => match versions.as_slice() {
                [version] => Some(Condition::Version(*version)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether `If-Match` holds for what is there now; `None` for no key.
    pub fn match_holds(&self, current: Option<u64>) -> bool {
        self.matches.as_ref().is_none_or(|tags| tags.cover(current))
    }

    /// Whether `If-None-Match` holds for what is there now; `None` for no key.
    pub fn none_match_holds(&self, current: Option<u64>) -> bool {
        !self.none_match.as_ref().is_some_and(|tags| tags.cover(current))
    }
}

impl Tags {
    fn cover(&self, current: Option<u64>) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Versions(versions), Some(version)) => versions.contains(&version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn met(condition: Condition, current: Option<u64>) -> bool {
        match condition {
            Condition::Always => true,
            Condition::Absent => current.is_none(),
            Condition::Present => current.is_some(),
            Condition::Version(version) => current == Some(version),
        }
    }

    fn of(lines: &[(&'static str, &str)]) -> Result<Conditions, (&'static str, BadTags)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        Conditions::of(&headers)
    }

    const ONE: &str = "\"0000000000000001\"";
    const TWO: &str = "\"0000000000000001\", \"0000000000000002\"";

    #[test]
    fn single_conditions_are_for_the_store_to_check() {
        let single = |lines: &[(&'static str, &str)]| of(lines).unwrap().single();
        assert_eq!(single(&[]), Some(Condition::Always));
        assert_eq!(single(&[("if-match", "*")]), Some(Condition::Present));
        assert_eq!(single(&[("if-none-match", "*")]), Some(Condition::Absent));
        assert_eq!(single(&[("if-match", ONE)]), Some(Condition::Version(1)));
        assert_eq!(single(&[("if-match", TWO)]), None);
        assert_eq!(single(&[("if-match", "\"foreign\"")]), None);
        assert_eq!(single(&[("if-none-match", ONE)]), None);
        assert_eq!(single(&[("if-match", ONE), ("if-none-match", "*")]), None);
    }

    #[test]
    fn a_broken_header_is_named() {
        assert_eq!(of(&[("if-match", "1")]), Err(("If-Match", BadTags)));
        assert_eq!(of(&[("if-none-match", "1")]), Err(("If-None-Match", BadTags)));
    }

    fn tags() -> impl Strategy<Value = Option<Tags>> {
        prop_oneof![
            Just(None),
            Just(Some(Tags::Any)),
            prop::collection::vec(1_u64..5, 0..4).prop_map(|list| Some(Tags::Versions(list))),
        ]
    }

    proptest! {
        #[test]
        fn one_condition_means_what_the_headers_mean(
            matches in tags(), none_match in tags(), current in prop::option::of(1_u64..5),
        ) {
            let conditions = Conditions { matches, none_match };
            let holds = conditions.match_holds(current) && conditions.none_match_holds(current);
            if let Some(single) = conditions.single() {
                prop_assert_eq!(met(single, current), holds);
            }
            prop_assert!(met(unchanged(current), current));
        }
    }
}
