//! The program `loadgen`; all of it is in the library.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    piccolo_loadgen::run()
}
