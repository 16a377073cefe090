//! `snowfence trust`: the CA in the trust stores of this host, each with its undo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use tls::{
    Authority,
    trust::{self, StoreState, StoreStatus, SystemStore, TrustPlan},
};

use super::{Failure, Outcome};
use crate::{
    config::Config,
    output::{Output, table},
    wire,
};

/// The CA in the trust stores of this host.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Verb {
    /// Make each store trust the CA; mends what an upgrade has replaced.
    Install,
    /// How each store stands; changes nothing.
    Status,
    /// Take the CA out of each store, leaving it as it was.
    Remove,
}

/// One store, as it is printed.
#[derive(Debug, Serialize)]
struct Store {
    store: &'static str,
    path: PathBuf,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// Runs the verb. Exit code 1 when a store does not stand as the verb wants it.
pub(crate) fn run(config: &Path, args: &Args, output: Output) -> Outcome {
    let config = Config::load(config).map_err(Failure::Input)?;
    let plan = plan(&config);
    let stores = match args.verb {
        Verb::Install => trust::install(&plan, authority(&config)?.root_pem()),
        Verb::Status => trust::status(&plan, authority(&config)?.root_pem()),
        Verb::Remove => trust::remove(&plan),
    };
    let stores = stores.context("the trust stores cannot be handled")?;
    let wanted = |store: &StoreStatus| match args.verb {
        Verb::Install | Verb::Status => store.state.is_trusted(),
        Verb::Remove => !store.state.is_trusted() && !matches!(store.state, StoreState::Attention(_)),
    };
    let all_well = stores.iter().all(wanted);
    let stores: Vec<Store> = stores.into_iter().map(Store::from).collect();
    output.print(&stores, |stores| people(stores))?;
    if all_well { Ok(()) } else { Err(Failure::Reported) }
}

/// How a store stands, for `doctor`.
pub(super) struct Survey {
    pub(super) name: String,
    pub(super) found: String,
    pub(super) fix: Option<String>,
}

/// Looks at every store.
pub(super) fn survey(config: &Config, authority: &Authority) -> Result<Vec<Survey>> {
    let stores = trust::status(&plan(config), authority.root_pem())?;
    Ok(stores
        .into_iter()
        .map(|store| {
            let fix = (!store.state.is_trusted())
                .then(|| store.state.fix().unwrap_or_else(|| "run `snowfence trust install`".to_owned()));
            let detail = store.state.detail().map_or(String::new(), |detail| format!(": {detail}"));
            Survey {
                name: store.path.display().to_string(),
                found: format!("{}{detail}", store.state.as_str()),
                fix,
            }
        })
        .collect())
}

fn plan(config: &Config) -> TrustPlan {
    TrustPlan {
        state: config.state.clone(),
        system: SystemStore::detect(Path::new("/")),
        runner_env_files: config.runner_env_files.clone(),
        certifi_roots: config.certifi_roots.clone(),
    }
}

fn authority(config: &Config) -> Result<std::sync::Arc<Authority>, Failure> {
    wire::authority(config).map_err(Failure::Input)
}

impl From<StoreStatus> for Store {
    fn from(status: StoreStatus) -> Self {
        Self {
            store: status.store.as_str(),
            state: status.state.as_str(),
            detail: status.state.detail(),
            fix: status.state.fix(),
            note: status.note(),
            path: status.path,
        }
    }
}

fn people(stores: &[Store]) -> String {
    let rows: Vec<Vec<String>> = stores
        .iter()
        .map(|s| vec![s.state.to_owned(), s.store.to_owned(), s.path.display().to_string()])
        .collect();
    let mut text = table(&["STATE", "STORE", "FILE"], &rows);
    for store in stores {
        if let Some(detail) = &store.detail {
            text.push_str(&format!("{}: {detail}\n", store.path.display()));
        }
        if let Some(fix) = &store.fix {
            text.push_str(&format!("    fix: {fix}\n"));
        }
        if let Some(note) = &store.note {
            text.push_str(&format!("{}: {note}\n", store.path.display()));
        }
    }
    text
}
