//! What somebody without a verified identity can do to have one, by what the host sees of the runner that they run on.

use crate::Provider;

/// The word of the provider whose runner is at work, by names of programs, units and cgroups.
#[must_use]
pub fn runner<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    let names = names.into_iter().collect::<Vec<_>>();
    let is_seen = |provider: &Provider| {
        let signs = provider.description().signs;
        signs.iter().any(|sign| names.iter().any(|name| name.contains(sign)))
    };
    Provider::ALL.into_iter().find(is_seen).map(Provider::as_str)
}

/// What a job of this provider has to do to have a verified identity: it completes "to have a verified identity, ".
#[must_use]
pub fn advice(provider: &str) -> Option<&'static str> {
    Provider::ALL.into_iter().find(|known| known.as_str() == provider)?.description().advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_known_by_its_programs_and_units() {
        assert_eq!(runner(["/usr/bin/bash", "/opt/actions-runner/bin/Runner.Worker"]), Some("github"));
        assert_eq!(runner(["/system.slice/gitlab-runner.service"]), Some("gitlab"));
        assert_eq!(runner(["/usr/bin/bash", "/user.slice"]), None);
        for provider in Provider::ALL {
            // Whoever runs any other issuer knows best what its jobs have to do.
            assert_eq!(advice(provider.as_str()).is_none(), provider == Provider::Oidc, "{provider:?}");
        }
        assert!(advice("github").unwrap().contains("id-token: write"));
        assert_eq!(advice("other"), None);
    }
}
