//! A file per provider: what its claims mean, what its runner tells a step, and where its token is.

pub(crate) mod buildkite;
pub(crate) mod circleci;
pub(crate) mod cursor;
pub(crate) mod github;
pub(crate) mod gitlab;
pub(crate) mod jenkins;
pub(crate) mod kubernetes;
pub(crate) mod oidc;
#[cfg(test)]
mod tests;

use crate::{
    job::{Job, StatementError},
    provider::Lookup,
    verify::VerifyError,
};

/// Longest value of a variable that is kept, in bytes. The same limit as for claims.
const VALUE_BYTES_MAX: usize = 1024;
/// Longest text that is an id: a UUID has 36 characters.
const ID_BYTES_MAX: usize = 64;

/// Digits of a 64 bit number.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Letters, digits and dashes, as in a UUID.
fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// One part of a path of names.
fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part != "."
        && part != ".."
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Two names: `acme/etl`.
fn is_two_names(text: &str) -> bool {
    text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

/// A claim that names the job and must be of a certain form.
fn formed(name: &'static str, text: String, is_formed: fn(&str) -> bool) -> Result<String, VerifyError> {
    if is_formed(&text) { Ok(text) } else { Err(VerifyError::BadClaim(name)) }
}

fn is_sane(text: &str) -> bool {
    !text.is_empty() && text.len() <= VALUE_BYTES_MAX && !text.chars().any(char::is_control)
}

/// A variable that only describes the job; one that is not well formed is left out.
fn describing(variable: Lookup<'_>, name: &str) -> Option<String> {
    variable(name).filter(|text| is_sane(text)).map(str::to_owned)
}

/// A variable that names the job; one that is not well formed makes the whole statement worthless.
fn naming(
    variable: Lookup<'_>,
    name: &'static str,
    is_formed: fn(&str) -> bool,
) -> Result<String, StatementError> {
    let value = variable(name).filter(|value| !value.is_empty()).ok_or(StatementError::Missing(name))?;
    if !is_sane(value) || !is_formed(value) {
        return Err(StatementError::Malformed(name));
    }
    Ok(value.to_owned())
}

/// Whether a variable is there and says something.
fn is_set(variable: Lookup<'_>, name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty())
}

/// Whether the two name the same job, as far as both say. Project names keep their case but do not differ by it.
/// Returns the first that differs, by the name GitHub has for the claim.
pub(crate) fn disagreement(token: &Job, statement: &Job) -> Option<&'static str> {
    if !token.repository.eq_ignore_ascii_case(&statement.repository) {
        return Some("repository");
    }
    // Not every token says of which run it is; a statement always does.
    if !token.run_id.is_empty() && token.run_id != statement.run_id {
        return Some("run_id");
    }
    let differ = |token: &Option<String>, statement: &Option<String>| {
        token.as_ref().zip(statement.as_ref()).is_some_and(|(token, statement)| token != statement)
    };
    if differ(&token.run_attempt, &statement.run_attempt) {
        return Some("run_attempt");
    }
    differ(&token.instance, &statement.instance).then_some("job")
}
