//! Any other issuer. Only what every token has is known of its claims (RFC 7519), and the names GitHub gave to the rest
//! are taken where they are there.

use crate::{
    claims::Claims,
    job::Job,
    provider::{Description, Place},
    verify::VerifyError,
};

/// Another issuer. The operator names the variable or the file.
pub(crate) const OIDC: Description = Description {
    word: "oidc",
    issuer: None,
    hosts: &[],
    place: Place::Variable(&[]),
    variables: &[],
    signs: &[],
    advice: None,
    claims: from_claims,
    statement: None,
};

fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    Ok(Job {
        repository: claims.text("repository")?.unwrap_or_default(),
        run_id: claims.text("run_id")?.unwrap_or_default(),
        workflow: claims.text("workflow")?,
        git_ref: claims.text("ref")?,
        environment: claims.text("environment")?,
        actor: claims.text("actor")?,
        groups: claims.list("groups")?,
        ..Job::default()
    })
}
