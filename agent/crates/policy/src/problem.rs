//! What is wrong with a policy or classification file, and exactly where.

use std::fmt;

/// A place in a file, for a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset in a file's text.
    pub(crate) fn at(file: &str, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not the policy language.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What.
        message: String,
    },
    /// The policy language, and not what the schema knows.
    #[error("{place}: rule {rule:?} does not fit the schema: {message}")]
    Schema {
        /// Where.
        place: Place,
        /// The rule's id.
        rule: String,
        /// What, and what was meant if that can be guessed.
        message: String,
    },
    /// No `@id`.
    #[error("{0}: this rule has no name; put @id(\"…\") before it")]
    NoId(Place),
    /// An `@id` that cannot be one.
    #[error("{place}: {id:?} cannot be a rule's name: {why}")]
    BadId {
        /// Where the rule begins.
        place: Place,
        /// What was written.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two rules with one name.
    #[error("{place}: rule {id:?} has the name of the rule at {first}")]
    DuplicateId {
        /// Where the second begins.
        place: Place,
        /// Their name.
        id: String,
        /// Where the first begins.
        first: Place,
    },
    /// An annotation that means nothing here.
    #[error(
        "{place}: rule {rule:?} has an annotation @{name} that is not known; {}",
        meant.map_or("known are @id, @reason, @approve, @mask and @assurance".to_owned(), |meant| format!("did you mean @{meant}?"))
    )]
    UnknownAnnotation {
        /// Where the rule begins.
        place: Place,
        /// Its name.
        rule: String,
        /// The annotation.
        name: String,
        /// The one that was probably meant.
        meant: Option<&'static str>,
    },
    /// A text that is compared with tags or effects, and is none.
    #[error(
        "{place}: rule {rule:?} speaks of the {what} {word:?}, which is not known{}",
        meant.as_ref().map_or(String::new(), |meant| format!("; did you mean {meant:?}?"))
    )]
    Word {
        /// Where it stands.
        place: Place,
        /// The rule's id.
        rule: String,
        /// `tag` or `effect`.
        what: &'static str,
        /// The text.
        word: String,
        /// The one that was probably meant.
        meant: Option<String>,
    },
    /// A name that nothing can have.
    #[error(
        "{place}: rule {rule:?} names {of_type}::{name:?}, which nothing is called; names are written as Snowflake stores them: {meant}"
    )]
    Name {
        /// Where it stands.
        place: Place,
        /// The rule's id.
        rule: String,
        /// `Table`, `Schema`, …
        of_type: String,
        /// What was written.
        name: String,
        /// What it would have to look like.
        meant: String,
    },
    /// An annotation with a value that means nothing, or on the wrong kind of rule.
    #[error("{place}: rule {rule:?}: {why}")]
    BadAnnotation {
        /// Where the rule begins.
        place: Place,
        /// Its name.
        rule: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A permit that counts where something was not found out.
    #[error(
        "{place}: rule {rule:?} would permit something because no AI agent was recognised, which proves nothing; ask with \
         `principal has agent` in a `when`, or write a forbid"
    )]
    GrantsByAbsence {
        /// Where the rule begins.
        place: Place,
        /// Its name.
        rule: String,
    },
    /// A classification file that is not what it should be.
    #[error("{place}: {message}")]
    Classification {
        /// Where.
        place: Place,
        /// What.
        message: String,
    },
    /// A file of test cases that is not what it should be.
    #[error("{place}: {message}")]
    Case {
        /// Where.
        place: Place,
        /// What.
        message: String,
    },
    /// The schema inside this program cannot be loaded.
    #[error("the schema that ships with this program is damaged: {0}")]
    OwnSchema(String),
}

impl Problem {
    /// Where it is; `None` for what is not in a file.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Syntax { place, .. }
            | Self::Schema { place, .. }
            | Self::NoId(place)
            | Self::BadId { place, .. }
            | Self::DuplicateId { place, .. }
            | Self::UnknownAnnotation { place, .. }
            | Self::Word { place, .. }
            | Self::Name { place, .. }
            | Self::GrantsByAbsence { place, .. }
            | Self::BadAnnotation { place, .. }
            | Self::Classification { place, .. }
            | Self::Case { place, .. } => Some(place),
            Self::OwnSchema(_) => None,
        }
    }
}

/// Everything that is wrong, one line each, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError(Vec<Problem>);

impl PolicyError {
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| a.place().cmp(&b.place()));
        Self(problems)
    }

    /// The problems; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}
