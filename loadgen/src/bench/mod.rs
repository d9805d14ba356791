//! Runs a plan: threads, the clock of the measured part, and the figures of all together.

mod draw;
pub(crate) mod plan;
pub(crate) mod report;
mod tally;
mod timer;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::clock::{self, SECOND};
use crate::cpu;
use crate::error::LoadError;
use crate::protocol::{Http, Native, Protocol, Resp};
use crate::slots::Slots;
use crate::target::Kind;
use plan::{Length, Plan};
use report::Report;
use tally::{Tally, Window};
use worker::Worker;

/// Runs `plan`. About once per second `progress` hears how many answers have come so far.
///
/// # Errors
///
/// If the target cannot be reached or speaks otherwise, or a process of `--pid` is not there.
pub(crate) fn run(plan: &Plan, progress: &mut dyn FnMut(u64)) -> Result<Report, LoadError> {
    plan.check().map_err(LoadError::Usage)?;
    cpu::of(&plan.pids).map_err(LoadError::Usage)?;
    let address = plan.target.resolve().map_err(LoadError::Runtime)?;
    let slots = plan.slots(address).map_err(LoadError::Runtime)?;
    let measured = match plan.target.kind {
        Kind::Resp | Kind::RespCluster => measure::<Resp>(plan, &slots, progress),
        Kind::Http => measure::<Http>(plan, &slots, progress),
        Kind::Native => measure::<Native>(plan, &slots, progress),
    };
    Ok(Report::new(plan, &measured.map_err(LoadError::Runtime)?))
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Measured {
    tally: Tally,
    window: Window,
    /// Nanoseconds of CPU over the measured part.
    own_cpu: u64,
    server_cpu: u64,
    /// Of the busiest thread, and the nanoseconds over which it was counted.
    busiest: (u64, u64),
}

/// What a worker tells.
enum Word {
    Ready,
    Done(Result<Box<Outcome>, String>),
}

struct Outcome {
    tally: Tally,
    cpu: u64,
    nanos: u64,
}

/// CPU used so far: this process's, and the server's.
#[derive(Clone, Copy)]
struct Used {
    own: u64,
    server: u64,
}

impl Used {
    fn now(plan: &Plan) -> Result<Self, String> {
        Ok(Self { own: clock::process_cpu(), server: cpu::of(&plan.pids)? })
    }
}

fn measure<P: Protocol>(
    plan: &Plan,
    slots: &Slots,
    progress: &mut dyn FnMut(u64),
) -> Result<Measured, String> {
    let seen: Vec<AtomicU64> = (0..plan.threads).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        let (tell, words) = channel();
        let mut starts = Vec::new();
        for (number, seen) in seen.iter().enumerate() {
            let (start, begin) = channel();
            starts.push(start);
            let (tell, slots) = (tell.clone(), slots.clone());
            scope.spawn(move || {
                let outcome = work::<P>(plan, number, slots, &tell, &begin, seen);
                // Nobody listens any more if another worker failed first.
                drop(tell.send(Word::Done(outcome.map(Box::new))));
            });
        }
        drop(tell);
        let mut progress =
            || progress(seen.iter().map(|count| count.load(Ordering::Relaxed)).sum());
        conduct(plan, &words, &starts, &mut progress)
    })
}

fn work<P: Protocol>(
    plan: &Plan,
    number: usize,
    slots: Slots,
    tell: &Sender<Word>,
    begin: &Receiver<(u64, Window)>,
    seen: &AtomicU64,
) -> Result<Outcome, String> {
    let worker = Worker::<P>::connect(plan, number, slots)?;
    drop(tell.send(Word::Ready));
    let (start, window) = begin.recv().map_err(|_| STOPPED.to_owned())?;
    let (cpu, from) = (clock::thread_cpu(), clock::now());
    let tally = worker.run(start, window, &|count| seen.store(count, Ordering::Relaxed))?;
    Ok(Outcome { tally, cpu: clock::thread_cpu() - cpu, nanos: clock::now() - from })
}

/// Starts the workers together, notes the CPU at both ends of the window, gathers what they bring.
fn conduct(
    plan: &Plan,
    words: &Receiver<Word>,
    starts: &[Sender<(u64, Window)>],
    progress: &mut dyn FnMut(),
) -> Result<Measured, String> {
    for _ in starts {
        match words.recv() {
            Ok(Word::Ready) => {}
            Ok(Word::Done(Err(error))) => return Err(error),
            _ => return Err(STOPPED.to_owned()),
        }
    }
    let start = clock::now();
    let from = start + plan.warmup;
    let end = match plan.length {
        Length::Time(nanos) => from + nanos,
        Length::Requests(_) => u64::MAX,
    };
    let window = Window { start: from, end };
    for begin in starts {
        // Who ended early has said so in its outcome.
        begin.send((start, window)).unwrap_or_default();
    }
    let mut gathered = Gathered { outcomes: Vec::new(), wanted: starts.len() };
    gathered.until(from, words, progress)?;
    let before = Used::now(plan)?;
    gathered.until(end, words, progress)?;
    let after = Used::now(plan)?;
    gathered.until(u64::MAX, words, progress)?;
    let mut tally = Tally::new(window, plan.rate.is_some());
    gathered.outcomes.iter().for_each(|outcome| tally.add(&outcome.tally));
    let busiest = gathered.outcomes.iter().map(|outcome| (outcome.cpu, outcome.nanos)).max();
    Ok(Measured {
        tally,
        window,
        own_cpu: after.own - before.own,
        server_cpu: after.server.saturating_sub(before.server),
        busiest: busiest.unwrap_or((0, 1)),
    })
}

struct Gathered {
    outcomes: Vec<Outcome>,
    wanted: usize,
}

impl Gathered {
    /// Gathers until `moment`, or until all is there.
    fn until(
        &mut self,
        moment: u64,
        words: &Receiver<Word>,
        progress: &mut dyn FnMut(),
    ) -> Result<(), String> {
        while self.outcomes.len() < self.wanted {
            let left = moment.saturating_sub(clock::now());
            if left == 0 {
                break;
            }
            match words.recv_timeout(Duration::from_nanos(left.min(SECOND))) {
                Ok(Word::Done(outcome)) => self.outcomes.push(*outcome?),
                Ok(Word::Ready) => {}
                Err(_) => progress(),
            }
        }
        Ok(())
    }
}

const STOPPED: &str = "a worker stopped without a word";

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::TcpListener;

    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::clock::MILLISECOND;

    /// How long a run waits here for any answer.
    const LIMIT: u64 = 100 * MILLISECOND;

    /// A server that answers each request once nothing more has come for three times as long as a
    /// run waits for answers.
    fn slow() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            while let Ok(1..) = stream.read(&mut buffer) {
                stream.set_read_timeout(Some(Duration::from_nanos(3 * LIMIT))).unwrap();
                let more = stream.read(&mut buffer).map_err(|error| error.kind());
                assert_eq!(more, Err(ErrorKind::WouldBlock), "one request at a time");
                stream.set_read_timeout(None).unwrap();
                stream.write_all(b"+OK\r\n").unwrap();
            }
        });
        format!("resp://{address}")
    }

    fn report(target: &str, more: &str) -> Report {
        let words = format!("loadgen run {target} -c 1 --ratio set=1 --keys 100 {more}");
        let cli = Cli::try_parse_from(words.split_whitespace()).unwrap();
        let Command::Run(flags) = cli.command else { panic!("{words}") };
        let plan = Plan { answer_limit: LIMIT, ..flags.load.plan(&flags.target, Vec::new()) };
        run(&plan, &mut |_| ()).unwrap()
    }

    #[test]
    fn a_stall_in_the_middle_of_a_run_by_the_clock_is_measured() {
        let report = report(&slow(), "--duration 1s");
        assert!(report.operations >= 3, "{report:?}");
        assert_eq!(report.errors.total, report.errors.unanswered, "{report:?}");
    }

    #[test]
    fn a_run_by_count_that_gets_no_answers_any_more_tells_the_rest() {
        let report = report(&answering(3), "--requests 10");
        assert_eq!((report.operations, report.errors.unanswered, report.errors.unsent), (3, 1, 6));
        // What got no answer is as old as the wait for it.
        assert!(report.by_operation[0].latency_us.max >= LIMIT / 1000, "{report:?}");
        assert!(report.seconds >= LIMIT as f64 / SECOND as f64, "{report:?}");
    }

    #[test]
    fn a_target_that_never_answers_ends_a_run_of_either_kind() {
        for length in ["--requests 10", "--duration 100ms"] {
            let report = report(&answering(0), length);
            assert_eq!((report.operations, report.errors.unanswered), (0, 1), "{length}");
        }
    }

    /// A server that answers so many requests at once, and then none.
    fn answering(mut left: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while let Ok(1..) = stream.read(&mut [0; 4096]) {
                if left > 0 {
                    left -= 1;
                    stream.write_all(b"+OK\r\n").unwrap();
                }
            }
        });
        format!("resp://{address}")
    }
}
