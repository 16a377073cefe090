//! Tokens that a job has already: in a variable of one of its processes, or in a file.
//!
//! Where runners hand variables to a shell in a script, as GitLab's shell executor does, the shell has them in its memory
//! and not in the environment that the kernel shows of it; but everything it starts is given them at its start. So it
//! is the process that connects, and each between it and the step, that are looked at, the nearest first.

use std::{os::fd::AsFd, path::Path, sync::Arc};

use identity::{NobodyReason, Place, RawToken};
use model::Secret;

use super::{Issuer, Issuers, Origin, Sources};
use crate::{
    config::TokenPlace,
    mount::{self, MountError},
    process::{ProcError, Process},
};

/// Processes whose variables are looked at, the step among them.
const PROCESSES_MAX: usize = 16;
/// Texts of the shape of a token that are looked at in one environment.
const CANDIDATES_MAX: usize = 16;
/// What a token begins with: `{"` in base64url.
const TOKEN_HEAD: &[u8] = b"eyJ";

/// A token that names one of the issuers.
pub(super) struct Carried {
    pub(super) issuer: Arc<Issuer>,
    pub(super) token: RawToken,
    pub(super) origin: Origin,
    /// Whether it also names one of its audiences.
    pub(super) is_for_us: bool,
}

/// The first token that was made for this agent; without one, the first that comes from one of the issuers.
pub(super) fn token(issuers: &Issuers, sources: &Sources<'_>) -> Result<Option<Carried>, NobodyReason> {
    let mut other = None;
    let mut take = |found: Option<Carried>| match found {
        Some(found) if found.is_for_us => Some(found),
        found => {
            if other.is_none() {
                other = found;
            }
            None
        }
    };
    if issuers.iter().any(|issuer| names(issuer).is_some()) {
        for process in looked_at(sources.processes) {
            if let Some(found) = take(in_variables(issuers, process)?) {
                return Ok(Some(found));
            }
        }
    }
    if let Some(process) = sources.processes.first() {
        for issuer in issuers {
            if let Some(found) = take(in_file(issuer, process)?) {
                return Ok(Some(found));
            }
        }
    }
    Ok(other)
}

/// The nearest ones, and the step whatever its distance.
fn looked_at<'a>(processes: &'a [&'a Process]) -> impl Iterator<Item = &'a Process> {
    let near = processes.iter().take(PROCESSES_MAX - 1);
    let step = processes.iter().skip(PROCESSES_MAX - 1).last();
    near.chain(step).copied()
}

/// By what names a variable may hold a token of this issuer; no names for any.
fn names(issuer: &Issuer) -> Option<Vec<&str>> {
    match (&issuer.token, issuer.place()) {
        (Some(TokenPlace::Variable(name)), _) => Some(vec![name]),
        (None, Place::Variable(names)) => Some(names.to_vec()),
        _ => None,
    }
}

fn in_variables(issuers: &Issuers, process: &Process) -> Result<Option<Carried>, NobodyReason> {
    let block = match process.environ() {
        Ok(block) => block,
        // The step's own environment was read before, and had its say.
        Err(ProcError::TooLarge | ProcError::Unreadable) => return Ok(None),
        Err(error @ ProcError::Gone) => return Err(error.into()),
    };
    let mut candidates = candidates(&block);
    let mut other = None;
    for issuer in issuers {
        let Some(names) = names(issuer) else { continue };
        // In the order of the names, where there is one.
        candidates.sort_by_key(|(name, _)| names.iter().position(|named| named == name));
        for (name, text) in &candidates {
            if !names.is_empty() && !names.contains(&name.as_str()) {
                continue;
            }
            let Ok(token) = RawToken::new(text.expose().clone()) else { continue };
            let routing = issuer.route(&token);
            if !routing.is_from {
                continue;
            }
            let origin = Origin::Variable { name: name.clone(), pid: process.pid() };
            let found = Carried { issuer: Arc::clone(issuer), token, origin, is_for_us: routing.is_for };
            if found.is_for_us {
                return Ok(Some(found));
            }
            other.get_or_insert(found);
        }
    }
    Ok(other)
}

/// Variables whose value looks like a token.
fn candidates(block: &Secret<Vec<u8>>) -> Vec<(String, Secret<String>)> {
    let entries = block.expose().split(|byte| *byte == 0).filter_map(|entry| {
        let at = entry.iter().position(|byte| *byte == b'=')?;
        let (name, value) = entry.split_at(at);
        let value = value.get(1..)?;
        let is_token = value.starts_with(TOKEN_HEAD)
            && value.len() <= RawToken::BYTES_MAX
            && value.iter().filter(|byte| **byte == b'.').count() == 2;
        let (name, value) = (str::from_utf8(name).ok()?, str::from_utf8(value).ok().filter(|_| is_token)?);
        (!name.chars().any(char::is_control)).then(|| (name.to_owned(), Secret::new(value.to_owned())))
    });
    entries.take(CANDIDATES_MAX).collect()
}

fn in_file(issuer: &Arc<Issuer>, process: &Process) -> Result<Option<Carried>, NobodyReason> {
    let path = match (&issuer.token, issuer.place()) {
        (Some(TokenPlace::File(path)), _) => path.as_path(),
        (None, Place::File(path)) => Path::new(path),
        _ => return Ok(None),
    };
    let root = process.root()?;
    let bytes_max = u64::try_from(RawToken::BYTES_MAX).unwrap_or(u64::MAX);
    let bytes = match mount::read(root.as_fd(), path, bytes_max) {
        Ok(bytes) => bytes,
        Err(MountError::Missing) => return Ok(None),
        Err(MountError::Unfit) => return Err(NobodyReason::UnfitPlace),
    };
    let text = str::from_utf8(bytes.expose()).map_err(|_| NobodyReason::UnfitPlace)?;
    let token = RawToken::new(text.trim_end().to_owned())?;
    let routing = issuer.route(&token);
    let origin = Origin::File { path: path.to_owned(), pid: process.pid() };
    let (issuer, is_for_us) = (Arc::clone(issuer), routing.is_for);
    Ok(routing.is_from.then_some(Carried { issuer, token, origin, is_for_us }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_of_the_shape_of_a_token_are_looked_at() {
        let block = "A=eyJ.b.c\0PATH=/bin\0B=eyJ.b\0C=xeyJ.b.c\0=\0D\0E=eyJ.b.c.d\0F=eyJx.y.z\0";
        let found = candidates(&Secret::new(block.as_bytes().to_vec()));
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["A", "F"]);
        let long = format!("A=eyJ.{}.c\0", "b".repeat(RawToken::BYTES_MAX));
        assert!(candidates(&Secret::new(long.into_bytes())).is_empty());
        let many = (0..CANDIDATES_MAX + 5).map(|n| format!("V{n}=eyJ.b.c\0")).collect::<String>();
        assert_eq!(candidates(&Secret::new(many.into_bytes())).len(), CANDIDATES_MAX);
    }
}
