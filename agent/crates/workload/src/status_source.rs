//! Who has left, from places that the operator names: a file, a directory that speaks SCIM. Asked again and again, and
//! given to whoever must know at once.
//!
//! A source that fails leaves its last list in force. What happens when that list has become too old is the operator's
//! word; without one, nobody is served whose standing is not known.

mod file;
mod kept;
mod list;
mod scim;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use identity::{Departed, Gone, Principal};
use tokio::sync::watch;

pub use self::{
    file::FileError,
    list::{HandleKind, ListError},
    scim::{AttributePath, AttributePathError, ScimConfig},
};

/// A source that keeps failing is told of again this often.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Which sources there are, and what becomes of their lists when they fail.
#[derive(Debug, Clone)]
pub struct StatusConfig {
    /// A list in TOML or JSON, looked at every second.
    pub file: Option<PathBuf>,
    /// A directory.
    pub scim: Option<ScimConfig>,
    /// How long a list stays good without having been confirmed.
    pub stale_after: Duration,
    /// What happens then.
    pub when_stale: WhenStale,
}

/// What happens when a list is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// Nobody is served: somebody who left meanwhile might be among them.
    Refuse,
    /// Everybody is served who is not on the last list. Loudly.
    Serve,
}

/// Why somebody is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    /// They have left.
    #[error("{0}")]
    Gone(#[from] Gone),
    /// Nobody knows.
    #[error(
        "whether the people behind this job are still active is not known, because {source_name} has not answered for \
         {minutes} min; the operator of this host has to mend it"
    )]
    Unknown {
        /// The source.
        source_name: String,
        /// Since its last answer.
        minutes: u64,
    },
}

/// Why the sources cannot be begun with.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The list that the operator wrote is not usable.
    #[error("{}: {error}", .path.display())]
    File {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        error: FileError,
    },
    /// The address of the directory is not usable.
    #[error("the SCIM address {0:?} is not an https address without a query")]
    ScimUrl(String),
    /// The directory's credential is not usable.
    #[error("the SCIM token file {}: {error}", .path.display())]
    ScimToken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: FileError,
    },
}

/// One source, as it stands.
#[derive(Debug)]
struct Source {
    name: String,
    departed: Departed,
    /// When it was last read with success.
    good: Option<Instant>,
    fault: Option<String>,
    told: Option<Instant>,
}

/// All sources, as they stand.
#[derive(Debug)]
struct Roster {
    sources: Vec<Source>,
    stale_after: Duration,
    when_stale: WhenStale,
}

/// One source, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// What it is.
    pub name: String,
    /// How many have left, by its last list.
    pub deactivated: usize,
    /// Since its last list was read; none if none ever was.
    pub read_seconds_ago: Option<u64>,
    /// Whether that is too long.
    pub is_stale: bool,
    /// Why it could not be read the last time, if it could not.
    pub fault: Option<String>,
}

/// Who has left, at any time. Cheap to clone. The default knows of no source and bars nobody.
#[derive(Debug, Clone, Default)]
pub struct StatusWatch(Option<watch::Receiver<Roster>>);

impl StatusWatch {
    /// Begins to ask the sources. A list in a file must be in order now; a directory may be out of reach, and then its
    /// last list, which is kept on disk, is in force. Needs a tokio runtime, and asks for as long as somebody watches.
    ///
    /// # Errors
    /// What is wrong with what the operator wrote.
    pub async fn start(config: StatusConfig) -> Result<Self, StatusError> {
        let StatusConfig { file, scim, stale_after, when_stale } = config;
        let mut roster = Roster { sources: Vec::new(), stale_after, when_stale };
        let file = file.map(file::Watched::new).transpose()?;
        let directory = scim.map(scim::Directory::new).transpose()?;
        let in_file = file.as_ref().map(|file| roster.add(file.name()));
        let in_directory = directory.as_ref().map(|directory| roster.add(directory.name()));
        if file.is_none() && directory.is_none() {
            return Ok(Self::default());
        }
        let (sender, receiver) = watch::channel(roster);
        let sender = Arc::new(sender);
        if let (Some(mut file), Some(number)) = (file, in_file) {
            let first = file.look().await;
            let teller = Teller { sender: sender.clone(), number };
            match first {
                Err(error) => return Err(StatusError::File { path: file.path().to_owned(), error }),
                Ok(news) => teller.read(news),
            }
            tokio::spawn(file.keep_looking(teller));
        }
        if let (Some(mut directory), Some(number)) = (directory, in_directory) {
            let teller = Teller { sender, number };
            directory.begin(&teller).await;
            tokio::spawn(directory.keep_asking(teller));
        }
        Ok(Self(Some(receiver)))
    }

    /// Whether there is any source.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a principal, and the Snowflake user that it uses, may be served.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, principal: &Principal, snowflake_user: Option<&str>) -> Result<(), Barred> {
        let Some(receiver) = &self.0 else { return Ok(()) };
        receiver.borrow().check(principal, snowflake_user, Instant::now())
    }

    /// Whoever has left among those behind a principal; whether lists are old does not matter here.
    #[must_use]
    pub fn gone(&self, principal: &Principal, snowflake_user: Option<&str>) -> Option<Gone> {
        let receiver = self.0.as_ref()?;
        receiver.borrow().gone(principal, snowflake_user)
    }

    /// Waits until somebody else has left than before. Without a source, for ever.
    pub async fn changed(&mut self) {
        let is_over = match &mut self.0 {
            Some(receiver) => receiver.changed().await.is_err(),
            None => true,
        };
        if is_over {
            std::future::pending::<()>().await;
        }
    }

    /// The sources, for people.
    #[must_use]
    pub fn report(&self) -> Vec<SourceReport> {
        let Some(receiver) = &self.0 else { return Vec::new() };
        let (roster, now) = (receiver.borrow(), Instant::now());
        let report = |source: &Source| SourceReport {
            name: source.name.clone(),
            deactivated: source.departed.len(),
            read_seconds_ago: source.good.map(|good| now.saturating_duration_since(good).as_secs()),
            is_stale: roster.is_stale(source, now),
            fault: source.fault.clone(),
        };
        roster.sources.iter().map(report).collect()
    }
}

impl Roster {
    /// Adds a source that was not read yet, and gives its number.
    fn add(&mut self, name: String) -> usize {
        self.sources.push(Source {
            name,
            departed: Departed::default(),
            good: None,
            fault: None,
            told: None,
        });
        self.sources.len() - 1
    }

    fn is_stale(&self, source: &Source, now: Instant) -> bool {
        source.good.is_none_or(|good| now.saturating_duration_since(good) > self.stale_after)
    }

    fn gone(&self, principal: &Principal, user: Option<&str>) -> Option<Gone> {
        self.sources.iter().find_map(|source| source.departed.find(principal, user))
    }

    fn check(&self, principal: &Principal, user: Option<&str>, now: Instant) -> Result<(), Barred> {
        if let Some(gone) = self.gone(principal, user) {
            return Err(gone.into());
        }
        let stale = self.sources.iter().find(|source| self.is_stale(source, now));
        match (self.when_stale, stale) {
            (WhenStale::Refuse, Some(source)) => Err(Barred::Unknown {
                source_name: source.name.clone(),
                minutes: source.good.map_or(0, |good| now.saturating_duration_since(good).as_secs() / 60),
            }),
            _ => Ok(()),
        }
    }
}

/// Tells what became of one source.
struct Teller {
    sender: Arc<watch::Sender<Roster>>,
    number: usize,
}

impl Teller {
    /// It was read. None: what was read before still stands.
    fn read(&self, departed: Option<Departed>) {
        self.read_at(departed, Some(Instant::now()));
    }

    /// It was read then; none: so long ago that it does not count.
    fn read_at(&self, departed: Option<Departed>, when: Option<Instant>) {
        self.sender.send_if_modified(|roster| {
            let Some(source) = roster.sources.get_mut(self.number) else { return false };
            source.good = when;
            if source.fault.take().is_some() {
                tracing::info!(source = source.name, "the status source answers again");
                source.told = None;
            }
            match departed {
                Some(departed) if departed != source.departed => {
                    tracing::info!(
                        source = source.name,
                        deactivated = departed.len(),
                        "who has left has changed"
                    );
                    source.departed = departed;
                    true
                }
                _ => false,
            }
        });
    }

    /// It could not be read.
    fn failed(&self, fault: &dyn std::fmt::Display) {
        self.sender.send_if_modified(|roster| {
            let now = Instant::now();
            let when_stale = roster.when_stale;
            let is_stale = roster.sources.get(self.number).is_some_and(|source| roster.is_stale(source, now));
            let Some(source) = roster.sources.get_mut(self.number) else { return false };
            source.fault = Some(fault.to_string());
            if source.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_AGAIN_AFTER) {
                source.told = Some(now);
                let name = &source.name;
                match (is_stale, when_stale) {
                    (false, _) => {
                        tracing::error!(source = name, %fault, "the status source cannot be read; its last list stays in force");
                    }
                    (true, WhenStale::Refuse) => {
                        tracing::error!(source = name, %fault, "the status source cannot be read for too long; everybody is refused");
                    }
                    (true, WhenStale::Serve) => {
                        tracing::error!(source = name, %fault, "the status source cannot be read for too long; who left meanwhile is still served");
                    }
                }
            }
            false
        });
    }

    /// Whether anybody is still watching.
    fn is_heard(&self) -> bool {
        !self.sender.is_closed()
    }
}

#[cfg(test)]
mod tests;
