//! The configuration: read, then understood. After this border nothing is half-checked.

mod file;
mod issuers;
mod people;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use identity::{AgentTable, GroupRules};
use model::{HostName, Mode};
use workload::IssuerConfig;

pub(crate) use self::people::Offboarding;

use self::file::{File, ModeWord};
use crate::proxies::Proxy;

/// The sample that `snowfence init` writes: every key, with its default and what it is for.
pub(crate) const SAMPLE: &str = include_str!("../deploy/snowfence.toml");

/// Snowflake's addresses change within minutes; asking less often than this would leave new ones unguarded.
const REFRESH_SECONDS_MAX: u64 = 3600;

/// The configuration as meant.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    /// Where the record, the CA and the undo journal of the trust stores live.
    pub(crate) state: PathBuf,
    /// Where the control socket lives.
    pub(crate) run: PathBuf,
    /// Directory of `*.cedar` files.
    pub(crate) policy: PathBuf,
    pub(crate) classification: PathBuf,
    pub(crate) interception: interception::Config,
    /// Host names of the accounts that are guarded.
    pub(crate) accounts: Vec<HostName>,
    /// Domains whose names may be decrypted; the CA is constrained to them.
    pub(crate) domains: Vec<HostName>,
    /// Hosts that drivers ask about certificates, over port 80.
    pub(crate) ocsp_hosts: Vec<HostName>,
    /// Corporate proxies by which jobs reach Snowflake.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) refresh: Duration,
    pub(crate) extra_roots: Vec<PathBuf>,
    /// Domains in which the storage of large results is.
    pub(crate) result_domains: Vec<HostName>,
    /// Whether that may be at private addresses.
    pub(crate) private_results: bool,
    pub(crate) workers: Vec<PathBuf>,
    /// Executables of CI runners that have no worker of their own.
    pub(crate) runners: Vec<PathBuf>,
    /// Patterns of the units in which those run.
    pub(crate) units: Vec<String>,
    /// Who may vouch for jobs.
    pub(crate) issuers: Vec<IssuerConfig>,
    /// AI agents that are recognised.
    pub(crate) agents: AgentTable,
    /// Groups that jobs are put into.
    pub(crate) groups: GroupRules,
    /// Where it is asked who has left.
    pub(crate) offboarding: Offboarding,
    pub(crate) runner_env_files: Vec<PathBuf>,
    pub(crate) certifi_roots: Vec<PathBuf>,
}

impl Config {
    /// Reads and understands a file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let at = path.display();
            match error.kind() {
                io::ErrorKind::NotFound => {
                    anyhow!("there is no configuration {at}; `snowfence init` writes one")
                }
                _ => anyhow::Error::new(error).context(format!("the configuration {at} cannot be read")),
            }
        })?;
        Self::parse(&text).with_context(|| format!("the configuration {} is not usable", path.display()))
    }

    /// Understands the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        let Names { accounts, domains, ocsp_hosts } = names(&file.guard)?;
        let refresh = file.guard.refresh_seconds;
        ensure!(
            (1..=REFRESH_SECONDS_MAX).contains(&refresh),
            "guard.refresh_seconds is {refresh}; it must be from 1 to {REFRESH_SECONDS_MAX}"
        );
        absolute(&file)?;
        Ok(Self {
            mode: file.mode.into(),
            state: file.paths.state,
            run: file.paths.run,
            policy: file.paths.policy,
            classification: file.paths.classification,
            interception: interception::Config {
                cgroup: file.attach.cgroup,
                pins: file.attach.pins,
                port: file.listen.port,
                drop_forwarded: file.attach.drop_forwarded,
                domains: domains.clone(),
                observing: matches!(file.mode, ModeWord::Observe),
                scope: file.guard.scope.into(),
                workers: file.workload.workers.clone(),
                runners: file.workload.runners.clone(),
                lsm: interception::LsmConfig {
                    enabled: file.lsm.enabled,
                    network_services: file.lsm.network_services,
                },
            },
            ocsp_hosts,
            accounts,
            domains,
            proxies: proxies(&file.guard.proxies)?,
            refresh: Duration::from_secs(refresh),
            result_domains: host_names("upstream.result_domains", &file.upstream.result_domains)?,
            private_results: file.upstream.private_results,
            extra_roots: file.upstream.extra_roots,
            workers: file.workload.workers,
            runners: file.workload.runners,
            units: file.workload.units,
            issuers: issuers::issuers(file.identity)?,
            agents: people::agents(file.agents)?,
            groups: people::groups(file.groups)?,
            offboarding: people::offboarding(file.offboarding)?,
            runner_env_files: file.trust.runner_env_files,
            certifi_roots: file.trust.certifi_roots,
        })
    }

    /// The folder of the CA.
    pub(crate) fn ca_dir(&self) -> PathBuf {
        self.state.join("ca")
    }

    /// The folder of the record.
    pub(crate) fn record_dir(&self) -> PathBuf {
        record_dir(&self.state)
    }

    /// The control socket.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }
}

/// The folder of the record below a state folder, for verbs that work without a configuration.
pub(crate) fn record_dir(state: &Path) -> PathBuf {
    state.join("record")
}

/// The kernel programs look for names in these domains, and the CA signs them.
fn watchable(domains: &[HostName]) -> Result<()> {
    let max = interception::DOMAINS_MAX;
    ensure!(
        domains.len() <= max,
        "guard.domains has {} domains; at most {max} can be watched for",
        domains.len()
    );
    for domain in domains {
        let (length, max) = (domain.as_str().len(), interception::DOMAIN_BYTES_MAX);
        ensure!(
            length <= max,
            "guard.domains: {domain} is longer than {max} bytes, which cannot be watched for"
        );
        ensure!(
            domain.as_str().contains('.'),
            "guard.domains: {domain} is a whole top-level domain, and the CA would be good for every name in it"
        );
    }
    Ok(())
}

/// A relative path would depend on where the agent was started.
fn absolute(file: &File) -> Result<()> {
    let (paths, attach, trust) = (&file.paths, &file.attach, &file.trust);
    let one = [
        ("paths.state", &paths.state),
        ("paths.run", &paths.run),
        ("paths.policy", &paths.policy),
        ("paths.classification", &paths.classification),
        ("attach.pins", &attach.pins),
    ];
    let many = [
        ("attach.cgroup", attach.cgroup.as_slice()),
        ("workload.workers", &file.workload.workers),
        ("workload.runners", &file.workload.runners),
        ("upstream.extra_roots", &file.upstream.extra_roots),
        ("trust.runner_env_files", &trust.runner_env_files),
        ("trust.certifi_roots", &trust.certifi_roots),
    ];
    let many = many.iter().flat_map(|(key, paths)| paths.iter().map(move |path| (*key, path)));
    for (key, path) in one.into_iter().chain(many) {
        ensure!(path.is_absolute(), "{key} is {}; it must be an absolute path", path.display());
    }
    Ok(())
}

/// The names in `[guard]`.
struct Names {
    accounts: Vec<HostName>,
    domains: Vec<HostName>,
    ocsp_hosts: Vec<HostName>,
}

fn names(guard: &file::Guard) -> Result<Names> {
    let accounts = host_names("guard.accounts", &guard.accounts)?;
    let domains = host_names("guard.domains", &guard.domains)?;
    ensure!(!accounts.is_empty(), "guard.accounts is empty: name the account hosts to guard");
    watchable(&domains)?;
    for account in &accounts {
        ensure!(
            domains.iter().any(|domain| account.is_within(domain)),
            "guard.accounts: {account} is in none of guard.domains, so it could not be decrypted"
        );
    }
    let ocsp_hosts = match &guard.ocsp_hosts {
        Some(hosts) => host_names("guard.ocsp_hosts", hosts)?,
        None => ocsp_hosts(&accounts, &domains)?,
    };
    Ok(Names { accounts, domains, ocsp_hosts })
}

/// The hosts that drivers ask by themselves: one per domain, under two names; and one per account on a private link.
fn ocsp_hosts(accounts: &[HostName], domains: &[HostName]) -> Result<Vec<HostName>> {
    let of_domains =
        domains.iter().flat_map(|domain| ["ocsp", "ocspssd"].map(|label| format!("{label}.{domain}")));
    let private = accounts.iter().filter(|account| account.as_str().contains(".privatelink."));
    let of_accounts = private.map(|account| format!("ocsp.{account}"));
    host_names("guard.ocsp_hosts", &of_domains.chain(of_accounts).collect::<Vec<_>>())
}

fn proxies(texts: &[String]) -> Result<Vec<Proxy>> {
    let mut proxies = Vec::with_capacity(texts.len());
    for text in texts {
        let proxy = Proxy::parse(text).context("guard.proxies")?;
        ensure!(!proxies.contains(&proxy), "guard.proxies names {proxy} twice");
        proxies.push(proxy);
    }
    Ok(proxies)
}

fn host_names(key: &str, texts: &[String]) -> Result<Vec<HostName>> {
    let mut names = Vec::with_capacity(texts.len());
    for text in texts {
        let name = HostName::parse(text).with_context(|| key.to_owned())?;
        if names.contains(&name) {
            bail!("{key} names {name} twice");
        }
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "mode = \"enforce\"\n[guard]\naccounts = [\"acme.snowflakecomputing.com\"]\n";

    fn error(text: &str) -> String {
        format!("{:#}", Config::parse(text).unwrap_err())
    }

    #[test]
    fn the_least_file_and_the_sample_are_understood() {
        let config = Config::parse(LEAST).unwrap();
        assert_eq!(config.mode, Mode::Enforce);
        assert_eq!(config.interception.port, 15001);
        Config::parse(SAMPLE).unwrap();
    }

    #[test]
    fn the_sample_shows_the_defaults() {
        let sample = Config::parse(SAMPLE).unwrap();
        let least = Config::parse(&LEAST.replace("enforce", "observe")).unwrap();
        assert_eq!(format!("{sample:#?}"), format!("{least:#?}"));
    }

    #[test]
    fn drivers_ask_one_host_per_domain_and_one_per_private_link() {
        let private = "xy1.eu-central-1.privatelink.snowflakecomputing.com";
        let text = LEAST.replace("[\"acme", &format!("[\"{private}\", \"acme"));
        let text = format!("{text}domains = [\"snowflakecomputing.com\"]\n");
        let hosts = |text: &str| {
            Config::parse(text).unwrap().ocsp_hosts.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let domain = ["ocsp.snowflakecomputing.com", "ocspssd.snowflakecomputing.com"].map(str::to_owned);
        assert_eq!(hosts(&text), [&domain[..], &[format!("ocsp.{private}")]].concat());
        assert_eq!(hosts(&format!("{text}ocsp_hosts = [\"ocsp.example.org\"]\n")), ["ocsp.example.org"]);
        assert!(hosts(&format!("{text}ocsp_hosts = []\n")).is_empty());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_column() {
        let text = error(&format!("{LEAST}acounts = []\n"));
        assert!(text.contains("line 4, column 1") && text.contains("acounts"), "{text}");
        let text = error(&format!("modus = \"x\"\n{LEAST}"));
        assert!(text.contains("line 1, column 1") && text.contains("modus"), "{text}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let many: Vec<String> = (0..17).map(|number| format!("{number}.example.org")).collect();
        for (from, to, says) in [
            ("enforce", "audit", "audit"),
            ("\"acme.snowflakecomputing.com\"", "", "guard.accounts is empty"),
            ("acme.snowflakecomputing.com", "10.0.0.1", "not a host name"),
            ("acme.snowflakecomputing.com", "acme.example.org", "none of guard.domains"),
            ("[guard]\n", "[guard]\ndomains = [\"com\"]\n", "top-level domain"),
            ("\n[guard]", "\n[paths]\nstate = \"x\"\n[guard]", "paths.state"),
            ("\n[guard]", "\n[attach]\ncgroup = \"x\"\n[guard]", "attach.cgroup"),
            ("\n[guard]", "\n[workload]\nworkers = [\"/x\", \"x\"]\n[guard]", "workload.workers"),
            ("\n[guard]", "\n[workload]\nrunners = [\"x\"]\n[guard]", "workload.runners"),
            ("\n[guard]", "\n[trust]\nrunner_env_files = [\".env\"]\n[guard]", "trust.runner_env_files"),
            ("[guard]\n", "[guard]\nrefresh_seconds = 0\n", "refresh_seconds"),
            (
                "[guard]\n",
                &format!("[guard]\ndomains = [\"{}.com\"]\n", "a".repeat(60)),
                "longer than 63 bytes",
            ),
            ("[guard]\n", &format!("[guard]\ndomains = {:?}\n", many), "at most 16"),
            ("[guard]\n", "[guard]\nscope = \"all\"\n", "strict"),
            (
                "\n[guard]",
                "\n[upstream]\nresult_domains = [\"10.0.0.1\"]\n[guard]",
                "upstream.result_domains",
            ),
            ("[guard]\n", "[guard]\nproxies = [\"proxy.corp.example\"]\n", "guard.proxies"),
            ("[guard]\n", "[guard]\nproxies = [\"p:1\", \"P:1\"]\n", "twice"),
            ("[guard]\n", "[identity.github]\nissuer = \"http://x\"\n[guard]\n", "https"),
        ] {
            let text = error(&LEAST.replace(from, to));
            assert!(text.contains(says), "{to}: {text}");
        }
    }
}
