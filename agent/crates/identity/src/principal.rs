//! Who is asking. A principal is made here and nowhere else; only [`crate::verify()`] makes a verified one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use model::Timestamp;

use crate::{Agent, GroupRules, Job, NobodyReason, ObservedJob, Provider, advice};

/// How much stands behind a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assurance {
    /// Nothing: nobody knows who asks.
    None,
    /// The word of the runner to the process that it started.
    Observed,
    /// A token whose signature was checked.
    Verified,
}

impl Assurance {
    /// The word used in rules, records and output: `none`, `observed` or `verified`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Observed => "observed",
            Self::Verified => "verified",
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whoever is asking, with what is known of them and how well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(Standing, Company);

/// What is said of a principal besides who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Company {
    agent: Option<Agent>,
    groups: BTreeSet<String>,
    /// The word of the provider whose runner is at work, where nobody could be identified.
    runner: Option<&'static str>,
    registration: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Verified {
        provider: Provider,
        subject: String,
        expires: Timestamp,
        job: Job,
        claims: BTreeMap<String, String>,
    },
    Observed(ObservedJob),
    Nobody(NobodyReason),
}

impl Principal {
    /// The token behind it was checked. Only the verifier calls this.
    pub(crate) fn verified(
        provider: Provider,
        subject: String,
        expires: Timestamp,
        job: Job,
        claims: BTreeMap<String, String>,
    ) -> Self {
        Self(Standing::Verified { provider, subject, expires, job, claims }, Company::default())
    }

    /// A job without a token, named by its runner.
    #[must_use]
    pub fn observed(job: ObservedJob) -> Self {
        Self(Standing::Observed(job), Company::default())
    }

    /// Nobody who is known, and why.
    #[must_use]
    pub fn unidentified(reason: NobodyReason) -> Self {
        Self(Standing::Nobody(reason), Company::default())
    }

    /// The same, with an AI agent that acts for it. It stays who it is.
    #[must_use]
    pub fn with_agent(mut self, agent: Agent) -> Self {
        self.1.agent = Some(agent);
        self
    }

    /// The same, in the groups that the rules put it in.
    #[must_use]
    pub fn grouped(mut self, rules: &GroupRules) -> Self {
        self.1.groups = rules.groups_of(&self);
        self
    }

    /// The same, below a runner of the provider with this word. It is only for what people are told.
    #[must_use]
    pub fn below_runner(mut self, provider: Option<&'static str>) -> Self {
        self.1.runner = provider;
        self
    }

    /// The same, at a runner that is registered as this says: `runner lab of https://github.com/acme`.
    #[must_use]
    pub fn registered(mut self, registration: String) -> Self {
        self.1.registration = Some(registration);
        self
    }

    /// What the host knows of the runner of an observed job.
    #[must_use]
    pub fn registration(&self) -> Option<&str> {
        self.1.registration.as_deref()
    }

    /// What its job has to do to have a verified identity; it completes "to have a verified identity, ". Verified ones
    /// need nothing.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self.assurance() {
            Assurance::Verified => None,
            Assurance::Observed => advice(self.provider()?.as_str()),
            Assurance::None => advice(self.1.runner?),
        }
    }

    /// The AI agent that acts for it, where one was recognised. That none was recognised does not mean that there is
    /// none.
    #[must_use]
    pub fn agent(&self) -> Option<&Agent> {
        self.1.agent.as_ref()
    }

    /// The groups that the operator's rules put it in.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.1.groups.iter().map(String::as_str)
    }

    /// How well it is known.
    #[must_use]
    pub fn assurance(&self) -> Assurance {
        match &self.0 {
            Standing::Verified { .. } => Assurance::Verified,
            Standing::Observed(_) => Assurance::Observed,
            Standing::Nobody(_) => Assurance::None,
        }
    }

    /// The name used in rules and records. Verified: provider and token subject,
    /// `github:repo:acme/etl:ref:refs/heads/main`. Observed: marked as such, so that it can never equal a verified one,
    /// `observed:github:repo:acme/etl:ref:refs/heads/main`. Nobody: `unidentified`.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.0 {
            Standing::Verified { provider, subject, .. } => format!("{}:{subject}", provider.as_str()),
            Standing::Observed(observed) => {
                let (provider, job) = (observed.provider().as_str(), observed.job());
                match &job.git_ref {
                    Some(git_ref) => format!("observed:{provider}:repo:{}:ref:{git_ref}", job.repository),
                    None => format!("observed:{provider}:repo:{}", job.repository),
                }
            }
            Standing::Nobody(_) => "unidentified".to_owned(),
        }
    }

    /// Who vouches for the job, or whose runner stated it.
    #[must_use]
    pub fn provider(&self) -> Option<Provider> {
        match &self.0 {
            Standing::Verified { provider, .. } => Some(*provider),
            Standing::Observed(observed) => Some(observed.provider()),
            Standing::Nobody(_) => None,
        }
    }

    /// All that is known of the job; see [`Self::assurance`] for how well.
    #[must_use]
    pub fn job_facts(&self) -> Option<&Job> {
        match &self.0 {
            Standing::Verified { job, .. } => Some(job),
            Standing::Observed(observed) => Some(observed.job()),
            Standing::Nobody(_) => None,
        }
    }

    /// The token's `sub`. Only a verified principal has one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match &self.0 {
            Standing::Verified { subject, .. } => Some(subject),
            Standing::Observed(_) | Standing::Nobody(_) => None,
        }
    }

    /// The token's claims as it has them, for people. Only a verified principal has them.
    #[must_use]
    pub fn claims(&self) -> Option<&BTreeMap<String, String>> {
        match &self.0 {
            Standing::Verified { claims, .. } => Some(claims),
            Standing::Observed(_) | Standing::Nobody(_) => None,
        }
    }

    /// When the token ends. Only a verified principal has one.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        match &self.0 {
            Standing::Verified { expires, .. } => Some(*expires),
            Standing::Observed(_) | Standing::Nobody(_) => None,
        }
    }

    /// Why nobody is known. Only a principal without assurance has a reason.
    #[must_use]
    pub fn reason(&self) -> Option<&NobodyReason> {
        match &self.0 {
            Standing::Nobody(reason) => Some(reason),
            Standing::Verified { .. } | Standing::Observed(_) => None,
        }
    }

    /// `acme/etl`. `None` where the provider knows of no project.
    #[must_use]
    pub fn repository(&self) -> Option<&str> {
        self.job_facts().map(|job| job.repository.as_str()).filter(|repository| !repository.is_empty())
    }

    /// The run of the workflow. `None` where the provider does not tell it.
    #[must_use]
    pub fn run_id(&self) -> Option<&str> {
        self.job_facts().map(|job| job.run_id.as_str()).filter(|run| !run.is_empty())
    }

    /// The attempt of that run, digits.
    #[must_use]
    pub fn run_attempt(&self) -> Option<&str> {
        self.job_facts()?.run_attempt.as_deref()
    }

    /// Name of the workflow.
    #[must_use]
    pub fn workflow(&self) -> Option<&str> {
        self.job_facts()?.workflow.as_deref()
    }

    /// The git ref that is built.
    #[must_use]
    pub fn git_ref(&self) -> Option<&str> {
        self.job_facts()?.git_ref.as_deref()
    }

    /// The account whose act started the run.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.job_facts()?.actor.as_deref()
    }

    /// The deployment environment.
    #[must_use]
    pub fn environment(&self) -> Option<&str> {
        self.job_facts()?.environment.as_deref()
    }

    /// The job's id within the workflow.
    #[must_use]
    pub fn job(&self) -> Option<&str> {
        self.job_facts()?.job.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentTable, GroupField, GroupRule};

    fn observed() -> Principal {
        let statement = ObservedJob::github(|name| match name {
            "GITHUB_REPOSITORY" => Some("acme/etl"),
            "GITHUB_RUN_ID" => Some("4711"),
            "GITHUB_REF" => Some("refs/heads/main"),
            _ => None,
        });
        Principal::observed(statement.unwrap())
    }

    #[test]
    fn an_observed_job_is_never_shown_as_verified() {
        let principal = observed();
        assert_eq!(principal.assurance(), Assurance::Observed);
        assert_eq!(principal.id(), "observed:github:repo:acme/etl:ref:refs/heads/main");
        assert_eq!((principal.subject(), principal.expires(), principal.reason()), (None, None, None));
        assert_eq!(principal.repository(), Some("acme/etl"));
    }

    #[test]
    fn an_agent_and_groups_are_beside_who_it_is() {
        let variables = |name: &str| (name == "CLAUDECODE").then_some("1");
        let agent = AgentTable::default().by_variables(variables).unwrap();
        let fields = [(GroupField::Repository, vec!["acme/*"])];
        let rules = GroupRules::new(vec![GroupRule::new("eng", Assurance::Observed, &fields).unwrap()]);
        let principal = observed().grouped(&rules).with_agent(agent.clone());
        assert_eq!((principal.id(), principal.agent()), (observed().id(), Some(&agent)));
        assert_eq!(principal.groups().collect::<Vec<_>>(), ["eng"]);
        assert_ne!(principal, observed(), "two that are judged differently are not equal");
    }

    #[test]
    fn nobody_has_a_reason_and_nothing_else() {
        let principal = Principal::unidentified(NobodyReason::NoJob);
        assert_eq!(principal.assurance(), Assurance::None);
        assert_eq!(principal.id(), "unidentified");
        assert_eq!(principal.reason(), Some(&NobodyReason::NoJob));
        assert_eq!(principal.advice(), None);
        let below = principal.clone().below_runner(Some("github"));
        assert!(below.advice().unwrap().contains("id-token: write"));
        assert!(observed().advice().unwrap().contains("id-token: write"));
        assert_eq!((principal.provider(), principal.job_facts(), principal.run_id()), (None, None, None));
    }

    #[test]
    fn assurance_is_ordered() {
        assert!(Assurance::None < Assurance::Observed && Assurance::Observed < Assurance::Verified);
    }
}
