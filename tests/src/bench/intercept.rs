//! What interception costs: the agent beside a direct connection and three proxies.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::peers::{Desk, Peer, Working};
use super::table::Rounds;
use super::usage::{cpu_us, resident_kib};
use crate::internet::{Addresses, ROOT_PEM};
use crate::{Lab, Options};

/// Where the record is kept while requests are measured: in memory, so that the disk's own time is not in them.
const MEMORY: &str = "/dev/shm";
const DIRECT: &str = "direct";
const AGENT: &str = "agent";

/// The figures, as the head of the table names them.
const NEW_CONNECTION: &str = "new conn p50 us";
const REQUEST_P50: &str = "request p50 us";
const REQUEST_P99: &str = "request p99 us";
const REQUEST_CPU: &str = "CPU us/request";
const REQUEST_RATE: &str = "requests/s, 8 clients";
const BULK_RATE: &str = "bulk MB/s";
const BULK_CPU: &str = "bulk MB/CPU-s";
const RESIDENT: &str = "resident MiB";
const FIGURES: [&str; 8] =
    [NEW_CONNECTION, REQUEST_P50, REQUEST_P99, REQUEST_CPU, REQUEST_RATE, BULK_RATE, BULK_CPU, RESIDENT];
const CONNECT: &str = "connect p10 us";

/// How long and how much.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Intercept {
    /// Rounds, in each of which every candidate does the same work
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// New connections in a round; requests are ten times as many
    #[arg(long, default_value_t = 200)]
    pub connections: usize,
    /// Leave mitmproxy out, which takes as long as all the others together
    #[arg(long)]
    pub without_mitmproxy: bool,
}

/// Measures, and gives the report.
///
/// # Errors
/// The lab or one of the candidates does not work.
pub fn intercept(sizes: Intercept) -> Result<String> {
    let state = tempfile::Builder::new().prefix("snowfence-bench-").tempdir_in(MEMORY);
    let state = state.with_context(|| format!("no folder can be made in {MEMORY}"))?;
    let lab =
        Lab::start(Options { canned: true, state: Some(state.path().to_owned()), ..Options::allow_all() })?;
    let bench = Bench::new(&lab, sizes)?;
    let mut rounds = Rounds::default();
    for _ in 0..sizes.rounds {
        bench.round(&mut rounds)?;
    }
    let names: Vec<&'static str> = [DIRECT, AGENT].into_iter().chain(bench.peers()).collect();
    let report = format!(
        "{} rounds; medians, and the median of the ratios to the first line\n\n{}\n{}\none durable write of 1 KiB to {}: \
         p50 {:.0} us (the record's, which is not in the figures above)\n",
        sizes.rounds,
        rounds.table(&names, &FIGURES),
        rounds.table(&CONNECTS, &[CONNECT]),
        lab.folder().display(),
        flush_us(lab.folder())?,
    );
    drop(bench);
    lab.stop()?;
    Ok(report)
}

/// What is connected to, and from where.
const NOT_COVERED: &str = "loopback, not covered";
const COVERED: &str = "loopback, covered, not guarded";
const CAUGHT: &str = "guarded, caught";
const CONNECTS: [&str; 3] = [NOT_COVERED, COVERED, CAUGHT];

struct Bench<'lab> {
    lab: &'lab Lab,
    sizes: Intercept,
    load: PathBuf,
    roots: PathBuf,
    server: SocketAddr,
    working: Vec<Working>,
}

impl<'lab> Bench<'lab> {
    fn new(lab: &'lab Lab, sizes: Intercept) -> Result<Self> {
        let server = Addresses::lab(true).canned.context("the lab has no canned answers")?;
        let server_root = lab.folder().join("internet").join(ROOT_PEM);
        let desk = Desk::prepare(&lab.folder().join("bench"), server, &server_root)?;
        let peers =
            Peer::ALL.into_iter().filter(|peer| !(sizes.without_mitmproxy && *peer == Peer::Mitmproxy));
        let working = peers.map(|peer| desk.start(lab, peer)).collect::<Result<_>>()?;
        let roots = lab.folder().join("bench/roots.pem");
        let agent_root = lab.state().join("ca/root.pem");
        let texts = [server_root, desk.root(), agent_root]
            .map(|path| fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display())));
        fs::write(&roots, texts.into_iter().collect::<Result<String>>()?)
            .context("cannot write the roots")?;
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        Ok(Self { lab, sizes, load: own.with_file_name("lab-load"), roots, server, working })
    }

    fn peers(&self) -> impl Iterator<Item = &'static str> {
        self.working.iter().map(|working| working.peer.name())
    }

    /// Every candidate once.
    fn round(&self, rounds: &mut Rounds) -> Result<()> {
        self.candidate(rounds, DIRECT, self.server, None, 1)?;
        self.candidate(rounds, AGENT, self.server, Some(&self.lab.agent_cgroup()), 1)?;
        for working in &self.working {
            // It does a hundredth of the others' work in the same time.
            let less = if working.peer == Peer::Mitmproxy { 10 } else { 1 };
            let (name, address) = (working.peer.name(), working.peer.address());
            self.candidate(rounds, name, address, Some(&working.cgroup), less)?;
        }
        self.connects(rounds)
    }

    /// The same work for each: new connections, requests one by one, requests of eight clients, large results.
    fn candidate(
        &self,
        rounds: &mut Rounds,
        name: &'static str,
        target: SocketAddr,
        cgroup: Option<&Path>,
        less: usize,
    ) -> Result<()> {
        let count = self.sizes.connections / less;
        let run = |work: &str, count: usize, clients: usize| {
            self.measured(name, cgroup, work, target, count, clients)
        };
        let (figures, _) = run("connections", count, 1)?;
        rounds.add(name, NEW_CONNECTION, number(&figures, "p50")?);
        let (figures, _) = run("requests", count * 10, 1)?;
        rounds.add(name, REQUEST_P50, number(&figures, "p50")?);
        rounds.add(name, REQUEST_P99, number(&figures, "p99")?);
        let (figures, cpu) = run("requests", count * 40, 8)?;
        let (requests, seconds) = (number(&figures, "count")?, number(&figures, "seconds")?);
        rounds.add(name, REQUEST_RATE, requests / seconds);
        if let Some(cpu) = cpu {
            rounds.add(name, REQUEST_CPU, cpu / requests);
        }
        let (figures, cpu) = run("bulk", 2, 1)?;
        let megabytes = number(&figures, "bytes")? / 1e6;
        rounds.add(name, BULK_RATE, megabytes / number(&figures, "seconds")?);
        if let (Some(cpu), Some(cgroup)) = (cpu, cgroup) {
            rounds.add(name, BULK_CPU, megabytes / (cpu / 1e6));
            rounds.add(name, RESIDENT, to_f64(resident_kib(cgroup)?) / 1024.0);
        }
        Ok(())
    }

    /// `connect(2)` alone. The first two go to the same listener; what differs is whether the programs see it.
    fn connects(&self, rounds: &mut Rounds) -> Result<()> {
        let loopback = Peer::Nginx.address();
        for (what, name, target) in
            [(NOT_COVERED, DIRECT, loopback), (COVERED, AGENT, loopback), (CAUGHT, AGENT, self.server)]
        {
            let (figures, _) =
                self.measured(name, None, "connects", target, self.sizes.connections * 20, 1)?;
            rounds.add(what, CONNECT, number(&figures, "p10")?);
        }
        Ok(())
    }

    /// Figures of one measurement, and the processor time in microseconds that a cgroup used meanwhile. The client is a
    /// job where the agent is to see it, and beside everything otherwise.
    fn measured(
        &self,
        name: &str,
        cgroup: Option<&Path>,
        work: &str,
        target: SocketAddr,
        count: usize,
        clients: usize,
    ) -> Result<(Value, Option<f64>)> {
        let (target, count, clients) = (target.to_string(), count.to_string(), clients.to_string());
        let (load, roots) = (self.load.display().to_string(), self.roots.display().to_string());
        let words =
            [&load, work, "--target", &target, "--roots", &roots, "--count", &count, "--clients", &clients];
        let before = cgroup.map(cpu_us).transpose()?;
        let output = if name == AGENT {
            self.lab.run(&words)?
        } else {
            let (mut command, _) = self.lab.beside_command("client")?;
            command.args(words).output().context("cannot run lab-exec")?
        };
        let after = cgroup.map(cpu_us).transpose()?;
        let used = after.zip(before).map(|(after, before)| to_f64(after.saturating_sub(before)));
        Ok((read(&output).with_context(|| format!("{name}: {work}"))?, used))
    }
}

fn read(output: &Output) -> Result<Value> {
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("no figures")
}

fn number(figures: &Value, key: &str) -> Result<f64> {
    figures.get(key).and_then(Value::as_f64).with_context(|| format!("no {key} in {figures}"))
}

/// Figures are far below what a double cannot hold.
#[expect(clippy::cast_precision_loss, reason = "microseconds and KiB of minutes and gigabytes")]
fn to_f64(value: u64) -> f64 {
    value as f64
}

/// The median time of a small durable write, in microseconds: what the record costs on this disk, twice a statement.
fn flush_us(folder: &Path) -> Result<f64> {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(folder).context("cannot make a file")?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let begun = std::time::Instant::now();
        file.write_all(&[0; 1024]).and_then(|()| file.sync_data()).context("cannot write a file")?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_unstable_by(f64::total_cmp);
    ensure!(!times.is_empty(), "nothing was written");
    times.get(times.len() / 2).copied().context("nothing was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_in_a_measurement_is_named() {
        let error = number(&serde_json::json!({ "p50": 1.0 }), "p99").unwrap_err().to_string();
        assert!(error.contains("no p99"), "{error}");
    }
}
