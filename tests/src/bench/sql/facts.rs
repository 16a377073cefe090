//! Asking `snowfence policy facts`, and what is in the folder of corpora.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::Value;

/// The answers to these lines, and the processor time in microseconds that they took, starting and ending included.
pub(super) fn ask(lines: &[Value]) -> Result<(Vec<Value>, f64)> {
    let program = env::var_os("SNOWFENCE_BIN").context("SNOWFENCE_BIN does not say where the agent is")?;
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let before = children_us()?;
    let mut child = Command::new(&program)
        .args(["policy", "facts"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", Path::new(&program).display()))?;
    let mut input = child.stdin.take().context("the agent has no standard input")?;
    let writer = thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().context("the agent does not end")?;
    writer.join().ok().context("the lines could not be written")?.context("the agent does not read")?;
    let took = children_us()? - before;
    ensure!(output.status.success(), "the agent could not use a line");
    let told = String::from_utf8(output.stdout).context("the answers are no text")?;
    let answers: Vec<Value> =
        told.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("an answer is no JSON")?;
    ensure!(answers.len() == lines.len(), "{} lines, {} answers", lines.len(), answers.len());
    Ok((answers, took))
}

/// What all children that have ended have used, getrusage(2).
fn children_us() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot tell what children used")?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}

/// Files of a folder whose names end so, in order.
pub(super) fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.context("cannot read the folder of corpora")?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ending)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The JSON lines of a file.
pub(super) fn lines(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} holds a line that is no JSON", file.display()))
}

/// The texts of a list; none if it is no list.
pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
