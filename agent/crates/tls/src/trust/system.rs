//! The system's own store. On Debian and what descends from it, a certificate is dropped into a folder and
//! `update-ca-certificates` builds the bundle, the hashed links and whatever hooks derive from them (Java's key store).

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Journal, Root, StoreKind, StoreState, StoreStatus, Trouble, bundles, root};
use crate::place::{Owner, Place};

/// Our file in the folder of local certificates.
const ANCHOR: &str = "snowfence.crt";
/// A certificate.
const ANCHOR_BYTES_MAX: u64 = 256 * 1024;
/// A list of a few hundred names.
const CONFIGURATION_BYTES_MAX: u64 = 1024 * 1024;
/// `update-ca-certificates` takes a second or two, with Java's hook ten.
const REFRESH_SECONDS_MAX: u64 = 120;
const REFRESH_POLL: Duration = Duration::from_millis(20);

/// The system's store: where its bundle is, and how a root gets into it.
#[derive(Debug, Clone)]
pub struct SystemStore {
    bundle: PathBuf,
    layout: Layout,
}

#[derive(Debug, Clone)]
enum Layout {
    Debian(DebianStore),
    Unsupported { layout: &'static str, by_hand: &'static str },
}

/// The parts of Debian's store.
#[derive(Debug, Clone)]
pub struct DebianStore {
    /// Where local certificates go: `/usr/local/share/ca-certificates`.
    pub anchors: PathBuf,
    /// The list of chosen certificates: `/etc/ca-certificates.conf`.
    pub configuration: PathBuf,
    /// What builds the store, with its arguments: `/usr/sbin/update-ca-certificates`.
    pub refresh: Vec<OsString>,
    /// What it builds: `/etc/ssl/certs/ca-certificates.crt`.
    pub bundle: PathBuf,
}

impl SystemStore {
    /// The store of the system whose root directory is `host`, usually `/`.
    #[must_use]
    pub fn detect(host: &Path) -> Self {
        let unsupported = |bundle: &str, layout, by_hand| Self {
            bundle: host.join(bundle),
            layout: Layout::Unsupported { layout, by_hand },
        };
        let has = |path: &str| host.join(path).exists();
        if has("etc/debian_version") {
            Self::debian(DebianStore {
                anchors: host.join("usr/local/share/ca-certificates"),
                configuration: host.join("etc/ca-certificates.conf"),
                refresh: vec![host.join("usr/sbin/update-ca-certificates").into()],
                bundle: host.join("etc/ssl/certs/ca-certificates.crt"),
            })
        } else if has("etc/pki/ca-trust/source/anchors") {
            unsupported(
                "etc/pki/tls/certs/ca-bundle.crt",
                "Red Hat",
                "copy the root to /etc/pki/ca-trust/source/anchors/snowfence.pem and run `update-ca-trust extract`",
            )
        } else if has("etc/pki/trust/anchors") {
            unsupported(
                "var/lib/ca-certificates/ca-bundle.pem",
                "SUSE",
                "copy the root to /etc/pki/trust/anchors/snowfence.pem and run `update-ca-certificates`",
            )
        } else if has("etc/alpine-release") {
            unsupported(
                "etc/ssl/certs/ca-certificates.crt",
                "Alpine",
                "copy the root to /usr/local/share/ca-certificates/snowfence.crt and run `update-ca-certificates`",
            )
        } else {
            unsupported(
                "etc/ssl/certs/ca-certificates.crt",
                "this system",
                "add the root to the system's certificate store by its own means",
            )
        }
    }

    /// A store of Debian's kind in places of its own.
    #[must_use]
    pub fn debian(store: DebianStore) -> Self {
        Self { bundle: store.bundle.clone(), layout: Layout::Debian(store) }
    }

    pub(super) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// Puts our certificate in. `scratch` is a folder for files that are gone when this returns.
    pub(super) fn install(&self, scratch: &Path, root: &Root, journal: &mut Journal) -> StoreStatus {
        self.status_of(match &self.layout {
            Layout::Debian(store) => store.install(scratch, root, journal),
            Layout::Unsupported { .. } => self.look(root),
        })
    }

    pub(super) fn status(&self, root: &Root, journal: &Journal) -> StoreStatus {
        self.status_of(match &self.layout {
            Layout::Debian(store) => store.status(root, journal),
            Layout::Unsupported { .. } => self.look(root),
        })
    }

    /// Takes our certificate out. `scratch` as for the install.
    pub(super) fn remove(&self, scratch: &Path, journal: &mut Journal) -> StoreStatus {
        self.status_of(match &self.layout {
            Layout::Debian(store) => store.remove(scratch, journal),
            Layout::Unsupported { .. } => Ok(StoreState::NotInstalled),
        })
    }

    /// What can be said of a store we do not know how to change.
    fn look(&self, root: &Root) -> Result<StoreState, Trouble> {
        match &self.layout {
            Layout::Unsupported { layout, by_hand } if !root.is_in(&bundles::system(&self.bundle)?) => {
                Err(Trouble::Unsupported { layout, by_hand })
            }
            _ => Ok(StoreState::AlreadyTrusted),
        }
    }

    fn status_of(&self, result: Result<StoreState, Trouble>) -> StoreStatus {
        let path = match &self.layout {
            Layout::Debian(store) => store.anchor(),
            Layout::Unsupported { .. } => self.bundle.clone(),
        };
        StoreStatus { store: StoreKind::System, path, state: result.into() }
    }
}

impl DebianStore {
    fn anchor(&self) -> PathBuf {
        self.anchors.join(ANCHOR)
    }

    fn install(&self, scratch: &Path, root: &Root, journal: &mut Journal) -> Result<StoreState, Trouble> {
        self.check_tool()?;
        let (path, trusted) = (self.anchor(), self.trusts(root)?);
        let place = Place::open(&path)?;
        let theirs = place.read(ANCHOR_BYTES_MAX)?.map(|content| content.bytes);
        let recorded = journal.entry(StoreKind::System, &path).map(|entry| entry.block.clone().into_bytes());
        let is_current = theirs.as_deref() == Some(root.pem().as_bytes());
        if theirs.is_none() && trusted {
            return Ok(StoreState::AlreadyTrusted);
        }
        if !is_current && theirs.is_some() && theirs != recorded {
            return Err(Trouble::Taken(path));
        }
        if is_current && trusted {
            journal.record(StoreKind::System, &path, None, "", root.pem())?;
            return Ok(StoreState::Installed);
        }
        self.check_nothing_is_lost(scratch)?;
        journal.record(StoreKind::System, &path, None, "", root.pem())?;
        if !is_current {
            place.replace(root.pem().as_bytes(), Owner::own(0o644))?;
        }
        self.run(&[])?;
        if self.trusts(root)? {
            Ok(StoreState::Installed)
        } else {
            Err(self.no_effect("still lacks our root"))
        }
    }

    fn status(&self, root: &Root, journal: &Journal) -> Result<StoreState, Trouble> {
        let (path, trusted) = (self.anchor(), self.trusts(root)?);
        let recorded = journal.entry(StoreKind::System, &path).is_some();
        let theirs = match Place::open(&path) {
            Ok(place) => place.read(ANCHOR_BYTES_MAX)?.map(|content| content.bytes),
            Err(_) => None,
        };
        let is_current = theirs.as_deref() == Some(root.pem().as_bytes());
        match (recorded, theirs.is_some(), trusted) {
            (true, true, true) if is_current => Ok(StoreState::Installed),
            (false, _, true) => Ok(StoreState::AlreadyTrusted),
            (true, _, _) => Ok(StoreState::Replaced),
            (false, true, false) if !is_current => Err(Trouble::Taken(path)),
            (false, ..) => Ok(StoreState::NotInstalled),
        }
    }

    fn remove(&self, scratch: &Path, journal: &mut Journal) -> Result<StoreState, Trouble> {
        let path = self.anchor();
        let Some(entry) = journal.entry(StoreKind::System, &path).cloned() else {
            return Ok(StoreState::NotInstalled);
        };
        self.check_tool()?;
        let place = Place::open(&path)?;
        if place.read(ANCHOR_BYTES_MAX)?.is_some_and(|content| content.bytes != entry.block.as_bytes()) {
            return Err(Trouble::Taken(path));
        }
        self.check_nothing_is_lost(scratch)?;
        place.remove()?;
        self.refresh_without(scratch)?;
        let root = Root::parse(&entry.block).ok();
        if root.is_some_and(|root| self.trusts(&root).unwrap_or(true)) {
            return Err(self.no_effect("still holds our root"));
        }
        journal.forget(StoreKind::System, &path)?;
        Ok(StoreState::Restored)
    }

    /// Builds the store with our certificate deselected. A certificate that merely vanished from its folder would leave its
    /// links behind, and the hooks (Java's key store) would not hear of its going; deselected, it is taken out of
    /// everything. The system's own list is not changed: the tool is given a copy.
    fn refresh_without(&self, scratch: &Path) -> Result<(), Trouble> {
        let list = Place::open(&self.configuration)?.read(CONFIGURATION_BYTES_MAX)?;
        let mut bytes = list.map(|content| content.bytes).unwrap_or_default();
        bytes.extend_from_slice(format!("\n!{ANCHOR}\n").as_bytes());
        let path = scratch.join("ca-certificates.conf");
        let copy = Place::open(&path)?;
        copy.replace(&bytes, Owner::own(0o644))?;
        let ran = self.run(&["--certsconf".into(), path.into()]);
        copy.remove()?;
        ran
    }

    /// The tool forgets what was written into its bundle by hand, a company's own authority perhaps. So it first builds the
    /// bundle elsewhere, and what it would drop is counted.
    fn check_nothing_is_lost(&self, scratch: &Path) -> Result<(), Trouble> {
        let elsewhere = scratch.join("rebuilt");
        fs::create_dir(&elsewhere).or_else(exists_already).map_err(Trouble::File)?;
        let places =
            ["--etccertsdir".into(), elsewhere.clone().into(), "--hooksdir".into(), "/nonexistent".into()];
        let rebuilt = self
            .run(&places)
            .and_then(|()| bundles::system(&elsewhere.join(self.bundle.file_name().unwrap_or_default())));
        fs::remove_dir_all(&elsewhere).map_err(Trouble::File)?;
        let (rebuilt, current) = (rebuilt?, bundles::system(&self.bundle)?);
        let kept: HashSet<_> = root::certificates(&rebuilt).collect();
        // A tool that builds nothing is found out by what it did not do.
        let lost = root::certificates(&current).filter(|one| !kept.is_empty() && !kept.contains(one)).count();
        if lost == 0 {
            return Ok(());
        }
        Err(Trouble::WouldLose { bundle: self.bundle.clone(), lost, anchors: self.anchors.clone() })
    }

    fn trusts(&self, root: &Root) -> Result<bool, Trouble> {
        Ok(root.is_in(&bundles::system(&self.bundle)?))
    }

    fn tool(&self) -> &Path {
        self.refresh.first().map_or(Path::new("update-ca-certificates"), Path::new)
    }

    fn check_tool(&self) -> Result<(), Trouble> {
        for needed in [self.tool(), &self.anchors] {
            if !needed.exists() {
                return Err(Trouble::NoTool(needed.to_owned()));
            }
        }
        Ok(())
    }

    fn run(&self, more: &[OsString]) -> Result<(), Trouble> {
        let how = match run(self.tool(), self.refresh.iter().skip(1).chain(more)) {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => status.to_string(),
            Ok(None) => format!("it did not end within {REFRESH_SECONDS_MAX} s"),
            Err(error) => error.to_string(),
        };
        Err(Trouble::Refresh { command: self.tool().display().to_string(), how })
    }

    fn no_effect(&self, still: &'static str) -> Trouble {
        Trouble::NoEffect { command: self.tool().display().to_string(), bundle: self.bundle.clone(), still }
    }
}

fn exists_already(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// Runs a tool with a deadline. Its output goes nowhere: it may be long, and whoever must look runs it by hand.
fn run<'a>(tool: &Path, arguments: impl Iterator<Item = &'a OsString>) -> io::Result<Option<ExitStatus>> {
    let mut child = Command::new(tool)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(REFRESH_SECONDS_MAX);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(REFRESH_POLL);
    }
}
