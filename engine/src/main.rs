//! The program `piccolo`: a node, a cluster to try, and questions to a running node.
#![forbid(unsafe_code)]

use std::io::{Stdout, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use piccolo_engine::cli::{self, Cli, CliError, Command, dev};
use piccolo_engine::config::{Config, ConfigError, ServeFlags, Settings, one_line};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut out = std::io::stdout();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) if !asked.use_stderr() => {
            return done(write!(out, "{asked}").map_err(CliError::Output));
        }
        Err(none) if none.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            say(&none.to_string());
            return ExitCode::from(ConfigError::EXIT_CODE);
        }
        Err(wrong) => {
            let help = cli::help_of(std::env::args_os().nth(1).as_deref());
            let message = format!("{} (see `{help}`)", one_line(&wrong));
            return fail(&message, ConfigError::EXIT_CODE);
        }
    };
    done(match cli.command {
        Command::Serve(flags) => return serve(*flags, &mut out),
        Command::Dev(flags) => return dev(flags, &mut out),
        Command::Members(flags) => cli::members::run(&flags, &mut out),
        Command::Ring(flags) => cli::ring::run(&flags, &mut out),
        Command::Locate(flags) => cli::locate::run(flags, &mut out),
        Command::Leave(flags) => cli::leave::run(&flags, &mut out),
        Command::Remove(flags) => cli::remove::run(&flags, &mut out),
    })
}

fn done(outcome: Result<(), CliError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // `piccolo members | head -1` is no error.
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

fn dev(flags: dev::DevFlags, out: &mut Stdout) -> ExitCode {
    let mut cluster = match dev::Cluster::of(flags) {
        Ok(cluster) => cluster,
        Err(error) => return done(Err(error)),
    };
    // Says why it ends before the nodes take their time to.
    let code = done(cluster.run(out));
    cluster.stop(out);
    code
}

fn serve(flags: ServeFlags, out: &mut Stdout) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let print_config = flags.print_config;
    let config = match Config::load(flags, cores) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string(), ConfigError::EXIT_CODE),
    };
    if print_config {
        return done(write!(out, "{}", config.to_toml()).map_err(CliError::Output));
    }
    cli::logger::start(config.log_level);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let misspelt = Settings::misspelt(names);
    if !misspelt.is_empty() {
        // No error: whoever starts containers puts names of its own there.
        log::warn!("no setting is called {}: misspelt?", misspelt.join(", "));
    }
    match piccolo_engine::io::serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), error.exit_code()),
    }
}

/// Says what is wrong in one line.
fn fail(message: &str, code: u8) -> ExitCode {
    say(&format!("piccolo: {message}\n"));
    ExitCode::from(code)
}

/// Writes to standard error. If that is closed, as in `piccolo members 2>&1 | head -0`, nobody is
/// there to be told, and the exit code says enough.
fn say(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap_or_default();
}
