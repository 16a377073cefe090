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
use super::{container_network, environment, tools};

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
/// Which a container without a network cannot ask for; `internet` has it at the same address.
const ACCOUNT: &str = "203.0.113.10 acme.snowflakecomputing.com";
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
    root(bundle).context("cannot make the root of a container")?;
    let config = config(bundle)?.to_string();
    fs::write(bundle.folder.join("config.json"), config)
        .context("cannot write the configuration of a container")
}

/// The root: an image of which most is bound to the host's files.
fn root(bundle: &Bundle<'_>) -> Result<()> {
    let root = bundle.folder.join("rootfs");
    for folder in ["dev", "etc/ssl/certs", "proc", "sys", "tmp", "usr"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for folder in bound(bundle.lab) {
        fs::create_dir_all(root.join(folder.strip_prefix("/")?))?;
    }
    for link in LINKS {
        symlink(Path::new("usr").join(link), root.join(link))?;
    }
    let hosts = if bundle.container.network == Network::None { ACCOUNT } else { "" };
    fs::write(root.join("etc/hosts"), format!("127.0.0.1 localhost\n{hosts}\n"))?;
    fs::write(root.join("etc/resolv.conf"), format!("nameserver {DNS}\noptions timeout:2 attempts:2\n"))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/tmp:/bin/sh\n")?;
    // With the agent's CA among them, as `update-ca-certificates` in a Dockerfile does it.
    let trusted = bundle.lab.site().stand_ins().join(SYSTEM_STORE_COPY).join("ca-certificates.crt");
    fs::copy(trusted, root.join(CERTIFICATES.trim_start_matches('/')))?;
    Ok(())
}

/// Folders of the host that are in the container under the same path, read-only.
fn bound(lab: &Lab) -> Vec<PathBuf> {
    let clients = lab.py_clients().iter().cloned();
    clients.chain([PathBuf::from("/usr"), tools::source("python")]).collect()
}

fn config(bundle: &Bundle<'_>) -> Result<Value> {
    let mut capabilities = CAPABILITIES.to_vec();
    capabilities.extend(bundle.container.capabilities);
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
        json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"] }),
    ];
    for folder in bound(bundle.lab) {
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
            "cwd": "/",
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
fn variables(lab: &Lab) -> Result<Vec<String>> {
    let path = environment::path(lab.py_clients());
    let path = path.to_str().context("PATH is not UTF-8")?;
    let image = [("PATH", path), ("HOME", "/tmp"), ("LANG", "C.UTF-8")];
    let trust = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"].map(|name| (name, CERTIFICATES));
    let fixed = image.into_iter().chain(trust).map(|(name, value)| format!("{name}={value}"));
    let given = environment::snowflake().into_iter().map(|(name, value)| format!("{name}={value}"));
    Ok(fixed.chain(given).collect())
}
