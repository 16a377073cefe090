//! Puts the kernel programs, built by `cargo xtask build-bpf`, where `include_bytes_aligned!` finds them.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

const OBJECT: &str = "snowfence.bpf.o";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=SNOWFENCE_BPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let object = match env::var_os("SNOWFENCE_BPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        None => target_folder(&out)?.join("bpf").join(OBJECT),
    };
    println!("cargo::rerun-if-changed={}", object.display());
    if let Err(error) = fs::copy(&object, out.join(OBJECT)) {
        println!("cargo::error={}: {error}: run `cargo xtask build-bpf`", object.display());
    }
    Ok(())
}

/// The folder that cargo builds into: the nearest above `OUT_DIR` that cargo has tagged as a cache.
fn target_folder(out: &Path) -> Result<&Path, &'static str> {
    out.ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
        .ok_or("no target folder above OUT_DIR: set SNOWFENCE_BPF_OBJECT")
}
