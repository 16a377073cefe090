//! The image of a container, from what its engine keeps on disk.
//!
//! Only root can write there, and that is made sure of: the engine's folder and the file must be root's, and on the way
//! from one to the other no link is followed. An engine whose folder is somewhere else is not asked, and a container
//! that is not there has no image: neither is an error.

use std::{
    fs::File,
    io::Read as _,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use model::{Container, ContainerEngine};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use serde_json::Value;

use crate::container::Named;

/// What is read of one file. A container's own is some ten kilobytes; Podman has one for all, with about 500 bytes each.
const STATE_BYTES_MAX: u64 = 1024 * 1024;
/// A reference with registry, path, tag and digest.
const IMAGE_BYTES_MAX: usize = 512;

/// Annotations that name a container's image: by containerd, by CRI-O, and by the OCI's own list of them.
const ANNOTATIONS: [&str; 3] =
    ["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName", "org.opencontainers.image.ref.name"];

/// Where engines keep what they know.
#[derive(Debug, Clone)]
pub(crate) struct EngineState {
    /// Before each of their paths: `/`.
    root: PathBuf,
}

/// How a file tells of a container's image.
#[derive(Debug, Clone, Copy)]
enum Format {
    /// Docker's `config.v2.json`.
    DockerConfig,
    /// The `config.json` of an OCI bundle.
    Bundle,
    /// runc's `state.json`.
    RuncState,
    /// The `containers.json` of containers/storage, which Podman and CRI-O share.
    Storage,
}

/// A file that an engine has: its folder, the path in there (`{id}` stands for the container's), and the format.
type Place = (ContainerEngine, &'static str, &'static str, Format);

const PLACES: [Place; 12] = {
    use ContainerEngine::{Containerd, CriO, Docker, Podman, Runc};
    use Format::{Bundle, DockerConfig, RuncState, Storage};
    const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task";
    const STORE: &str = "/var/lib/containers/storage";
    [
        (Docker, "/var/lib/docker/containers", "{id}/config.v2.json", DockerConfig),
        (Containerd, TASKS, "k8s.io/{id}/config.json", Bundle),
        (Containerd, TASKS, "default/{id}/config.json", Bundle),
        (Containerd, "/run/k3s/containerd/io.containerd.runtime.v2.task", "k8s.io/{id}/config.json", Bundle),
        (CriO, "/run/containers/storage", "overlay-containers/{id}/userdata/config.json", Bundle),
        (CriO, STORE, "overlay-containers/{id}/userdata/config.json", Bundle),
        (CriO, STORE, "overlay-containers/containers.json", Storage),
        (Podman, STORE, "overlay-containers/containers.json", Storage),
        (Podman, STORE, "vfs-containers/containers.json", Storage),
        (Podman, STORE, "btrfs-containers/containers.json", Storage),
        (Podman, STORE, "zfs-containers/containers.json", Storage),
        (Runc, "/run/runc", "{id}/state.json", RuncState),
    ]
};

impl EngineState {
    /// For the host itself, `/`.
    pub(crate) fn below(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The container that a path named, with its image. A user's own engine is not asked: what it keeps is that user's.
    pub(crate) fn describe(&self, named: Named) -> Container {
        let Named { id, engine, pod, user } = named;
        let found = if user.is_none() { self.image(engine, &id) } else { None };
        // A path of the kubelet names no engine; who knows the container is the one.
        let (engine, image) = found.map_or((engine, None), |(engine, image)| (engine, Some(image)));
        Container { id, engine, pod, image, user }
    }

    fn image(&self, engine: ContainerEngine, id: &str) -> Option<(ContainerEngine, String)> {
        let is_asked = |place: &&Place| place.0 == engine || engine == ContainerEngine::Kubernetes;
        PLACES.iter().filter(is_asked).find_map(|(owner, folder, path, format)| {
            let folder = self.root.join(folder.trim_start_matches('/'));
            let text = read(&folder, &path.replace("{id}", id))?;
            let image = image_in(*format, &serde_json::from_slice(&text).ok()?, id)?;
            is_image(&image).then_some((*owner, image))
        })
    }
}

/// A file that is root's, below a folder that is root's. The folder itself may be where a link leads: engines' data is
/// often moved to a larger disk in that way. `None` where anything is otherwise.
fn read(folder: &Path, path: &str) -> Option<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder: OwnedFd = rustix::fs::open(folder, flags, Mode::empty()).ok()?;
    is_roots(&rustix::fs::fstat(&folder).ok()?).then_some(())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(folder.as_fd(), path, flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    (is_file && is_roots(&stat)).then_some(())?;
    let mut bytes = Vec::new();
    File::from(file).take(STATE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    (u64::try_from(bytes.len()).ok()? <= STATE_BYTES_MAX).then_some(bytes)
}

/// Whether only root, or who the agent runs as, may write it.
fn is_roots(stat: &Stat) -> bool {
    let is_owner = stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw();
    is_owner && !Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH)
}

/// The image of the container with this id. A file that is another container's says nothing.
fn image_in(format: Format, state: &Value, id: &str) -> Option<String> {
    let text = |value: Option<&Value>| value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match format {
        Format::DockerConfig => {
            (state.get("ID")?.as_str()? == id).then_some(())?;
            // As it was asked for; without that, its digest.
            text(state.pointer("/Config/Image")).or_else(|| text(state.get("Image")))
        }
        Format::Bundle => {
            let annotations = state.get("annotations")?;
            ANNOTATIONS.iter().find_map(|name| text(annotations.get(name)))
        }
        Format::RuncState => {
            (state.get("id")?.as_str()? == id).then_some(())?;
            // The bundle's annotations, each as `name=value`.
            let labels = state.pointer("/config/labels")?.as_array()?;
            let value = |name: &str| {
                labels.iter().find_map(|label| label.as_str()?.strip_prefix(name)?.strip_prefix('='))
            };
            ANNOTATIONS.iter().find_map(|name| value(name)).map(str::to_owned)
        }
        Format::Storage => {
            let is_it = |container: &&Value| container.get("id").and_then(Value::as_str) == Some(id);
            let container = state.as_array()?.iter().find(is_it)?;
            let described = container.get("metadata").and_then(Value::as_str);
            let described = described.and_then(|text| serde_json::from_str::<Value>(text).ok());
            let name = described.as_ref().and_then(|metadata| text(metadata.get("image-name")));
            name.or_else(|| text(container.get("image")))
        }
    }
}

/// Image names are chosen by whoever starts a container: what cannot be one is not passed on.
fn is_image(text: &str) -> bool {
    text.len() <= IMAGE_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
