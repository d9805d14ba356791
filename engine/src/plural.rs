//! One thing, or many: the words of a text that go with a number.

/// The number, and the words for one or those for more.
pub(crate) fn counted(count: usize, one: &str, more: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let told = [0, 1, 2].map(|count| counted(count, "member is gone", "members are gone"));
        assert_eq!(told, ["0 members are gone", "1 member is gone", "2 members are gone"]);
    }
}
