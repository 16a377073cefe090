//! A folder that looks like `/proc`, for tests: processes with any ancestry, start time and contents.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// Processes as files, removed on drop.
pub(crate) struct FakeProc(tempfile::TempDir);

/// One process of it, to be described further.
pub(crate) struct FakeProcess(PathBuf);

impl FakeProc {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    /// Makes or replaces a process with its parent and start time.
    pub(crate) fn process(&self, pid: u32, parent: u32, start_ticks: u64) -> FakeProcess {
        self.stat(pid, parent, start_ticks, 7);
        let process = FakeProcess(self.root().join(pid.to_string()));
        process.environ(b"").cmdline(b"x\0").cgroup("0::/user.slice\n")
    }

    /// Says the same of a process anew, and where its program lies, and leaves everything else of it as it is.
    pub(crate) fn stat(&self, pid: u32, parent: u32, start_ticks: u64, program: u64) {
        let folder = self.root().join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let (before, between, lies) = ("0 ".repeat(17), "0 ".repeat(16), format!("{program} "));
        let (code, rest) = (lies.repeat(3), lies.repeat(7));
        let line = format!("{pid} (a b) S {parent} {before}{start_ticks} 0 0 0 {code}{between}{rest}0\n");
        fs::write(folder.join("stat"), line).unwrap();
    }
}

impl FakeProc {
    /// Says which children a process has.
    pub(crate) fn children(&self, pid: u32, children: &[u32]) {
        let folder = self.root().join(format!("{pid}/task/{pid}"));
        fs::create_dir_all(&folder).unwrap();
        let text = children.iter().map(|child| format!("{child} ")).collect::<String>();
        fs::write(folder.join("children"), text).unwrap();
    }
}

impl FakeProcess {
    pub(crate) fn environ(self, bytes: &[u8]) -> Self {
        fs::write(self.0.join("environ"), bytes).unwrap();
        self
    }

    pub(crate) fn variables(self, variables: &[(&str, &str)]) -> Self {
        let bytes = variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect::<String>();
        self.environ(bytes.as_bytes())
    }

    pub(crate) fn cmdline(self, bytes: &[u8]) -> Self {
        fs::write(self.0.join("cmdline"), bytes).unwrap();
        self
    }

    pub(crate) fn cgroup(self, lines: &str) -> Self {
        fs::write(self.0.join("cgroup"), lines).unwrap();
        self
    }

    pub(crate) fn root(self, target: &Path) -> Self {
        symlink(target, self.0.join("root")).unwrap();
        self
    }

    pub(crate) fn exe(self, target: &Path) -> Self {
        let link = self.0.join("exe");
        if link.is_symlink() {
            fs::remove_file(&link).unwrap();
        }
        symlink(target, link).unwrap();
        self
    }
}
