//! `snowfence run`: the daemon.
//!
//! The order is the point. Everything that can be wrong with the input is looked at before anything on the host is
//! changed; the kernel programs come last, when there is an agent that can answer what they hand over.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use model::{ConnectionId, Mode};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proxy::Corridor;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tracing::{error, info, warn};

use super::{Failure, Outcome};
use crate::{
    config::Config,
    control,
    learn::Watch,
    ocsp::Helpers,
    status::Reporter,
    telemetry,
    wire::{self, Built},
};

/// Connections served at one time. Each costs a few hundred KiB at most; beyond it clients wait in the listen queue.
const CONNECTIONS_MAX: usize = 4096;

/// The parser of statements recurses. Its depth is bounded well below what the usual stack holds; this is the margin.
const STACK_BYTES: usize = 16 << 20;

/// How long work that cannot be cancelled may hold up the end.
const STUCK_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long exchanges under way may take to end after the agent was told to stop.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(20);

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(config: &Path) -> Outcome {
    telemetry::start();
    let config = Config::load(config).map_err(Failure::Input)?;
    raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .context("the asynchronous runtime cannot start")?;
    let outcome = runtime.block_on(async {
        let built = wire::build(&config).await.map_err(Failure::Input)?;
        guard(&config, built).await.map_err(Failure::Failed)
    });
    // A job can make the reading of its own memory hang; that must not keep the agent from ending.
    runtime.shutdown_timeout(STUCK_WAIT_MAX);
    outcome
}

/// Each connection holds a few descriptors, and what systemd gives a service would be used up long before there are
/// [`CONNECTIONS_MAX`] of them.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files stays as it is; connections beyond it have to wait");
    }
}

async fn guard(config: &Config, built: Built) -> Result<()> {
    let Built { interception, corridor, journal, guarded, proxies, prober, control, workload, status, rules } =
        built;
    let interception = Arc::new(interception);
    let helpers = Arc::new(Helpers::new(config.ocsp_hosts.clone()));
    let reporter = Reporter {
        config: config.clone(),
        rules: rules.clone(),
        interception: interception.clone(),
        corridor: corridor.clone(),
        journal: journal.clone(),
        guarded: guarded.clone(),
        helpers: helpers.clone(),
        proxies: proxies.clone(),
        status,
    };
    let answers = control::Answers { status: Box::new(move || reporter.json()), workload };
    let control = control::serve(control, Arc::new(answers));
    let watch = Arc::new(Watch::new(config, guarded, helpers, proxies, prober, interception.clone()));
    watch.begin().await;
    // It holds nothing of the kernel's, and ends with the runtime.
    tokio::spawn(corridor.clone().watch_departures());
    let keeping = tokio::spawn(watch.clone().keep());
    let learning = tokio::spawn(watch.learn());
    let reading = rules.keep(journal.clone())?;

    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    announce(config.mode);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Among the tasks that serve connections: from here each would have to wake another thread.
    let mut accepting = tokio::spawn(accept(interception.clone(), corridor.clone(), places.clone()));
    let reason = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        error = &mut accepting => {
            let error = error.context("the task that accepts connections failed")?;
            error!(%error, "no connections can be accepted any more");
            journal.stop("no connections can be accepted any more").await.context("the end cannot be recorded")?;
            return Err(error.into());
        }
    };
    info!(reason, "stopping; guarded connections are refused from now on");
    accepting.abort();
    // It never ends of itself but with an error, and then it is not waited for.
    drop(accepting.await);
    close(interception, [control, keeping, learning, reading]).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    corridor.stop();
    drain(&places).await;
    journal.stop(reason).await.context("the end cannot be recorded")?;
    Ok(())
}

/// Accepts for ever; returns only the error that ends it.
async fn accept(
    interception: Arc<interception::Interception>,
    corridor: Arc<Corridor>,
    places: Arc<Semaphore>,
) -> interception::Error {
    let connections = Connections::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { std::future::pending().await };
        match interception.accept().await {
            Ok(intercepted) => {
                let arrival = wire::arrival(connections.next(), intercepted);
                let corridor = corridor.clone();
                tokio::spawn(async move {
                    corridor.serve(arrival).await;
                    drop(place);
                });
            }
            Err(error) => return error,
        }
    }
}

/// Closes the listeners, so that who comes now is refused by the kernel at once instead of waiting for an agent that is
/// about to end. They are closed with the last task that holds them.
async fn close(interception: Arc<interception::Interception>, holders: [JoinHandle<()>; 4]) {
    for holder in holders {
        holder.abort();
        if let Err(error) = holder.await
            && !error.is_cancelled()
        {
            error!(%error, "a task of the agent had failed");
        }
    }
    drop(interception);
}

/// Waits for the exchanges under way, for a while.
async fn drain(places: &Semaphore) {
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    if timeout(DRAIN_WAIT_MAX, places.acquire_many(all)).await.is_err() {
        let open = CONNECTIONS_MAX - places.available_permits();
        warn!(open, "connections were still open when the agent stopped");
    }
}

fn announce(mode: Mode) {
    match mode {
        Mode::Enforce => info!("guarding"),
        Mode::Observe => warn!("observing only: nothing is refused and nothing is masked"),
    }
    notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(mode.as_str())]);
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager cannot be told");
    }
}

/// Numbers connections, so that the record and the log can be laid side by side: a start time and a count, in the
/// shape of a UUID.
struct Connections {
    began: u64,
    count: AtomicU64,
}

impl Connections {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { began: u64::try_from(since.as_micros()).unwrap_or(u64::MAX), count: AtomicU64::new(1) }
    }

    fn next(&self) -> ConnectionId {
        ConnectionId::new(uuid::Uuid::from_u64_pair(self.began, self.count.fetch_add(1, Ordering::Relaxed)))
    }
}
