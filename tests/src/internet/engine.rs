//! fakesnow, the Snowflake emulator that executes the SQL: its process, and an HTTP client for it.
//!
//! It listens on loopback only, on a port that was free. It dies with this process, also when that is killed.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const START_MAX: Duration = Duration::from_secs(60);
const START_PROBE_EVERY: Duration = Duration::from_millis(25);
/// Below the five seconds after which fakesnow closes an idle connection, so that it never closes one that is in use.
const IDLE_MAX: Duration = Duration::from_secs(2);
const REPLY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// What fakesnow says is kept here.
const OUTPUT_FILE: &str = "fakesnow.log";
const SEED_SCRIPT: &str = include_str!("../../python/seed.py");

/// The running emulator.
pub(super) struct Engine {
    process: Child,
    address: SocketAddr,
    dir: PathBuf,
}

impl Engine {
    /// Starts fakesnow from the Python environment `python` and waits until it accepts connections.
    pub(super) async fn start(python: &Path, dir: &Path) -> Result<Self> {
        let program = python.join("bin/fakesnow");
        ensure!(program.exists(), "no {}: run `cargo xtask setup`", program.display());
        let address = free_address()?;
        let output = File::create(dir.join(OUTPUT_FILE))?;
        let process = command(dir, "setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&program)
            .args(["-s", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let mut engine = Self { process, address, dir: dir.to_owned() };
        engine.wait_until_it_accepts().await?;
        Ok(engine)
    }

    async fn wait_until_it_accepts(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(self.address).await.is_err() {
            let log = self.dir.join(OUTPUT_FILE);
            if let Some(status) = self.process.try_wait()? {
                bail!("fakesnow ended with {status}: see {}", log.display());
            }
            ensure!(
                Instant::now() < deadline,
                "fakesnow does not listen after {START_MAX:?}: see {}",
                log.display()
            );
            tokio::time::sleep(START_PROBE_EVERY).await;
        }
        Ok(())
    }

    /// Runs SQL files statement by statement, as one session in the database and schema that jobs start in.
    pub(super) async fn seed(&self, python: &Path, files: &[PathBuf]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let output = command(&self.dir, python.join("bin/python"))
            .args(["-c", SEED_SCRIPT])
            .arg(format!("http://{}", self.address))
            .args(files)
            .stdin(Stdio::null())
            .output()
            .await
            .context("the seed script cannot be started")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// A client for the front.
    pub(super) fn client(&self) -> Client {
        let http = legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_MAX).build_http();
        Client { http, origin: format!("http://{}", self.address) }
    }

    /// Waits until the process ends by itself, which is always an error.
    pub(super) async fn ended(&mut self) -> Result<()> {
        let status = self.process.wait().await?;
        bail!("fakesnow ended with {status}: see {}", self.dir.join(OUTPUT_FILE).display())
    }

    /// Ends the process; it holds nothing that is worth saving.
    pub(super) async fn stop(mut self) {
        // The only failure is that it has already ended.
        drop(self.process.kill().await);
    }
}

/// A command that sees nothing of this process's environment: no proxy, no Python path, no home of a user.
fn command(dir: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8");
    // fakesnow leaves a folder for its stages behind; it goes with the lab's.
    command.env("HOME", dir).env("TMPDIR", dir);
    command.kill_on_drop(true);
    command
}

fn free_address() -> Result<SocketAddr> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("loopback is down in this namespace")?;
    Ok(probe.local_addr()?)
}

/// Asks fakesnow over pooled connections.
pub(super) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    origin: String,
}

impl Client {
    /// Sends one request and reads the JSON answer, whatever its HTTP status, which comes back beside it.
    ///
    /// `token` is fakesnow's own session token, absent for a login; `body` is JSON.
    pub(super) async fn ask(
        &self,
        method: &Method,
        path_and_query: &str,
        token: Option<&str>,
        body: Bytes,
    ) -> Result<(StatusCode, Value)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path_and_query}", self.origin))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Snowflake Token=\"{token}\""));
        }
        let (head, body) = self.http.request(request.body(Full::new(body))?).await?.into_parts();
        let body = Limited::new(body, REPLY_BYTES_MAX).collect().await.map_err(anyhow::Error::from_boxed)?;
        let value = serde_json::from_slice(&body.to_bytes())
            .with_context(|| format!("fakesnow answered {} with something else than JSON", head.status))?;
        Ok((head.status, value))
    }
}
