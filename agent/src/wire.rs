//! The composition root: builds the rooms bottom-up and hands them to each other. No logic of its own.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use interception::{Dialer, Intercepted, Interception};
use model::{ConnectionId, HostName, Timestamp};
use proxy::{Arrival, Corridor, Dial, Parts, Storage};
use tls::{Authority, Originator, Terminator};
use tokio::net::{TcpStream, UnixListener};
use workload::{StatusWatch, Workload};

use crate::{
    config::Config, control, copies, guarded::Guarded, probe::Prober, proxies::Proxies, rules::Rules,
    storage::StorageDial, strangers::Strangers,
};

/// How long one address of a host may take to answer.
const DIAL_WAIT_MAX: Duration = Duration::from_secs(5);

/// Looking at a process takes well under a millisecond; a process that makes it take longer wants to hide.
const PROCESS_WAIT_MAX: Duration = Duration::from_secs(2);

/// One question to the issuer. The client's own login timeout is at least a minute.
const ISSUER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Everything that runs.
pub(crate) struct Built {
    pub(crate) interception: Interception,
    pub(crate) corridor: Arc<Corridor>,
    pub(crate) journal: audit::Journal,
    pub(crate) guarded: Arc<Guarded>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) prober: Prober,
    pub(crate) control: UnixListener,
    pub(crate) workload: Arc<Workload>,
    /// Who has left.
    pub(crate) status: StatusWatch,
    pub(crate) rules: Arc<Rules>,
}

/// Builds the rooms. Until the record is opened, nothing on the host is changed; the kernel programs come last, because
/// from then on connections fail where the agent does.
pub(crate) async fn build(config: &Config) -> Result<Built> {
    let rules = Rules::start(config)?;
    let checks = interception::preflight(&config.interception);
    let failed: Vec<_> = checks.into_iter().filter(|check| check.outcome.is_err()).collect();
    if !failed.is_empty() {
        return Err(interception::Error::Preflight(failed).into());
    }
    let authority = authority(config)?;
    let originator = Arc::new(Originator::new(&config.extra_roots, Some(authority.root_der()))?);
    let workload = Arc::new(workload(config, &originator)?);
    let status =
        StatusWatch::start(config.offboarding.status(&config.state, &originator.client_config())).await;
    let status = status.context("offboarding")?;
    let domains = config.domains.clone();
    let terminator =
        Terminator::new(authority, move |name| domains.iter().any(|domain| name.is_within(domain)))?;
    let proxies = Arc::new(Proxies::resolve(&config.proxies).await?);
    let guarded = Arc::new(addresses(config, originator.clone()).await?);
    guarded.keep(&interception::inspect(&config.interception.pins)?.guarded);

    let control = control::open(&config.control_socket())?;
    let journal = journal(config, rules.known().digest)?;
    // Only who has locked the record writes here.
    let copies = match copies::open(&config.state) {
        Ok(copies) => copies,
        Err(error) => {
            journal.stop("the list of where tagged data went cannot be used").await?;
            return Err(error);
        }
    };
    let interception = match intercept(config, &guarded, &proxies).await {
        Ok(interception) => interception,
        Err(error) => {
            // The record says that an agent began; it must also say that none is there.
            journal.stop("the kernel programs could not be started").await?;
            return Err(error.into());
        }
    };
    let processes = interception.processes();
    workload.ask_about_processes(move |pid| processes.standing(pid));
    let prober = Prober::new(interception.dialer(), originator.clone());
    let strangers =
        Strangers::new(config, guarded.clone(), proxies.clone(), interception.dialer(), originator.clone());
    let corridor = Corridor::new(Parts {
        mode: config.mode,
        accounts: config.accounts.iter().map(|host| (host.clone(), snowflake::account_of(host))).collect(),
        workload: workload.clone(),
        terminator,
        originator,
        dial: Arc::new(GuardedDial { guarded: guarded.clone(), dialer: interception.dialer() }),
        addresses: Arc::new(strangers),
        policies: rules.in_force(),
        journal: journal.clone(),
        copies,
        status: status.clone(),
        storage: storage(config, interception.dialer()),
    });
    Ok(Built {
        interception,
        corridor: Arc::new(corridor),
        journal,
        guarded,
        proxies,
        prober,
        control,
        workload,
        status,
        rules: Arc::new(rules),
    })
}

async fn intercept(
    config: &Config,
    guarded: &Guarded,
    proxies: &Proxies,
) -> Result<Interception, interception::Error> {
    let interception = Interception::start(&config.interception).await?;
    interception.guard(&guarded.addresses())?;
    interception.guard_ports(&proxies.endpoints())?;
    Ok(interception)
}

/// Makes the first witness of what the kernel handed over. The only place that does.
pub(crate) fn arrival(id: ConnectionId, intercepted: Intercepted) -> Arrival {
    let (stream, destination, owner) = intercepted.into_parts();
    Arrival::new(id, stream, destination, owner)
}

/// Loads the CA.
pub(crate) fn authority(config: &Config) -> Result<Arc<Authority>> {
    let dir = config.ca_dir();
    let authority = Authority::load(&dir).context("the CA cannot be used")?;
    for domain in config.domains.iter().chain(&config.accounts) {
        if !authority.permits(domain) {
            bail!(
                "the CA in {} is not good for {domain} (guard.domains, guard.accounts); remove it with `snowfence trust remove`, \
                 move it away, and make a new one with `snowfence init`",
                dir.display()
            );
        }
    }
    Ok(Arc::new(authority))
}

/// Finds out who opens connections. Nobody is asked yet.
pub(crate) fn workload(config: &Config, originator: &Originator) -> Result<Workload> {
    let workload = Workload::new(workload::Config {
        worker_exes: config.workers.clone(),
        runner_exes: config.runners.clone(),
        units: config.units.clone(),
        issuers: config.issuers.clone(),
        tls: originator.client_config(),
        proc_deadline: PROCESS_WAIT_MAX,
        issuer_deadline: ISSUER_WAIT_MAX,
    })?;
    Ok(workload.recognising(config.agents.clone()).grouping(config.groups.clone()))
}

fn journal(config: &Config, policy: String) -> Result<audit::Journal> {
    let start = audit::Start {
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        host: read(Path::new("/proc/sys/kernel/hostname"))?.trim().to_owned(),
        mode: config.mode,
        guarded: config.accounts.iter().map(ToString::to_string).collect(),
        policy: Some(policy),
    };
    let dir = config.record_dir();
    audit::Journal::start(&dir, start, || Timestamp::from(SystemTime::now()))
        .with_context(|| format!("the record in {} cannot be opened", dir.display()))
}

/// The addresses of every account, each of which has proved to be the account's, asked past programs that an earlier agent
/// may have left attached. So a host that cannot be reached, or is not who it should be, is found now and not by the
/// first job.
pub(crate) async fn addresses(config: &Config, originator: Arc<Originator>) -> Result<Guarded> {
    let dialer = Dialer::before_start(&config.interception)?;
    let is_proxied = !config.proxies.is_empty();
    Guarded::resolve(&config.accounts, &Prober::new(dialer, originator), is_proxied).await
}

/// Where chunks of results are fetched.
fn storage(config: &Config, dialer: Dialer) -> Storage {
    let dial = StorageDial { dialer, may_be_private: config.private_results };
    Storage { domains: config.result_domains.clone(), dial: Arc::new(dial) }
}

/// Dials a guarded host at the addresses that the agent learned for it.
struct GuardedDial {
    guarded: Arc<Guarded>,
    dialer: Dialer,
}

impl Dial for GuardedDial {
    fn dial(&self, host: HostName, port: u16) -> Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>> {
        let (addresses, dialer) = (self.guarded.of(&host), self.dialer.clone());
        Box::pin(async move { dial(&dialer, &addresses, port).await })
    }
}

/// Tries one address after the other; the last error is the one returned.
async fn dial(dialer: &Dialer, addresses: &[std::net::IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address is known for it");
    for ip in addresses {
        match dialer.connect(SocketAddr::new(*ip, port), DIAL_WAIT_MAX).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}
