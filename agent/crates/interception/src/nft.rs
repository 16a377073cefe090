//! Runs `nft`, nft(8), so that nothing but its file decides what it does: by absolute path, in an empty environment,
//! in a bounded time, with a bounded answer.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::preflight::Problem;

/// Where distributions install it. Folders that only root can write to, whatever `PATH` says.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Longest that one run may take. It is a hundredth of a second, unless somebody else holds the rules.
const TIME_MAX: Duration = Duration::from_secs(10);
const POLL_PAUSE: Duration = Duration::from_millis(2);

/// Most that is read of an answer. A table with as many addresses as there may be is a tenth of it.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Why `nft` did not do it.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// It is not installed.
    #[error("the program nft is in none of {}", FOLDERS.join(", "))]
    Missing,
    /// It could not be run.
    #[error("nft cannot be run: {0}")]
    Run(#[source] io::Error),
    /// It took too long and was ended.
    #[error("nft was not done after {} s", TIME_MAX.as_secs())]
    Late,
    /// It said no, or the kernel did.
    #[error("nft: {0}")]
    Refused(String),
}

impl NftError {
    /// What an operator does about it.
    pub(crate) fn problem(&self) -> Problem {
        let fix = match self {
            Self::Missing => "apt install nftables, or what the distribution calls it",
            Self::Run(_) | Self::Late => "see what keeps `nft list ruleset` from ending",
            Self::Refused(_) => {
                "boot a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, and run as root"
            }
        };
        Problem { problem: self.to_string(), fix: fix.to_owned() }
    }
}

/// Runs it in the network namespace of the calling thread, gives it `input`, and answers what it said.
pub(crate) fn run(args: &[&str], input: &str) -> Result<String, NftError> {
    run_program(&find()?, args, input, TIME_MAX)
}

fn find() -> Result<PathBuf, NftError> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let places = FOLDERS.iter().map(|folder| Path::new(folder).join("nft"));
    places.into_iter().find(is_program).ok_or(NftError::Missing)
}

/// Files in memory stand in for pipes: neither side ever waits for the other.
fn run_program(program: &Path, args: &[&str], input: &str, longest: Duration) -> Result<String, NftError> {
    let (mut stdin, mut stdout, mut stderr) = (memory()?, memory()?, memory()?);
    stdin.write_all(input.as_bytes()).and_then(|()| stdin.rewind()).map_err(NftError::Run)?;
    let stdio = |file: &File| Ok(Stdio::from(file.try_clone().map_err(NftError::Run)?));
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .current_dir("/")
        .stdin(stdio(&stdin)?)
        .stdout(stdio(&stdout)?)
        .stderr(stdio(&stderr)?)
        .spawn()
        .map_err(NftError::Run)?;
    let end = Instant::now() + longest;
    let status = loop {
        match child.try_wait().map_err(NftError::Run)? {
            Some(status) => break status,
            None if Instant::now() < end => thread::sleep(POLL_PAUSE),
            None => {
                child.kill().and_then(|()| child.wait()).map_err(NftError::Run)?;
                return Err(NftError::Late);
            }
        }
    };
    if status.success() {
        return said(&mut stdout);
    }
    let complaint = said(&mut stderr)?;
    // Below the first line it draws where in the input it was.
    Err(NftError::Refused(complaint.lines().next().map_or_else(|| status.to_string(), str::to_owned)))
}

fn memory() -> Result<File, NftError> {
    let fd = memfd_create("nft", MFdFlags::MFD_CLOEXEC).map_err(|errno| NftError::Run(errno.into()))?;
    Ok(File::from(fd))
}

fn said(file: &mut File) -> Result<String, NftError> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(NftError::Run)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, longest: Duration) -> Result<String, NftError> {
        run_program(Path::new("/bin/sh"), &["-c", script], "input", longest)
    }

    #[test]
    fn nothing_is_inherited_but_the_input() {
        assert_eq!(sh("cat; pwd; cat /proc/$$/environ", TIME_MAX).unwrap(), "input/\n");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let begun = Instant::now();
        assert!(matches!(sh("exec sleep 60", Duration::from_millis(100)), Err(NftError::Late)));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_refusal_is_the_first_line_of_what_it_complains() {
        let refused = sh("echo one >&2; echo two >&2; exit 3", TIME_MAX).unwrap_err();
        assert_eq!(refused.to_string(), "nft: one");
        let silent = sh("exit 3", TIME_MAX).unwrap_err();
        assert_eq!(silent.to_string(), "nft: exit status: 3");
        let missing = run_program(Path::new("/does/not/exist"), &[], "", TIME_MAX);
        assert!(matches!(missing, Err(NftError::Run(_))));
        for error in [NftError::Missing, refused, NftError::Late] {
            assert!(!error.problem().fix.is_empty(), "{error}");
        }
    }

    #[test]
    fn an_answer_larger_than_a_pipe_is_read() {
        let said = sh("head -c 300000 /dev/zero | tr '\\0' x", TIME_MAX);
        // Without PATH the shell has a default of its own.
        assert_eq!(said.unwrap().len(), 300_000);
    }
}
