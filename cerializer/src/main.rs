//! The program `cerializer`.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use piccolo_cerializer::config::{Config, ConfigError, Flags, one_line};
use piccolo_cerializer::{front, logger};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(asked) if !asked.use_stderr() => return print(&asked.to_string()),
        Err(wrong) => return fail(&one_line(&wrong), ConfigError::EXIT_CODE),
    };
    let print_config = flags.print_config;
    let config = match Config::load(flags) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string(), ConfigError::EXIT_CODE),
    };
    if print_config {
        return print(&config.to_toml());
    }
    logger::start(config.log_level);
    match front::listener::serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), 1),
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // `cerializer --help | head -1` is no error.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot print: {error}"), 1),
    }
}

/// Says what is wrong in one line.
fn fail(message: &str, code: u8) -> ExitCode {
    // If standard error is closed there is nobody to tell.
    std::io::stderr().write_all(format!("cerializer: {message}\n").as_bytes()).unwrap_or_default();
    ExitCode::from(code)
}
