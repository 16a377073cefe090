//! The guest's file system: a few programs of this machine with the libraries they want, the kernel's modules, the
//! test programs, and a script that begins them.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    apt::{self, Kernel},
    line::Line,
    report::GUEST,
    suites::{BOOTS, Program},
};
use crate::{place::Place, run};

/// Programs that the tests start, and what the kernel asks for modules. The rest of a Unix is BusyBox.
const PROGRAMS: [&str; 8] = [
    "/usr/bin/python3",
    "/usr/bin/nsenter",
    "/usr/bin/setpriv",
    "/usr/bin/unshare",
    "/usr/sbin/ip",
    "/usr/bin/ss",
    "/usr/sbin/nft",
    "/usr/sbin/modprobe",
];
/// Folders and files of the kernel's modules that the guest may ask for.
const MODULES: [&str; 7] = [
    "kernel/net",
    "kernel/lib",
    "kernel/crypto",
    "kernel/drivers/net/veth.ko",
    "kernel/drivers/net/dummy.ko",
    "kernel/drivers/net/tun.ko",
    // SMC wants it.
    "kernel/drivers/infiniband/core/ib_core.ko",
];
/// Parts of Python's library that no test wants and that are large.
const PYTHON_WITHOUT: [&str; 8] =
    ["test", "idlelib", "lib2to3", "tkinter", "ensurepip", "pydoc_data", "unittest", "site-packages"];

/// Makes the file system for one kernel; the answer is a file to boot with.
pub(crate) fn make(place: &Place, line: &Line, kernel: &Kernel, programs: &[Program]) -> Result<PathBuf> {
    let folder = apt::folder(place, line);
    let (root, image) = (folder.join("guest"), folder.join("guest.cpio.gz"));
    let _absent = fs::remove_dir_all(&root);
    let tree = Tree { root };
    for folder in ["bin", "proc", "sys", "dev", "tmp", "run", "root", "etc", "t"] {
        tree.folder(folder)?;
    }
    tree.links()?;
    // BusyBox's shell would take its own tools before those in the path.
    tree.program(Path::new("/usr/bin/dash"), "/bin/sh")?;
    for program in PROGRAMS {
        tree.program(Path::new(program), program)?;
    }
    tree.python()?;
    for program in programs {
        let to = format!("/t/{}", program.name);
        tree.program(&program.path, &to)?;
        run::run_aside(Command::new("strip").arg("--strip-debug").arg(tree.at(&to)))?;
    }
    tree.modules(kernel)?;
    tree.busybox()?;
    tree.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")?;
    tree.write("etc/group", "root:x:0:\nnogroup:x:65534:\n")?;
    tree.write("init", &script())?;
    let init = tree.at("init");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot change {}", init.display()))?;
    let mut pack = Command::new("sh");
    pack.current_dir(&tree.root)
        .args(["-ec", "find . -print0 | cpio --null --quiet -o -H newc | gzip -1 >\"$0\""]);
    run::run_aside(pack.arg(&image))?;
    Ok(image)
}

/// What the first process does: mounts what the tests want, begins the runs of this boot, and ends the machine.
fn script() -> String {
    let mut script = format!(
        "#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root RUST_BACKTRACE=0
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp && mount -t tmpfs run /run && mkdir -p /run/netns
mount -t securityfs security /sys/kernel/security && mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
echo
echo '{GUEST}kernel' \"$(uname -r)\"
echo '{GUEST}security modules' \"$(cat /sys/kernel/security/lsm)\"
run() {{
    echo \"{GUEST}run $1\"
    sh -c \"$2\" </dev/null 2>&1
    echo \"{GUEST}end $1 $?\"
}}
case \"$(cat /proc/cmdline)\" in
"
    );
    for boot in &BOOTS {
        script.push_str(&format!("*snowfence.boot={}*)\n", boot.name));
        for one in boot.runs {
            script.push_str(&format!("    run {} '{}'\n", one.name, one.command));
        }
        script.push_str("    ;;\n");
    }
    script.push_str("esac\npoweroff -f\n");
    script
}

/// The file system, while it is a folder of this machine.
struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Where a path of the guest's is.
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn folder(&self, path: &str) -> Result<PathBuf> {
        let folder = self.at(path);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.at(path);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The folders that a merged Debian has as links.
    fn links(&self) -> Result<()> {
        for name in ["lib", "lib64", "sbin"] {
            self.folder(&format!("usr/{name}"))?;
            let link = self.at(name);
            symlink(format!("usr/{name}"), &link)
                .with_context(|| format!("cannot make {}", link.display()))?;
        }
        Ok(())
    }

    /// Copies a file to a path of the guest's, unless it is there.
    fn copy(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.at(to);
        if to.exists() {
            return Ok(());
        }
        let folder = to.parent().context("a file in no folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let copied = fs::copy(from, &to);
        copied.map(drop).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
    }

    /// Copies a program and the libraries that it is linked with.
    fn program(&self, from: &Path, to: &str) -> Result<()> {
        self.copy(from, to)?;
        self.libraries(from)
    }

    fn libraries(&self, of: &Path) -> Result<()> {
        let listed = run::output(Command::new("ldd").arg(of))?;
        for library in libraries(&listed) {
            self.copy(Path::new(library), library)?;
        }
        Ok(())
    }

    /// Python's own library, and what its compiled parts are linked with.
    fn python(&self) -> Result<()> {
        let question = "import sysconfig; print(sysconfig.get_path('stdlib'))";
        let library = run::output(Command::new("/usr/bin/python3").args(["-c", question]))?;
        let library = Path::new(library.trim());
        let mut compiled = BTreeSet::new();
        self.copy_folder(library, &mut |path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.extension().is_some_and(|kind| kind == "so") {
                compiled.insert(path.to_owned());
            }
            name != "__pycache__" && !PYTHON_WITHOUT.contains(&name)
        })?;
        compiled.iter().try_for_each(|path| self.libraries(path))
    }

    /// Copies what is below a folder, at the same path, as far as `is_wanted`.
    fn copy_folder(&self, folder: &Path, is_wanted: &mut dyn FnMut(&Path) -> bool) -> Result<()> {
        for path in entries(folder)? {
            if !is_wanted(&path) {
                continue;
            }
            if path.is_dir() {
                self.copy_folder(&path, is_wanted)?;
            } else if path.is_file() {
                self.copy(&path, &path.to_string_lossy())?;
            }
        }
        Ok(())
    }

    /// The kernel's modules, uncompressed, with the index by which they are found.
    fn modules(&self, kernel: &Kernel) -> Result<()> {
        let to = self.folder(&format!("usr/lib/modules/{}", kernel.release))?;
        let mut copied = 0u32;
        for part in MODULES {
            let mut waiting = vec![kernel.modules.join(part), kernel.modules.join(format!("{part}.xz"))];
            while let Some(path) = waiting.pop() {
                if path.is_dir() {
                    waiting.extend(entries(&path)?);
                } else if path.is_file() {
                    let relative = path.strip_prefix(&kernel.modules).context("a module elsewhere")?;
                    let file = to.join(relative);
                    self.copy(&path, &format!("usr/lib/modules/{}/{}", kernel.release, relative.display()))?;
                    if file.extension().is_some_and(|kind| kind == "xz") {
                        run::run_aside(Command::new("unxz").arg("--force").arg(&file))?;
                    }
                    copied += 1;
                }
            }
        }
        anyhow::ensure!(copied > 0, "{} has no modules", kernel.modules.display());
        for index in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
            let from = kernel.modules.join(index);
            if from.exists() {
                self.copy(&from, &format!("usr/lib/modules/{}/{index}", kernel.release))?;
            }
        }
        run::run_aside(Command::new("depmod").arg("--basedir").arg(&self.root).arg(&kernel.release))
    }

    /// BusyBox, under the name of each of its tools that is not there yet.
    fn busybox(&self) -> Result<()> {
        self.copy(Path::new("/bin/busybox"), "bin/busybox")?;
        let listed = run::output(Command::new("/bin/busybox").arg("--list"))?;
        for name in listed.lines() {
            let is_here =
                ["bin", "usr/bin", "usr/sbin"].iter().any(|folder| self.at(folder).join(name).exists());
            if !is_here {
                let link = self.at("bin").join(name);
                symlink("busybox", &link).with_context(|| format!("cannot make {}", link.display()))?;
            }
        }
        Ok(())
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    read.with_context(|| format!("cannot read {}", folder.display()))
}

/// The paths in what ldd(1) says.
fn libraries(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_says() {
        let said = "\tlinux-vdso.so.1 (0x00007)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n\tstatically linked\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(said).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_script_begins_every_run_of_every_boot() {
        let script = script();
        for boot in &BOOTS {
            assert!(script.contains(&format!("snowfence.boot={}*)", boot.name)));
            for run in boot.runs {
                assert!(script.contains(&format!("run {} '{}'", run.name, run.command)), "{script}");
                assert!(!run.command.contains('\''), "it is put between quotes");
            }
        }
    }
}
