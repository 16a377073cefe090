//! The client of the measurements, as a process of its own: one measurement, and its figures as a line of JSON.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use lab::bench::load::{Load, measure};

/// Sends requests and times them. Started by the benchmark in the lab.
#[derive(Parser)]
#[command(name = "lab-load")]
struct Arguments {
    #[command(flatten)]
    load: Load,
}

fn main() -> ExitCode {
    let measured = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let figures = runtime.block_on(measure(&Arguments::parse().load))?;
        writeln!(std::io::stdout(), "{figures}")?;
        anyhow::Ok(())
    };
    match measured() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error the exit code has to do.
            drop(writeln!(std::io::stderr(), "lab-load: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
