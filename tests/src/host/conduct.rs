//! Running one command in the foreground, as `cargo xtask lab` does.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{getpgrp, tcgetpgrp};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::lab::Lab;
use super::options::Identity;
use super::site::Place;
use super::{cgroup, process};

/// How long a command may take to end when we are told to.
const GRACE: Duration = Duration::from_secs(5);

impl Lab {
    /// Runs a command with the caller's own input, output and terminal, ends the lab, and gives the command's exit code
    /// (128 + n for signal n). Interrupts and requests to end are passed on to the command.
    ///
    /// # Errors
    /// The command could not be started, or the lab not be cleared away.
    pub fn conduct<S: AsRef<OsStr>>(self, command: &[S]) -> Result<i32> {
        let mut signals =
            Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM]).context("cannot watch for signals")?;
        let child = self.attach(command)?;
        let ended = self.wait_for(child, &mut signals);
        let stopped = self.stop();
        ended.and_then(|code| stopped.map(|()| code))
    }

    fn wait_for(&self, mut child: Child, signals: &mut Signals) -> Result<i32> {
        for heard in signals.forever() {
            match heard {
                SIGCHLD => {
                    if let Some(status) = child.try_wait().context("cannot wait for the command")? {
                        return Ok(process::exit_code(status));
                    }
                }
                SIGINT if !in_terminal_foreground() => {
                    let interrupt = self.interrupt();
                    process::signal(&child, interrupt).context("cannot signal the command")?;
                }
                SIGTERM | SIGHUP => {
                    process::signal(&child, Signal::SIGTERM).context("cannot signal the command")?;
                    self.kill_commands_later();
                }
                // The terminal tells the command too.
                _ => {}
            }
        }
        bail!("signals ended before the command did")
    }

    /// What makes a command hear an interrupt: a runner passes `SIGUSR1` on as one.
    fn interrupt(&self) -> Signal {
        if self.options().identity == Identity::None { Signal::SIGINT } else { Signal::SIGUSR1 }
    }

    fn kill_commands_later(&self) {
        let places: [PathBuf; 2] = [Place::Runner, Place::User].map(|place| self.site().cgroup_of(place));
        thread::spawn(move || {
            thread::sleep(GRACE);
            for place in places {
                // The lab's end kills what is left.
                drop(cgroup::kill(&place));
            }
        });
    }
}

/// Whether an interrupt came from a terminal, which sends it to every process there and not only to us.
fn in_terminal_foreground() -> bool {
    File::open("/dev/tty").is_ok_and(|terminal| tcgetpgrp(terminal) == Ok(getpgrp()))
}
