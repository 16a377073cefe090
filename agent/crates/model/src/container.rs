//! The container that a process is in, as the host knows it.

use std::fmt;

/// Hex digits of an id that people are shown, as container engines do.
const SHORT_ID_CHARS: usize = 12;

/// What made a container, or holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerEngine {
    /// Docker.
    Docker,
    /// containerd, for the kubelet or for nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// runc with no engine above it.
    Runc,
    /// The kubelet, with an engine that the path does not name.
    Kubernetes,
    /// systemd-nspawn.
    Nspawn,
    /// LXC, LXD or Incus.
    Lxc,
}

impl ContainerEngine {
    /// The word used in records and output: `docker`, `cri-o`, …
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Runc => "runc",
            Self::Kubernetes => "kubernetes",
            Self::Nspawn => "systemd-nspawn",
            Self::Lxc => "lxc",
        }
    }
}

/// A container, told by the cgroup of a process in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// 64 hex digits; for systemd-nspawn, LXC and plain runc the name it was given.
    pub id: String,
    /// Whose container it is.
    pub engine: ContainerEngine,
    /// Uid of the Kubernetes pod that it belongs to.
    pub pod: Option<String>,
    /// The image, as the engine's own state names it: `docker.io/library/python:3.12`. `None` when that has no such
    /// container, or is not where it usually is.
    pub image: Option<String>,
    /// The user below whose service manager the cgroup is: an engine that runs without root. That user can give a
    /// cgroup any name, so everything here is only what that user says. `None` when only root can have named it.
    pub user: Option<u32>,
}

/// In few words, for a sentence: `docker 0123456789ab, image python:3.12`.
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_digest = self.id.len() == 64 && self.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let shown = if is_digest { self.id.get(..SHORT_ID_CHARS).unwrap_or_default() } else { &self.id };
        write!(f, "{} {shown}", self.engine.as_str())?;
        if let Some(image) = &self.image {
            write!(f, ", image {image}")?;
        }
        if let Some(user) = self.user {
            write!(f, ", of user {user}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_a_short_id_and_what_is_known() {
        let mut container = Container {
            id: "0123456789abcdef".repeat(4),
            engine: ContainerEngine::Docker,
            pod: None,
            image: None,
            user: None,
        };
        assert_eq!(container.to_string(), "docker 0123456789ab");
        container.image = Some("python:3.12".to_owned());
        container.user = Some(1000);
        assert_eq!(container.to_string(), "docker 0123456789ab, image python:3.12, of user 1000");
        container = Container {
            id: "builder-1".to_owned(),
            engine: ContainerEngine::Lxc,
            image: None,
            user: None,
            ..container
        };
        assert_eq!(container.to_string(), "lxc builder-1");
    }
}
