//! What the host itself knows of a runner whose job has no token: for whom it was registered.
//!
//! A GitHub runner keeps its registration beside its programs, in `.runner`: the address of the repository, organization
//! or enterprise that it takes jobs of. What a step says about its repository must lie within that.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use identity::{Job, Provider};
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

use crate::process::{Process, ProcessKey};

/// The file is a few hundred bytes long.
const BYTES_MAX: u64 = 64 * 1024;

/// For whom a runner was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    name: String,
    url: String,
    /// What of the address is a name: `acme`, `acme/etl`, `enterprises/acme`.
    scope: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    agent_name: String,
    git_hub_url: String,
}

impl Registration {
    /// The registration of the runner that a worker's file belongs to. `None` where there is none that can be believed:
    /// it must be a plain file of root's, or of whoever owns the worker's file.
    pub(crate) fn of(worker: &Path) -> Option<Self> {
        let file = Self::path(worker)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(file, flags, Mode::empty()).ok()?);
        let (metadata, owner) = (file.metadata().ok()?, worker.metadata().ok()?.uid());
        let is_owned = metadata.uid() == 0 || metadata.uid() == owner;
        if !metadata.is_file() || !is_owned || metadata.mode() & 0o002 != 0 {
            return None;
        }
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        Self::parse(&text)
    }

    /// The same, of a worker that runs.
    pub(crate) fn of_process(proc_root: &Path, worker: ProcessKey) -> Option<Self> {
        let process = Process::open(proc_root, worker.pid).ok()?;
        let is_it = process.stat().is_ok_and(|stat| stat.start_ticks == worker.start_ticks);
        is_it.then(|| process.exe_path()).flatten().and_then(|exe| Self::of(&exe))
    }

    /// `.runner` in the folder that has the worker in its `bin`.
    fn path(worker: &Path) -> Option<PathBuf> {
        Some(worker.parent()?.parent()?.join(".runner"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The runner writes a byte order mark.
        let written: Written = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
        let is_plain = |text: &str| text.len() <= 512 && !text.chars().any(char::is_control);
        if !is_plain(&written.agent_name) || !is_plain(&written.git_hub_url) {
            return None;
        }
        let (_, after_scheme) = written.git_hub_url.split_once("://")?;
        let (_, scope) = after_scheme.split_once('/')?;
        let scope = scope.trim_matches('/').to_owned();
        (!scope.is_empty()).then_some(Self { name: written.agent_name, url: written.git_hub_url, scope })
    }

    /// Whether the runner takes jobs of this one's repository.
    pub(crate) fn covers(&self, provider: Provider, job: &Job) -> bool {
        if !provider.as_str().starts_with("github") {
            return true;
        }
        let repository = job.repository.to_ascii_lowercase();
        let scope = self.scope.to_ascii_lowercase();
        match scope.split_once('/') {
            // An enterprise has organizations that are not named here.
            Some(("enterprises", _)) => true,
            Some(_) => repository == scope,
            None => repository.split_once('/').is_some_and(|(owner, _)| owner == scope),
        }
    }

    /// For people: `runner lab of https://github.com/acme`.
    pub(crate) fn words(&self) -> String {
        format!("runner {} of {}", self.name, self.url)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn of(url: &str) -> Registration {
        let text = format!("\u{feff}{{\"agentId\": 7, \"agentName\": \"lab\", \"gitHubUrl\": \"{url}\"}}");
        Registration::parse(&text).unwrap()
    }

    fn covers(url: &str, repository: &str) -> bool {
        let job = Job { repository: repository.to_owned(), ..Job::default() };
        of(url).covers(Provider::GitHub, &job)
    }

    #[test]
    fn a_runner_takes_jobs_of_what_it_is_registered_for() {
        assert!(covers("https://github.com/acme", "Acme/etl"));
        assert!(!covers("https://github.com/acme", "acme2/etl"));
        assert!(covers("https://github.com/acme/etl", "acme/ETL"));
        assert!(!covers("https://github.com/acme/etl/", "acme/web"));
        assert!(covers("https://github.com/enterprises/acme", "other/etl"));
        assert_eq!(of("https://github.com/acme").words(), "runner lab of https://github.com/acme");
    }

    #[test]
    fn what_is_no_registration_says_nothing() {
        for bad in [
            "",
            "{}",
            r#"{"agentName": "x", "gitHubUrl": "https://github.com"}"#,
            r#"{"agentName": "x", "gitHubUrl": "acme"}"#,
            r#"{"agentName": "x\n", "gitHubUrl": "https://github.com/acme"}"#,
        ] {
            assert_eq!(Registration::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_that_others_may_change_or_a_link_is_not_believed() {
        let place = tempfile::tempdir().unwrap();
        let worker = place.path().join("bin/Runner.Worker");
        fs::create_dir(place.path().join("bin")).unwrap();
        fs::write(&worker, "").unwrap();
        assert_eq!(Registration::of(&worker), None);
        let file = place.path().join(".runner");
        fs::write(&file, r#"{"agentName": "x", "gitHubUrl": "https://github.com/acme"}"#).unwrap();
        assert!(Registration::of(&worker).is_some());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(Registration::of(&worker), None);
        fs::rename(&file, place.path().join("other")).unwrap();
        std::os::unix::fs::symlink(place.path().join("other"), &file).unwrap();
        assert_eq!(Registration::of(&worker), None);
    }
}
