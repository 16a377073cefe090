//! What must hold before a change is good: the rules of the house, formatting, lints, tests.

use anyhow::Result;

use crate::{bpf, build, place::Place, run, setup, tidy};

/// The rules of the house, the formatting, and the lints on everything that is compiled for this machine.
pub(crate) fn lint(place: &Place) -> Result<()> {
    setup::toolchain(place)?;
    tidy::run(&place.root)?;
    run::run(run::cargo().current_dir(&place.root).args(["fmt", "--all", "--check"]))?;
    let clients = place.root.join("tests/drivers-rs");
    run::run(run::cargo().current_dir(clients).args(["fmt", "--check"]))?;
    // `interception` embeds them, so that it does not compile without.
    bpf::build(place)?;
    let mut clippy = run::cargo();
    clippy.current_dir(&place.root).arg("clippy").args(build::HOST);
    // The last one is a test that is not built unless it is named.
    run::run(clippy.args(["--all-targets", "--test", "lsm", "--", "--deny", "warnings"]))?;
    // Links in the documentation that lead nowhere.
    let mut doc = run::cargo();
    doc.current_dir(&place.root).args(["doc", "--no-deps"]).args(build::HOST);
    run::run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Every test. What a test starts finds the programs that were built.
pub(crate) fn test(place: &Place) -> Result<()> {
    build::needs_root("the test suite")?;
    setup::run(place)?;
    build::all(place)?;
    tidy::run(&place.root)?;
    run::run(run::cargo().current_dir(&place.root).args(["fmt", "--all", "--check"]))?;
    let mut tests = run::cargo();
    build::environment(&mut tests, place);
    run::run(tests.current_dir(&place.root).arg("test").args(build::HOST).arg("--no-fail-fast"))
}
