//! The container that a process is in, told by the path of its cgroup. Pure text.
//!
//! Whoever may make cgroups names them, so a name counts only where root alone can have put it. Three things see to that.
//! The outermost container counts: what is inside one can have made the rest. Below a service or scope nothing counts
//! but what its own engine puts there: a service may be given its subtree to do with as it likes. And below a user's
//! service manager, which belongs to that user, what is found says whose word it is.

use model::ContainerEngine;

/// A container's name for itself that is no digest: bytes.
const NAME_BYTES_MAX: usize = 128;
/// A pod's uid: a UUID, or for pods of the host itself a digest.
const POD_UID_BYTES_MAX: usize = 64;

/// What a path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) engine: ContainerEngine,
    pub(crate) pod: Option<String>,
    pub(crate) user: Option<u32>,
}

/// The container that a path names: the outermost component that an engine names so, where it would put it.
pub(crate) fn named(path: &str) -> Option<Named> {
    let mut way = Way::default();
    path.split('/').find_map(|component| way.step(component).transpose())?.ok()
}

/// What was passed on the way down a path.
#[derive(Debug, Default)]
struct Way {
    /// The user below whose service manager this is.
    user: Option<u32>,
    /// Below the kubelet's folder or slice.
    in_kubepods: bool,
    /// Of the pod whose folder or slice was passed.
    pod: Option<String>,
    /// The component before this one holds containers by their id alone.
    holder: Option<ContainerEngine>,
    /// Below the service of a container engine.
    in_engine: bool,
}

/// The name leads nowhere: nothing further down counts.
#[derive(Debug)]
struct End;

impl Way {
    /// One component further. `Ok(None)`: go on.
    fn step(&mut self, component: &str) -> Result<Option<Named>, End> {
        let holder = self.holder.take();
        if let Some(found) = self.kubelet_in_engine(component) {
            return Ok(Some(found));
        }
        if self.in_engine {
            return Err(End);
        }
        if let Some((engine, id)) = prefixed(component).or_else(|| by_name(component)) {
            return Ok(Some(self.found(engine, id)));
        }
        if let Some(engine) = holder
            && is_digest(component)
        {
            return Ok(Some(self.found(engine, component.to_owned())));
        }
        if let Some(user) = user_manager(component) {
            self.user = Some(user);
        } else if component.ends_with(".service") || component.ends_with(".scope") {
            self.in_engine = ENGINE_SERVICES.contains(&component);
            // What is below a user's manager is that user's word anyhow.
            if !self.in_engine && self.user.is_none() {
                return Err(End);
            }
        }
        self.in_kubepods |= matches!(component, "kubepods" | "kubepods.slice" | "kubelet-kubepods.slice");
        if matches!(component, "docker" | "actions_job") {
            self.holder = Some(ContainerEngine::Docker);
        }
        if let Some(uid) = pod_uid(component).filter(|_| self.in_kubepods) {
            self.pod = Some(uid);
            // In a pod's slice, containers have names of their engine.
            self.holder = (!component.ends_with(".slice")).then_some(ContainerEngine::Kubernetes);
        }
        Ok(None)
    }

    fn found(&self, engine: ContainerEngine, id: String) -> Named {
        Named { id, engine, pod: self.pod.clone(), user: self.user }
    }

    /// `kubepods-burstable-pod1_2.slice:cri-containerd:<id>`, directly below the engine's service: the kubelet speaks
    /// of slices to an engine that takes the name for a folder's.
    fn kubelet_in_engine(&self, component: &str) -> Option<Named> {
        let (slice, rest) = component.split_once(':').filter(|_| self.in_engine)?;
        let (engine, id) = match rest.split_once(':')? {
            ("cri-containerd", id) => (ContainerEngine::Containerd, id),
            ("crio", id) => (ContainerEngine::CriO, id),
            ("docker", id) => (ContainerEngine::Docker, id),
            _ => return None,
        };
        is_digest(id).then(|| Named { id: id.to_owned(), engine, pod: pod_uid(slice), user: self.user })
    }
}

/// Services of engines and of what contains one, below which they put containers themselves.
const ENGINE_SERVICES: [&str; 5] =
    ["containerd.service", "crio.service", "docker.service", "k3s.service", "k3s-agent.service"];

/// Whose container a component is by what its name begins with, as `docker-<id>.scope` and `libpod-<id>`.
fn prefixed(component: &str) -> Option<(ContainerEngine, String)> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let engines = [
        ("docker-", ContainerEngine::Docker),
        ("cri-containerd-", ContainerEngine::Containerd),
        ("nerdctl-", ContainerEngine::Containerd),
        ("crio-", ContainerEngine::CriO),
        ("libpod-", ContainerEngine::Podman),
        ("libpod-payload-", ContainerEngine::Podman),
    ];
    engines.into_iter().find_map(|(prefix, engine)| {
        let id = name.strip_prefix(prefix).filter(|id| is_digest(id))?;
        Some((engine, id.to_owned()))
    })
}

/// Containers that are known by a name somebody chose: `machine-<name>.scope`, `systemd-nspawn@<name>.service`,
/// `lxc.payload.<name>`, `runc-<name>.scope`.
fn by_name(component: &str) -> Option<(ContainerEngine, String)> {
    let between = |prefix, suffix| component.strip_prefix(prefix)?.strip_suffix(suffix);
    let machine = || {
        let name = between("machine-", ".scope").or_else(|| between("systemd-nspawn@", ".service"))?;
        // Virtual machines are registered in the same way; nobody connects from inside one.
        let name = unescaped(name).filter(|name| !name.starts_with("qemu-"))?;
        Some((ContainerEngine::Nspawn, name))
    };
    let lxc = || Some((ContainerEngine::Lxc, component.strip_prefix("lxc.payload.")?.to_owned()));
    let runc = || Some((ContainerEngine::Runc, between("runc-", ".scope")?.to_owned()));
    machine().or_else(lxc).or_else(runc).filter(|(_, name)| is_name(name))
}

/// The user of `user@1000.service`.
fn user_manager(component: &str) -> Option<u32> {
    component.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok()
}

/// The uid in `pod<uid>` or `kubepods-burstable-pod<uid>.slice`, where dashes are written as underscores.
fn pod_uid(component: &str) -> Option<String> {
    let uid = match component.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").filter(|(before, _)| before.contains("kubepods"))?.1,
        None => component.strip_prefix("pod")?,
    };
    let is_uid = !uid.is_empty()
        && uid.len() <= POD_UID_BYTES_MAX
        && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-' | b'_'));
    is_uid.then(|| uid.replace('_', "-"))
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What engines take for a name. Never `.` or `..`, which would be another folder.
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'.');
    text.len() <= NAME_BYTES_MAX
        && text.bytes().all(is_plain)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Undoes systemd's `\x2d`, systemd.unit(5). `None` for what it does not write.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split("\\x");
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let byte = u8::from_str_radix(part.get(..2)?, 16).ok().filter(u8::is_ascii_graphic)?;
        plain.push(char::from(byte));
        plain.push_str(part.get(2..)?);
    }
    Some(plain)
}

#[cfg(test)]
mod tests;
