//! `loadgen`: measures key:value servers, and counts what they lose.
//!
//! One thread per `--threads` runs a Mio loop. Every connection is a small state machine
//! (`link`); protocols are encoders of requests and decoders of replies (`protocol`). What
//! judges is pure: schedules, distributions, and the registers of `verify`.

#![forbid(unsafe_code)]

mod bench;
mod cli;
mod clock;
mod compare;
mod cpu;
mod error;
mod keys;
mod link;
mod mix;
mod progress;
mod protocol;
mod schedule;
mod slots;
mod target;
mod values;
mod verify;

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use serde::Serialize;

use bench::plan::{Length, Plan};
use cli::{Cli, Command, Format};
use error::LoadError;
use progress::Progress;

/// Reads the command line, does what it says, and tells how that went by the exit code: 0 well,
/// 1 the target or this machine fails, 2 a wrong command line, 4 `verify` found a fault.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) if !asked.use_stderr() => {
            return done(write!(stdout(), "{asked}").map_err(LoadError::Output));
        }
        Err(none) if none.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            say(&none.to_string());
            return ExitCode::from(error::USAGE);
        }
        Err(wrong) => return done(Err(LoadError::Usage(one_line(&wrong)))),
    };
    let mut out = stdout();
    done(match cli.command {
        Command::Run(flags) => {
            bench_once(&flags.load.plan(&flags.target, flags.pid), flags.format, &mut out)
        }
        Command::Load(flags) => bench_once(&flags.plan(), flags.format, &mut out),
        Command::Verify(flags) => verify::run(&flags, &mut out),
        Command::Compare(flags) => compare::run(&flags, &mut out),
        Command::Completions { shell } => completions(shell, &mut out),
    })
}

fn done(outcome: Result<(), LoadError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // `loadgen run ... | head -1` is no error.
        Err(LoadError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("loadgen: {error}\n"));
            error.exit_code()
        }
    }
}

/// Writes to standard error. If that is closed there is nobody to tell.
fn say(text: &str) {
    stderr().write_all(text.as_bytes()).unwrap_or_default();
}

fn bench_once(plan: &Plan, format: Format, out: &mut dyn Write) -> Result<(), LoadError> {
    let mut progress = Progress::new();
    let report = bench::run(plan, &mut |count| progress.show(count, "answers"));
    progress.clear();
    let report = report?;
    match format {
        Format::Text => report.print(out)?,
        Format::Json => print_json(&report, out)?,
    }
    let errors = &report.errors;
    let whole = plan.dist != keys::Dist::Sequence || errors.total == 0;
    // Who asked for a number of requests has not got it.
    let counted = matches!(plan.length, Length::Requests(_));
    let complete = whole && !(counted && errors.unsent > 0);
    if report.operations == 0 || !complete {
        let first = report.errors.first.as_deref().unwrap_or("no answer came");
        let total = report.errors.total;
        return Err(LoadError::Runtime(format!("{total} errors, the first: {first}")));
    }
    Ok(())
}

fn print_json(value: &impl Serialize, out: &mut dyn Write) -> Result<(), LoadError> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

fn completions(shell: clap_complete::Shell, out: &mut dyn Write) -> Result<(), LoadError> {
    // Into memory first: clap panics if its writer fails, and a pipe may be closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "loadgen", &mut script);
    out.write_all(&script)?;
    Ok(())
}

/// The message of clap in one line, without usage and pointers to help.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    let told: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty())
        .collect();
    let joined = told.join(" ").replace(" tip: ", "; ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}
