//! Who vouches for jobs: one row below and one file in `providers/` each.

use crate::{
    claims::Claims,
    job::{Job, StatementError},
    providers::{buildkite, circleci, cursor, github, gitlab, jenkins, kubernetes, oidc},
    verify::VerifyError,
};

/// Makes the enum, the list and the table of one row for each.
macro_rules! providers {
    ($($(#[$doc:meta])* $name:ident = $description:path,)+) => {
        /// Who vouches for jobs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Provider {
            $($(#[$doc])* $name,)+
        }

        impl Provider {
            /// Every provider.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// What is particular about it.
            #[must_use]
            pub fn description(self) -> &'static Description {
                match self {
                    $(Self::$name => &$description,)+
                }
            }
        }
    };
}

providers! {
    /// GitHub Actions on github.com.
    GitHub = github::PUBLIC,
    /// GitHub Actions on an Enterprise Server, or with data residency.
    GitHubEnterprise = github::ENTERPRISE,
    /// GitLab CI, on gitlab.com or an instance of one's own.
    GitLab = gitlab::GITLAB,
    /// Buildkite.
    Buildkite = buildkite::BUILDKITE,
    /// CircleCI.
    CircleCi = circleci::CIRCLECI,
    /// Jenkins with its plugin "OpenID Connect Provider".
    Jenkins = jenkins::JENKINS,
    /// Service accounts of a Kubernetes cluster.
    Kubernetes = kubernetes::KUBERNETES,
    /// Cursor's cloud agents.
    Cursor = cursor::CURSOR,
    /// Any other OpenID Connect issuer, whose token is where the operator says.
    Oidc = oidc::OIDC,
}

/// Looks a variable of a process up by its name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'a str>;

/// All that differs between providers.
pub struct Description {
    /// The word used in the configuration, in rules, records and ids: `github`.
    pub word: &'static str,
    /// The `iss` of its tokens, where all customers share one.
    pub issuer: Option<&'static str>,
    /// Hosts (and hosts below them) at which a job may have its token asked for, where all customers share them.
    pub hosts: &'static [&'static str],
    /// Where the token of a job is.
    pub place: Place,
    /// Variables by which a runner tells a step about its job.
    pub variables: &'static [&'static str],
    /// What of a host tells that its runner is at work: a part of the name of a program, a unit or a cgroup.
    pub(crate) signs: &'static [&'static str],
    /// What a job has to do to have a verified identity: it completes "to have a verified identity, ".
    pub(crate) advice: Option<&'static str>,
    /// Reads the job from claims whose signature was checked.
    pub(crate) claims: fn(&Claims) -> Result<Job, VerifyError>,
    /// Reads the job from what a runner told a step. `None` where no runner tells the process that it starts.
    pub(crate) statement: Option<Statement>,
}

/// What a runner says to the process it starts for a job.
pub(crate) struct Statement {
    /// Whether it is this provider's runner that speaks.
    pub(crate) speaks: fn(Lookup<'_>) -> bool,
    /// The job it speaks of.
    pub(crate) job: fn(Lookup<'_>) -> Result<Job, StatementError>,
    /// Whether it starts several processes for one job, all with the same token.
    pub(crate) is_split: bool,
}

/// Where the token of a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Asked for: `GET <url>&audience=<audience>` with a bearer, answered by `{"value": token}`.
    AskedByGet {
        /// The variable with the address.
        url: &'static str,
        /// The variable with the bearer.
        bearer: &'static str,
    },
    /// Asked for: `POST <base>/jobs/<job>/oidc/tokens` with `{"audience": audience}`, answered by `{"token": token}`.
    AskedByPost {
        /// The variable with the base of the address.
        base: &'static str,
        /// The variable with the id of the job.
        job: &'static str,
        /// The variable with the credential, shown as `Authorization: Token …`.
        credential: &'static str,
    },
    /// Asked for over a socket of the job: `POST /v1/tokens/oidc` with `{"aud": audience}`, answered by
    /// `{"token": token}`.
    AskedBySocket {
        /// The variable with the socket's path. Without it there is no token.
        variable: &'static str,
    },
    /// In a variable of one of these names, the first of them first; where none are named, in any variable.
    Variable(&'static [&'static str]),
    /// In a file of the job's own file system.
    File(&'static str),
}

impl Provider {
    /// The word used in the configuration, in rules, records and ids: `github`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.description().word
    }

    /// All variables that are looked at for it, but for those whose name only the operator or the job knows.
    pub fn variables(self) -> impl Iterator<Item = &'static str> {
        let Description { place, variables, .. } = self.description();
        let of_place = match *place {
            Place::AskedByGet { url, bearer } => [Some(url), Some(bearer), None],
            Place::AskedByPost { base, job, credential } => [Some(base), Some(job), Some(credential)],
            Place::AskedBySocket { variable } => [Some(variable), None, None],
            Place::Variable(_) | Place::File(_) => [None; 3],
        };
        variables.iter().copied().chain(of_place.into_iter().flatten())
    }

    /// Whether its runner starts several processes for one job, all with the same token, so that only what the runner
    /// tells them says that they are one job.
    #[must_use]
    pub fn splits_jobs(self) -> bool {
        self.description().statement.as_ref().is_some_and(|statement| statement.is_split)
    }

    /// Whether a runner of this provider tells a step about its job.
    #[must_use]
    pub fn states_jobs(self) -> bool {
        self.description().statement.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_provider_has_a_word_of_its_own() {
        let words = Provider::ALL.map(Provider::as_str).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(words.len(), Provider::ALL.len());
        // An id is `<word>:<subject>`, and `observed:` marks what no token stands behind.
        assert!(words.iter().all(|word| !word.contains(':') && *word != "observed"));
    }

    #[test]
    fn what_is_asked_for_over_the_network_has_hosts_or_leaves_them_to_the_operator() {
        for provider in Provider::ALL {
            let Description { issuer, hosts, place, .. } = provider.description();
            let asked = matches!(place, Place::AskedByGet { .. } | Place::AskedByPost { .. });
            assert!(asked || hosts.is_empty(), "{provider:?}");
            assert_eq!(asked && issuer.is_some(), !hosts.is_empty(), "{provider:?}");
        }
    }
}
