//! What the agent is measured beside. The packages bring services, which are not to be started: the benchmark starts the
//! programs itself.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context, Result};

use super::packages;

const PEERS: &[&str] = &["haproxy", "mitmproxy", "nginx-light"];

/// Debian asks this program before it starts a package's service; 101 says no. invoke-rc.d(8)
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str = "#!/bin/sh\nexit 101\n";

/// Installs what is missing, without starting any service. Returns whether anything was.
pub(crate) fn install() -> Result<bool> {
    // Whoever has a policy already decides for themselves.
    if Path::new(POLICY).exists() {
        return packages::install(PEERS);
    }
    fs::write(POLICY, POLICY_TEXT)
        .and_then(|()| fs::set_permissions(POLICY, Permissions::from_mode(0o755)))
        .with_context(|| format!("cannot write {POLICY}, which keeps the services from being started"))?;
    let done = packages::install(PEERS);
    fs::remove_file(POLICY).with_context(|| format!("cannot remove {POLICY} again; remove it by hand"))?;
    done
}
