//! A runner service's environment file. The runner reads it at its start and hands the variables to every job.
//!
//! GitHub's runner takes each line up to its first `=` for a name and the rest, as it is, for the value; a later line wins
//! over an earlier one; a line without `=` is nothing (`Runner.Listener`, `.env`).

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use super::{
    Bundles, Journal, Root, StoreKind, StoreState, StoreStatus, Trouble,
    block::{self, BEGIN, END, Sight},
    bundles,
};

/// A file of a few variables.
const BYTES_MAX: u64 = 1024 * 1024;

/// Which bundle a variable wants.
#[derive(Debug, Clone, Copy)]
enum Bundle {
    /// It replaces the client's own list.
    Full,
    /// It adds to the client's own list.
    RootOnly,
}

/// The variables, and who reads them. Source: the trust table in the drivers' own sources and trials.
const VARIABLES: [(&str, Bundle); 7] = [
    ("SSL_CERT_FILE", Bundle::Full), // OpenSSL, Go, Rust, Snowflake's connector 5
    ("REQUESTS_CA_BUNDLE", Bundle::Full), // Python requests, Snowflake's connector up to 4
    ("CURL_CA_BUNDLE", Bundle::Full), // curl, and requests when the one above is missing
    ("NODE_EXTRA_CA_CERTS", Bundle::RootOnly), // Node
    ("AWS_CA_BUNDLE", Bundle::Full), // stage transfers with botocore
    ("PIP_CERT", Bundle::Full),      // pip
    ("GIT_SSL_CAINFO", Bundle::Full), // git
];

/// Adds the variables that are missing. What takes effect does so when the runner service is started again.
pub(super) fn install(file: &Path, bundles: &Bundles, root: &Root, journal: &mut Journal) -> StoreStatus {
    let mut install = || -> Result<StoreState, Trouble> {
        let sight = Sight::of(file, BYTES_MAX, journal.entry(StoreKind::RunnerEnv, file))?;
        let wanted = Wanted::read(&sight, bundles, root);
        if wanted.lines.is_empty() && !sight.has_block {
            return wanted.verdict(StoreState::AlreadyTrusted, bundles);
        }
        if !bundles.full.exists() {
            return Err(Trouble::NoPublicRoots(bundles.full.clone()));
        }
        bundles.check_plain()?;
        bundles.check_reach(sight.owner()?)?;
        if wanted.lines.is_empty() {
            let entry = journal.entry(StoreKind::RunnerEnv, file).cloned();
            sight.take_out(entry.as_ref())?;
            journal.forget(StoreKind::RunnerEnv, file)?;
            return wanted.verdict(StoreState::AlreadyTrusted, bundles);
        }
        let block = wanted.block(sight.line_end());
        sight.put(StoreKind::RunnerEnv, &block, journal)?;
        wanted.verdict(StoreState::Installed, bundles)
    };
    let state = install().into();
    StoreStatus { store: StoreKind::RunnerEnv, path: file.to_owned(), state }
}

/// Whether the variables are there.
pub(super) fn status(file: &Path, bundles: &Bundles, root: &Root, journal: &Journal) -> StoreStatus {
    let look = || -> Result<StoreState, Trouble> {
        let entry = journal.entry(StoreKind::RunnerEnv, file);
        let sight = Sight::of(file, BYTES_MAX, entry)?;
        let wanted = Wanted::read(&sight, bundles, root);
        let block = wanted.block(sight.line_end());
        if sight.has_block && entry.is_some_and(|entry| entry.block == block) {
            bundles.check_reach(sight.owner()?)?;
            return wanted.verdict(StoreState::Installed, bundles);
        }
        if wanted.lines.is_empty() && !sight.has_block {
            return wanted.verdict(StoreState::AlreadyTrusted, bundles);
        }
        Ok(match entry {
            Some(_) if !sight.exists() => StoreState::Gone,
            _ if sight.has_block => StoreState::Outdated,
            Some(entry) if !entry.is_before(&sight.base) => StoreState::Replaced,
            _ => StoreState::NotInstalled,
        })
    };
    StoreStatus { store: StoreKind::RunnerEnv, path: file.to_owned(), state: look().into() }
}

/// Takes the variables out again.
pub(super) fn remove(file: &Path, journal: &mut Journal) -> StoreStatus {
    block::remove(StoreKind::RunnerEnv, file, BYTES_MAX, journal)
}

/// Whether a file may still hold our part after [`remove`], and with it the bundles' names.
pub(super) fn is_left(removed: &StoreStatus, journal: &Journal) -> bool {
    let is_torn = matches!(removed.state, StoreState::Attention(Trouble::Torn(_)));
    is_torn || journal.entry(StoreKind::RunnerEnv, &removed.path).is_some()
}

/// What a file lacks, and what an operator has set otherwise.
struct Wanted {
    lines: Vec<(&'static str, PathBuf)>,
    conflicts: Vec<&'static str>,
}

impl Wanted {
    fn read(sight: &Sight, bundles: &Bundles, root: &Root) -> Self {
        let mut wanted = Self { lines: Vec::new(), conflicts: Vec::new() };
        for (name, bundle) in VARIABLES {
            let ours = match bundle {
                Bundle::Full => &bundles.full,
                Bundle::RootOnly => &bundles.root,
            };
            match value(&sight.base, name) {
                None => wanted.lines.push((name, ours.clone())),
                Some(theirs) if trusts(Path::new(OsStr::from_bytes(theirs)), root) => {}
                Some(_) => wanted.conflicts.push(name),
            }
        }
        wanted
    }

    fn block(&self, line_end: &str) -> String {
        let lines = self.lines.iter().map(|(name, path)| format!("{name}={}{line_end}", path.display()));
        std::iter::once(format!("{BEGIN}{line_end}"))
            .chain(lines)
            .chain(std::iter::once(format!("{END}{line_end}")))
            .collect()
    }

    fn verdict(self, otherwise: StoreState, bundles: &Bundles) -> Result<StoreState, Trouble> {
        if self.conflicts.is_empty() {
            Ok(otherwise)
        } else {
            Err(Trouble::VariablesSet { names: self.conflicts, root: bundles.root.clone() })
        }
    }
}

/// Whether the bundle that an operator has set holds our root, as the system's does once it is installed there.
fn trusts(bundle: &Path, root: &Root) -> bool {
    bundle.is_absolute() && bundles::system(bundle).is_ok_and(|bytes| root.is_in(&bytes))
}

/// The value a runner would take for `name`.
fn value<'a>(file: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let lines = file.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next_back()
}
