//! Wakes a poll at a moment, finer than the milliseconds of epoll.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::clock::SECOND;

/// A timer of the kernel.
#[derive(Debug)]
pub(super) struct Timer {
    file: OwnedFd,
    armed: u64,
}

impl Timer {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let file = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        registry.register(&mut SourceFd(&file.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { file, armed: 0 })
    }

    /// Wakes at `moment`, on the clock of [`crate::clock::now`]. Setting it anew takes an old
    /// expiry back, so nobody has to read it.
    pub(super) fn arm(&mut self, moment: u64) -> io::Result<()> {
        if self.armed == moment {
            return Ok(());
        }
        self.armed = moment;
        let moment = moment.max(1);
        let value = Timespec {
            tv_sec: (moment / SECOND) as i64,
            tv_nsec: (moment % SECOND) as rustix::time::Nsecs,
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.file, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}
