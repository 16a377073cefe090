//! Questions of the form "what if": a principal that somebody describes, and what the rules would say to it.
//!
//! Nothing here is a witness. A supposed principal is no [`identity::Principal`], and what comes out is no permit: it can be
//! read, and nothing can be sent with it.

use identity::Assurance;
use serde::Deserialize;

use crate::who::Who;

/// A principal as somebody describes it, in the words of a GitHub token's claims. What is left out is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Supposed {
    /// `verified`, `observed` or `none`; `verified` if nothing is said and there is a repository.
    pub assurance: Option<SupposedAssurance>,
    /// `github`, if nothing is said and there is a repository.
    pub provider: Option<String>,
    /// The token's `sub`; made of repository and ref, if nothing is said.
    #[serde(alias = "sub")]
    pub subject: Option<String>,
    /// `acme/etl`.
    pub repository: Option<String>,
    /// `refs/heads/main`.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    /// Name of the workflow.
    pub workflow: Option<String>,
    /// Deployment environment.
    pub environment: Option<String>,
    /// The account whose act started the run.
    pub actor: Option<String>,
    /// `push`, `schedule`, …
    #[serde(alias = "event_name")]
    pub event: Option<String>,
    /// The job's id within the workflow.
    pub job: Option<String>,
    /// The run, digits.
    pub run_id: Option<String>,
    /// The AI agent at work in it: `claude-code`, …
    pub agent: Option<String>,
    /// How it was recognised: `executable` or `asserted`; `executable` if nothing is said.
    pub agent_evidence: Option<String>,
    /// Groups beside those that come with provider and repository.
    pub groups: Vec<String>,
}

/// How well it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SupposedAssurance {
    /// By a token.
    Verified,
    /// By its runner's word.
    Observed,
    /// Not at all.
    None,
}

impl Supposed {
    /// Takes what it knows of a token's claims; the others say nothing to rules.
    #[must_use]
    pub fn from_claims(claims: &serde_json::Map<String, serde_json::Value>) -> Self {
        let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        Self {
            assurance: None,
            provider: None,
            subject: text("sub"),
            repository: text("repository"),
            git_ref: text("ref"),
            workflow: text("workflow"),
            environment: text("environment"),
            actor: text("actor"),
            event: text("event_name"),
            job: text("job"),
            run_id: text("run_id"),
            agent: None,
            agent_evidence: None,
            groups: Vec::new(),
        }
    }

    pub(crate) fn who(&self) -> Who {
        let assurance = match (self.assurance, &self.repository) {
            (Some(SupposedAssurance::Verified), _) | (None, Some(_)) => Assurance::Verified,
            (Some(SupposedAssurance::Observed), _) => Assurance::Observed,
            (Some(SupposedAssurance::None), _) | (None, None) => Assurance::None,
        };
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let known = assurance != Assurance::None;
        let provider =
            if known { self.provider.clone().unwrap_or_else(|| "github".to_owned()) } else { String::new() };
        let repository = said(&self.repository);
        let owner = repository.split_once('/').map(|(owner, _)| owner.to_owned());
        // On another CI system the same name is somebody else's.
        let of =
            if matches!(provider.as_str(), "github" | "") { String::new() } else { format!("{provider}:") };
        let named = |kind: &str, name: &str| (!name.is_empty()).then(|| format!("{kind}:{name}"));
        let evidence = self.agent_evidence.as_deref().unwrap_or("executable").to_owned();
        let agent = self
            .agent
            .iter()
            .flat_map(|agent| [("agent", agent.clone()), ("agent_evidence", evidence.clone())]);
        let groups = [
            named(&format!("{of}repository"), &repository),
            named(&format!("{of}owner"), owner.as_deref().unwrap_or_default()),
            named("provider", &provider),
        ];
        Who {
            id: self.id(assurance, &provider, &repository),
            assurance,
            attributes: [
                ("assurance", assurance.as_str().to_owned()),
                ("provider", provider),
                ("repository", repository),
                ("owner", owner.unwrap_or_default()),
                ("ref", said(&self.git_ref)),
                ("workflow", said(&self.workflow)),
                ("environment", said(&self.environment)),
                ("actor", said(&self.actor)),
                ("event", said(&self.event)),
                ("job", said(&self.job)),
                ("run_id", said(&self.run_id)),
            ]
            .into_iter()
            .chain(agent)
            .collect(),
            advice: None,
            groups: groups.into_iter().flatten().chain(self.groups.iter().cloned()).collect(),
            unknown_because: (!known).then(|| "as supposed".to_owned()),
        }
    }

    /// As [`identity::Principal::id`] has it.
    fn id(&self, assurance: Assurance, provider: &str, repository: &str) -> String {
        let of_ref = match &self.git_ref {
            Some(git_ref) => format!("repo:{repository}:ref:{git_ref}"),
            None => format!("repo:{repository}"),
        };
        match assurance {
            Assurance::Verified => format!("{provider}:{}", self.subject.as_ref().unwrap_or(&of_ref)),
            Assurance::Observed => format!("observed:{provider}:{of_ref}"),
            Assurance::None => "unidentified".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use identity::testing;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_supposed_of_a_job_is_what_would_be_known_of_it() {
        let claims = testing::Issuer::claims(&json!({}));
        let supposed = Supposed::from_claims(claims.as_object().unwrap());
        assert_eq!(supposed.who(), Who::new(&testing::verified(&json!({}))));

        let supposed =
            Supposed { assurance: Some(SupposedAssurance::Observed), environment: None, ..supposed };
        let known = Who::new(&testing::observed(&json!({})));
        // What to do to be verified is said to who is there.
        assert_eq!(Who { advice: known.advice, ..supposed.who() }, known);
    }

    #[test]
    fn nobody_is_nobody() {
        let nobody = identity::Principal::unidentified(identity::NobodyReason::NoJob);
        let (supposed, known) = (Supposed::default().who(), Who::new(&nobody));
        assert_eq!(
            (supposed.id, supposed.attributes, supposed.groups),
            (known.id, known.attributes, known.groups)
        );
    }
}
