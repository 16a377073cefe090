//! Makes a bare Debian 12 machine able to build and test. Each step looks first and does only what is missing, says
//! what it does, and leaves something behind by which it knows itself the next time.

mod linker;
mod node;
mod packages;
mod peers;
mod python;
mod rust_clients;
mod rustup;

use std::fs::{self, File, TryLockError};

use anyhow::{Context, Result};

use crate::place::Place;

/// Makes the machine ready for everything. Returns whether anything had to be done.
pub(crate) fn run(place: &Place) -> Result<bool> {
    let _alone = alone(place)?;
    let mut done = toolchain_alone(place)?;
    for environment in ["server", "client", "py5-client", "alchemy", "snow", "dbt", "node", "scim"] {
        done |= python::environment(place, environment)?;
    }
    for (environment, name) in [("py5-client", "connector5"), ("alchemy", "sqlalchemy"), ("scim", "scim")] {
        python::second_interpreter(place, environment, name)?;
    }
    Ok(done | node::trees(place)? | rust_clients::build(place)?)
}

/// Installs what the agent is measured beside. Returns whether anything had to be done.
pub(crate) fn bench(place: &Place) -> Result<bool> {
    let _alone = alone(place)?;
    peers::install()
}

/// Makes the machine ready to compile. Returns whether anything had to be done.
pub(crate) fn toolchain(place: &Place) -> Result<bool> {
    let _alone = alone(place)?;
    toolchain_alone(place)
}

/// Makes the machine ready to compile, with packages that only one verb wants.
pub(crate) fn toolchain_with(place: &Place, packages: &[&'static str]) -> Result<()> {
    let _alone = alone(place)?;
    toolchain_alone(place)?;
    packages::install(packages)?;
    Ok(())
}

fn toolchain_alone(place: &Place) -> Result<bool> {
    Ok(packages::install(packages::NEEDED)? | rustup::components()? | linker::build(place)?)
}

/// Holds the cache for one set-up at a time, as long as the file is open.
fn alone(place: &Place) -> Result<File> {
    fs::create_dir_all(&place.cache).with_context(|| format!("cannot make {}", place.cache.display()))?;
    let path = place.cache.join("setup.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("setup: waiting for another one to end");
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("cannot lock {}", path.display()));
        }
    }
    Ok(file)
}
