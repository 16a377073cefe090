//! Workers in a made-up `/proc`, and the steps that speak for their jobs.

use super::*;
use crate::fake_proc::FakeProc;

/// Pid 1, listener 10, worker 20, steps 30 and 31, and 40 below the first; files in a folder of their own.
struct Runner {
    fake: FakeProc,
    files: tempfile::TempDir,
}

const UNIT: &str = "0::/system.slice/actions.runner.acme.service\n";

impl Runner {
    fn new() -> Self {
        let runner = Self { fake: FakeProc::new(), files: tempfile::tempdir().unwrap() };
        for name in ["systemd", "Runner.Listener", "Runner.Worker", "bash", "python3"] {
            std::fs::write(runner.file(name), name).unwrap();
        }
        for (pid, parent, exe) in [
            (1, 0, "systemd"),
            (10, 1, "Runner.Listener"),
            (20, 10, "Runner.Worker"),
            (30, 20, "bash"),
            (31, 20, "bash"),
            (40, 30, "python3"),
        ] {
            runner.fake.process(pid, parent, u64::from(pid)).exe(&runner.file(exe)).cgroup(UNIT);
        }
        runner
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().canonicalize().unwrap().join(name)
    }

    fn workers(&self, exes: &[&str], runners: &[&str], unit: &str) -> Workers {
        let files = |names: &[&str]| names.iter().map(|name| self.file(name)).collect();
        Workers::new(files(exes), files(runners), vec!["other.service".to_owned(), unit.to_owned()])
    }

    fn check(&self, workers: &Workers, worker: u32, step: u32) -> Result<(), NobodyReason> {
        workers.check(self.fake.root(), id(worker), id(step))
    }
}

fn id(pid: u32) -> ProcessId {
    ProcessId { pid, start_ticks: pid.into() }
}

#[test]
fn a_worker_runs_a_workers_file_in_a_runners_unit() {
    let runner = Runner::new();
    let good = runner.workers(&["absent", "Runner.Worker"], &[], "actions.runner.*.service");
    assert_eq!(runner.check(&good, 20, 30), Ok(()));
    assert_eq!(runner.check(&runner.workers(&["Runner.Worker"], &[], "*"), 20, 30), Ok(()));
    for exes in [&[][..], &["absent"], &["bash"]] {
        let workers = runner.workers(exes, &[], "actions.runner.*.service");
        assert_eq!(runner.check(&workers, 20, 30), Err(NobodyReason::NoJob), "{exes:?}");
    }
    let elsewhere = runner.workers(&["Runner.Worker"], &[], "actions.runner.evil.service");
    let refused = runner.check(&elsewhere, 20, 30);
    assert_eq!(refused, Err(NobodyReason::ForeignWorker("actions.runner.acme.service".to_owned())));
}

#[test]
fn a_worker_in_no_unit_is_one_only_where_every_unit_is() {
    let runner = Runner::new();
    runner.fake.process(20, 10, 20).cgroup("0::/some.slice\n");
    let refused = runner.check(&runner.workers(&["Runner.Worker"], &[], "*.service"), 20, 30);
    assert_eq!(refused, Err(NobodyReason::ForeignWorker("/some.slice".to_owned())));
    assert_eq!(runner.check(&runner.workers(&["Runner.Worker"], &[], "*"), 20, 30), Ok(()));
}

#[test]
fn a_worker_is_known_by_path_and_file_together() {
    let runner = Runner::new();
    let configured = runner.file("bin");
    std::os::unix::fs::symlink(runner.file("Runner.Worker"), &configured).unwrap();
    assert_eq!(runner.check(&runner.workers(&["bin"], &[], "*"), 20, 30), Ok(()), "through a link");

    // The file is the same, and the path another one.
    std::fs::hard_link(runner.file("Runner.Worker"), runner.file("other")).unwrap();
    let refused = runner.check(&runner.workers(&["other"], &[], "*"), 20, 30);
    assert_eq!(refused, Err(NobodyReason::NoJob));

    // The path is the same, and the file another one. A link of `/proc` leads to the old one still; a made-up one does
    // not, so it is given another.
    runner.fake.process(21, 10, 21).exe(&runner.file("bash")).cgroup(UNIT);
    std::fs::remove_file(runner.file("bash")).unwrap();
    std::fs::write(runner.file("bash"), "new").unwrap();
    assert_eq!(runner.check(&runner.workers(&["Runner.Worker"], &[], "*"), 21, 30), Err(NobodyReason::NoJob));
}

#[test]
fn what_a_runner_started_is_a_job_for_as_long_as_its_parent_is_that_runner() {
    let runner = Runner::new();
    let good = runner.workers(&[], &["Runner.Listener"], "actions.runner.*.service");
    assert_eq!(runner.check(&good, 20, 20), Ok(()));
    for (exes, runners) in [(&["Runner.Worker"][..], &[][..]), (&[], &["Runner.Worker"])] {
        let workers = runner.workers(exes, runners, "*");
        assert_eq!(runner.check(&workers, 20, 20), Err(NobodyReason::NoJob), "{exes:?} {runners:?}");
    }
}

#[test]
fn a_worker_that_ended_or_is_another_process_began_no_job_but_one_that_is_known_stays_known() {
    let runner = Runner::new();
    let workers = runner.workers(&["Runner.Worker"], &[], "*");
    let other = ProcessId { pid: 20, start_ticks: 19 };
    let refused = workers.check(runner.fake.root(), other, id(30));
    assert_eq!(refused, Err(NobodyReason::JobEnded));
    assert_eq!(runner.check(&workers, 99, 30), Err(NobodyReason::JobEnded));
    assert_eq!(runner.check(&workers, 20, 30), Ok(()));
    std::fs::remove_dir_all(runner.fake.root().join("20")).unwrap();
    assert_eq!(runner.check(&workers, 20, 30), Ok(()));
}

#[test]
fn the_step_that_speaks_is_the_own_one_or_another_of_the_workers_and_never_what_a_job_put_there() {
    let runner = Runner::new();
    runner.fake.children(20, &[30, 31]);
    let worker = id(20);
    // Both have the worker for a parent; the second was made so by a process of the job.
    let lookup = |honest: u32| {
        move |pid: u32| {
            let step = if pid == honest { id(pid) } else { id(honest) };
            Some((id(pid), Standing::Member { worker, step }))
        }
    };
    let speaker = |step: u32, lookup: Option<&Lookup>| {
        super::step(runner.fake.root(), worker, id(step), lookup).map(|link| link.process.pid())
    };
    assert_eq!(speaker(30, None), Ok(30));
    assert_eq!(speaker(29, None), Err(NobodyReason::StepGone));
    assert_eq!(speaker(29, Some(&lookup(31))), Ok(31));
    assert_eq!(speaker(29, Some(&lookup(28))), Err(NobodyReason::StepGone));
    assert_eq!(speaker(29, Some(&|_| None)), Err(NobodyReason::StepGone));
    std::fs::remove_dir_all(runner.fake.root().join("20")).unwrap();
    assert_eq!(speaker(29, Some(&lookup(31))), Err(NobodyReason::JobEnded));
}

#[test]
fn a_pattern_fits_the_whole_name() {
    for (pattern, unit) in [
        ("a.service", "a.service"),
        ("*", ""),
        ("*", "x"),
        ("actions.runner.*.service", "actions.runner.acme-etl.one.service"),
        ("a*b*c", "a-b-b-c"),
        ("*.service", ".service"),
    ] {
        assert!(matches(pattern, unit), "{pattern} {unit}");
    }
    for (pattern, unit) in [
        ("a.service", "a.servic"),
        ("", "x"),
        ("actions.runner.*.service", "actions.runner.service"),
        ("actions.runner.*.service", "evil.actions.runner.a.service"),
        ("actions.runner.*.service", "actions.runner.a.service.scope"),
        ("a*b*c", "a-c-b"),
        ("*.service", "x.scope"),
    ] {
        assert!(!matches(pattern, unit), "{pattern} {unit}");
    }
}
