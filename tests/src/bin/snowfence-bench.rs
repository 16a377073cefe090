//! `cargo xtask bench`: measures the agent beside what it is compared with, and prints the figures.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lab::bench::{Intercept, intercept};

/// Measures Snowfence beside other programs, on this machine and in one run.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What interception costs: direct, the agent, nginx, haproxy, mitmproxy
    Intercept(Intercept),
}

fn main() -> ExitCode {
    let Cli { what: What::Intercept(sizes) } = Cli::parse();
    let told = intercept(sizes).and_then(|report| Ok(io::stdout().write_all(report.as_bytes())?));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error the exit code has to do.
            drop(writeln!(io::stderr(), "the benchmark failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
