//! The agent's own log: to standard error, for the journal. Never SQL text, never a secret.

use tracing_subscriber::{EnvFilter, fmt};

/// Starts the log. `SNOWFENCE_LOG` sets what is shown, in the form `debug` or `proxy=debug,info`; default `info`.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("SNOWFENCE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).init();
}
