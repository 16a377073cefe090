//! The lab's internet: everything outside the CI host that a job, its driver and the agent talk to.
//!
//! One process, `lab-internet`, is the DNS server, Snowflake under its own host names, the storage of its large results, the certificate cache that
//! drivers ask over port 80, GitHub's OIDC issuer, and an ordinary site that nobody guards. Their addresses are those
//! of `addresses`; the network namespace that has them is the business of `host`.
//!
//! SQL is executed by fakesnow and by nothing else. The front before it completes the *wire*: TLS under Snowflake's
//! names, renewable sessions, and the fields that drivers read.

mod addresses;
mod authority;
mod canned;
mod dns;
mod engine;
mod ocsp;
mod oidc;
mod request_log;
mod serve;
mod shutdown;
mod snowflake;
mod www;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

pub use addresses::{
    Addresses, BRIEF_HOST, BUILDKITE_HOST, CANNED_PORT, CIRCLECI_HOST, CIRCLECI_ORGANIZATION, CLUSTER_HOST,
    CURSOR_HOST, ELSEWHERE, EXPIRED_HOST, GITLAB_HOST, JENKINS_HOST, ONCE_USER, PROVIDER_HOST, STORE_HOST,
    UNTRUSTED_HOST,
};
pub use snowflake::Validity;

use authority::Authority;
use engine::Engine;
use request_log::RequestLog;

/// The file in the internet's folder that holds the root certificate every server of the internet is trusted by.
pub const ROOT_PEM: &str = "internet-root.pem";

/// What `lab-internet` is told when it starts.
#[derive(Debug)]
pub struct Options {
    /// The internet's own folder: root certificate, request log, claims of jobs, the SQL engine's output.
    pub dir: PathBuf,
    /// The Python environment that has fakesnow.
    pub python: PathBuf,
    /// SQL files that are run, in this order, before anyone is served.
    pub seeds: Vec<PathBuf>,
    /// How long session and master tokens live, but for the account that is brief by nature.
    pub validity: Validity,
    /// Where to listen.
    pub addresses: Addresses,
}

/// Serves the lab's internet until it is told to stop (SIGTERM, SIGINT, end of standard input).
///
/// `ready` is called once everything listens, the root certificate is on disk and every seed has run.
///
/// # Errors
/// When something cannot be started, when a seed fails (naming file and line), and when a part of it ends by itself.
pub async fn serve(options: Options, ready: impl FnOnce() -> io::Result<()>) -> Result<()> {
    std::fs::create_dir_all(options.dir.join(oidc::JOBS_DIR))
        .with_context(|| format!("the internet's folder {} cannot be made", options.dir.display()))?;
    let authority = Arc::new(Authority::create()?);
    publish_root(&options.dir, &authority)?;

    let mut parts = JoinSet::new();
    let mut engine = Engine::start(&options.python, &options.dir).await?;
    listen(&mut parts, &options, &authority, engine.client()).await?;
    engine.seed(&options.python, &options.seeds).await?;
    ready().context("nobody reads that the internet is ready")?;

    let outcome = tokio::select! {
        stopped = shutdown::requested() => stopped.context("signals cannot be waited for"),
        ended = engine.ended() => ended,
        Some(ended) = parts.join_next() => bail!("a server of the lab's internet ended: {ended:?}"),
    };
    engine.stop().await;
    outcome
}

/// Binds every listener, then starts every server: a port that is taken is an error at once, whichever it is.
async fn listen(
    parts: &mut JoinSet<io::Result<()>>,
    options: &Options,
    authority: &Arc<Authority>,
    engine: engine::Client,
) -> Result<()> {
    let at = &options.addresses;
    let names = UdpSocket::bind(at.dns).await.with_context(|| format!("no DNS on {}/udp", at.dns))?;
    let names_tcp = bind(at.dns).await?;
    let (snowflake, ocsp, oidc, www) =
        (bind(at.snowflake).await?, bind(at.ocsp).await?, bind(at.oidc).await?, bind(at.www).await?);
    let store = bind(at.store).await?;
    let canned = match at.canned {
        Some(address) => Some(bind(address).await?),
        None => None,
    };

    let front = Arc::new(snowflake::Front::new(engine, options.validity, RequestLog::create(&options.dir)?));
    let issuer = oidc::Issuer::create(&options.dir)?;
    parts.spawn(dns::serve_udp(names));
    parts.spawn(dns::serve_tcp(names_tcp));
    for elsewhere in &at.elsewhere {
        let config = authority.server_config(addresses::is_snowflake)?;
        parts.spawn(serve::tls(bind(*elsewhere).await?, config, Arc::clone(&front)));
    }
    parts.spawn(serve::tls(store, authority.server_config(addresses::is_store)?, Arc::clone(&front)));
    parts.spawn(serve::tls(snowflake, authority.server_config(addresses::is_snowflake)?, front));
    if let Some(listener) = canned {
        let config = authority.server_config(addresses::is_snowflake)?;
        parts.spawn(serve::tls(listener, config, canned::Canned::new()));
    }
    parts.spawn(serve::plain(ocsp, ocsp::NoCache));
    parts.spawn(serve::tls(oidc, authority.server_config(addresses::is_oidc)?, issuer));
    parts.spawn(serve::tls(www, authority.server_config(addresses::is_www)?, www::EchoPeer));
    Ok(())
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("the lab's internet cannot listen on {address}"))
}

/// The root appears under its name only when it is whole: who sees the file may read it.
fn publish_root(dir: &Path, authority: &Authority) -> Result<()> {
    let (path, partial) = (dir.join(ROOT_PEM), dir.join(format!("{ROOT_PEM}.partial")));
    std::fs::write(&partial, authority.root_pem())
        .and_then(|()| std::fs::rename(&partial, &path))
        .with_context(|| format!("the root certificate cannot be written to {}", path.display()))
}
