//! A list of who has left, as it is written: by an operator in TOML or JSON, and by the agent itself where it keeps what
//! a directory told.

use std::collections::BTreeMap;

use identity::{Departed, Departure, Handle};
use serde::{Deserialize, Serialize};

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// What a key of `handles` is besides the word of a provider.
const ANYWHERE: &str = "any";
/// The words of providers.
const PROVIDERS: &[&str] =
    &["github", "github-enterprise", "gitlab", "buildkite", "circleci", "jenkins", "kubernetes", "cursor"];

/// A list as written. The key must be there: a file that was emptied by mistake says nothing, and not that nobody has
/// left.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    pub(super) deactivated: Vec<Entry>,
}

/// Somebody who has left.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    /// By the word of a provider, or `any`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) handles: BTreeMap<String, Handles>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) snowflake_users: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) agents: Vec<String>,
}

/// One name or several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Handles {
    One(String),
    Several(Vec<String>),
}

/// What is wrong with a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not of the form that is documented; says where.
    #[error("{0}")]
    Syntax(String),
    /// A key of `handles` that is no provider's word.
    #[error("of {name:?}: handles.{key} is no provider; use one of {}, or any", PROVIDERS.join(", "))]
    Provider {
        /// Whose entry.
        name: String,
        /// The key.
        key: String,
    },
    /// An entry that would never be found, or with a name that is none.
    #[error(
        "of {0:?}: name at least one handle, Snowflake user or agent, each of 1 to {NAME_BYTES_MAX} bytes"
    )]
    NoHandle(String),
}

/// Whose name one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandleKind {
    /// At every provider, and in Snowflake.
    Anywhere,
    /// At the provider with this word.
    At(String),
    /// In Snowflake.
    SnowflakeUser,
}

impl HandleKind {
    /// Reads `any`, `snowflake`, or the word of a provider.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            ANYWHERE => Some(Self::Anywhere),
            "snowflake" => Some(Self::SnowflakeUser),
            word => PROVIDERS.contains(&word).then(|| Self::At(word.to_owned())),
        }
    }
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    Json,
}

/// Reads a list.
pub(super) fn parse(text: &str, format: Format) -> Result<Departed, ListError> {
    let list: List = match format {
        Format::Toml => toml::from_str(text).map_err(|error| ListError::Syntax(error.to_string()))?,
        Format::Json => serde_json::from_str(text).map_err(|error| ListError::Syntax(error.to_string()))?,
    };
    departed(list)
}

pub(super) fn departed(list: List) -> Result<Departed, ListError> {
    let people = list.deactivated.into_iter().map(departure).collect::<Result<Vec<_>, _>>()?;
    Ok(Departed::new(people))
}

fn departure(entry: Entry) -> Result<Departure, ListError> {
    let Entry { name, handles: by_provider, snowflake_users, agents } = entry;
    let mut handles = Vec::new();
    for (key, names) in by_provider {
        let is_anywhere = key == ANYWHERE;
        if !is_anywhere && !PROVIDERS.contains(&key.as_str()) {
            return Err(ListError::Provider { name, key });
        }
        let names = match names {
            Handles::One(one) => vec![one],
            Handles::Several(several) => several,
        };
        let handle = |name| if is_anywhere { Handle::Anywhere(name) } else { Handle::At(key.clone(), name) };
        handles.extend(names.into_iter().map(handle));
    }
    handles.extend(snowflake_users.into_iter().map(Handle::SnowflakeUser));
    handles.extend(agents.into_iter().map(Handle::Agent));
    let is_name = |handle: &Handle| {
        let (Handle::Anywhere(name)
        | Handle::At(_, name)
        | Handle::SnowflakeUser(name)
        | Handle::Agent(name)) = handle;
        (1..=NAME_BYTES_MAX).contains(&name.len())
    };
    if handles.is_empty() || !handles.iter().all(is_name) {
        return Err(ListError::NoHandle(name));
    }
    Ok(Departure { name, handles })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_both_forms() {
        let toml = r#"
[[deactivated]]
name = "Mona Lisa"
handles = { github = "mona", gitlab = ["m.lisa", "mona"] }
snowflake_users = ["MONA"]

[[deactivated]]
name = "a contractor's bot"
agents = ["acme-bot"]
"#;
        let json = r#"{"deactivated": [
            {"name": "Mona Lisa", "handles": {"github": "mona", "gitlab": ["m.lisa", "mona"]}, "snowflake_users": ["MONA"]},
            {"name": "a contractor's bot", "agents": ["acme-bot"]}
        ]}"#;
        let read = parse(toml, Format::Toml).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read, parse(json, Format::Json).unwrap());
        assert!(parse("deactivated = []", Format::Toml).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_a_list_is_refused_and_says_where() {
        let error = |text: &str| parse(text, Format::Toml).unwrap_err().to_string();
        assert!(error("").contains("deactivated"), "an emptied file says nothing");
        let unknown = error("[[deactivated]]\nname = \"x\"\nagent = [\"y\"]\n");
        assert!(unknown.contains("line 3, column 1") && unknown.contains("agent"), "{unknown}");
        assert!(error("deactivated = [").contains("line 1"));
        let provider = error("[[deactivated]]\nname = \"x\"\nhandles = { githup = \"y\" }\n");
        assert!(provider.contains("handles.githup") && provider.contains("github"), "{provider}");
        assert!(error("[[deactivated]]\nname = \"x\"\n").contains("at least one"));
        assert!(error("[[deactivated]]\nname = \"x\"\nagents = [\"\"]\n").contains("1 to"));
        let json = parse("{\"deactivated\": [\n{\"nam\": 1}]}", Format::Json).unwrap_err().to_string();
        assert!(json.contains("line 2") && json.contains("nam"), "{json}");
    }
}
