//! One process, held by a descriptor of its `/proc` folder. Once opened, such a folder belongs to that process for
//! ever: after its end every read fails, also when the pid has been given to another (proc(5)).

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use model::{Namespaces, Secret};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, StatxFlags},
    io::Errno,
};

/// `/proc/<pid>/stat` is one line of about 350 bytes.
const STAT_BYTES_MAX: usize = 2 * 1024;
/// A line per hierarchy; a path is at most 4 KiB.
const CGROUP_BYTES_MAX: usize = 64 * 1024;
/// Some hundred children; a worker has one or two.
const CHILDREN_BYTES_MAX: usize = 4 * 1024;
/// What is read of a command line; more is left out.
const CMDLINE_BYTES_MAX: usize = 16 * 1024;
/// An environment that is larger is refused: what was cut off could say something else.
const ENVIRON_BYTES_MAX: usize = 256 * 1024;

/// Why a process could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProcError {
    /// It ended.
    #[error("the process has ended")]
    Gone,
    /// It is there, and what was asked for cannot be read.
    #[error("the process cannot be read")]
    Unreadable,
    /// What was asked for is larger than its limit.
    #[error("what was read of the process is larger than its limit")]
    TooLarge,
}

impl From<Errno> for ProcError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::SRCH => Self::Gone,
            _ => Self::Unreadable,
        }
    }
}

pub(crate) use model::ProcessId as ProcessKey;

/// What `/proc/<pid>/stat` says that is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: u32,
    pub(crate) start_ticks: u64,
    /// `None` where the kernel does not tell.
    pub(crate) program: Option<Program>,
}

/// Where a program and its arguments and variables lie in its process's memory: fields 26 to 28 and 45 to 51. Another
/// program lies elsewhere, because the kernel chooses the places anew at each exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program([u64; PLACES]);

const PLACES: usize = 10;

/// A file by what it is and not by how it is called, and when it was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileState {
    device: (u32, u32),
    inode: u64,
    pub(crate) bytes: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl FileState {
    /// Of an open file, as far as it is known here: no file system is asked for it, because one that a job has mounted
    /// need not answer. `None` for what is no regular file.
    pub(crate) fn of(file: impl AsFd) -> Option<Self> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = rustix::fs::statx(file, "", flags, StatxFlags::BASIC_STATS).ok()?;
        let kind = FileType::from_raw_mode(found.stx_mode.into());
        (kind == FileType::RegularFile).then_some(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            bytes: found.stx_size,
            modified: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
            changed: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        })
    }

    /// Whether both are of one file, changed or not.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// A handle on one process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    folder: OwnedFd,
}

impl Process {
    /// Takes hold of the process that has this pid now. `proc_root` is `/proc`.
    pub(crate) fn open(proc_root: &Path, pid: u32) -> Result<Self, ProcError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(proc_root.join(pid.to_string()), flags, Mode::empty())?;
        Ok(Self { pid, folder })
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Parent and start time. A process that has ended but was not waited for counts as ended.
    pub(crate) fn stat(&self) -> Result<Stat, ProcError> {
        parse_stat(&self.read("stat", STAT_BYTES_MAX)?).ok_or(ProcError::Unreadable)?
    }

    /// The same of whatever process has this pid now, by what never waits for that process or for a file system.
    pub(crate) fn stat_of(proc_root: &Path, pid: u32) -> Result<Stat, ProcError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(proc_root.join(format!("{pid}/stat")), flags, Mode::empty())?;
        let mut line = [0; STAT_BYTES_MAX];
        // The kernel gives all of it at once.
        let length = rustix::io::read(file, &mut line)?;
        parse_stat(line.get(..length).unwrap_or_default()).ok_or(ProcError::Unreadable)?
    }

    /// The path of the file that whatever process has this pid now runs, as [`Process::exe_path`] has it.
    pub(crate) fn exe_path_of(proc_root: &Path, pid: u32) -> Option<PathBuf> {
        let path = rustix::fs::readlink(proc_root.join(format!("{pid}/exe")), Vec::new()).ok()?;
        Some(PathBuf::from(OsStr::from_bytes(path.as_bytes())))
    }

    /// The path of the file it runs, as the kernel names it: in another mount namespace that is a path there. `None` for
    /// kernel threads.
    pub(crate) fn exe_path(&self) -> Option<PathBuf> {
        let path = rustix::fs::readlinkat(&self.folder, "exe", Vec::new()).ok()?;
        Some(PathBuf::from(OsStr::from_bytes(path.as_bytes())))
    }

    /// The file it runs, whatever stands at its path by now: as a place only, which no file system is asked for.
    pub(crate) fn exe(&self) -> Option<OwnedFd> {
        rustix::fs::openat(&self.folder, "exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// Its namespaces.
    pub(crate) fn namespaces(&self) -> Option<Namespaces> {
        let number = |name: &str| {
            let link = rustix::fs::readlinkat(&self.folder, format!("ns/{name}"), Vec::new()).ok()?;
            let (_, number) = link.to_str().ok()?.split_once('[')?;
            number.strip_suffix(']')?.parse().ok()
        };
        Some(Namespaces {
            mount: number("mnt")?,
            network: number("net")?,
            pid: number("pid")?,
            user: number("user")?,
        })
    }

    /// The children of its first thread, in any order.
    pub(crate) fn children(&self) -> Vec<u32> {
        let name = format!("task/{}/children", self.pid);
        let text = self.read(&name, CHILDREN_BYTES_MAX).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// Its arguments as they are in its memory now, which it may have changed; the last may be cut off.
    pub(crate) fn cmdline(&self) -> Result<Secret<Vec<u8>>, ProcError> {
        let mut bytes = self.read_up_to("cmdline", CMDLINE_BYTES_MAX)?;
        bytes.truncate(CMDLINE_BYTES_MAX);
        Ok(Secret::new(bytes))
    }

    /// `/proc/<pid>/cgroup`: a line per hierarchy.
    pub(crate) fn cgroup(&self) -> Result<Vec<u8>, ProcError> {
        self.read("cgroup", CGROUP_BYTES_MAX)
    }

    /// The environment it was started with, as it is in its memory now.
    pub(crate) fn environ(&self) -> Result<Secret<Vec<u8>>, ProcError> {
        self.read("environ", ENVIRON_BYTES_MAX).map(Secret::new)
    }

    /// The root of its file system, to resolve paths below.
    pub(crate) fn root(&self) -> Result<OwnedFd, ProcError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.folder, "root", flags, Mode::empty())?)
    }

    /// A whole file of its folder.
    fn read(&self, name: &str, bytes_max: usize) -> Result<Vec<u8>, ProcError> {
        let bytes = self.read_up_to(name, bytes_max)?;
        if bytes.len() > bytes_max {
            return Err(ProcError::TooLarge);
        }
        Ok(bytes)
    }

    /// A file of its folder, up to one byte more than the limit. Regular files only, and never through a link.
    fn read_up_to(&self, name: &str, bytes_max: usize) -> Result<Vec<u8>, ProcError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, name, flags, Mode::empty())?;
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(ProcError::Unreadable);
        }
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        match io::Read::read_to_end(&mut io::Read::take(std::fs::File::from(file), limit), &mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Errno::from_io_error(&error).map_or(ProcError::Unreadable, ProcError::from)),
        }
    }
}

/// The fields of proc_pid_stat(5). The second, `comm`, is chosen by the process and may hold blanks and brackets, so
/// reading begins after the last bracket. `None` when the line is not understood.
fn parse_stat(line: &[u8]) -> Option<Result<Stat, ProcError>> {
    let line = str::from_utf8(line.get(line.iter().rposition(|byte| *byte == b')')? + 1..)?).ok()?;
    let mut fields = line.split_ascii_whitespace();
    let state = fields.next()?; // field 3
    let parent = fields.next()?.parse().ok()?; // field 4
    let start_ticks = fields.nth(17)?.parse().ok()?; // field 22
    let program = parse_program(fields);
    Some(if matches!(state, "Z" | "X" | "x") {
        Err(ProcError::Gone)
    } else {
        Ok(Stat { parent, start_ticks, program })
    })
}

/// Of the fields from the 23rd on. Who may not know them is told 0 or 1 instead, and a kernel thread has no program.
fn parse_program<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Program> {
    let told = (23..).zip(fields).filter(|(number, _)| matches!(number, 26..=28 | 45..=51));
    let mut places = [0; PLACES];
    let mut found = 0;
    for (place, (_, field)) in places.iter_mut().zip(told) {
        *place = field.parse().ok().filter(|address| *address > 1)?;
        found += 1;
    }
    (found == PLACES).then_some(Program(places))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_proc::FakeProc;

    #[test]
    fn a_process_may_call_itself_what_it_likes() {
        let rest = "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 20 0";
        for comm in ["sleep", "a b", ") R 1 2", "((", "x) Z 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 77"] {
            let line = format!("7 ({comm}) S 5 {rest} 1234 9 9\n");
            assert_eq!(
                parse_stat(line.as_bytes()),
                Some(Ok(Stat { parent: 5, start_ticks: 1234, program: None })),
                "{comm}"
            );
        }
        assert_eq!(parse_stat(format!("7 (x) Z 5 {rest} 1234\n").as_bytes()), Some(Err(ProcError::Gone)));
        for bad in ["", "7 x S 5", "7 (x) S", "7 (x) S five 0", &format!("7 (x) S 5 {rest}"), "7 (x) S 5 0 0"]
        {
            assert_eq!(parse_stat(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_program_is_told_by_where_it_lies_and_only_where_all_of_that_is_told() {
        let line = |places: &str| format!("7 (x) S 5 {}1234 0 0 0 {places}", "0 ".repeat(17));
        let program = |places: &str| parse_stat(line(places).as_bytes()).unwrap().unwrap().program;
        let between = "0 ".repeat(16);
        let whole = format!("11 12 13 {between}14 15 16 17 18 19 20 0\n");
        assert_eq!(program(&whole), Some(Program([11, 12, 13, 14, 15, 16, 17, 18, 19, 20])));
        for hidden in [
            whole.replace("11 12", "1 1"),
            whole.replace("19 20", "0 0"),
            format!("11 12 13 {between}14 15\n"),
            String::new(),
        ] {
            assert_eq!(program(&hidden), None, "{hidden}");
        }
        let own = Process::stat_of(Path::new("/proc"), std::process::id()).unwrap();
        assert!(own.program.is_some());
        assert_eq!(Process::open(Path::new("/proc"), std::process::id()).unwrap().stat(), Ok(own));
        assert_eq!(
            Process::exe_path_of(Path::new("/proc"), std::process::id()),
            std::env::current_exe().ok()
        );
        assert_eq!(Process::stat_of(Path::new("/proc"), 0), Err(ProcError::Gone));
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let fake = FakeProc::new();
        fake.process(7, 1, 100).environ(&[b'x'; ENVIRON_BYTES_MAX + 1]);
        let process = Process::open(fake.root(), 7).unwrap();
        assert_eq!(process.environ().err(), Some(ProcError::TooLarge));

        fake.process(8, 1, 100).environ(&[b'x'; ENVIRON_BYTES_MAX]).cmdline(&[b'y'; CMDLINE_BYTES_MAX + 9]);
        let process = Process::open(fake.root(), 8).unwrap();
        assert_eq!(process.environ().unwrap().expose().len(), ENVIRON_BYTES_MAX);
        assert_eq!(process.cmdline().unwrap().expose().len(), CMDLINE_BYTES_MAX);

        for name in ["environ", "stat"] {
            std::fs::remove_file(fake.root().join("8").join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/etc/hostname", fake.root().join("8/environ")).unwrap();
        std::fs::create_dir(fake.root().join("8/stat")).unwrap();
        assert_eq!(process.environ().err(), Some(ProcError::Unreadable));
        assert_eq!(process.stat(), Err(ProcError::Unreadable));
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let fake = FakeProc::new();
        fake.process(7, 1, 100);
        let path = fake.root().join("7/environ");
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(Process::open(fake.root(), 7).unwrap().environ().err(), Some(ProcError::Unreadable));
    }

    #[test]
    fn an_ended_process_is_gone_also_through_an_old_handle() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(Path::new("/proc"), child.id()).unwrap();
        assert_eq!(process.stat().unwrap().parent, std::process::id());
        assert!(FileState::of(process.exe().unwrap()).is_some_and(|exe| exe.bytes > 0));
        assert!(process.namespaces().is_some());
        let own = Process::open(Path::new("/proc"), std::process::id()).unwrap();
        assert_eq!(own.namespaces(), process.namespaces());
        child.kill().unwrap();
        // Its memory goes first, and for a moment it still counts as running.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while process.exe().is_some() || process.stat().is_ok() {
            assert!(std::time::Instant::now() < until, "a zombie has not ended");
            std::thread::yield_now();
        }
        assert_eq!(process.stat(), Err(ProcError::Gone), "a zombie has ended");
        child.wait().unwrap();
        assert_eq!(process.stat(), Err(ProcError::Gone));
        assert_eq!(process.environ().err(), Some(ProcError::Gone));
        assert_eq!(Process::open(Path::new("/proc"), 0).unwrap_err(), ProcError::Gone);
    }
}
