//! What somebody without a verified identity can do to have one, by what the host sees of the runner that they run on.

/// What of a host tells whose runner is at work: a part of the name of a program, a unit or a cgroup, and the word of the
/// provider.
const SIGNS: &[(&str, &str)] = &[
    ("Runner.Worker", "github"),
    ("Runner.Listener", "github"),
    ("actions.runner", "github"),
    ("gitlab-runner", "gitlab"),
    ("buildkite-agent", "buildkite"),
    ("circleci", "circleci"),
    ("jenkins", "jenkins"),
    ("kubepods", "kubernetes"),
];

/// The word of the provider whose runner is at work, by names of programs, units and cgroups.
#[must_use]
pub fn runner<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    let names = names.into_iter().collect::<Vec<_>>();
    let is_seen = |(sign, _): &&(&str, &str)| names.iter().any(|name| name.contains(sign));
    SIGNS.iter().find(is_seen).map(|(_, provider)| *provider)
}

/// What a job of this provider has to do to have a verified identity: it completes "to have a verified identity, ".
#[must_use]
pub fn advice(provider: &str) -> Option<&'static str> {
    Some(match provider {
        "github" | "github-enterprise" => "give the workflow's job `permissions: id-token: write`",
        "gitlab" => {
            "declare `id_tokens:` in the job, with the audience that Snowfence is configured for as `aud`"
        }
        "buildkite" => "run the step through the Buildkite agent with its own BUILDKITE_AGENT_ACCESS_TOKEN",
        "circleci" => "let the job keep its variable CIRCLE_OIDC_TOKEN_V2",
        "jenkins" => {
            "run the step inside `withCredentials` with an id token of the OpenID Connect Provider plugin"
        }
        "kubernetes" => "mount a projected service account token with Snowfence's audience into the pod",
        "cursor" => "start the worker with `--identity-socket`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_known_by_its_programs_and_units() {
        assert_eq!(runner(["/usr/bin/bash", "/opt/actions-runner/bin/Runner.Worker"]), Some("github"));
        assert_eq!(runner(["/system.slice/gitlab-runner.service"]), Some("gitlab"));
        assert_eq!(runner(["/usr/bin/bash", "/user.slice"]), None);
        assert!(SIGNS.iter().all(|(_, provider)| advice(provider).is_some()));
        assert!(advice("github").unwrap().contains("id-token: write"));
        assert_eq!(advice("other"), None);
    }
}
