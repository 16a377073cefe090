//! Containers in the lab: real ones, that runc makes of the host's own files, under the names that engines give.
//!
//! What an engine does around runc is done here in its place: the name of the cgroup, the network, and its own note of
//! the image, which the agent reads. No image is fetched and no engine is installed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::command::{JobCommand, words};
use super::lab::Lab;
use super::{container_bundle, container_network};

/// The image that containers are said to be of.
pub const IMAGE: &str = "docker.io/acme/etl:1.4";
/// The pod that containers of a kubelet are said to belong to.
pub const POD: &str = "4b0a0f1e-64b0-4d3c-9a5b-0f4d5c2d7e11";

/// Puts the second version of cgroups where runc looks for it (on a host that has both it would use the first), in a
/// mount namespace that ends with runc, and becomes runc.
const RUNC: &str = r#"mount --bind "$0" /sys/fs/cgroup && exec runc "$@""#;

/// Whose names a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Docker with the systemd driver: `docker-<id>.scope`.
    Docker,
    /// Docker with the cgroupfs driver: `/docker/<id>`.
    DockerCgroupfs,
    /// containerd under a kubelet: `cri-containerd-<id>.scope` in the slice of a pod.
    Kubernetes,
    /// Podman: `libpod-<id>.scope`.
    Podman,
    /// runc by itself: `runc-<id>.scope`.
    Runc,
}

/// What a container is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Network {
    /// A bridge on the host, which translates addresses: what engines do unless told otherwise.
    Bridge,
    /// An address of its own on the host's uplink.
    Macvlan,
    /// Loopback and nothing else.
    None,
    /// The host's own network namespace.
    Host,
}

/// What kind of container to start.
#[derive(Debug, Clone, Copy)]
pub struct Container {
    /// Whose names it has.
    pub engine: Engine,
    /// What it is connected to.
    pub network: Network,
    /// Capabilities besides those that Docker gives, which include `NET_RAW`.
    pub capabilities: &'static [&'static str],
}

impl Container {
    /// One with the capabilities that Docker gives.
    #[must_use]
    pub fn new(engine: Engine, network: Network) -> Self {
        Self { engine, network, capabilities: &[] }
    }
}

/// A container that is to be started, with its command.
#[derive(Debug)]
pub struct Contained<'lab> {
    /// The engine's id for it.
    pub id: String,
    /// Its root folder, on the host.
    pub root: PathBuf,
    /// Starts it. As a step of a job, the step is runc itself; as [`super::Identity::None`], it is started beside the
    /// runner, as a daemon does for whoever asks it.
    pub command: JobCommand<'lab>,
}

impl Lab {
    /// A container with a command in it, to be started. Its root holds the host's programs read-only, the folder that the
    /// lab runs commands in, names, the certificates that the lab's hosts trust, as an operator bakes them in, and
    /// variables for Snowflake.
    ///
    /// # Errors
    /// Says what of it could not be made, or which word is not UTF-8.
    pub fn container<S: AsRef<OsStr>>(&self, container: Container, command: &[S]) -> Result<Contained<'_>> {
        let number = self.next_container();
        let id = self.container_id(container.engine, number);
        let root = Path::new("/proc").join(self.site().holder.to_string()).join("root");
        let bundle = self.folder().join("containers").join(number.to_string());
        let cgroup = self.container_cgroup(container.engine, &id)?;
        container_network::prepare(self, container.network)?;
        container_bundle::write(&container_bundle::Bundle {
            lab: self,
            container,
            folder: &bundle,
            number,
            cgroup: &cgroup,
            command: words(command)?,
            annotations: annotations(container.engine),
        })?;
        let place = remember(container.engine, &root, &id, &bundle)?;
        let mount_point = super::cgroup::mount_point()?;
        let mut all = vec!["unshare".to_owned(), "--mount".to_owned(), "sh".to_owned(), "-c".to_owned()];
        all.extend([RUNC.to_owned(), text(&mount_point)?]);
        all.extend(["--root", place.runc_root, "run", "--bundle"].map(str::to_owned));
        all.extend([text(&place.bundle)?, id.clone()]);
        Ok(Contained { id, root: bundle.join("rootfs"), command: self.command(&all)? })
    }

    /// Engines take random numbers; these are as good, and differ in every lab.
    fn container_id(&self, engine: Engine, number: u32) -> String {
        if engine == Engine::Runc {
            return format!("lab-{number}");
        }
        let digest = Sha256::digest(format!("{} {number}", self.folder().display()));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where in the hierarchy the engine would put it, below what the lab's agent guards.
    fn container_cgroup(&self, engine: Engine, id: &str) -> Result<String> {
        let pod = POD.replace('-', "_");
        let below = match engine {
            Engine::Docker => format!("system.slice/docker-{id}.scope"),
            Engine::DockerCgroupfs => format!("docker/{id}"),
            Engine::Kubernetes => format!(
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod}.slice/cri-containerd-{id}.scope"
            ),
            Engine::Podman => format!("machine.slice/libpod-{id}.scope/container"),
            Engine::Runc => format!("system.slice/runc-{id}.scope"),
        };
        let guarded = self.guarded_cgroup();
        let host = guarded.strip_prefix(super::cgroup::mount_point()?).context("the lab has no cgroup")?;
        text(&Path::new("/").join(host).join(below))
    }
}

/// Where things of one container are, as seen in the lab's mount namespace.
struct Placed {
    runc_root: &'static str,
    bundle: PathBuf,
}

/// Writes down what the engine would: its own note of the container.
fn remember(engine: Engine, root: &Path, id: &str, bundle: &Path) -> Result<Placed> {
    let write = |path: &str, value: &Value| {
        let path = root.join(path.trim_start_matches('/'));
        let parent = path.parent().context("a path without a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
    };
    let placed = |runc_root| Placed { runc_root, bundle: bundle.to_owned() };
    match engine {
        Engine::Docker | Engine::DockerCgroupfs => {
            let note = json!({
                "State": { "Running": true }, "ID": id, "Path": "sh", "Name": "/etl", "Driver": "overlay2",
                "Config": { "Hostname": "etl", "Image": IMAGE }, "Image": format!("sha256:{}", "0".repeat(64)),
            });
            write(&format!("/var/lib/docker/containers/{id}/config.v2.json"), &note)?;
            Ok(placed("/run/docker/runtime-runc/moby"))
        }
        Engine::Kubernetes => {
            // The bundle itself is the note; containerd keeps it there.
            let task = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}");
            let config = fs::read(bundle.join("config.json")).context("the bundle has no configuration")?;
            write(&format!("{task}/config.json"), &serde_json::from_slice(&config)?)?;
            Ok(Placed { runc_root: "/run/containerd/runc/k8s.io", bundle: task.into() })
        }
        Engine::Podman => {
            let metadata = json!({ "image-name": IMAGE, "image-id": "0".repeat(64), "name": "etl" });
            let note = json!([{ "id": id, "names": ["etl"], "image": "0".repeat(64), "metadata": metadata.to_string() }]);
            write("/var/lib/containers/storage/overlay-containers/containers.json", &note)?;
            Ok(placed("/run/runc"))
        }
        // What runc writes itself is all there is.
        Engine::Runc => Ok(placed("/run/runc")),
    }
}

/// What is said of the container in its bundle.
fn annotations(engine: Engine) -> Value {
    match engine {
        Engine::Kubernetes => json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.image-name": IMAGE,
            "io.kubernetes.cri.sandbox-uid": POD,
        }),
        Engine::Runc => json!({ "org.opencontainers.image.ref.name": IMAGE }),
        Engine::Docker | Engine::DockerCgroupfs | Engine::Podman => json!({}),
    }
}

pub(super) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
