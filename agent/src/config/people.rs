//! AI agents, groups and who has left, as the file has them and as they are meant.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use identity::{AgentKind, AgentTable, Assurance, GroupField, GroupRule, GroupRules};
use serde::Deserialize;
use workload::{AttributePath, HandleKind, ScimConfig, StatusConfig, WhenStale};

/// A list stays good for a quarter of an hour unless the operator says otherwise.
const STALE_SECONDS: u64 = 900;
/// How often a directory is asked unless the operator says otherwise.
const INTERVAL_SECONDS: u64 = 15;
/// A directory that is asked less often could not end a session within minutes.
const INTERVAL_SECONDS_MAX: u64 = 300;
/// One page of a directory.
const DIRECTORY_WAIT_MAX: Duration = Duration::from_secs(10);
/// Attributes of a user that hold names, unless the operator says otherwise.
const NAMES: [&str; 4] = ["userName", "nickName", "externalId", "emails.value"];

/// `[[agents]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentEntry {
    name: String,
    #[serde(default)]
    executables: Vec<String>,
    #[serde(default)]
    scripts: Vec<String>,
    #[serde(default)]
    variables: Vec<String>,
}

/// `[[groups]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupEntry {
    name: String,
    #[serde(default)]
    assurance: AssuranceWord,
    provider: Option<Patterns>,
    repository: Option<Patterns>,
    r#ref: Option<Patterns>,
    workflow: Option<Patterns>,
    environment: Option<Patterns>,
    actor: Option<Patterns>,
    event: Option<Patterns>,
    job: Option<Patterns>,
    subject: Option<Patterns>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AssuranceWord {
    #[default]
    Verified,
    Observed,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "a pattern, or a list of patterns")]
enum Patterns {
    One(String),
    Several(Vec<String>),
}

impl Patterns {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Several(several) => several,
        }
    }
}

/// `[offboarding]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OffboardingSection {
    file: Option<PathBuf>,
    stale_seconds: u64,
    when_stale: StaleWord,
    scim: Option<ScimSection>,
}

impl Default for OffboardingSection {
    fn default() -> Self {
        Self { file: None, stale_seconds: STALE_SECONDS, when_stale: StaleWord::Refuse, scim: None }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StaleWord {
    Refuse,
    Serve,
}

/// `[offboarding.scim]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScimSection {
    url: String,
    token_file: PathBuf,
    #[serde(default = "interval_seconds")]
    interval_seconds: u64,
    filter: Option<String>,
    #[serde(default)]
    handles: BTreeMap<String, Patterns>,
}

fn interval_seconds() -> u64 {
    INTERVAL_SECONDS
}

/// Who has left, as meant.
#[derive(Debug, Clone)]
pub(crate) struct Offboarding {
    file: Option<PathBuf>,
    stale_after: Duration,
    when_stale: WhenStale,
    scim: Option<Scim>,
}

#[derive(Debug, Clone)]
struct Scim {
    url: String,
    token_file: PathBuf,
    every: Duration,
    filter: Option<String>,
    handles: Vec<(HandleKind, Vec<AttributePath>)>,
}

impl Offboarding {
    /// What the room that asks wants to know. `state` is where it may keep things.
    pub(crate) fn status(&self, state: &Path, tls: &Arc<rustls::ClientConfig>) -> StatusConfig {
        let scim = self.scim.clone().map(|scim| ScimConfig {
            url: scim.url,
            token_file: scim.token_file,
            every: scim.every,
            filter: scim.filter,
            handles: scim.handles,
            tls: tls.clone(),
            deadline: DIRECTORY_WAIT_MAX,
            keep: state.join("deactivated.json"),
        });
        StatusConfig {
            file: self.file.clone(),
            scim,
            stale_after: self.stale_after,
            when_stale: self.when_stale,
        }
    }
}

pub(super) fn agents(entries: Vec<AgentEntry>) -> Result<AgentTable> {
    let kind = |AgentEntry { name, executables, scripts, variables }| {
        AgentKind::new(&name, &executables, &scripts, &variables).context("[[agents]]")
    };
    let kinds = entries.into_iter().map(kind).collect::<Result<Vec<_>>>()?;
    Ok(AgentTable::default().extended(kinds))
}

pub(super) fn groups(entries: Vec<GroupEntry>) -> Result<GroupRules> {
    let rules = entries.into_iter().map(|entry| group(entry).context("[[groups]]"));
    Ok(GroupRules::new(rules.collect::<Result<_>>()?))
}

fn group(entry: GroupEntry) -> Result<GroupRule> {
    let fields = [
        (GroupField::Provider, entry.provider),
        (GroupField::Repository, entry.repository),
        (GroupField::Ref, entry.r#ref),
        (GroupField::Workflow, entry.workflow),
        (GroupField::Environment, entry.environment),
        (GroupField::Actor, entry.actor),
        (GroupField::Event, entry.event),
        (GroupField::Job, entry.job),
        (GroupField::Subject, entry.subject),
    ];
    let named = fields.into_iter().filter_map(|(field, patterns)| Some((field, patterns?.into_list())));
    let least = match entry.assurance {
        AssuranceWord::Verified => Assurance::Verified,
        AssuranceWord::Observed => Assurance::Observed,
    };
    Ok(GroupRule::new(&entry.name, least, &named.collect::<Vec<_>>())?)
}

pub(super) fn offboarding(section: OffboardingSection) -> Result<Offboarding> {
    let OffboardingSection { file, stale_seconds, when_stale, scim } = section;
    if let Some(file) = &file {
        let at = file.display();
        ensure!(file.is_absolute(), "offboarding.file is {at}; it must be an absolute path");
    }
    let scim = scim.map(directory).transpose()?;
    let slowest = scim.as_ref().map_or(1, |scim| scim.every.as_secs());
    ensure!(
        stale_seconds >= 2 * slowest,
        "offboarding.stale_seconds is {stale_seconds}; a source must be missed more than once before its list is too \
         old, so it must be at least {}",
        2 * slowest
    );
    let when_stale = match when_stale {
        StaleWord::Refuse => WhenStale::Refuse,
        StaleWord::Serve => WhenStale::Serve,
    };
    Ok(Offboarding { file, stale_after: Duration::from_secs(stale_seconds), when_stale, scim })
}

fn directory(section: ScimSection) -> Result<Scim> {
    let ScimSection { url, token_file, interval_seconds, filter, handles } = section;
    let at = token_file.display();
    ensure!(token_file.is_absolute(), "offboarding.scim.token_file is {at}; it must be an absolute path");
    ensure!(
        (1..=INTERVAL_SECONDS_MAX).contains(&interval_seconds),
        "offboarding.scim.interval_seconds is {interval_seconds}; it must be from 1 to {INTERVAL_SECONDS_MAX}"
    );
    let handles = if handles.is_empty() {
        BTreeMap::from([("any".to_owned(), Patterns::Several(NAMES.map(str::to_owned).into()))])
    } else {
        handles
    };
    let read = |(key, paths): (String, Patterns)| {
        let kind = HandleKind::parse(&key).with_context(|| {
            format!("offboarding.scim.handles.{key} is neither a provider nor snowflake nor any")
        })?;
        let paths = paths.into_list();
        let paths = paths.iter().map(|path| AttributePath::parse(path)).collect::<Result<Vec<_>, _>>();
        Ok((kind, paths.with_context(|| format!("offboarding.scim.handles.{key}"))?))
    };
    let handles = handles.into_iter().map(read).collect::<Result<_>>()?;
    Ok(Scim { url, token_file, every: Duration::from_secs(interval_seconds), filter, handles })
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const LEAST: &str = "mode = \"enforce\"\n[guard]\naccounts = [\"acme.snowflakecomputing.com\"]\n";

    fn error(more: &str) -> String {
        let error = Config::parse(&format!("{LEAST}{more}")).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn agents_and_groups_and_sources_are_read() {
        let config = Config::parse(&format!(
            "{LEAST}\
             [[agents]]\nname = \"acme-bot\"\nexecutables = [\"acme-bot\"]\nvariables = [\"ACME_BOT=1\"]\n\
             [[groups]]\nname = \"data-eng\"\nrepository = [\"acme/etl\", \"acme/lake-*\"]\nref = \"refs/heads/*\"\n\
             [[groups]]\nname = \"lax\"\nassurance = \"observed\"\nactor = \"mona\"\n\
             [offboarding]\nfile = \"/etc/snowfence/deactivated.toml\"\n\
             [offboarding.scim]\nurl = \"https://idp.example/scim/v2\"\ntoken_file = \"/etc/snowfence/scim\"\n\
             handles = {{ github = \"nickName\", snowflake = [\"userName\", \"emails.value\"] }}\n"
        ))
        .unwrap();
        assert!(config.agents.names().any(|name| name == "acme-bot"));
        assert!(config.agents.names().any(|name| name == "claude-code"));
        let scim = config.offboarding.scim.unwrap();
        assert_eq!((scim.every.as_secs(), scim.handles.len()), (15, 2));
        assert_eq!(config.offboarding.stale_after.as_secs(), 900);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_column() {
        for (more, line, key) in [
            ("[[groups]]\nname = \"a\"\nrepo = \"acme/etl\"\n", 6, "repo"),
            ("[[agents]]\nname = \"a\"\nexe = [\"x\"]\n", 6, "exe"),
            ("[offboarding]\nfiles = \"/x\"\n", 5, "files"),
            ("[offboarding.scim]\nuri = \"x\"\n", 5, "uri"),
        ] {
            let text = error(more);
            assert!(text.contains(&format!("line {line}, column 1")) && text.contains(key), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let scim = "[offboarding.scim]\nurl = \"https://idp.example\"\n";
        for (more, says) in [
            ("[[groups]]\nname = \"a\"\n".to_owned(), "every job would be in it"),
            ("[[groups]]\nname = \"a:b\"\nactor = \"x\"\n".to_owned(), "no name of a group"),
            ("[[groups]]\nname = \"a\"\nactor = []\n".to_owned(), "empty list for actor"),
            ("[[groups]]\nname = \"a\"\nactor = 1\n".to_owned(), "a pattern, or a list of patterns"),
            ("[[groups]]\nname = \"a\"\nassurance = \"none\"\nactor = \"x\"\n".to_owned(), "observed"),
            ("[[agents]]\nname = \"a\"\n".to_owned(), "nothing to be recognised by"),
            ("[offboarding]\nfile = \"x\"\n".to_owned(), "offboarding.file"),
            ("[offboarding]\nstale_seconds = 1\n".to_owned(), "offboarding.stale_seconds"),
            ("[offboarding]\nwhen_stale = \"permit\"\n".to_owned(), "serve"),
            (format!("{scim}token_file = \"x\"\n"), "offboarding.scim.token_file"),
            (format!("{scim}token_file = \"/x\"\ninterval_seconds = 0\n"), "interval_seconds"),
            (format!("{scim}token_file = \"/x\"\nhandles = {{ githup = \"a\" }}\n"), "handles.githup"),
            (format!("{scim}token_file = \"/x\"\nhandles = {{ any = \"a b\" }}\n"), "no attribute"),
        ] {
            let text = error(&more);
            assert!(text.contains(says), "{more}: {text}");
        }
    }
}
