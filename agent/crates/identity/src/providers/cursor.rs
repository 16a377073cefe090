//! Cursor's cloud agents. Source: Cursor documentation, "OIDC tokens" of cloud agents.
//!
//! The machine of an agent has a socket that gives tokens for any audience. They name the agent, its team and the
//! person it works for, and no repository.

use super::{formed, is_id};
use crate::{
    claims::Claims,
    job::Job,
    provider::{Description, Place},
    verify::VerifyError,
};

/// Cursor.
pub(crate) const CURSOR: Description = Description {
    word: "cursor",
    issuer: None,
    hosts: &[],
    place: Place::AskedBySocket { variable: "CURSOR_AGENT_SOCKET" },
    variables: &[],
    signs: &[],
    advice: Some("start the worker with `--identity-socket`"),
    claims: from_claims,
    statement: None,
};

fn from_claims(claims: &Claims) -> Result<Job, VerifyError> {
    let agent = formed("cloud_agent_id", claims.required("cloud_agent_id")?, is_id)?;
    let team = claims.text("team_id")?.map(|team| format!("team:{team}"));
    Ok(Job {
        run_id: agent.clone(),
        actor: Some(claims.required("sub")?),
        event: claims.text("agent_runtime")?,
        groups: team.into_iter().collect(),
        instance: Some(agent),
        ..Job::default()
    })
}
