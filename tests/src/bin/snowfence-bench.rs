//! `cargo xtask bench`: measures the agent beside what it is compared with, and prints the figures.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lab::bench::{Intercept, Sql, intercept, sql};

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
    /// What reading SQL costs, and how much of a corpus is understood
    Sql(Sql),
}

fn main() -> ExitCode {
    let report = match Cli::parse().what {
        What::Intercept(sizes) => intercept(sizes),
        What::Sql(what) => sql(&what),
    };
    let told = report.and_then(|report| Ok(io::stdout().write_all(report.as_bytes())?));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error the exit code has to do.
            drop(writeln!(io::stderr(), "the benchmark failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
