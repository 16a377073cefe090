//! What must hold before a change is good: formatting, lints, the rules of the house, tests.

use anyhow::Result;

use crate::{bpf, build, place::Place, run, setup, tidy};

/// The rules of the house, the formatting, and every test.
pub(crate) fn test(place: &Place) -> Result<()> {
    build::needs_root("the test suite")?;
    setup::run(place)?;
    build::all(place)?;
    tidy::run(&place.root)?;
    run::run(run::cargo().current_dir(&place.root).args(["fmt", "--all", "--check"]))?;
    let mut tests = run::cargo();
    build::environment(&mut tests, place);
    run::run(tests.current_dir(&place.root).args(["test", "--workspace", "--exclude", "agent-ebpf"]))
}

/// The lints on everything that is compiled for the host, then [`test`].
pub(crate) fn ci(place: &Place) -> Result<()> {
    build::needs_root("ci")?;
    setup::run(place)?;
    bpf::build(place)?;
    let mut clippy = run::cargo();
    clippy.args([
        "clippy",
        "--workspace",
        "--exclude",
        "agent-ebpf",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]);
    run::run(clippy.current_dir(&place.root))?;
    test(place)
}
