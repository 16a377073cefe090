//! `snowfence policy`: what a statement is and what a policy says of it. Works offline.

mod facts;

use super::Outcome;

/// What statements are, and what a policy says of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Facts of statements in bulk: JSON lines in, JSON lines out.
    Facts,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Outcome {
    match &args.verb {
        Verb::Facts => facts::run(),
    }
}
