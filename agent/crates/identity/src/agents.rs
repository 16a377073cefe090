//! AI agents, by what of them shows on a host.
//!
//! A name found here is for attribution, and for rules that forbid. Whoever starts a program can give its file any name
//! and its variables any value, so the name proves nothing, and its absence proves even less.

mod builtin;

use std::fmt;

use crate::{Glob, GlobError};

/// What an agent's name rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgentEvidence {
    /// A variable that the process, or one above it, was started with. Whoever starts a process chooses them.
    Asserted,
    /// The file that the process, or one above it, runs; for an interpreter, the script.
    Executable,
}

impl AgentEvidence {
    /// The word used in rules, records and output: `asserted` or `executable`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asserted => "asserted",
            Self::Executable => "executable",
        }
    }
}

impl fmt::Display for AgentEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An AI agent that acts for a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    name: String,
    evidence: AgentEvidence,
}

impl Agent {
    /// Longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 64;

    /// `claude-code`, `cursor`, …
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What that rests on.
    #[must_use]
    pub fn evidence(&self) -> AgentEvidence {
        self.evidence
    }

    /// Which of two to keep for a job: the first, unless the other rests on more.
    #[must_use]
    pub fn or_better(self, other: Self) -> Self {
        if other.evidence > self.evidence { other } else { self }
    }
}

/// One agent and how it is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentKind {
    name: String,
    executables: Vec<Glob>,
    scripts: Vec<Glob>,
    variables: Vec<Marker>,
}

/// A variable, and its value where any one does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marker {
    name: String,
    value: Option<String>,
}

/// What is wrong with an entry of the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentKindError {
    /// A name that would be misread in rules or on a terminal.
    #[error("{0:?} is no name of an agent: use up to {max} letters, digits, '-', '_', '.' and '@'", max = Agent::NAME_BYTES_MAX)]
    Name(String),
    /// Nothing to know it by.
    #[error("the agent {0:?} has nothing to be recognised by: name executables, scripts or variables")]
    Nothing(String),
    /// A pattern that is none.
    #[error("of the agent {name:?}: {error}")]
    Pattern {
        /// The agent.
        name: String,
        /// What is wrong.
        error: GlobError,
    },
    /// A variable that no process can have.
    #[error("of the agent {name:?}: {variable:?} is no variable; write NAME, or NAME=value")]
    Variable {
        /// The agent.
        name: String,
        /// The text.
        variable: String,
    },
}

impl AgentKind {
    /// An agent. `executables` and `scripts` are patterns: one with a slash is for the whole path, one without for its
    /// last part. A script is an argument of an interpreter, or the module after its `-m`. `variables` are `NAME` or
    /// `NAME=value`; an empty one does not count.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn new<S: AsRef<str>>(
        name: &str,
        executables: &[S],
        scripts: &[S],
        variables: &[S],
    ) -> Result<Self, AgentKindError> {
        if !is_name(name) {
            return Err(AgentKindError::Name(name.chars().take(80).collect()));
        }
        if executables.is_empty() && scripts.is_empty() && variables.is_empty() {
            return Err(AgentKindError::Nothing(name.to_owned()));
        }
        let globs = |texts: &[S]| {
            let globs = texts.iter().map(|text| Glob::parse(text.as_ref()));
            globs.collect::<Result<Vec<_>, _>>()
        };
        let pattern = |error| AgentKindError::Pattern { name: name.to_owned(), error };
        let marker = |text: &S| {
            let bad =
                || AgentKindError::Variable { name: name.to_owned(), variable: text.as_ref().to_owned() };
            marker(text.as_ref()).ok_or_else(bad)
        };
        Ok(Self {
            name: name.to_owned(),
            executables: globs(executables).map_err(pattern)?,
            scripts: globs(scripts).map_err(pattern)?,
            variables: variables.iter().map(marker).collect::<Result<_, _>>()?,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn marker(text: &str) -> Option<Marker> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = !name.is_empty() && name.len() <= 128 && name.bytes().all(letter);
    (is_name && value != Some("")).then(|| Marker { name: name.to_owned(), value: value.map(str::to_owned) })
}

fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    (1..=Agent::NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(good)
}

/// A variable by which agents may name themselves: a convention that several of them follow.
const SELF_NAMED: &str = "AI_AGENT";

/// All agents that are recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentTable(Vec<AgentKind>);

impl Default for AgentTable {
    /// The agents that ship with the program.
    fn default() -> Self {
        Self(builtin::kinds())
    }
}

impl AgentTable {
    /// Adds agents. One of the same name as one that ships with the program replaces it.
    #[must_use]
    pub fn extended(self, kinds: Vec<AgentKind>) -> Self {
        let mut all = kinds;
        let stays = |kind: &AgentKind| !all.iter().any(|own| own.name == kind.name);
        let kept = self.0.into_iter().filter(stays).collect::<Vec<_>>();
        all.extend(kept);
        Self(all)
    }

    /// The agents, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AgentKind::name)
    }

    /// Whether the program is an interpreter, so that its arguments say more than its name.
    #[must_use]
    pub fn is_interpreter(exe: &str) -> bool {
        let name = last_part(exe);
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        ["node", "nodejs", "bun", "deno", "python", "uv", "uvx", "npx", "ruby", "java"].contains(&name)
            || ["sh", "bash", "dash", "zsh", "ash", "busybox"].contains(&name)
    }

    /// The agent that this program is. `arguments` are those of its command line without the first.
    #[must_use]
    pub fn by_program(&self, exe: &str, arguments: &[&str]) -> Option<Agent> {
        let found = |kind: &AgentKind| Agent { name: kind.name.clone(), evidence: AgentEvidence::Executable };
        let is_this = |kind: &&AgentKind| kind.executables.iter().any(|glob| fits(glob, exe));
        if let Some(kind) = self.0.iter().find(is_this) {
            return Some(found(kind));
        }
        if !Self::is_interpreter(exe) {
            return None;
        }
        let script = script(arguments)?;
        self.0.iter().find(|kind| kind.scripts.iter().any(|glob| fits(glob, script))).map(found)
    }

    /// The agent that the variables of a process speak of. `variable` looks one up by name.
    #[must_use]
    pub fn by_variables<'v>(&self, variable: impl Fn(&str) -> Option<&'v str>) -> Option<Agent> {
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_set = |marker: &Marker| match &marker.value {
            None => filled(&marker.name).is_some(),
            Some(expected) => filled(&marker.name) == Some(expected.as_str()),
        };
        let named = self.0.iter().find(|kind| kind.variables.iter().any(is_set));
        let name = match named {
            Some(kind) => kind.name.clone(),
            None => filled(SELF_NAMED).map(self_named)?,
        };
        Some(Agent { name, evidence: AgentEvidence::Asserted })
    }

    /// Whether the value of a variable with this name says anything here.
    #[must_use]
    pub fn asks_for(&self, name: &str) -> bool {
        name == SELF_NAMED
            || self.0.iter().any(|kind| kind.variables.iter().any(|marker| marker.name == name))
    }
}

/// A name that an agent gives itself, if it can be one.
fn self_named(text: &str) -> String {
    let name = text.to_ascii_lowercase();
    if is_name(&name) { name } else { "unnamed".to_owned() }
}

/// A pattern with a slash is for the whole path, one without for its last part.
fn fits(glob: &Glob, path: &str) -> bool {
    // The kernel adds this to the path of a file that was removed or replaced since.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    if glob.is_path() { glob.matches(path) } else { glob.matches(last_part(path)) }
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What an interpreter runs: its first argument that is no option, or the module after `-m`. An option that takes its
/// value as the next word hides the script; the interpreters named here have few, and mostly write them with `=`.
fn script<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "-m" => return arguments.next().copied(),
            "-c" | "-e" | "-p" => return None,
            "run" | "--" | "tool" => {}
            option if option.starts_with('-') => {}
            script => return Some(script),
        }
    }
    None
}

#[cfg(test)]
mod tests;
