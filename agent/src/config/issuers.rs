//! Who may vouch for jobs, as meant: the tables of `[identity]` with what providers have for all their customers.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use identity::Provider;
use workload::{IssuerConfig, KeySource, RequestHost, TokenPlace};

use super::file::{Identity, Issuer};

/// For whom tokens are made, where nothing else is said.
const AUDIENCE: &str = "snowfence";

/// How far an issuer's clock and this host's may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// Every issuer that is configured, in the order in which jobs are asked for a token of theirs. Without any table that
/// is GitHub.
pub(super) fn issuers(mut identity: Identity) -> Result<Vec<IssuerConfig>> {
    if identity.is_empty() {
        identity.insert(Provider::GitHub.as_str().to_owned(), Issuer::default());
    }
    let tables = Provider::ALL.into_iter().filter_map(|provider| {
        let table = identity.remove(provider.as_str())?;
        Some(issuer(provider, table).with_context(|| format!("[identity.{}]", provider.as_str())))
    });
    let issuers = tables.collect::<Result<_>>()?;
    if let Some(word) = identity.keys().next() {
        let known = Provider::ALL.map(Provider::as_str).join(", ");
        bail!("[identity.{word}]: there is no such provider; there are {known}");
    }
    Ok(issuers)
}

fn issuer(provider: Provider, table: Issuer) -> Result<IssuerConfig> {
    let usual = provider.description();
    let issuer = match table.issuer.or(usual.issuer.map(str::to_owned)) {
        Some(issuer) => issuer,
        None => bail!("issuer is missing: the `iss` of its tokens, an https URL"),
    };
    ensure!(issuer.starts_with("https://"), "issuer is {issuer:?}; it must be an https URL");
    let hosts = match table.request_hosts {
        Some(hosts) => hosts,
        None => usual.hosts.iter().map(|host| (*host).to_owned()).collect(),
    };
    let keys = match (table.jwks_url, table.jwks_file) {
        (None, None) => KeySource::Discovery,
        (Some(url), None) => KeySource::Url(url),
        (None, Some(file)) => KeySource::File(file),
        (Some(_), Some(_)) => bail!("jwks_url and jwks_file are both there"),
    };
    let token = match (table.variable, table.file) {
        (None, None) => None,
        (Some(name), None) => Some(TokenPlace::Variable(name)),
        (None, Some(file)) => Some(TokenPlace::File(file)),
        (Some(_), Some(_)) => bail!("variable and file are both there"),
    };
    Ok(IssuerConfig {
        provider,
        issuer,
        audiences: table.audience.map_or_else(|| vec![AUDIENCE.to_owned()], Vec::from),
        claims: table.claims.into_iter().map(|(name, values)| (name, values.into())).collect(),
        request_hosts: hosts
            .iter()
            .map(|host| RequestHost::parse(host))
            .collect::<Result<_, _>>()
            .context("request_hosts")?,
        keys,
        token,
        leeway: LEEWAY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<IssuerConfig>> {
        issuers(toml::from_str(text)?)
    }

    fn error(text: &str) -> String {
        format!("{:#}", read(text).unwrap_err())
    }

    #[test]
    fn every_provider_has_a_table_by_its_own_word() {
        let text: String = Provider::ALL
            .iter()
            .map(|provider| {
                format!("[{}]\nissuer = \"https://x.example\"\nvariable = \"T\"\n", provider.as_str())
            })
            .collect();
        let read = read(&text).unwrap();
        assert_eq!(read.iter().map(|issuer| issuer.provider).collect::<Vec<_>>(), Provider::ALL);
    }

    #[test]
    fn github_is_there_unless_others_are() {
        let [github] = &*read("").unwrap() else { panic!() };
        assert_eq!(github.issuer, "https://token.actions.githubusercontent.com");
        assert_eq!(
            (github.provider, github.audiences.as_slice()),
            (Provider::GitHub, &["snowfence".to_owned()][..])
        );
        let [gitlab] = &*read("[gitlab]\nissuer = \"https://gitlab.com\"").unwrap() else { panic!() };
        assert_eq!((gitlab.provider, &gitlab.keys), (Provider::GitLab, &KeySource::Discovery));
    }

    #[test]
    fn what_is_said_counts_before_what_is_usual() {
        let text = "[buildkite]\naudience = [\"a\", \"b\"]\nrequest_hosts = [\"bk.example:8443\"]\n\
                    jwks_file = \"/etc/k.json\"\nclaims = { agent_id = \"1\", queue = [\"x\", \"y\"] }";
        let [issuer] = &*read(text).unwrap() else { panic!() };
        assert_eq!(issuer.audiences, ["a", "b"]);
        assert_eq!(issuer.request_hosts, [RequestHost::parse("bk.example:8443").unwrap()]);
        assert_eq!(issuer.keys, KeySource::File("/etc/k.json".into()));
        assert_eq!(issuer.claims[0], ("agent_id".to_owned(), vec!["1".to_owned()]));
        assert_eq!(issuer.claims[1].1, ["x", "y"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_table() {
        for (text, says) in [
            ("[gitlab]", "[identity.gitlab]: issuer is missing"),
            ("[github]\nissuer = \"http://x\"", "https"),
            ("[github]\nrequest_hosts = [\"https://x\"]", "request_hosts"),
            ("[github]\njwks_url = \"https://x\"\njwks_file = \"/x\"", "both"),
            ("[github]\nvariable = \"x\"\nfile = \"/x\"", "both"),
            ("[gitlabs]", "gitlabs"),
            ("[github]\naudiense = \"x\"", "audiense"),
        ] {
            assert!(error(text).contains(says), "{text}: {}", error(text));
        }
    }
}
