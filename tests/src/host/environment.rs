//! The variables that processes in the lab find.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::options::{Identity, JobFacts};
use super::site::Site;
use super::tools::Tools;
use crate::internet::ROOT_PEM;

/// Where jobs with `id-token: write` ask for their token.
const TOKEN_HOST: &str = "pipelines.actions.githubusercontent.com";
const COMMIT: &str = "3f786850e387550fdab836ed7e6dc881de23001b";
const RUNNER_NAME: &str = "lab";

const FOREIGN_PREFIXES: [&str; 7] =
    ["ACTIONS_", "CARGO", "GITHUB_", "RUNNER_", "SNOWFENCE_", "SNOWFLAKE_", "VIRTUAL_ENV"];
const FOREIGN_PARTS: [&str; 6] = ["CA_BUNDLE", "CA_CERT", "SSL_CA", "SSL_CERT", "SSL_ROOTS", "CA_FILE"];
const FOREIGN_ENDS: [&str; 3] = ["_PROXY", "_CERT", "LD_LIBRARY_PATH"];

/// Takes from a command what the lab's caller has of proxies, trust and other people's jobs, and gives it a home in the
/// lab. Everything else is passed on, so that `FOO=1 cargo xtask lab -- script` does what one expects.
pub(super) fn clean(command: &mut Command, site: &Site) {
    for (name, _) in env::vars_os().filter(|(name, _)| is_foreign(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.env("HOME", site.home());
    command.env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME");
}

/// Gives a command the lab's clients: where they are, and whom they trust that cannot be told by a file of the machine.
pub(super) fn clients(command: &mut Command, tools: &Tools, site: &Site) {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let own = tools.path().map(PathBuf::into_os_string);
    command.env("PATH", own.chain([path]).collect::<Vec<_>>().join(OsStr::new(":")));
    command.env("NODE_PATH", tools.node_client.join("node_modules"));
    // Node has the public authorities inside its program, where the lab's cannot be added. What a runner's own file says
    // (`trust install` writes into it) comes later and wins.
    command.env("NODE_EXTRA_CA_CERTS", site.internet().join(ROOT_PEM));
}

fn is_foreign(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || FOREIGN_PARTS.iter().any(|part| name.contains(part))
        || FOREIGN_ENDS.iter().any(|end| name.ends_with(end))
}

/// How to reach Snowflake, as a pipeline author sets it.
pub(super) fn snowflake() -> BTreeMap<String, String> {
    [
        ("ACCOUNT", "acme"),
        ("USER", "ETL_SVC"),
        ("PASSWORD", "the-leaked-password"),
        ("DATABASE", "ANALYTICS"),
        ("SCHEMA", "PUBLIC"),
        ("WAREHOUSE", "CI_WH"),
        ("ROLE", "ETL"),
    ]
    .map(|(name, value)| (format!("SNOWFLAKE_{name}"), value.to_owned()))
    .into()
}

/// What a runner tells a step about its job. `request_token` is what a step with `id-token: write` gets besides.
pub(super) fn step(
    job: &JobFacts,
    site: &Site,
    cwd: &Path,
    request_token: Option<&str>,
) -> BTreeMap<String, String> {
    let runner = site.runner();
    let mut variables: BTreeMap<String, String> = [
        ("CI", "true".to_owned()),
        ("GITHUB_ACTIONS", "true".to_owned()),
        ("GITHUB_ACTOR", job.actor.clone()),
        ("GITHUB_API_URL", "https://api.github.com".to_owned()),
        ("GITHUB_EVENT_NAME", job.event.clone()),
        ("GITHUB_JOB", job.job.clone()),
        ("GITHUB_REF", job.git_ref.clone()),
        ("GITHUB_REF_NAME", ref_name(&job.git_ref).to_owned()),
        ("GITHUB_REF_TYPE", ref_type(&job.git_ref).to_owned()),
        ("GITHUB_REPOSITORY", job.repository.clone()),
        ("GITHUB_REPOSITORY_OWNER", owner(&job.repository).to_owned()),
        ("GITHUB_RUN_ATTEMPT", job.run_attempt.to_string()),
        ("GITHUB_RUN_ID", job.run_id.to_string()),
        ("GITHUB_RUN_NUMBER", "42".to_owned()),
        ("GITHUB_SERVER_URL", "https://github.com".to_owned()),
        ("GITHUB_SHA", COMMIT.to_owned()),
        ("GITHUB_TRIGGERING_ACTOR", job.actor.clone()),
        ("GITHUB_WORKFLOW", job.workflow.clone()),
        ("GITHUB_WORKFLOW_REF", workflow_ref(job)),
        ("GITHUB_WORKSPACE", cwd.display().to_string()),
        ("RUNNER_ARCH", if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" }.to_owned()),
        ("RUNNER_ENVIRONMENT", "self-hosted".to_owned()),
        ("RUNNER_NAME", RUNNER_NAME.to_owned()),
        ("RUNNER_OS", "Linux".to_owned()),
        ("RUNNER_TEMP", runner.join("_work/_temp").display().to_string()),
        ("RUNNER_TOOL_CACHE", runner.join("_work/_tool").display().to_string()),
        ("RUNNER_WORKSPACE", runner.join("_work").display().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(token) = request_token {
        let url = format!("https://{TOKEN_HOST}/{}/idtoken?api-version=2.0", job.run_id);
        variables.insert("ACTIONS_ID_TOKEN_REQUEST_URL".to_owned(), url);
        variables.insert("ACTIONS_ID_TOKEN_REQUEST_TOKEN".to_owned(), token.to_owned());
    }
    variables
}

/// The claims of the job's token, but for those that only the issuer knows.
pub(super) fn claims(job: &JobFacts) -> Value {
    json!({
        "sub": format!("repo:{}:ref:{}", job.repository, job.git_ref),
        "actor": job.actor,
        "actor_id": "1024",
        "base_ref": "",
        "event_name": job.event,
        "head_ref": "",
        "job_workflow_ref": workflow_ref(job),
        "job_workflow_sha": COMMIT,
        "ref": job.git_ref,
        "ref_protected": "true",
        "ref_type": ref_type(&job.git_ref),
        "repository": job.repository,
        "repository_id": "2048",
        "repository_owner": owner(&job.repository),
        "repository_owner_id": "512",
        "repository_visibility": "private",
        "run_attempt": job.run_attempt.to_string(),
        "run_id": job.run_id.to_string(),
        "run_number": "42",
        "runner_environment": "self-hosted",
        "sha": COMMIT,
        "workflow": job.workflow,
        "workflow_ref": workflow_ref(job),
        "workflow_sha": COMMIT,
    })
}

/// A token to ask for the job's token with: new for every job of a verified workflow, and known to the issuer.
pub(super) fn request_token(identity: Identity, job: &JobFacts, site: &Site) -> Result<Option<String>> {
    if identity != Identity::Verified {
        return Ok(None);
    }
    request_token_for(&claims(job), site).map(Some)
}

/// A token to ask for one with any claims.
pub(super) fn request_token_for(claims: &Value, site: &Site) -> Result<String> {
    let token = random()?;
    let file = site.internet().join("jobs").join(format!("{token}.json"));
    std::fs::write(&file, claims.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(token)
}

fn random() -> Result<String> {
    use std::io::Read as _;
    let mut bytes = [0_u8; 16];
    let mut source = std::fs::File::open("/dev/urandom").context("cannot open /dev/urandom")?;
    source.read_exact(&mut bytes).context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn owner(repository: &str) -> &str {
    repository.split_once('/').map_or(repository, |(owner, _)| owner)
}

fn ref_name(git_ref: &str) -> &str {
    git_ref.strip_prefix("refs/heads/").or_else(|| git_ref.strip_prefix("refs/tags/")).unwrap_or(git_ref)
}

fn ref_type(git_ref: &str) -> &'static str {
    if git_ref.starts_with("refs/tags/") { "tag" } else { "branch" }
}

fn workflow_ref(job: &JobFacts) -> String {
    format!("{}/.github/workflows/{}.yml@{}", job.repository, job.workflow, job.git_ref)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site { folder: "/lab".into(), cgroup: "/cgroup".into(), holder: 1 }
    }

    #[test]
    fn proxies_trust_and_other_jobs_are_not_passed_on() {
        for name in
            ["https_proxy", "HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"]
                .into_iter()
                .chain([
                    "NODE_EXTRA_CA_CERTS",
                    "PIP_CERT",
                    "GIT_SSL_CAINFO",
                    "SNOWFLAKE_HOST",
                    "GITHUB_TOKEN",
                ])
                .chain([
                    "ACTIONS_ID_TOKEN_REQUEST_URL",
                    "CARGO_MANIFEST_DIR",
                    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
                ])
        {
            assert!(is_foreign(name), "{name}");
        }
        for name in ["PATH", "LANG", "TERM", "FOO", "TZ", "PYTHONUNBUFFERED", "CERTAIN"] {
            assert!(!is_foreign(name), "{name}");
        }
    }

    #[test]
    fn only_a_verified_step_can_ask_for_a_token() {
        let job = JobFacts::default();
        let with = step(&job, &site(), Path::new("/src"), Some("t"));
        let without = step(&job, &site(), Path::new("/src"), None);
        assert_eq!(
            with["ACTIONS_ID_TOKEN_REQUEST_URL"],
            "https://pipelines.actions.githubusercontent.com/4711/idtoken?api-version=2.0"
        );
        assert!(!without.keys().any(|name| name.starts_with("ACTIONS_")));
        assert_eq!(without["GITHUB_WORKFLOW_REF"], "acme/etl/.github/workflows/nightly.yml@refs/heads/main");
    }

    #[test]
    fn claims_say_what_the_step_is_told() {
        let job = JobFacts {
            repository: "evil/fork".into(),
            git_ref: "refs/tags/v1".into(),
            ..JobFacts::default()
        };
        let claims = claims(&job);
        let step = step(&job, &site(), Path::new("/src"), None);
        assert_eq!(claims["sub"], "repo:evil/fork:ref:refs/tags/v1");
        for (claim, variable) in [
            ("repository", "GITHUB_REPOSITORY"),
            ("repository_owner", "GITHUB_REPOSITORY_OWNER"),
            ("ref", "GITHUB_REF"),
            ("ref_type", "GITHUB_REF_TYPE"),
            ("run_id", "GITHUB_RUN_ID"),
            ("run_attempt", "GITHUB_RUN_ATTEMPT"),
            ("sha", "GITHUB_SHA"),
            ("actor", "GITHUB_ACTOR"),
            ("workflow_ref", "GITHUB_WORKFLOW_REF"),
        ] {
            assert_eq!(claims[claim], step[variable], "{claim}");
        }
    }
}
