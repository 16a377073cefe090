//! A container's bundle, as the OCI's runtime specification has it: a root folder and `config.json`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::container::{Container, Network, text};
use super::lab::Lab;
use super::mounts::SYSTEM_STORE_COPY;
use super::site::DNS;
use super::tools::source;
use super::{container_network, environment};

/// What Docker gives unless told otherwise.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// Where the container's certificates are.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Who does not look there by itself.
const TRUST_VARIABLES: [&str; 3] = ["NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"];
/// A name that a container without a network cannot ask for.
pub(super) const ACCOUNT: &str = "acme.snowflakecomputing.com";
/// Where it is.
pub(super) const ADDRESS: &str = "203.0.113.10";
/// On a Debian with one `/usr`, these are links into it.
const LINKS: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Everything that a bundle is made from.
pub(super) struct Bundle<'a> {
    pub(super) lab: &'a Lab,
    pub(super) container: Container,
    pub(super) folder: &'a Path,
    /// Of the container, in its lab.
    pub(super) number: u32,
    /// From the root of the hierarchy.
    pub(super) cgroup: &'a str,
    pub(super) command: Vec<String>,
    pub(super) annotations: Value,
}

/// Makes the folder of a bundle.
pub(super) fn write(bundle: &Bundle<'_>) -> Result<()> {
    root(bundle.lab, bundle.container.network, bundle.folder)?;
    let config = config(bundle)?.to_string();
    fs::write(bundle.folder.join("config.json"), config)
        .context("cannot write the configuration of a container")
}

/// The root: an image of which most is bound to the host's files.
pub(super) fn root(lab: &Lab, network: Network, folder: &Path) -> Result<()> {
    fill(lab, network, &folder.join("rootfs")).context("cannot make the root of a container")
}

fn fill(lab: &Lab, network: Network, root: &Path) -> Result<()> {
    for folder in ["dev", "etc/ssl/certs", "proc", "sys", "tmp", "usr"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for folder in bound(lab)? {
        fs::create_dir_all(root.join(folder.strip_prefix("/")?))?;
    }
    for link in LINKS {
        symlink(Path::new("usr").join(link), root.join(link))?;
    }
    let account = if network == Network::None { format!("{ADDRESS} {ACCOUNT}") } else { String::new() };
    fs::write(root.join("etc/hosts"), format!("127.0.0.1 localhost\n{account}\n"))?;
    fs::write(root.join("etc/resolv.conf"), format!("nameserver {DNS}\noptions timeout:2 attempts:2\n"))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/tmp:/bin/sh\n")?;
    // With the agent's CA among them, as `update-ca-certificates` in a Dockerfile does it.
    let trusted = lab.site().stand_ins().join(SYSTEM_STORE_COPY).join("ca-certificates.crt");
    fs::copy(trusted, root.join(CERTIFICATES.trim_start_matches('/')))?;
    Ok(())
}

/// Folders of the host that are in the container under the same path, read-only.
pub(super) fn bound(lab: &Lab) -> Result<Vec<PathBuf>> {
    let tools = lab.tools();
    let mut folders = vec![PathBuf::from("/usr"), source("python"), source("node")];
    folders.extend(tools.py_clients.iter().chain([&tools.node_client]).cloned());
    // `node` is a link into an environment of its own.
    let node = fs::canonicalize(tools.node_client.join("bin/node")).context("there is no node")?;
    folders.extend(node.parent().and_then(Path::parent).map(Path::to_owned));
    Ok(folders)
}

/// The folder that the lab runs commands in, which an engine would be told to mount. None where it is the whole machine,
/// or would hide what the container has there itself.
fn workspace(lab: &Lab) -> Result<Option<String>> {
    let own = ["/dev", "/etc", "/proc", "/sys", "/usr"];
    let is_own = lab.cwd() == Path::new("/") || own.iter().any(|folder| lab.cwd().starts_with(folder));
    (!is_own).then(|| text(lab.cwd())).transpose()
}

fn config(bundle: &Bundle<'_>) -> Result<Value> {
    let mut capabilities = CAPABILITIES.to_vec();
    capabilities.extend(bundle.container.capabilities);
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
        json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"] }),
    ];
    let workspace = workspace(bundle.lab)?;
    mounts.extend(workspace.iter().map(|folder| {
        json!({ "destination": folder, "type": "bind", "source": folder, "options": ["rbind", "rw"] })
    }));
    for folder in bound(bundle.lab)? {
        let folder = text(&folder)?;
        mounts.push(
            json!({ "destination": folder, "type": "bind", "source": folder, "options": ["rbind", "ro"] }),
        );
    }
    let mut namespaces = vec!["pid", "ipc", "uts", "mount", "cgroup"];
    if bundle.container.network != Network::Host {
        namespaces.push("network");
    }
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": bundle.command,
            "env": variables(bundle.lab)?,
            "cwd": workspace.as_deref().unwrap_or("/"),
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
        },
        "root": { "path": text(&bundle.folder.join("rootfs"))? },
        "hostname": "etl",
        "mounts": mounts,
        "hooks": container_network::hooks(bundle.container.network, bundle.number),
        "annotations": bundle.annotations,
        "linux": { "cgroupsPath": bundle.cgroup, "namespaces": namespaces },
    }))
}

/// What the image and `docker run --env` set.
pub(super) fn variables(lab: &Lab) -> Result<Vec<String>> {
    let system = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    let path = lab.tools().path().chain(system).map(|folder| text(&folder)).collect::<Result<Vec<_>>>()?;
    let modules = text(&lab.tools().node_client.join("node_modules"))?;
    let image = [("PATH", path.join(":")), ("NODE_PATH", modules), ("HOME", "/tmp".to_owned())];
    let trust = TRUST_VARIABLES.map(|name| (name, CERTIFICATES.to_owned()));
    let fixed = image.into_iter().chain(trust).map(|(name, value)| format!("{name}={value}"));
    let given = environment::snowflake().into_iter().map(|(name, value)| format!("{name}={value}"));
    Ok(fixed.chain(given).collect())
}
