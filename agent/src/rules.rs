//! The policy folder: read at the start, and again when it changes or when SIGHUP asks for it.
//!
//! Sessions go on; what they ask next is judged by the new rules. A policy that cannot be loaded changes nothing: the last
//! good one stays in force, and the log, `status` and its warnings say so until the files are mended.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use policy::{InForce, Policies, PolicyError, PolicyFile};
use sha2::{Digest, Sha256};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use crate::{config::Config, mask_keys};

/// How often the folder is looked at. A change counts when the next look finds nothing further changed, so that files
/// which are being written one after the other are not taken half.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// More than this is no policy file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The end of the names of policy files.
const EXTENSION: &str = "cedar";

/// The files of a policy, as read.
pub(crate) struct Files {
    pub(crate) policies: Vec<PolicyFile>,
    pub(crate) classification: PolicyFile,
}

impl Files {
    /// Reads the folder and the classification. Nothing is said about what is in them.
    pub(crate) fn read(folder: &Path, classification: &Path) -> Result<Self> {
        let paths = paths(folder)
            .with_context(|| format!("the policy folder {} cannot be read", folder.display()))?;
        let policies = paths.iter().map(|path| read(path)).collect::<Result<_>>()?;
        Ok(Self { policies, classification: read(classification)? })
    }

    /// Compiles them.
    pub(crate) fn load(&self) -> Result<Policies, PolicyError> {
        Policies::load(&self.policies, &self.classification)
    }

    /// SHA-256 over the names and texts of all of them, in hex: what the record and `status` call a policy by.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for file in self.policies.iter().chain([&self.classification]) {
            let name = Path::new(&file.name).file_name().unwrap_or_default();
            for part in [name.as_encoded_bytes(), file.text.as_bytes()] {
                hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hasher.update(part);
            }
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The policy files of a folder, in the order of their names.
pub(crate) fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<_> = entries.collect::<io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    paths.sort();
    Ok(paths)
}

pub(crate) fn read(path: &Path) -> Result<PolicyFile> {
    let at = || format!("{} cannot be read", path.display());
    let file = fs::File::open(path).with_context(at)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(at)?;
    ensure!(text.len() as u64 <= FILE_BYTES_MAX, "{}: it is longer than any policy (FILE_BYTES_MAX)", at());
    Ok(PolicyFile { name: path.display().to_string(), text })
}

/// What can be seen of the files without reading them: names, and what changes whenever one is written or replaced.
/// `None` stands for what is not there.
type Stamp = Vec<(PathBuf, Option<[i64; 5]>)>;

fn stamp(folder: &Path, classification: &Path) -> Stamp {
    // A folder that cannot be read has no files; reading it will say why.
    let mut all = paths(folder).unwrap_or_default();
    all.extend([folder.to_owned(), classification.to_owned()]);
    let look = |path: PathBuf| {
        let seen = fs::metadata(&path).ok().map(|seen| {
            let inode = i64::from_ne_bytes(seen.ino().to_ne_bytes());
            let size = i64::try_from(seen.size()).unwrap_or(i64::MAX);
            [inode, size, seen.mtime(), seen.mtime_nsec(), seen.ctime_nsec()]
        });
        (path, seen)
    };
    all.into_iter().map(look).collect()
}

/// The policy in force, and what is known of the files that it comes from.
pub(crate) struct Rules {
    folder: PathBuf,
    classification: PathBuf,
    in_force: Arc<InForce>,
    known: Mutex<Known>,
}

/// A policy that can be put in force.
struct Loaded {
    policies: Policies,
    known: Known,
}

/// What is known of the policy in force.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// How many rules it has.
    pub(crate) rules: usize,
    /// See [`Files::digest`].
    pub(crate) digest: String,
    /// Why the files as they are now are not in force.
    pub(crate) fault: Option<String>,
}

impl Rules {
    /// Reads and compiles the policy.
    pub(crate) fn start(config: &Config) -> Result<Self> {
        let (folder, classification) = (config.policy.clone(), config.classification.clone());
        let Loaded { policies, known } = load(&folder, &classification)?;
        let in_force = Arc::new(InForce::new(policies));
        Ok(Self { folder, classification, in_force, known: Mutex::new(known) })
    }

    /// What judges ask.
    pub(crate) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force)
    }

    /// What is known of it.
    pub(crate) fn known(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the files: another policy comes out if there is one. That they cannot be loaded is said here.
    fn reload(&self) -> Option<Loaded> {
        match load(&self.folder, &self.classification) {
            Ok(loaded) if loaded.known.digest != self.known().digest => Some(loaded),
            Ok(_) => {
                if self.lock().fault.take().is_some() {
                    info!("the policy files are as they were when they could last be loaded");
                }
                None
            }
            Err(error) => {
                let fault = format!("{error:#}");
                error!(%fault, "the policy cannot be loaded; the last good one stays in force");
                self.lock().fault = Some(fault);
                None
            }
        }
    }

    fn put_in_force(&self, loaded: Loaded) {
        let Loaded { policies, known } = loaded;
        info!(rules = known.rules, digest = known.digest, "another policy is in force");
        self.in_force.replace(policies);
        *self.lock() = known;
    }

    /// What is there when the files are looked at, if it is due: when they have changed, and not since the last look.
    fn look(&self, last: &Looks, asked: bool) -> (Looks, Option<Loaded>) {
        let now = stamp(&self.folder, &self.classification);
        if asked || (now != last.loaded && now == last.seen) {
            (Looks { loaded: now.clone(), seen: now }, self.reload())
        } else {
            (Looks { loaded: last.loaded.clone(), seen: now }, None)
        }
    }

    /// Looks at the files until the task is aborted. Another policy is in the record before it is in force.
    pub(crate) fn keep(self: Arc<Self>, journal: audit::Journal) -> Result<JoinHandle<()>> {
        let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be caught")?;
        let began = stamp(&self.folder, &self.classification);
        Ok(tokio::spawn(async move {
            let mut looks = Looks { loaded: began.clone(), seen: began };
            let mut ticks = interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let asked = tokio::select! {
                    _ = ticks.tick() => false,
                    _ = hangup.recv() => true,
                };
                let (rules, last) = (Arc::clone(&self), looks.clone());
                // Reading and compiling block, and a large policy takes a while.
                let loaded = match tokio::task::spawn_blocking(move || rules.look(&last, asked)).await {
                    Ok((now, loaded)) => {
                        looks = now;
                        loaded
                    }
                    Err(error) => {
                        warn!(%error, "the policy files could not be looked at");
                        None
                    }
                };
                if let Some(loaded) = loaded {
                    let Known { rules, digest, .. } = &loaded.known;
                    let change = audit::PolicyChange { policy: digest.clone(), rules: *rules as u64 };
                    if let Err(error) = journal.append(change).await {
                        error!(%error, "another policy cannot be recorded");
                    }
                    self.put_in_force(loaded);
                }
            }
        }))
    }
}

/// What the files looked like: when they were last loaded, and when they were last looked at.
#[derive(Clone)]
struct Looks {
    loaded: Stamp,
    seen: Stamp,
}

fn load(folder: &Path, classification: &Path) -> Result<Loaded> {
    let files = Files::read(folder, classification)?;
    let keys = mask_keys::read(&files.classification)?;
    let policies = Policies::load_with(&files.policies, &files.classification, &keys)?;
    let known = Known { rules: policies.rule_ids().count(), digest: files.digest(), fault: None };
    Ok(Loaded { policies, known })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERMITS: &str = "@id(\"a\") permit (principal, action, resource);\n";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            fs::create_dir(folder.0.path().join("policy")).unwrap();
            folder.write("classification.toml", "");
            folder.write("policy/a.cedar", PERMITS);
            folder
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        fn rules(&self) -> Rules {
            let (folder, classification) =
                (self.0.path().join("policy"), self.0.path().join("classification.toml"));
            let Loaded { policies, known } = load(&folder, &classification).unwrap();
            let in_force = Arc::new(InForce::new(policies));
            Rules { folder, classification, in_force, known: Mutex::new(known) }
        }
    }

    /// Whether another policy came into force.
    fn reload(rules: &Rules) -> bool {
        rules.reload().map(|loaded| rules.put_in_force(loaded)).is_some()
    }

    fn ids(rules: &Rules) -> Vec<String> {
        rules.in_force().get().rule_ids().map(str::to_owned).collect()
    }

    #[test]
    fn a_policy_that_does_not_load_changes_nothing() {
        let folder = Folder::new();
        let rules = folder.rules();
        let first = rules.known().digest;

        folder.write(
            "policy/b.cedar",
            "@id(\"b\") permit (principal, action == Action::\"SELEKT\", resource);",
        );
        assert!(!reload(&rules));
        assert_eq!(ids(&rules), ["a"]);
        let fault = rules.known().fault.unwrap();
        assert!(fault.contains("b.cedar:1:") && fault.contains("did you mean"), "{fault}");
        assert_eq!(rules.known().digest, first);

        folder.write(
            "policy/b.cedar",
            "@id(\"b\") permit (principal, action == Action::\"SELECT\", resource);",
        );
        assert!(reload(&rules));
        assert_eq!(
            (ids(&rules), rules.known().rules, rules.known().fault),
            (vec!["a".into(), "b".into()], 2, None)
        );
        assert_ne!(rules.known().digest, first);

        fs::remove_file(folder.0.path().join("classification.toml")).unwrap();
        assert!(!reload(&rules));
        assert!(rules.known().fault.unwrap().contains("classification.toml cannot be read"));
        assert_eq!(ids(&rules), ["a", "b"]);
        folder.write("classification.toml", "");
        assert!(!reload(&rules), "what is as it was is no change");
        assert_eq!(rules.known().fault, None);
    }

    #[test]
    fn whatever_is_wrong_with_the_files_the_last_good_policy_stays_in_force_and_says_why() {
        type Damage = fn(&Path);
        let write = |name: &'static str, text: &'static [u8]| {
            move |folder: &Path| fs::write(folder.join(name), text).unwrap()
        };
        fn no_folder(folder: &Path) {
            fs::rename(folder.join("policy"), folder.join("moved")).unwrap();
        }
        fn no_file(folder: &Path) {
            fs::create_dir(folder.join("policy/z.cedar")).unwrap();
        }
        fn no_classification(folder: &Path) {
            fs::remove_file(folder.join("classification.toml")).unwrap();
        }
        fn a_loop(folder: &Path) {
            std::os::unix::fs::symlink("z.cedar", folder.join("policy/z.cedar")).unwrap();
        }
        let written: [(&str, &str, &'static [u8]); 7] = [
            ("half a rule", "a.cedar:1:", b"@id(\"a\") permit (princ"),
            ("no rule's end", "a.cedar:1:", b"@id(\"a\") permit (principal, action, resource)"),
            ("no such action", "did you mean", b"@id(\"a\") permit (principal, action == Action::\"SELEKT\", resource);"),
            ("two of one name", "has the name of", b"@id(\"a\") permit (principal, action, resource);@id(\"a\") forbid (principal, action, resource);"),
            ("no text", "a.cedar cannot be read", b"\xff\xfe\0"),
            ("half a classification", "classification.toml:1:", b"[[colu"),
            ("an unknown mask", "classification.toml:2:", b"[tags.x]\nmask = \"nul\"\n"),
        ];
        let others: [(&str, &str, Damage); 4] = [
            ("no folder", "policy folder", no_folder),
            ("a folder for a file", "z.cedar cannot be read", no_file),
            ("no classification", "classification.toml cannot be read", no_classification),
            ("a link to itself", "z.cedar cannot be read", a_loop),
        ];
        let check = |what: &str, said: &str, damage: &dyn Fn(&Path)| {
            let folder = Folder::new();
            let rules = folder.rules();
            let before = rules.known();
            damage(folder.0.path());
            assert!(!reload(&rules), "{what}");
            let known = rules.known();
            assert!(known.fault.as_ref().is_some_and(|fault| fault.contains(said)), "{what}: {known:?}");
            assert_eq!(
                (known.digest, known.rules, ids(&rules)),
                (before.digest, 1, vec!["a".to_owned()]),
                "{what}"
            );
        };
        for (what, said, text) in written {
            let name = if said.contains("classification") { "classification.toml" } else { "policy/a.cedar" };
            check(what, said, &write(name, text));
        }
        for (what, said, damage) in others {
            check(what, said, &damage);
        }
    }

    #[test]
    fn every_way_to_change_a_file_is_seen() {
        let folder = Folder::new();
        let rules = folder.rules();
        let look = || stamp(&rules.folder, &rules.classification);
        let mut last = look();
        let mut changed = |what: &str| {
            let now = look();
            assert_ne!(now, last, "{what}");
            last = now;
        };
        folder.write("policy/b.cedar", "");
        changed("a new file");
        folder.write("policy/b.cedar", "// x");
        changed("a longer text");
        folder.write("policy/c.tmp", "// y");
        fs::rename(folder.0.path().join("policy/c.tmp"), folder.0.path().join("policy/b.cedar")).unwrap();
        changed("another file in its place");
        fs::remove_file(folder.0.path().join("policy/b.cedar")).unwrap();
        changed("a file removed");
        folder.write("classification.toml", "# z");
        changed("the classification");
        fs::remove_dir_all(folder.0.path().join("policy")).unwrap();
        changed("no folder");
        assert_eq!(look(), last);
    }

    #[test]
    fn a_change_counts_when_it_is_over() {
        let folder = Folder::new();
        let rules = folder.rules();
        let began = stamp(&rules.folder, &rules.classification);
        let looks = Looks { loaded: began.clone(), seen: began };
        let (looks, loaded) = rules.look(&looks, false);
        assert!(loaded.is_none(), "nothing has changed");
        folder.write("policy/b.cedar", "@id(\"b\") permit (principal, action, resource);");
        let (looks, loaded) = rules.look(&looks, false);
        assert!(loaded.is_none(), "it may not be over");
        folder.write("policy/b.cedar", "@id(\"bb\") permit (principal, action, resource);");
        let (looks, loaded) = rules.look(&looks, false);
        assert!(loaded.is_none(), "it was not");
        let (looks, loaded) = rules.look(&looks, false);
        rules.put_in_force(loaded.unwrap());
        assert_eq!(ids(&rules), ["a", "bb"]);
        assert!(rules.look(&looks, false).1.is_none());
        folder.write("policy/b.cedar", "");
        let (_, loaded) = rules.look(&looks, true);
        assert!(loaded.is_some(), "who asks does not wait");
    }

    /// Waits until it holds; a change is noticed within a few seconds on an idle machine.
    async fn until(holds: impl Fn() -> bool) {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_changed_file_comes_into_force_and_into_the_record() {
        let (folder, record) = (Folder::new(), tempfile::tempdir().unwrap());
        let start = audit::Start {
            agent: "0".to_owned(),
            host: "h".to_owned(),
            mode: model::Mode::Enforce,
            guarded: Vec::new(),
            policy: None,
        };
        let clock = || model::Timestamp::from_unix_seconds(1_700_000_000);
        let journal = audit::Journal::start(record.path(), start, clock).unwrap();
        let rules = Arc::new(folder.rules());
        let session = rules.in_force();
        let keeping = Arc::clone(&rules).keep(journal.clone()).unwrap();

        folder.write("policy/b.cedar", "@id(\"b\") permit (principal, action, resource);");
        until(|| session.get().rule_ids().count() == 2).await;
        folder.write("policy/b.cedar", "permit");
        until(|| rules.known().fault.is_some()).await;
        assert_eq!(session.get().rule_ids().count(), 2);
        fs::remove_file(folder.0.path().join("policy/b.cedar")).unwrap();
        until(|| rules.known().fault.is_none()).await;
        assert_eq!(ids(&rules), ["a"]);
        keeping.abort();
        journal.stop("the test is over").await.unwrap();

        let mut changes = Vec::new();
        let note = |entry: audit::Entry| {
            if let audit::Event::Policy(change) = entry.event {
                changes.push(change);
            }
        };
        audit::read::entries(record.path(), note).unwrap();
        assert_eq!(changes.iter().map(|change| change.rules).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(changes[1].policy, rules.known().digest);
    }

    #[test]
    fn a_digest_tells_names_and_texts_apart() {
        let file = |name: &str, text: &str| PolicyFile { name: name.into(), text: text.into() };
        let digest =
            |policies: Vec<PolicyFile>| Files { policies, classification: file("c.toml", "") }.digest();
        let one = digest(vec![file("/x/a.cedar", "ab"), file("/x/b.cedar", "c")]);
        assert_eq!(one, digest(vec![file("/y/a.cedar", "ab"), file("/y/b.cedar", "c")]));
        assert_ne!(one, digest(vec![file("/x/a.cedar", "a"), file("/x/b.cedar", "bc")]));
        assert_ne!(one, digest(vec![file("/x/b.cedar", "ab"), file("/x/a.cedar", "c")]));
    }
}
