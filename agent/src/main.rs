//! Snowfence: stands between everything on a CI host and Snowflake.

mod cli;
mod config;
mod control;
mod copies;
mod guarded;
mod learn;
mod mask_keys;
mod ocsp;
mod output;
mod probe;
mod proxies;
mod rules;
mod status;
mod storage;
mod strangers;
mod telemetry;
mod whoami;
mod wire;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().dispatch()
}
