//! What an operator can set, and what is made sure of before anything runs.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use http::Uri;
use identity::{Place, Provider};

use crate::request_host::RequestHost;

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
    /// Who may vouch for jobs: nobody else does. At most one per provider.
    pub issuers: Vec<IssuerConfig>,
    /// How identity providers are authenticated: real roots, HTTP/1.1.
    pub tls: Arc<rustls::ClientConfig>,
    /// How long looking at a process may take. Afterwards its connection has no identity.
    pub proc_deadline: Duration,
    /// How long one question to an identity provider may take.
    pub issuer_deadline: Duration,
}

/// One issuer of tokens.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// What its tokens say, and where they are.
    pub provider: Provider,
    /// The exact `iss` of its tokens: `https://token.actions.githubusercontent.com`.
    pub issuer: String,
    /// A token must be made for one of them. Where tokens are asked for, they are asked for with the first.
    pub audiences: Vec<String>,
    /// Claims that a token must have, each with the values it may have: `runner_id`, `agent_id`, … Empty for no more than
    /// the rest asks.
    pub claims: Vec<(String, Vec<String>)>,
    /// Where a job may say that its token is to be asked for.
    pub request_hosts: Vec<RequestHost>,
    /// Where its keys are.
    pub keys: KeySource,
    /// Where a job has its token, if not where the provider's jobs usually have it.
    pub token: Option<TokenPlace>,
    /// How far its clock and ours may differ.
    pub leeway: Duration,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// Where its own discovery document says (OpenID Connect Discovery 1.0).
    Discovery,
    /// At an https address.
    Url(String),
    /// In a file of this host, for issuers that cannot be reached from it.
    File(PathBuf),
}

/// Where the operator says that a job has its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// In a variable of this name.
    Variable(String),
    /// In a file, by its path in the job's own file system.
    File(PathBuf),
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A relative path would depend on where the agent was started.
    #[error("{0:?} is not an absolute path")]
    Relative(PathBuf),
    /// Which of them is meant could not be told.
    #[error("there are two issuers for {0}")]
    Twice(&'static str),
    /// Tokens would not be checked for their maker.
    #[error("the issuer {0:?} is not an https address")]
    Issuer(String),
    /// Tokens could be used elsewhere, or others' tokens here.
    #[error("an audience for {0} is missing, empty or longer than {max} bytes", max = IssuerConfig::AUDIENCE_BYTES_MAX)]
    Audience(&'static str),
    /// No token would ever fit.
    #[error("the claim {0:?} has no value that it may have")]
    Claim(String),
    /// No job could ask for its token.
    #[error(
        "there is no host that a job of {0} may ask for its token; list one, as actions.githubusercontent.com"
    )]
    NoRequestHost(&'static str),
    /// A token in a place that nobody names is not looked for.
    #[error("it is not said where jobs have their token for {0}; name a variable or a file")]
    NoPlace(&'static str),
    /// Keys must come from who they claim.
    #[error("the address of the issuer's keys, {0:?}, is not an https address")]
    JwksUrl(String),
    /// A tolerance this large would make the times of tokens meaningless.
    #[error("the leeway of {0:?} is more than the {max:?} allowed", max = IssuerConfig::LEEWAY_MAX)]
    Leeway(Duration),
}

impl IssuerConfig {
    /// Longest audience, in bytes.
    pub const AUDIENCE_BYTES_MAX: usize = 256;
    /// Largest difference between clocks.
    pub const LEEWAY_MAX: Duration = Duration::from_secs(300);

    fn check(&self) -> Result<(), ConfigError> {
        let word = self.provider.as_str();
        if https(&self.issuer).is_none() {
            return Err(ConfigError::Issuer(self.issuer.clone()));
        }
        let fits = |audience: &String| (1..=Self::AUDIENCE_BYTES_MAX).contains(&audience.len());
        if self.audiences.is_empty() || !self.audiences.iter().all(fits) {
            return Err(ConfigError::Audience(word));
        }
        if let Some((claim, _)) = self.claims.iter().find(|(_, values)| values.is_empty()) {
            return Err(ConfigError::Claim(claim.clone()));
        }
        let place = self.provider.description().place;
        let asked = matches!(place, Place::AskedByGet { .. } | Place::AskedByPost { .. });
        if asked && self.request_hosts.is_empty() {
            return Err(ConfigError::NoRequestHost(word));
        }
        if self.provider == Provider::Oidc && self.token.is_none() {
            return Err(ConfigError::NoPlace(word));
        }
        if self.leeway > Self::LEEWAY_MAX {
            return Err(ConfigError::Leeway(self.leeway));
        }
        let token = match &self.token {
            Some(TokenPlace::File(path)) => Some(path),
            Some(TokenPlace::Variable(_)) | None => None,
        };
        let keys = match &self.keys {
            KeySource::File(path) => Some(path),
            KeySource::Url(url) if https(url).is_none() => return Err(ConfigError::JwksUrl(url.clone())),
            KeySource::Url(_) | KeySource::Discovery => None,
        };
        match [token, keys].into_iter().flatten().find(|path| !path.is_absolute()) {
            Some(relative) => Err(ConfigError::Relative(relative.clone())),
            None => Ok(()),
        }
    }
}

impl Config {
    /// Checks everything that can be checked without asking anybody.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let mut exes = self.worker_exes.iter().chain(&self.runner_exes);
        if let Some(relative) = exes.find(|path| !path.is_absolute()) {
            return Err(ConfigError::Relative(relative.clone()));
        }
        let mut seen = BTreeSet::new();
        for issuer in &self.issuers {
            issuer.check()?;
            if !seen.insert(issuer.provider) {
                return Err(ConfigError::Twice(issuer.provider.as_str()));
            }
        }
        Ok(())
    }
}

/// An address that keys may come from.
pub(crate) fn https(text: &str) -> Option<Uri> {
    let url = text.parse::<Uri>().ok()?;
    let plain = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    (url.scheme_str() == Some("https") && plain).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(provider: Provider) -> IssuerConfig {
        IssuerConfig {
            provider,
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            audiences: vec!["snowfence".to_owned()],
            claims: Vec::new(),
            request_hosts: vec![RequestHost::parse("actions.githubusercontent.com").unwrap()],
            keys: KeySource::Discovery,
            token: Some(TokenPlace::Variable("TOKEN".to_owned())),
            leeway: Duration::from_secs(30),
        }
    }

    fn config() -> Config {
        let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        Config {
            worker_exes: vec![PathBuf::from("/opt/runner/bin/Runner.Worker")],
            runner_exes: Vec::new(),
            units: vec!["actions.runner.*.service".to_owned()],
            issuers: Provider::ALL.map(issuer).into(),
            tls: Arc::new(tls.with_no_client_auth()),
            proc_deadline: Duration::from_secs(1),
            issuer_deadline: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_configuration_in_order_is_taken() {
        assert_eq!(config().check(), Ok(()));
        assert_eq!(Config { issuers: Vec::new(), ..config() }.check(), Ok(()));
    }

    #[test]
    fn each_mistake_is_named() {
        type Mistake = (fn(&mut Config), ConfigError);
        let mistakes: [Mistake; 15] = [
            (|c| c.worker_exes.push("bin/x".into()), ConfigError::Relative("bin/x".into())),
            (|c| c.runner_exes.push("bin/y".into()), ConfigError::Relative("bin/y".into())),
            (|c| c.issuers.push(issuer(Provider::GitLab)), ConfigError::Twice("gitlab")),
            (|c| c.issuers[0].issuer = "http://x".to_owned(), ConfigError::Issuer("http://x".to_owned())),
            (|c| c.issuers[0].issuer.clear(), ConfigError::Issuer(String::new())),
            (|c| c.issuers[0].audiences.clear(), ConfigError::Audience("github")),
            (|c| c.issuers[0].audiences.push(String::new()), ConfigError::Audience("github")),
            (|c| c.issuers[2].claims.push(("a".to_owned(), vec![])), ConfigError::Claim("a".to_owned())),
            (|c| c.issuers[0].request_hosts.clear(), ConfigError::NoRequestHost("github")),
            (|c| c.issuers[8].token = None, ConfigError::NoPlace("oidc")),
            (
                |c| c.issuers[0].keys = KeySource::Url("http://x/".to_owned()),
                ConfigError::JwksUrl("http://x/".to_owned()),
            ),
            (
                |c| c.issuers[0].keys = KeySource::Url("https://a@x/".to_owned()),
                ConfigError::JwksUrl("https://a@x/".to_owned()),
            ),
            (|c| c.issuers[0].keys = KeySource::File("x".into()), ConfigError::Relative("x".into())),
            (|c| c.issuers[6].token = Some(TokenPlace::File("x".into())), ConfigError::Relative("x".into())),
            (
                |c| c.issuers[0].leeway = Duration::from_secs(301),
                ConfigError::Leeway(Duration::from_secs(301)),
            ),
        ];
        for (mistake, expected) in mistakes {
            let mut config = config();
            mistake(&mut config);
            assert_eq!(config.check().unwrap_err(), expected);
        }
    }
}
