//! A kernel out of Debian's archive: verified by apt, in a folder of its own, and nothing of it installed here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::line::Line;
use crate::{place::Place, run};

/// The archive. Whom it is from, apt checks with Debian's keys.
const ARCHIVE: &str = "http://deb.debian.org";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// How the packages are called that hold a kernel or its modules. Up to Linux 7.0 it is one package, then it is several.
const PARTS: [&str; 3] = ["linux-binary-", "linux-modules-", "linux-base-"];

/// A kernel, unpacked.
pub(crate) struct Kernel {
    /// What `uname -r` says: `6.1.0-56-cloud-amd64`.
    pub(crate) release: String,
    /// Version of the package: `6.1.192-2`.
    pub(crate) version: String,
    /// The file to boot.
    pub(crate) vmlinuz: PathBuf,
    /// The folder of its modules.
    pub(crate) modules: PathBuf,
}

/// Gets the newest kernel of a line, unless it is here already.
pub(crate) fn fetch(place: &Place, line: &Line) -> Result<Kernel> {
    let apt = Apt::new(&folder(place, line), line)?;
    apt.fetch().with_context(|| {
        let suites: Vec<_> = line.suites.iter().map(|(_, suite)| *suite).collect();
        format!("no kernel {} from Debian's {}", line.name, suites.join(", "))
    })
}

/// Where all that is kept of a line is.
pub(crate) fn folder(place: &Place, line: &Line) -> PathBuf {
    place.cache.join("kernels").join(line.name)
}

/// An apt that knows one line's suites and no installed package.
struct Apt<'a> {
    root: PathBuf,
    line: &'a Line,
}

impl<'a> Apt<'a> {
    fn new(folder: &Path, line: &'a Line) -> Result<Self> {
        let root = folder.to_owned();
        for needed in ["state/lists/partial", "cache/archives/partial", "packages"] {
            let path = root.join(needed);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let sources = line
            .suites
            .iter()
            .map(|(archive, suite)| format!("deb [signed-by={KEYS}] {ARCHIVE}/{archive} {suite} main\n"));
        let path = root.join("sources.list");
        fs::write(&path, sources.collect::<String>())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { root, line })
    }

    fn fetch(&self) -> Result<Kernel> {
        run::run_aside(self.command("apt-get").args(["--quiet=2", "update"]))?;
        let search = ["search", "--names-only", "^linux-image-[0-9].*-cloud-amd64$"];
        let found = run::output(self.command("apt-cache").args(search))?;
        let names = found.lines().filter_map(|line| line.split(' ').next());
        let package = self.line.newest(names).context("the archive has no such kernel")?;
        let facts = run::output(self.command("apt-cache").args(["show", "--no-all-versions", package]))?;
        let version = field(&facts, "Version").context("its package has no version")?.to_owned();
        let unpacked = self.root.join("packages").join(format!("{package}_{version}"));
        if !unpacked.exists() {
            self.unpack(&parts(package, &facts), &unpacked)?;
        }
        let release = package.trim_start_matches("linux-image-").to_owned();
        let modules =
            first(&unpacked, &[format!("lib/modules/{release}"), format!("usr/lib/modules/{release}")])?;
        let vmlinuz = first(
            &unpacked,
            &[format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")],
        )?;
        Ok(Kernel { release, version, vmlinuz, modules })
    }

    /// Downloads packages and unpacks them into one new folder, in whose place nothing half done ever is.
    fn unpack(&self, packages: &[&str], folder: &Path) -> Result<()> {
        eprintln!("kernels: downloading {}", packages.join(" "));
        let fresh = self.root.join("fresh");
        let _absent = fs::remove_dir_all(&fresh);
        let tree = fresh.join("tree");
        fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
        let mut download = self.command("apt-get");
        run::run_aside(download.current_dir(&fresh).args(["--quiet=2", "download"]).args(packages))?;
        for entry in fs::read_dir(&fresh).with_context(|| format!("cannot read {}", fresh.display()))? {
            let path = entry.with_context(|| format!("cannot read {}", fresh.display()))?.path();
            if path.extension().is_some_and(|kind| kind == "deb") {
                run::run_aside(Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&tree))?;
            }
        }
        fs::rename(&tree, folder).with_context(|| format!("cannot make {}", folder.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let root = self.root.display();
        for option in [
            format!("Dir::State={root}/state"),
            format!("Dir::Cache={root}/cache"),
            format!("Dir::Etc::sourcelist={root}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            "Dir::State::status=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            // A suite that cannot be reached is an error, and not a matter of yesterday's list.
            "APT::Update::Error-Mode=any".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.arg("--option").arg(option);
        }
        command
    }
}

/// What has to be downloaded for a kernel: its package, and those of the packages it depends on that are parts of it.
fn parts<'a>(package: &'a str, facts: &'a str) -> Vec<&'a str> {
    let depends = field(facts, "Depends").unwrap_or_default();
    let names = depends.split([',', '|']).filter_map(|one| one.split_whitespace().next());
    let release = package.trim_start_matches("linux-image-");
    let own = names.filter(|name| PARTS.iter().any(|part| name.strip_prefix(part) == Some(release)));
    std::iter::once(package).chain(own).collect()
}

/// The value of a field of one package's record, deb822(5).
fn field<'a>(facts: &'a str, name: &str) -> Option<&'a str> {
    facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The first of these paths below `folder` that is there.
fn first(folder: &Path, paths: &[String]) -> Result<PathBuf> {
    let mut candidates = paths.iter().map(|path| folder.join(path));
    candidates.find(|path| path.exists()).with_context(|| {
        format!("{} has none of {}: remove it, and start again", folder.display(), paths.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_in_parts_is_downloaded_in_parts() {
        let whole = "Package: linux-image-6.1.0-56-cloud-amd64\nVersion: 6.1.192-2\n\
                     Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool\n";
        let name = "linux-image-6.1.0-56-cloud-amd64";
        assert_eq!(parts(name, whole), [name]);
        assert_eq!(field(whole, "Version"), Some("6.1.192-2"));
        let release = "7.3.4+deb13-cloud-amd64";
        let facts = format!(
            "Pre-Depends: linux-base (>= 4.17~)\nDepends: dracut | initramfs-tools, linux-base-{release} (= 1), \
             linux-binary-{release} (= 1), linux-modules-{release} (= 1), linux-modules-other (= 1)\n"
        );
        let name = format!("linux-image-{release}");
        let expected = ["linux-image", "linux-base", "linux-binary", "linux-modules"];
        assert_eq!(parts(&name, &facts), expected.map(|part| format!("{part}-{release}")));
    }
}
