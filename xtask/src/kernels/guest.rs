//! One boot: an emulated machine that says what it has to say over its serial line, and is ended if it does not end.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::suites::Boot;

/// Longest that a boot may take, and longest that it may be silent. A whole one takes some minutes where nothing else
/// runs; a busy machine is several times slower.
const BOOT_TIME_MAX: Duration = Duration::from_secs(60 * 60);
const SILENCE_MAX: Duration = Duration::from_secs(8 * 60);
/// Memory of the machine, in MiB: its file system is in there as well.
const MEMORY: &str = "2048";

/// What is booted, and where what it says is kept.
pub(crate) struct Guest<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) image: &'a Path,
    pub(crate) boot: &'a Boot,
    pub(crate) log: &'a Path,
}

impl Guest<'_> {
    /// Boots and answers every line that the guest said until it ended, or was ended.
    pub(crate) fn run(&self) -> Result<Vec<String>> {
        let mut log =
            File::create(self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut machine = self.command().spawn().context("cannot start qemu-system-x86_64")?;
        let lines = read(&mut machine)?;
        let (mut said, began) = (Vec::new(), Instant::now());
        let ended = loop {
            let left = BOOT_TIME_MAX.saturating_sub(began.elapsed()).min(SILENCE_MAX);
            match lines.recv_timeout(left) {
                Ok(line) => {
                    writeln!(log, "{line}")
                        .with_context(|| format!("cannot write {}", self.log.display()))?;
                    said.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        if !ended {
            eprintln!("kernels: the guest hangs, and is ended after {} s", began.elapsed().as_secs());
            machine.kill().context("cannot end the machine")?;
        }
        machine.wait().context("cannot wait for the machine")?;
        Ok(said)
    }

    fn command(&self) -> Command {
        // Others want the cores as well.
        let mut command = Command::new("nice");
        command
            .args([
                "qemu-system-x86_64",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-m",
                MEMORY,
                "-smp",
                "2",
            ])
            .args(["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-nic", "none", "-kernel"])
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.image)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 edd=off loglevel=3 panic=-1 lsm={} snowfence.boot={}",
                self.boot.lsm, self.boot.name
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }
}

/// The machine's lines, from a thread that ends with it.
fn read(machine: &mut Child) -> Result<Receiver<String>> {
    let pipe = machine.stdout.take().context("the machine has no serial line")?;
    let (sender, lines) = channel();
    thread::spawn(move || {
        for bytes in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(lines)
}
