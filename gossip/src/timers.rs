//! The timers of one node: a fixed table of deadlines.

use piccolo_schema::time::Moment;

/// What can be due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    /// `--create` asks its seeds again, or creates.
    Ask,
    /// `--join` tries again.
    Join,
    /// The next probe; the end of the one before.
    Probe,
    /// Others are asked to probe.
    ProbeTimeout,
    /// An asker is told that its target is silent.
    Nack,
    /// A newcomer that wants a name in use is judged.
    Trial,
    /// A round of gossip.
    Gossip,
    /// The table is compared with another's.
    Exchange,
    /// A dead member and a seed are tried.
    Retry,
}

const ALL: [Timer; 9] = [
    Timer::Ask,
    Timer::Join,
    Timer::ProbeTimeout,
    Timer::Nack,
    Timer::Trial,
    Timer::Probe,
    Timer::Gossip,
    Timer::Exchange,
    Timer::Retry,
];

/// When each is due; never, if it does not run.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    due: [Moment; ALL.len()],
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self { due: [Moment::NEVER; ALL.len()] }
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Moment) {
        self.due[timer as usize] = at;
    }

    /// Sets a timer, unless it is due earlier.
    pub(crate) fn set_at_latest(&mut self, timer: Timer, at: Moment) {
        let due = &mut self.due[timer as usize];
        *due = (*due).min(at);
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.set(timer, Moment::NEVER);
    }

    pub(crate) fn next(&self) -> Moment {
        self.due.iter().copied().min().unwrap_or(Moment::NEVER)
    }

    /// A timer that is due, which then runs no more.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Timer> {
        let timer = ALL.into_iter().find(|timer| self.due[*timer as usize] <= now)?;
        self.clear(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_taken_once_when_due_and_not_before() {
        let mut timers = Timers::new();
        timers.set(Timer::Probe, Moment(10));
        timers.set_at_latest(Timer::Probe, Moment(20));
        assert_eq!((timers.next(), timers.take_due(Moment(9))), (Moment(10), None));
        assert_eq!(timers.take_due(Moment(10)), Some(Timer::Probe));
        assert_eq!((timers.next(), timers.take_due(Moment(10))), (Moment::NEVER, None));
    }
}
