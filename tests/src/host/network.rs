//! The two network namespaces and the wire between them.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use super::site::{INTERNET_ADDRESSES, Net, namespace_file};
use crate::internet::ELSEWHERE;

const HOST_ADDRESS: &str = "192.0.2.1";
const INTERNET_ADDRESS: &str = "192.0.2.2";
/// Drivers ask there which cloud they run in. A host in no cloud has nothing there, and says so at once.
const CLOUD_METADATA: &str = "169.254.0.0/16";

/// Makes both namespaces, kept alive by files in the lab's folder, and leaves the caller in `host`.
///
/// The files are mount points in the caller's mount namespace only, so they go when that goes.
pub(super) fn lay_out(folder: &Path) -> Result<()> {
    let internet_file = namespace_file(folder, Net::Internet);
    enter_new(&internet_file)?;
    ip(&internet_commands())?;

    let host_file = namespace_file(folder, Net::Host);
    enter_new(&host_file)?;
    ip(&host_commands(&internet_file))?;

    enter(&internet_file)?;
    ip(&format!("address add {INTERNET_ADDRESS}/24 dev eth0\nlink set eth0 up\n"))?;
    enter(&host_file)
}

/// Lets go of the namespaces' files, so that the folder can be removed.
pub(super) fn let_go(folder: &Path) -> Result<()> {
    for net in [Net::Internet, Net::Host] {
        let file = namespace_file(folder, net);
        umount2(&file, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {}", file.display()))?;
    }
    Ok(())
}

/// Moves the calling thread into the network namespace that `file` stands for.
pub(super) fn enter(file: &Path) -> Result<()> {
    let namespace = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    setns(namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", file.display()))
}

fn enter_new(file: &Path) -> Result<()> {
    File::create_new(file).with_context(|| format!("cannot make {}", file.display()))?;
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    mount(Some("/proc/self/ns/net"), file, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot keep a network namespace at {}", file.display()))
}

fn internet_commands() -> String {
    let elsewhere = ELSEWHERE.map(|address| address.to_string());
    let addresses = INTERNET_ADDRESSES.into_iter().chain(elsewhere.iter().map(String::as_str));
    let addresses = addresses.map(|address| format!("address add {address}/32 dev lo\n"));
    format!("link set lo up\n{}", addresses.collect::<String>())
}

fn host_commands(internet: &Path) -> String {
    format!(
        "link set lo up\n\
         link add eth0 type veth peer name eth0 netns {}\n\
         address add {HOST_ADDRESS}/24 dev eth0\n\
         link set eth0 up\n\
         route add default via {INTERNET_ADDRESS}\n\
         route add unreachable {CLOUD_METADATA}\n",
        internet.display()
    )
}

/// Runs commands of `ip`, one per line, in the caller's network namespace.
fn ip(commands: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `ip`; install iproute2")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(commands.as_bytes()).context("cannot talk to `ip`")?;
    }
    let output = child.wait_with_output().context("cannot wait for `ip`")?;
    if !output.status.success() {
        bail!("ip: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
