//! People and agents who have left, and whom of those who ask that concerns.
//!
//! A name is compared without regard to case: GitHub, GitLab, Snowflake and mail servers take it so, and where one does
//! not, refusing one person too many is the lesser mistake.

use std::{collections::HashMap, fmt, sync::Arc};

use crate::Principal;

/// Whose name a handle is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Handle {
    /// A name at every provider, and in Snowflake.
    Anywhere(String),
    /// A name at one provider, by the provider's word: `github`, `mona`.
    At(String, String),
    /// A user of Snowflake.
    SnowflakeUser(String),
    /// An AI agent.
    Agent(String),
}

/// Somebody who has left, with every name that they go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// What people call them; for the record.
    pub name: String,
    /// Where they are known, and as what.
    pub handles: Vec<Handle>,
}

/// In what part somebody who has left is in a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Their act started the run.
    Actor,
    /// The session is of their Snowflake user.
    SnowflakeUser,
    /// They are the AI agent at work in the job.
    Agent,
}

impl Part {
    fn words(self) -> &'static str {
        match self {
            Self::Actor => "who started the run",
            Self::SnowflakeUser => "the Snowflake user of the session",
            Self::Agent => "the AI agent at work in the job",
        }
    }
}

/// Somebody who asks has left. The text is a whole sentence, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{handle}, {}, is deactivated; let somebody who is active run the job", .part.words())]
pub struct Gone {
    /// The name they were recognised by.
    pub handle: String,
    /// What they have to do with it.
    pub part: Part,
    /// What people call them.
    pub name: String,
}

/// Everybody who has left, by every name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Departed {
    people: Vec<Arc<str>>,
    by_handle: HashMap<Handle, usize>,
}

impl Departed {
    /// These people.
    #[must_use]
    pub fn new(departures: impl IntoIterator<Item = Departure>) -> Self {
        let mut departed = Self::default();
        for Departure { name, handles } in departures {
            let number = departed.people.len();
            departed.people.push(name.into());
            for handle in handles {
                departed.by_handle.entry(handle.folded()).or_insert(number);
            }
        }
        departed
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        if others.by_handle.iter().all(|(handle, _)| self.by_handle.contains_key(handle)) {
            return self.clone();
        }
        let mut both = self.clone();
        let known = both.people.len();
        both.people.extend(others.people.iter().cloned());
        for (handle, number) in &others.by_handle {
            both.by_handle.entry(handle.clone()).or_insert(known + number);
        }
        both
    }

    /// How many have left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// Whether nobody has left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// Whoever has left among those behind a principal and its Snowflake user. What a job says of itself without proof
    /// counts here as well: nobody gains by saying that they are somebody who has left.
    #[must_use]
    pub fn find(&self, principal: &Principal, snowflake_user: Option<&str>) -> Option<Gone> {
        if self.is_empty() {
            return None;
        }
        let provider = principal.provider().map(|provider| provider.as_str().to_owned());
        let actor = || {
            let actor = principal.actor()?;
            let here = provider.and_then(|provider| self.name(Handle::At(provider, actor.to_owned())));
            let name = here.or_else(|| self.name(Handle::Anywhere(actor.to_owned())))?;
            Some(Gone { handle: actor.to_owned(), part: Part::Actor, name })
        };
        let user = || {
            let user = snowflake_user.filter(|user| !user.is_empty())?;
            let own = self.name(Handle::SnowflakeUser(user.to_owned()));
            let name = own.or_else(|| self.name(Handle::Anywhere(user.to_owned())))?;
            Some(Gone { handle: user.to_owned(), part: Part::SnowflakeUser, name })
        };
        let agent = || {
            let agent = principal.agent()?.name();
            let name = self.name(Handle::Agent(agent.to_owned()))?;
            Some(Gone { handle: agent.to_owned(), part: Part::Agent, name })
        };
        actor().or_else(user).or_else(agent)
    }

    fn name(&self, handle: Handle) -> Option<String> {
        let number = self.by_handle.get(&handle.folded())?;
        self.people.get(*number).map(ToString::to_string)
    }
}

impl Handle {
    fn folded(self) -> Self {
        match self {
            Self::Anywhere(name) => Self::Anywhere(name.to_lowercase()),
            Self::At(provider, name) => Self::At(provider.to_lowercase(), name.to_lowercase()),
            Self::SnowflakeUser(name) => Self::SnowflakeUser(name.to_lowercase()),
            Self::Agent(name) => Self::Agent(name.to_lowercase()),
        }
    }
}

impl fmt::Debug for Departed {
    /// Who has left is nobody's business who reads the agent's log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Departed({} people)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{AgentTable, NobodyReason, testing};

    fn departed() -> Departed {
        let at = |provider: &str, name: &str| Handle::At(provider.to_owned(), name.to_owned());
        Departed::new([
            Departure { name: "Mona".into(), handles: vec![at("github", "mona"), at("gitlab", "m.lisa")] },
            Departure { name: "Max".into(), handles: vec![Handle::Anywhere("max@acme.example".into())] },
            Departure { name: "Svc".into(), handles: vec![Handle::SnowflakeUser("ETL_SVC".into())] },
            Departure { name: "Bot".into(), handles: vec![Handle::Agent("claude-code".into())] },
        ])
    }

    fn found(principal: &Principal, user: &str) -> Option<(Part, String)> {
        departed().find(principal, Some(user)).map(|gone| (gone.part, gone.name))
    }

    #[test]
    fn the_actor_the_user_and_the_agent_are_looked_for() {
        let of = |actor: &str| testing::verified(&json!({ "actor": actor }));
        assert_eq!(found(&of("mona"), "U"), Some((Part::Actor, "Mona".into())));
        assert_eq!(found(&of("MONA"), "U"), Some((Part::Actor, "Mona".into())));
        assert_eq!(found(&of("m.lisa"), "U"), None, "that is a name at another provider");
        assert_eq!(found(&of("Max@acme.example"), "U"), Some((Part::Actor, "Max".into())));
        assert_eq!(found(&of("lisa"), "etl_svc"), Some((Part::SnowflakeUser, "Svc".into())));
        assert_eq!(found(&of("lisa"), "MAX@ACME.EXAMPLE"), Some((Part::SnowflakeUser, "Max".into())));
        let agent = AgentTable::default().by_program("/usr/bin/claude", &[]).unwrap();
        assert_eq!(found(&of("lisa").with_agent(agent), "U"), Some((Part::Agent, "Bot".into())));
        assert_eq!(found(&of("lisa"), "U"), None);
        assert_eq!(found(&of("lisa"), ""), None);
    }

    #[test]
    fn somebody_who_only_says_who_they_are_is_found_too() {
        let observed = testing::observed(&json!({ "actor": "mona" }));
        assert_eq!(found(&observed, "U"), Some((Part::Actor, "Mona".into())));
        let nobody = Principal::unidentified(NobodyReason::NoJob);
        assert_eq!(found(&nobody, "ETL_SVC"), Some((Part::SnowflakeUser, "Svc".into())));
        assert_eq!(found(&nobody, "U"), None);
    }

    #[test]
    fn the_sentence_is_plain_and_the_list_does_not_print() {
        let gone = departed().find(&testing::observed(&json!({ "actor": "mona" })), None).unwrap();
        assert_eq!(
            gone.to_string(),
            "mona, who started the run, is deactivated; let somebody who is active run the job"
        );
        assert_eq!(format!("{:?}", departed()), "Departed(4 people)");
    }
}
