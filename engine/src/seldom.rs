//! What is said now and then only, since others decide how often there is cause to.

use std::time::Duration;

use piccolo_schema::time::Moment;

/// Time between two such lines in the log.
pub(crate) const EVERY: Duration = Duration::from_mins(1);

/// When something was said last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seldom {
    said: Option<Moment>,
}

impl Seldom {
    /// Whether it may be said now; notes that it is.
    pub(crate) fn may(&mut self, now: Moment) -> bool {
        let may = self.said.is_none_or(|said| now.since(said) >= EVERY);
        if may {
            self.said = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute() {
        let (mut seldom, start) = (Seldom::default(), Moment(5));
        let said = (0..180).filter(|second| seldom.may(start + Duration::from_secs(*second)));
        assert_eq!(said.collect::<Vec<_>>(), [0, 60, 120]);
    }
}
