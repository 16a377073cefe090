//! Waiting for processes, and ending them.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const POLL: Duration = Duration::from_millis(5);
const TAIL_LINES: usize = 30;

/// The exit code as shells give it: 128 + n when signal n ended the process.
pub(super) fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(128)
}

/// Waits until the process ends, but not longer than `deadline`.
pub(super) fn wait(child: &mut Child, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= deadline {
            return Ok(None);
        }
        sleep(POLL);
    }
}

/// Sends a signal to a process that was started here and not waited for yet.
pub(super) fn signal(child: &Child, signal: Signal) -> io::Result<()> {
    let id = i32::try_from(child.id()).map_err(io::Error::other)?;
    kill(Pid::from_raw(id), signal).map_err(io::Error::from)
}

/// Kills a process and all that descend from it, and waits for the process.
pub(super) fn kill_tree(child: &mut Child) {
    let Ok(root) = i32::try_from(child.id()) else { return };
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&id) = found.get(next) {
        found.extend(children(id));
        next += 1;
    }
    for id in found {
        // One that has just ended needs no killing.
        kill(Pid::from_raw(id), Signal::SIGKILL).ok();
    }
    drop(child.wait());
}

fn children(id: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The last lines of a log, for an error message.
pub(super) fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137)] {
            assert_eq!(
                exit_code(Command::new("sh").args(["-c", script]).status().unwrap()),
                code,
                "{script}"
            );
        }
    }

    #[test]
    fn waiting_has_an_end_and_a_tree_is_killed_with_its_leaves() {
        let mut child = Command::new("sh").args(["-c", "sleep 60 & sleep 60; true"]).spawn().unwrap();
        assert!(wait(&mut child, Duration::from_millis(200)).unwrap().is_none());
        let leaves = children(i32::try_from(child.id()).unwrap());
        assert_eq!(leaves.len(), 2);
        kill_tree(&mut child);
        sleep(Duration::from_millis(100));
        for leaf in leaves {
            let status = fs::read_to_string(format!("/proc/{leaf}/stat")).unwrap_or_default();
            assert!(status.is_empty() || status.contains(") Z "), "{status}");
        }
    }
}
