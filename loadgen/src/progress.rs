//! One line that says how far a run is, for people at a terminal.

use std::io::{IsTerminal as _, Write as _, stderr};

use crate::clock::{self, SECOND};

/// Writes over itself on standard error; silent if that is no terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    start: u64,
    last: (u64, u64),
}

impl Progress {
    pub(crate) fn new() -> Self {
        let now = clock::now();
        Self { shown: stderr().is_terminal(), start: now, last: (now, 0) }
    }

    /// `count` things are done by now.
    pub(crate) fn show(&mut self, count: u64, what: &str) {
        let now = clock::now();
        let (before, done) = self.last;
        // A new run begins at zero.
        let fresh = count.checked_sub(done).unwrap_or(count);
        let rate = fresh as f64 * SECOND as f64 / now.saturating_sub(before).max(1) as f64;
        self.last = (now, count);
        if self.shown {
            let seconds = (now - self.start) / SECOND;
            write(&format!("\r{seconds:4} s {rate:11.0} {what}/s {count:14} in all\x1b[K"));
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if self.shown {
            write("\r\x1b[K");
        }
    }
}

fn write(text: &str) {
    // A terminal that is gone is nobody to tell.
    stderr().write_all(text.as_bytes()).unwrap_or_default();
}
