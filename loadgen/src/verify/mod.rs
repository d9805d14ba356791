//! Writes and reads, and counts what the target loses, shows stale, or spoils.

mod findings;
mod judge;
mod register;
mod stamp;
mod worker;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::bench::plan::fits_in_flight;
use crate::cli::{Format, VerifyFlags};
use crate::clock;
use crate::error::LoadError;
use crate::print_json;
use crate::progress::Progress;
use crate::protocol::{Http, Native, Protocol, Resp};
use crate::slots::Slots;
use crate::target::Kind;
use findings::Findings;
use stamp::STAMP_BYTES_MIN;
use worker::{Plan, READ_BACK_LIMIT, Worker};

/// Runs a verify and prints what it found.
///
/// # Errors
///
/// [`LoadError::Broken`] if anything was lost, stale or corrupt.
pub(crate) fn run(flags: &VerifyFlags, out: &mut dyn Write) -> Result<(), LoadError> {
    check(flags)?;
    let plan = plan(flags).map_err(LoadError::Runtime)?;
    let findings = match flags.targets[0].kind {
        Kind::Resp | Kind::RespCluster => gather::<Resp>(flags, &plan),
        Kind::Http => gather::<Http>(flags, &plan),
        Kind::Native => gather::<Native>(flags, &plan),
    };
    let findings = findings.map_err(LoadError::Runtime)?;
    match flags.format {
        Format::Text => findings.print(out)?,
        Format::Json => print_json(&findings, out)?,
    }
    if findings.broken() {
        return Err(LoadError::Broken(findings.verdict()));
    }
    if findings.acknowledged == 0 || findings.unread > 0 {
        let (wrote, unread) = (findings.acknowledged, findings.unread);
        let note = findings.notes.first().map_or("no error was told", String::as_str);
        return Err(LoadError::Runtime(format!(
            "this shows nothing: {wrote} writes acknowledged, {unread} reads at the end failed; \
             {note}"
        )));
    }
    Ok(())
}

fn check(flags: &VerifyFlags) -> Result<(), LoadError> {
    let wrong = |text: String| Err(LoadError::Usage(text));
    if flags.targets.iter().any(|target| target.kind != flags.targets[0].kind) {
        return wrong("all targets of a verify must speak one protocol".to_owned());
    }
    if (flags.value_size as usize) < STAMP_BYTES_MIN {
        return wrong(format!("give --value-size {STAMP_BYTES_MIN} or more: values say who wrote"));
    }
    let (clients, target) = (&flags.clients, &flags.targets[0]);
    if clients.threads > clients.connections || u64::from(clients.threads) > flags.keys {
        return wrong("give -t no more threads than connections and keys".to_owned());
    }
    fits_in_flight(target, clients.pipeline, 64 + flags.value_size as usize).or_else(wrong)?;
    if flags.keys * u64::from(clients.connections) > SEEN_MAX {
        return wrong(format!("--keys times -c is more than {SEEN_MAX}: give fewer keys"));
    }
    Ok(())
}

/// Numbers that readers remember at most, 8 bytes each.
const SEEN_MAX: u64 = 64 << 20;

/// The plan of all workers together.
fn plan(flags: &VerifyFlags) -> Result<Plan, String> {
    let target = &flags.targets[0];
    let setup = flags.clients.setup(target);
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for target in &flags.targets {
        addresses.push(target.resolve()?);
    }
    let clustered = target.kind == Kind::RespCluster;
    let slots = if clustered {
        let mut asked = addresses.iter().map(|address| Slots::ask(*address, &setup));
        let first = asked.next().unwrap_or_else(|| Err("no target".to_owned()));
        // Whoever answers; if nobody does, what the first said.
        asked.fold(first, |best, next| best.or_else(|error| next.map_err(|_| error)))?
    } else {
        Slots::of(addresses)
    };
    Ok(Plan {
        setup,
        clustered,
        slots,
        clients: flags.clients.connections as usize,
        keys: flags.keys,
        pipeline: flags.clients.pipeline as usize,
        value_bytes: flags.value_size as usize,
        nonce: clock::wall() ^ (u64::from(std::process::id()) << 44),
        seed: flags.seed,
        end: clock::now() + flags.duration.0,
        stop: stopped_by_signals()?,
        timeout: flags.timeout.0,
        read_back: READ_BACK_LIMIT,
    })
}

/// Is set by SIGINT and SIGTERM: writing ends, and everything is read back as at the planned end.
fn stopped_by_signals() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second one ends the program at once, as usual.
        flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| format!("cannot wait for signals: {error}"))?;
    }
    Ok(stop)
}

fn gather<P: Protocol>(flags: &VerifyFlags, plan: &Plan) -> Result<Findings, String> {
    let threads = u64::from(flags.clients.threads);
    let seen: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(0)).collect();
    let mut progress = Progress::new();
    let mut all = Findings::default();
    thread::scope(|scope| {
        let (tell, told) = channel();
        for (number, seen) in seen.iter().enumerate() {
            let share = |all: u64| (all + threads - 1 - number as u64) / threads;
            let clients = share(plan.clients as u64) as usize;
            let plan = Plan { clients, keys: share(plan.keys), ..plan.clone() };
            let tell = tell.clone();
            scope.spawn(move || {
                let worker = Worker::<P>::new(plan, number);
                let show = |count| seen.store(count, Ordering::Relaxed);
                // Nobody listens any more if another worker failed first.
                tell.send(worker.and_then(|worker| worker.run(&show))).unwrap_or_default();
            });
        }
        let mut left = threads;
        while left > 0 {
            if let Ok(found) = told.recv_timeout(Duration::from_secs(1)) {
                all.add(found?);
                left -= 1;
                continue;
            }
            let count = seen.iter().map(|seen| seen.load(Ordering::Relaxed)).sum();
            progress.show(count, "answers");
        }
        Ok::<(), String>(())
    })?;
    progress.clear();
    Ok(all)
}
