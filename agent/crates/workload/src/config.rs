//! What an operator can set, and what is made sure of before anything runs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::Uri;

use crate::github::RequestHost;

/// How jobs are recognised and who vouches for them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Executables of CI workers: absolute paths of `Runner.Worker`, one per runner. One that is not there (yet)
    /// recognises nothing.
    pub worker_exes: Vec<PathBuf>,
    /// Executables of CI runners that have no worker of their own: absolute paths. What one starts is a job.
    pub runner_exes: Vec<PathBuf>,
    /// The systemd units in which those run, each `*` standing for any text: `actions.runner.*.service`.
    pub units: Vec<String>,
    /// GitHub Actions, or one Enterprise Server.
    pub github: GithubConfig,
    /// How identity providers are authenticated: real roots, HTTP/1.1.
    pub tls: Arc<rustls::ClientConfig>,
    /// How long looking at a process may take. Afterwards its connection has no identity.
    pub proc_deadline: Duration,
    /// How long one question to an identity provider may take.
    pub issuer_deadline: Duration,
}

/// One GitHub.
#[derive(Debug, Clone)]
pub struct GithubConfig {
    /// The exact `iss` of its tokens: `https://token.actions.githubusercontent.com`.
    pub issuer: String,
    /// The audience that tokens are asked for, and must be made for.
    pub audience: String,
    /// Where a job may say that its token is to be asked for.
    pub request_hosts: Vec<RequestHost>,
    /// Where its keys are: `https://token.actions.githubusercontent.com/.well-known/jwks`.
    pub jwks_url: String,
    /// How far its clock and ours may differ.
    pub leeway: Duration,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A relative path would depend on where the agent was started.
    #[error("the worker {0:?} is not an absolute path")]
    RelativeWorker(PathBuf),
    /// Tokens would not be checked for their maker.
    #[error("the issuer {0:?} is not an https address")]
    Issuer(String),
    /// Tokens could be used elsewhere, or others' tokens here.
    #[error("the audience is empty or longer than {max} bytes", max = GithubConfig::AUDIENCE_BYTES_MAX)]
    Audience,
    /// No job could ask for its token.
    #[error("there is no host that a job may ask for its token; list one, as actions.githubusercontent.com")]
    NoRequestHost,
    /// Keys must come from who they claim.
    #[error("the address of the issuer's keys, {0:?}, is not an https address")]
    JwksUrl(String),
    /// A tolerance this large would make the times of tokens meaningless.
    #[error("the leeway of {0:?} is more than the {max:?} allowed", max = GithubConfig::LEEWAY_MAX)]
    Leeway(Duration),
}

impl GithubConfig {
    /// Longest audience, in bytes.
    pub const AUDIENCE_BYTES_MAX: usize = 256;
    /// Largest difference between clocks.
    pub const LEEWAY_MAX: Duration = Duration::from_secs(300);
}

impl Config {
    /// Checks everything that can be checked without asking anybody; returns the address of the keys.
    pub(crate) fn checked(&self) -> Result<Uri, ConfigError> {
        if let Some(relative) =
            self.worker_exes.iter().chain(&self.runner_exes).find(|path| !path.is_absolute())
        {
            return Err(ConfigError::RelativeWorker(relative.clone()));
        }
        let github = &self.github;
        if https(&github.issuer).is_none() {
            return Err(ConfigError::Issuer(github.issuer.clone()));
        }
        if github.audience.is_empty() || github.audience.len() > GithubConfig::AUDIENCE_BYTES_MAX {
            return Err(ConfigError::Audience);
        }
        if github.request_hosts.is_empty() {
            return Err(ConfigError::NoRequestHost);
        }
        if github.leeway > GithubConfig::LEEWAY_MAX {
            return Err(ConfigError::Leeway(github.leeway));
        }
        https(&github.jwks_url).ok_or_else(|| ConfigError::JwksUrl(github.jwks_url.clone()))
    }
}

fn https(text: &str) -> Option<Uri> {
    let url = text.parse::<Uri>().ok()?;
    let plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    (url.scheme_str() == Some("https") && plain).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        Config {
            worker_exes: vec![PathBuf::from("/opt/runner/bin/Runner.Worker")],
            runner_exes: Vec::new(),
            units: vec!["actions.runner.*.service".to_owned()],
            github: GithubConfig {
                issuer: "https://token.actions.githubusercontent.com".to_owned(),
                audience: "snowfence".to_owned(),
                request_hosts: vec![RequestHost::parse("actions.githubusercontent.com").unwrap()],
                jwks_url: "https://token.actions.githubusercontent.com/.well-known/jwks".to_owned(),
                leeway: Duration::from_secs(30),
            },
            tls: Arc::new(tls.with_no_client_auth()),
            proc_deadline: Duration::from_secs(1),
            issuer_deadline: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_configuration_in_order_is_taken() {
        assert_eq!(config().checked().unwrap().path(), "/.well-known/jwks");
    }

    #[test]
    fn each_mistake_is_named() {
        type Mistake = (fn(&mut Config), ConfigError);
        let mistakes: [Mistake; 9] = [
            (|c| c.runner_exes.push("bin/y".into()), ConfigError::RelativeWorker("bin/y".into())),
            (|c| c.worker_exes.push("bin/x".into()), ConfigError::RelativeWorker("bin/x".into())),
            (|c| c.github.issuer = "http://x".to_owned(), ConfigError::Issuer("http://x".to_owned())),
            (|c| c.github.issuer.clear(), ConfigError::Issuer(String::new())),
            (|c| c.github.audience.clear(), ConfigError::Audience),
            (|c| c.github.request_hosts.clear(), ConfigError::NoRequestHost),
            (|c| c.github.jwks_url = "http://x/".to_owned(), ConfigError::JwksUrl("http://x/".to_owned())),
            (
                |c| c.github.jwks_url = "https://a@x/".to_owned(),
                ConfigError::JwksUrl("https://a@x/".to_owned()),
            ),
            (|c| c.github.leeway = Duration::from_secs(301), ConfigError::Leeway(Duration::from_secs(301))),
        ];
        for (mistake, expected) in mistakes {
            let mut config = config();
            mistake(&mut config);
            assert_eq!(config.checked().unwrap_err(), expected);
        }
    }
}
