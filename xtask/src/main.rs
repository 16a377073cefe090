//! What a person or CI does with this repository: `cargo xtask VERB`.
//!
//! Every verb makes the machine ready by itself ([`setup`]), builds what it needs ([`bpf`], [`build`]) and then does
//! its own work. It talks on standard error, and only when it does something, so that the output of what it runs
//! stays as it is.
#![allow(clippy::print_stderr, reason = "a task runner talks to the person who runs it")]

mod bpf;
mod build;
mod check;
mod kernels;
mod place;
mod run;
mod setup;
mod tidy;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use place::Place;

/// Tasks of the Snowfence repository.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make this machine able to build and test: packages, BPF linker, Python environments
    Setup {
        /// Also what `bench` compares the agent with: nginx, haproxy, mitmproxy
        #[arg(long)]
        bench: bool,
    },
    /// Build the kernel programs
    BuildBpf,
    /// Build the kernel programs, the agent and the lab
    Build,
    /// Run a command as an unmodified CI job behind the agent: `lab [OPTIONS] -- COMMAND...`
    Lab(Rest),
    /// Tell the story of the leaked token, with real output
    Demo(Rest),
    /// Measure the agent: `bench intercept [OPTIONS]` beside other programs, `bench sql [OPTIONS]` on SQL alone, `bench
    /// identity` on who a connection is from, `bench masks` on what masks cost
    Bench(Rest),
    /// Check the rules of the house, the formatting, and run every test; or the part that is named, which is not in it
    Test {
        #[command(subcommand)]
        part: Option<Part>,
    },
    /// Check the rules of the house, the formatting and the lints
    Lint,
    /// What CI runs: `lint`, then `test`
    Ci,
    /// Check the rules of the house only: rooms and their directions, sizes, words, docs
    Tidy,
}

/// Tests that are too long, or ask too much of a machine, to be run every time.
#[derive(Debug, Subcommand)]
enum Part {
    /// The kernel programs' tests on other kernels, in emulated machines
    Kernels {
        /// Only this one
        #[arg(long, value_name = "NAME", value_parser = kernels::NAMES)]
        kernel: Option<String>,
        /// Only this one of the boots of each
        #[arg(long, value_name = "NAME", value_parser = kernels::BOOT_NAMES)]
        boot: Option<String>,
    },
}

/// Arguments that another program reads.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct Rest {
    /// Passed on untouched
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> Result<()> {
    let place = Place::find()?;
    match verb {
        Verb::Setup { bench } => {
            let done = setup::run(&place)? | (bench && setup::bench(&place)?);
            if !done {
                eprintln!("everything is in place");
            }
            Ok(())
        }
        Verb::BuildBpf => {
            setup::toolchain(&place)?;
            bpf::build(&place)?;
            eprintln!("kernel programs: {}", place.bpf_object().display());
            Ok(())
        }
        Verb::Build => {
            setup::toolchain(&place)?;
            build::all(&place)?;
            eprintln!("agent: {}", place.agent().display());
            Ok(())
        }
        Verb::Lab(rest) => build::hand_over(&place, "snowfence-lab", &rest.arguments),
        Verb::Demo(rest) => build::hand_over(&place, "snowfence-demo", &rest.arguments),
        Verb::Bench(rest) => build::bench(&place, &rest.arguments),
        Verb::Test { part: None } => check::test(&place),
        Verb::Test { part: Some(Part::Kernels { kernel, boot }) } => {
            kernels::test(&place, kernel.as_deref(), boot.as_deref())
        }
        Verb::Lint => check::lint(&place),
        Verb::Ci => check::lint(&place).and_then(|()| check::test(&place)),
        Verb::Tidy => tidy::run(&place.root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Verb, clap::Error> {
        Cli::try_parse_from([&["cargo xtask"], words].concat()).map(|cli| cli.verb)
    }

    #[test]
    fn the_lab_gets_its_arguments_untouched() {
        let words = ["lab", "--direct", "-v", "--policy", "p", "--", "python3", "-c", "print(1)", "--help"];
        match parse(&words) {
            Ok(Verb::Lab(rest)) => assert_eq!(rest.arguments, words[1..]),
            other => panic!("{other:?}"),
        }
        match parse(&["lab", "--help"]) {
            Ok(Verb::Lab(rest)) => assert_eq!(rest.arguments, ["--help"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_verb_that_is_none_is_refused() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["tset"]).is_err());
        assert!(parse(&["test", "--fast"]).is_err());
        assert!(parse(&["test", "kernels", "--kernel", "2.4"]).is_err());
    }

    #[test]
    fn the_kernel_matrix_is_a_part_of_the_tests_that_is_asked_for() {
        assert!(matches!(parse(&["test"]), Ok(Verb::Test { part: None })));
        for name in kernels::NAMES {
            match parse(&["test", "kernels", "--kernel", name]) {
                Ok(Verb::Test { part: Some(Part::Kernels { kernel, boot: None }) }) => {
                    assert_eq!(kernel.as_deref(), Some(name))
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
