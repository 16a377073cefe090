//! Plays the runner service of the lab's CI host: `run` is its listener, `spawnclient` its worker.

use std::ffi::OsString;
use std::io::{Write as _, stderr};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match lab::host::runner(&arguments) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => {
            // Without standard error the exit code has to do.
            drop(writeln!(stderr(), "lab: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
