//! The holder: a process that owns what a lab is made of, and clears it away when the lab's end of a pipe closes.
//!
//! Whoever started it may end in any way at all (return, panic, Ctrl-C, SIGKILL): the pipe closes, and the holder does
//! the rest. Should the holder itself be killed, the kernel lets go of its lock, and the next one clears away.

use std::fs::{self, File, OpenOptions};
use std::io::{Write as _, stderr, stdin, stdout};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use super::site::{FOLDER_PARENT, FOLDER_PREFIX, LOCK, MARKER, Place, Site, stand_ins};
use super::{cgroup, mounts, network, sweep};

const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
const WAIT_SILENT: Duration = Duration::from_secs(1);
const WAIT_POLL: Duration = Duration::from_millis(50);
const HOLDER_CGROUP: &str = "holder";

/// What `lab-exec hold` does: waits for its turn, lays the lab out, says where on standard output, waits for the end
/// of standard input, and clears everything away. `certifi` are the folders of that package in the jobs' Pythons.
///
/// # Errors
/// Says what could not be laid out or cleared away; what had been laid out by then is cleared away.
pub fn hold(certifi: &[PathBuf]) -> Result<()> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).context("cannot watch for signals")?;
    }
    let Some(_lock) = wait_for_turn(&ended)? else { return Ok(()) };
    sweep::all().context("cannot clear away what an earlier lab left")?;
    let origin = cgroup::own()?;
    let folder = make_folder()?;
    let held = Site::new(&folder, std::process::id()).and_then(|site| {
        let laid_out = lay_out(&site, certifi).and_then(|()| announce(&site));
        if laid_out.is_ok() {
            while !over(&ended, PollTimeout::from(1000_u16)) {}
        }
        laid_out.and(clear_away(&site, &origin))
    });
    // After an error parts may be missing, so everything is tried, and only the first failure told.
    held.inspect_err(|_| {
        drop(cgroup::join(&origin));
        drop(network::let_go(&folder));
        drop(sweep::all());
    })
}

/// Takes the lock; none if the lab ended while waiting for it.
fn wait_for_turn(ended: &AtomicBool) -> Result<Option<Flock<File>>> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(LOCK)
        .with_context(|| format!("cannot open {LOCK}"))?;
    let start = Instant::now();
    let mut told = false;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, error)) => return Err(error).with_context(|| format!("cannot lock {LOCK}")),
        };
        if start.elapsed() > WAIT_MAX {
            bail!("another lab has been running for {} minutes", WAIT_MAX.as_secs() / 60);
        }
        if !told && start.elapsed() > WAIT_SILENT {
            told = writeln!(stderr(), "lab: waiting for another lab to end").is_ok();
        }
        if over(ended, PollTimeout::try_from(WAIT_POLL).unwrap_or(PollTimeout::ZERO)) {
            return Ok(None);
        }
    }
}

/// Whether the lab has let go: its end of our standard input is closed, or we were told to stop.
fn over(ended: &AtomicBool, wait: PollTimeout) -> bool {
    let stdin = stdin();
    let mut watched = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let closed = match poll(&mut watched, wait) {
        // Nothing is ever written to us, so that anything to read is the end.
        Ok(ready) => ready > 0,
        Err(Errno::EINTR) => false,
        Err(_) => true,
    };
    closed || ended.load(Ordering::Relaxed)
}

fn make_folder() -> Result<PathBuf> {
    let folder = tempfile::Builder::new()
        .prefix(FOLDER_PREFIX)
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(FOLDER_PARENT)
        .with_context(|| format!("cannot make a folder in {FOLDER_PARENT}"))?;
    fs::write(folder.path().join(MARKER), "").context("cannot mark the lab's folder")?;
    Ok(folder.keep())
}

fn lay_out(site: &Site, certifi: &[PathBuf]) -> Result<()> {
    for place in Place::ALL {
        let cgroup = site.cgroup_of(place);
        fs::create_dir_all(&cgroup)
            .with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
    }
    let own = site.cgroup.join(HOLDER_CGROUP);
    fs::create_dir(&own).with_context(|| format!("cannot make the cgroup {}", own.display()))?;
    cgroup::join(&own)?;
    let folders = [site.etc(), site.internet().join("jobs"), site.home(), stand_ins(&site.folder)];
    for folder in
        folders.iter().chain([&site.folder.join("ns"), &site.folder.join("jobs"), &site.folder.join("run")])
    {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    mounts::lay_out(&site.folder, certifi)?;
    network::lay_out(&site.folder)
}

/// One line of JSON: all that the lab has to know.
fn announce(site: &Site) -> Result<()> {
    writeln!(stdout(), "{}", json!({ "folder": site.folder.display().to_string() }))
        .and_then(|()| stdout().flush())
        .context("the lab has gone")
}

fn clear_away(site: &Site, origin: &Path) -> Result<()> {
    cgroup::join(origin).or_else(|_| cgroup::join(&cgroup::mount_point()?))?;
    cgroup::kill(&site.cgroup)?;
    cgroup::remove(&site.cgroup)?;
    network::let_go(&site.folder)?;
    sweep::folder(&site.folder)
}

/// Clears away after a holder that was killed, if no other lab has come (and done so) since.
pub(super) fn clear_after_another() -> Result<()> {
    let file = File::open(LOCK).with_context(|| format!("cannot open {LOCK}"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_lock) => sweep::all(),
        Err((_, Errno::EWOULDBLOCK)) => Ok(()),
        Err((_, error)) => Err(error).with_context(|| format!("cannot lock {LOCK}")),
    }
}
