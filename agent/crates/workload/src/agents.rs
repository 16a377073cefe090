//! AI agents at work in a job: by what the processes between the worker and the connection run and were started with.
//!
//! What is found sticks to the job. An agent may start what it wants to stay unnamed in a way that hides where it comes
//! from; it was seen once, and everything that the job does afterwards is done with it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use identity::{Agent, AgentTable};

use crate::{
    ancestry::Link,
    process::{Process, ProcessKey},
};

/// Processes that are looked at, from the one that connected upwards. An agent's commands are a few below it.
const PROCESSES_MAX: usize = 32;
/// Jobs whose agents are remembered. A host runs some dozens at a time.
const REMEMBERED_MAX: usize = 4096;
/// Arguments that are looked at, after which no script is expected.
const ARGUMENTS_MAX: usize = 16;

/// The agent among a process and its parents, which end below the worker, the nearest first. A program counts for more
/// than a variable.
pub(crate) fn seen(links: &[Link], table: &AgentTable) -> Option<Agent> {
    let mut asserted = None;
    for link in links.iter().take(PROCESSES_MAX) {
        if let Some(agent) = by_program(link, table) {
            return Some(agent);
        }
        if asserted.is_none() {
            asserted = by_variables(&link.process, table);
        }
    }
    asserted
}

fn by_program(link: &Link, table: &AgentTable) -> Option<Agent> {
    let exe = link.exe.as_ref()?.to_str()?;
    if !AgentTable::is_interpreter(exe) {
        return table.by_program(exe, &[]);
    }
    let cmdline = link.process.cmdline().ok()?;
    let words = cmdline.expose().split(|byte| *byte == 0).skip(1).take(ARGUMENTS_MAX);
    let words = words.map(|word| std::str::from_utf8(word).unwrap_or_default()).collect::<Vec<_>>();
    table.by_program(exe, &words)
}

fn by_variables(process: &Process, table: &AgentTable) -> Option<Agent> {
    let block = process.environ().ok()?;
    let entries = block.expose().split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
    let pairs = entries.filter_map(|entry| entry.split_once('='));
    let wanted = pairs.filter(|(name, _)| table.asks_for(name)).collect::<HashMap<_, _>>();
    if wanted.is_empty() {
        return None;
    }
    table.by_variables(|name| wanted.get(name).copied())
}

/// The agents of jobs, by worker.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<ProcessKey, Agent>>);

impl Known {
    /// Takes note of what was seen now, and gives the agent that the job has from now on.
    pub(crate) fn of_job(&self, worker: ProcessKey, seen: Option<Agent>) -> Option<Agent> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agent = match (known.get(&worker).cloned(), seen) {
            (Some(before), Some(now)) => before.or_better(now),
            (Some(agent), None) | (None, Some(agent)) => agent,
            (None, None) => return None,
        };
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&worker) {
            let oldest = known.keys().min_by_key(|key| key.start_ticks).copied();
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        known.insert(worker, agent.clone());
        Some(agent)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use identity::AgentEvidence;

    use super::*;
    use crate::{
        ancestry,
        fake_proc::{FakeProc, FakeProcess},
    };

    /// Pid 1, worker 20, step 30, and below it 40 and 50.
    struct Job {
        fake: FakeProc,
        files: tempfile::TempDir,
    }

    impl Job {
        fn new() -> Self {
            let job = Self { fake: FakeProc::new(), files: tempfile::tempdir().unwrap() };
            for (pid, parent) in [(1, 0), (20, 1), (30, 20), (40, 30), (50, 40)] {
                job.fake.process(pid, parent, u64::from(pid)).exe(&job.file("bash"));
            }
            job
        }

        /// A process that runs something else than before.
        fn replace(&self, pid: u32, parent: u32) -> FakeProcess {
            std::fs::remove_dir_all(self.fake.root().join(pid.to_string())).unwrap();
            self.fake.process(pid, parent, u64::from(pid))
        }

        fn file(&self, name: &str) -> PathBuf {
            let path = self.files.path().canonicalize().unwrap().join(name);
            std::fs::write(&path, name).unwrap();
            path
        }

        fn seen(&self) -> Option<(String, AgentEvidence)> {
            let process = Process::open(self.fake.root(), 50).unwrap();
            let stat = process.stat().unwrap();
            let links = ancestry::chain(self.fake.root(), process, stat);
            let agent = seen(&links, &AgentTable::default())?;
            Some((agent.name().to_owned(), agent.evidence()))
        }
    }

    fn found(name: &str, evidence: AgentEvidence) -> Option<(String, AgentEvidence)> {
        Some((name.to_owned(), evidence))
    }

    #[test]
    fn an_agent_anywhere_above_the_connection_is_named() {
        let job = Job::new();
        assert_eq!(job.seen(), None);
        job.replace(40, 30).exe(&job.file("claude"));
        assert_eq!(job.seen(), found("claude-code", AgentEvidence::Executable));
    }

    #[test]
    fn an_interpreter_is_known_by_its_script() {
        let job = Job::new();
        let script = "/usr/lib/node_modules/@openai/codex/bin/codex.js";
        job.replace(30, 20).exe(&job.file("node")).cmdline(format!("node\0{script}\0exec\0").as_bytes());
        assert_eq!(job.seen(), found("codex", AgentEvidence::Executable));
    }

    #[test]
    fn a_variable_names_an_agent_and_a_program_counts_for_more() {
        let job = Job::new();
        job.replace(50, 40).exe(&job.file("bash")).variables(&[("PATH", "/bin"), ("CURSOR_AGENT", "1")]);
        assert_eq!(job.seen(), found("cursor", AgentEvidence::Asserted));
        job.replace(30, 20).exe(&job.file("aider"));
        assert_eq!(job.seen(), found("aider", AgentEvidence::Executable));
    }

    #[test]
    fn an_agent_sticks_to_its_job_and_to_no_other() {
        let (one, other) = (ProcessKey { pid: 1, start_ticks: 1 }, ProcessKey { pid: 1, start_ticks: 2 });
        let table = AgentTable::default();
        let claude = table.by_program("/usr/bin/claude", &[]);
        let cursor = table.by_variables(|name| (name == "CURSOR_AGENT").then_some("1"));
        let known = Known::default();
        assert_eq!(known.of_job(one, None), None);
        assert_eq!(known.of_job(one, cursor.clone()), cursor);
        assert_eq!(known.of_job(one, None), cursor);
        assert_eq!(known.of_job(other, None), None);
        assert_eq!(known.of_job(one, claude.clone()), claude, "it rests on more");
        assert_eq!(known.of_job(one, cursor), claude);
        for pid in 10..u32::try_from(REMEMBERED_MAX).unwrap() + 20 {
            known.of_job(ProcessKey { pid, start_ticks: u64::from(pid) }, claude.clone());
        }
        assert_eq!(known.0.lock().unwrap().len(), REMEMBERED_MAX);
    }
}
