//! The lab's mount namespace: the machine's files, but for what an installation of the agent changes.
//!
//! Names and trust stores are private copies, so that installing the agent's CA is real and reaches only the lab.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::site::{DNS, stand_ins};

/// Where the machine keeps the certificates that it trusts.
pub(super) const SYSTEM_STORE: &str = "/etc/ssl/certs";
/// Where an administrator adds certificates.
pub(super) const LOCAL_CERTIFICATES: &str = "/usr/local/share/ca-certificates";
/// What other packages do whenever the store changes. It may reach outside of our copies, so the lab leaves it out.
const STORE_HOOKS: &str = "/etc/ca-certificates/update.d";
/// Below these, container engines keep what they know. What the lab's containers leave there stays in the lab.
const ENGINES_STATE: [&str; 2] = ["/run", "/var/lib"];
/// The names of their copies.
pub(super) const SYSTEM_STORE_COPY: &str = "system-store";
pub(super) const LOCAL_CERTIFICATES_COPY: &str = "local-certificates";
pub(super) const CERTIFI_COPIES: &str = "certifi";

/// Gives the calling process a mount namespace and puts the lab's things in place.
///
/// # Errors
/// Names what could not be mounted.
pub(super) fn lay_out(folder: &Path, certifi: &[PathBuf]) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("cannot make the mounts private")?;
    // A fresh instance: what is pinned here is gone with the last process of the lab.
    mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), None::<&str>)
        .context("cannot mount bpffs on /sys/fs/bpf")?;

    let copies = stand_ins(folder);
    for original in ENGINES_STATE {
        let name = original.trim_start_matches('/').replace('/', "-");
        layer(Path::new(original), &copies.join("layers").join(name))?;
    }
    stand_in(
        &copies,
        "resolv.conf",
        &format!("nameserver {DNS}\noptions timeout:2 attempts:2\n"),
        "/etc/resolv.conf",
    )?;
    stand_in(&copies, "hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n", "/etc/hosts")?;
    for (original, name) in [
        (Path::new(SYSTEM_STORE), SYSTEM_STORE_COPY),
        (Path::new(LOCAL_CERTIFICATES), LOCAL_CERTIFICATES_COPY),
    ] {
        cover(original, &copies.join(name))?;
    }
    for (number, package) in certifi.iter().enumerate() {
        cover(package, &copies.join(CERTIFI_COPIES).join(number.to_string()))?;
    }
    let no_hooks = copies.join("no-hooks");
    fs::create_dir(&no_hooks).with_context(|| format!("cannot make {}", no_hooks.display()))?;
    if Path::new(STORE_HOOKS).is_dir() {
        bind(&no_hooks, Path::new(STORE_HOOKS))?;
    }
    Ok(())
}

fn stand_in(copies: &Path, name: &str, text: &str, original: &str) -> Result<()> {
    let file = copies.join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    // A mount needs a file to cover; a link (as systemd-resolved makes) is covered where it leads.
    let covered = fs::canonicalize(original).unwrap_or_else(|_| PathBuf::from(original));
    bind(&file, &covered)
}

/// Lets everything that is written below a folder end up elsewhere.
fn layer(original: &Path, place: &Path) -> Result<()> {
    let at = || format!("cannot put a layer over {}", original.display());
    fs::create_dir_all(place).with_context(at)?;
    // A file system of its own: where the machine is a container, its files cannot be the upper layer.
    mount(Some("layer"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>).with_context(at)?;
    let (upper, work) = (place.join("upper"), place.join("work"));
    fs::create_dir(&upper).and_then(|()| fs::create_dir(&work)).with_context(at)?;
    let options =
        format!("lowerdir={},upperdir={},workdir={}", original.display(), upper.display(), work.display());
    mount(Some("layer"), original, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(at)?;
    // The layer holds it; the folder has to be free when the lab is cleared away.
    umount2(place, MntFlags::MNT_DETACH).with_context(at)
}

/// Puts a copy of a folder in its place.
fn cover(original: &Path, copy: &Path) -> Result<()> {
    copy_folder(original, copy)?;
    bind(copy, original)
}

fn bind(from: &Path, over: &Path) -> Result<()> {
    mount(Some(from), over, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot put {} in place of {}", from.display(), over.display()))
}

/// Copies a folder with its links as links. A folder that is not there gives an empty copy.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot list {}", from.display()))?,
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().with_context(|| format!("cannot look at {}", source.display()))?;
        let copied = if kind.is_dir() {
            copy_folder(&source, &target)?;
            Ok(())
        } else if kind.is_symlink() {
            fs::read_link(&source).and_then(|leads_to| std::os::unix::fs::symlink(leads_to, &target))
        } else {
            fs::copy(&source, &target).map(drop)
        };
        copied.with_context(|| format!("cannot copy {}", source.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_copied_with_links_kept_as_links() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("java")).unwrap();
        fs::write(from.join("a.pem"), "a").unwrap();
        fs::write(from.join("java/cacerts"), "b").unwrap();
        std::os::unix::fs::symlink("a.pem", from.join("1234.0")).unwrap();
        std::os::unix::fs::symlink("/nowhere", from.join("dangling")).unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("a.pem")).unwrap(), "a");
        assert_eq!(fs::read_to_string(to.join("java/cacerts")).unwrap(), "b");
        assert_eq!(fs::read_link(to.join("1234.0")).unwrap(), Path::new("a.pem"));
        assert_eq!(fs::read_link(to.join("dangling")).unwrap(), Path::new("/nowhere"));
    }

    #[test]
    fn a_missing_folder_gives_an_empty_copy() {
        let place = tempfile::tempdir().unwrap();
        let to = place.path().join("to");
        copy_folder(&place.path().join("missing"), &to).unwrap();
        assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    }
}
