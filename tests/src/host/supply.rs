//! The lab's internet as a child process, and the trust in it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::mounts::{CERTIFI_COPIES, LOCAL_CERTIFICATES, LOCAL_CERTIFICATES_COPY, SYSTEM_STORE_COPY};
use super::site::{Place, Site};
use super::tools::Tools;
use super::{enter, environment, process};

const ROOT_WAIT: Duration = Duration::from_secs(20);
const READY_WAIT: Duration = Duration::from_secs(90);
const END_WAIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);
const ROOT_NAME: &str = "lab-internet-root";

/// The running internet.
#[derive(Debug)]
pub(super) struct Internet {
    child: Child,
    log: PathBuf,
    ready: Receiver<()>,
}

impl Internet {
    /// Starts it; it is of use only after [`Internet::wait_until_ready`].
    pub(super) fn start(tools: &Tools, site: &Site, seeds: &[PathBuf], canned: bool) -> Result<Self> {
        let log = site.internet().join("log");
        let mut command = enter::at(&tools.exec, site, Place::Internet, None);
        command
            .arg(&tools.internet)
            .arg("--dir")
            .arg(site.internet())
            .arg("--fakesnow")
            .arg(&tools.py_server);
        for seed in seeds {
            command.arg("--seed").arg(seed);
        }
        if canned {
            command.arg("--canned");
        }
        environment::clean(&mut command, site);
        let stderr = fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).process_group(0);
        let mut child = command.spawn().context("cannot start lab-internet")?;
        let stdout = child.stdout.take().context("lab-internet has no output")?;
        Ok(Self { child, log, ready: listen(stdout) })
    }

    /// Waits for the certificate of the lab's public authority, and puts it where public authorities are.
    pub(super) fn trust(&mut self, site: &Site) -> Result<()> {
        let file = site.internet().join("internet-root.pem");
        let start = Instant::now();
        let pem = loop {
            match fs::read_to_string(&file) {
                Ok(pem) if pem.contains("-----END CERTIFICATE-----") => break pem,
                _ if start.elapsed() > ROOT_WAIT => {
                    bail!("lab-internet made no certificate: {}", self.said())
                }
                _ => self.check()?,
            }
            sleep(POLL);
        };
        trust(site, &pem)
    }

    /// Waits until names, Snowflake with its tables, and the issuer can be reached.
    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        match self.ready.recv_timeout(READY_WAIT) {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Timeout) => bail!("lab-internet is not ready in time: {}", self.said()),
            Err(RecvTimeoutError::Disconnected) => {
                drop(process::wait(&mut self.child, END_WAIT));
                bail!("lab-internet ended before it was ready: {}", self.said())
            }
        }
    }

    /// Ends it; what does not end by itself is killed when the lab is cleared away.
    pub(super) fn stop(&mut self) {
        drop(self.child.stdin.take());
        drop(process::wait(&mut self.child, END_WAIT));
    }

    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("cannot watch lab-internet")? {
            bail!("lab-internet ended ({status}): {}", self.said());
        }
        Ok(())
    }

    fn said(&self) -> String {
        process::tail(&self.log)
    }
}

/// Reports the line `ready`, and reads on until the end, so that the writer never waits.
fn listen(stdout: impl Read + Send + 'static) -> Receiver<()> {
    let (sender, receiver) = channel();
    spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The lab may have stopped listening by then.
            if line == "ready" && sender.send(()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Adds an authority to the lab's system store and to certifi, as `update-ca-certificates` would.
fn trust(site: &Site, pem: &str) -> Result<()> {
    let copies = site.stand_ins();
    let local = copies.join(LOCAL_CERTIFICATES_COPY).join(format!("{ROOT_NAME}.crt"));
    fs::write(&local, pem).with_context(|| format!("cannot write {}", local.display()))?;

    let store = copies.join(SYSTEM_STORE_COPY);
    let name = format!("{ROOT_NAME}.pem");
    symlink(format!("{LOCAL_CERTIFICATES}/{ROOT_NAME}.crt"), store.join(&name))
        .context("cannot link a certificate")?;
    symlink(&name, store.join(format!("{}.0", subject_hash(&local)?)))
        .context("cannot link a certificate")?;
    append(&store.join("ca-certificates.crt"), pem)?;
    let packages = copies.join(CERTIFI_COPIES);
    let entries = fs::read_dir(&packages).with_context(|| format!("cannot list {}", packages.display()))?;
    entries.flatten().try_for_each(|entry| append(&entry.path().join("cacert.pem"), pem))
}

/// The name under which OpenSSL looks for a certificate in a folder.
fn subject_hash(certificate: &Path) -> Result<String> {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-hash", "-in"])
        .arg(certificate)
        .output()
        .context("cannot run `openssl`; install openssl")?;
    let hash = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || hash.is_empty() {
        bail!("openssl: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(hash)
}

fn append(bundle: &Path, pem: &str) -> Result<()> {
    let mut text = fs::read_to_string(bundle).with_context(|| format!("cannot read {}", bundle.display()))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(pem);
    fs::write(bundle, text).with_context(|| format!("cannot write {}", bundle.display()))
}
