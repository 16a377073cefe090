//! Podman itself, with an image made from a folder: nothing is fetched.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::command::{JobCommand, words};
use super::container::{IMAGE, Network, text};
use super::lab::Lab;
use super::{cgroup, container_bundle};

/// Makes the image of a folder, and becomes Podman running a container of it. The storage driver and the runtime are
/// those that work on a host with both versions of cgroups and without `CAP_SYS_RESOURCE`, in a layer as the lab has it.
const PODMAN: &str = r#"
mount --bind "$0" /sys/fs/cgroup
podman="podman --runtime runc --cgroup-manager cgroupfs --events-backend none --storage-driver vfs"
tar --create --directory "$1" . | $podman import --quiet - "$2" >/dev/null
cgroup=$3
shift 3
exec $podman run --rm --network none --cgroup-parent "$cgroup" --pids-limit -1 \
    --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@"
"#;

impl Lab {
    /// A command in a container that Podman starts, without a network. Podman has no daemon, and yet the container is
    /// not below who started it: its monitor goes into the background and becomes a child of the first process.
    ///
    /// # Errors
    /// Says what of it could not be made, or which word is not UTF-8.
    pub fn podman<S: AsRef<OsStr>>(&self, command: &[S]) -> Result<JobCommand<'_>> {
        let folder = self.folder().join("containers").join(self.next_container().to_string());
        container_bundle::root(self, Network::None, &folder)?;
        let mount_point = cgroup::mount_point()?;
        let guarded = self.guarded_cgroup();
        let host = guarded.strip_prefix(&mount_point).context("the lab has no cgroup")?;
        let parent = PathBuf::from("/").join(host).join("machine");
        let mut all = ["unshare", "--mount", "sh", "-ec", PODMAN].map(str::to_owned).to_vec();
        all.extend([text(&mount_point)?, text(&folder.join("rootfs"))?, IMAGE.to_owned(), text(&parent)?]);
        for bound in container_bundle::bound(self)? {
            let bound = text(&bound)?;
            all.extend(["--volume".to_owned(), format!("{bound}:{bound}:ro")]);
        }
        for variable in container_bundle::variables(self)? {
            all.extend(["--env".to_owned(), variable]);
        }
        let account = format!("{}:{}", container_bundle::ACCOUNT, container_bundle::ADDRESS);
        all.extend(["--add-host".to_owned(), account, IMAGE.to_owned()]);
        all.extend(words(command)?);
        self.command(&all)
    }
}
