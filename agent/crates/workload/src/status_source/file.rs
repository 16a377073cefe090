//! A list in a file, looked at every second.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use identity::Departed;
use rustix::fs::{Mode, OFlags};
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    StatusError, Teller,
    list::{self, Format, ListError},
};

/// How often it is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// Tens of thousands of people.
const BYTES_MAX: u64 = 8 << 20;

/// Why a file is not usable.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Not a plain file.
    #[error("it is not a plain file")]
    NotPlain,
    /// Somebody else than its owner could change it, or its owner is somebody else than root and the agent.
    #[error("it must belong to root, and nobody else may write to it")]
    Writable,
    /// Everybody could read a secret.
    #[error("it holds a secret, and others may read it; make its mode 0600")]
    Readable,
    /// Too large.
    #[error("it is larger than {} MiB", BYTES_MAX >> 20)]
    TooLarge,
    /// Not text.
    #[error("it is not UTF-8")]
    NotText,
    /// What is in it.
    #[error("{0}")]
    List(#[from] ListError),
    /// A secret that cannot be sent.
    #[error("it must hold one line of printable characters")]
    NotOneLine,
}

/// What tells whether a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// A file that is looked at.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    format: Format,
    seen: Option<Stamp>,
    last: Departed,
    /// What was taken off the list at the last look. It counts until the next one has found the file as it was: a file
    /// that is being written anew is short for a moment.
    taken_off: Option<Departed>,
}

impl Watched {
    pub(super) fn new(path: PathBuf) -> Result<Self, StatusError> {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let format = if is_json { Format::Json } else { Format::Toml };
        Ok(Self { path, format, seen: None, last: Departed::default(), taken_off: None })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn name(&self) -> String {
        format!("the list {}", self.path.display())
    }

    /// Who has left; none if that is what it was.
    pub(super) async fn look(&mut self) -> Result<Option<Departed>, FileError> {
        let path = self.path.clone();
        // A file may be on a network.
        let opened = spawn_blocking(move || open(&path, false)).await.map_err(io::Error::other)?;
        let (file, stamp) = opened?;
        if self.seen == Some(stamp) {
            return Ok(self.taken_off.take().map(|_| self.last.clone()));
        }
        let text = spawn_blocking(move || text(file)).await.map_err(io::Error::other)??;
        let departed = list::parse(&text, self.format)?;
        let before = std::mem::replace(&mut self.last, departed.clone());
        let both = departed.and(&before);
        let is_first = self.seen.replace(stamp).is_none();
        if is_first || both == departed {
            self.taken_off = None;
            return Ok(Some(departed));
        }
        self.taken_off = Some(before);
        Ok(Some(both))
    }

    pub(super) async fn keep_looking(mut self, teller: Teller) {
        while teller.is_heard() {
            sleep(LOOKED_AT_EVERY).await;
            match self.look().await {
                Ok(news) => teller.read(news),
                Err(error) => {
                    // It is read anew once it can be.
                    self.seen = None;
                    teller.failed(&error);
                }
            }
        }
    }
}

/// The credential in a file: its one line.
pub(super) fn secret(path: &Path) -> Result<model::Secret<String>, FileError> {
    let (file, _) = open(path, true)?;
    let whole = model::Secret::new(text(file)?);
    let line = whole.expose().trim_end_matches(['\n', '\r']);
    if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(FileError::NotOneLine);
    }
    Ok(model::Secret::new(line.to_owned()))
}

fn open(path: &Path, is_secret: bool) -> Result<(File, Stamp), FileError> {
    // Without waiting, should somebody have put a FIFO there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(FileError::NotPlain);
    }
    let own = rustix::process::geteuid().as_raw();
    if !(metadata.uid() == 0 || metadata.uid() == own) || metadata.mode() & 0o022 != 0 {
        return Err(FileError::Writable);
    }
    if is_secret && metadata.mode() & 0o077 != 0 {
        return Err(FileError::Readable);
    }
    if metadata.size() > BYTES_MAX {
        return Err(FileError::TooLarge);
    }
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Ok((file, Stamp { inode: metadata.ino(), size: metadata.size(), changed }))
}

fn text(file: File) -> Result<String, FileError> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err(FileError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| FileError::NotText)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn list(names: &[&str]) -> String {
        names.iter().fold("deactivated = [".to_owned(), |text, name| {
            text + &format!("{{ name = {name:?}, agents = [{name:?}] }},")
        }) + "]"
    }

    fn write(path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, path).unwrap();
    }

    async fn look(watched: &mut Watched) -> Option<usize> {
        watched.look().await.unwrap().map(|departed| departed.len())
    }

    #[tokio::test]
    async fn who_is_added_counts_at_once_and_who_is_taken_off_at_the_second_look() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("list.toml");
        write(&path, &list(&["a", "b"]));
        let mut watched = Watched::new(path.clone()).unwrap();
        assert_eq!(look(&mut watched).await, Some(2));
        assert_eq!(look(&mut watched).await, None);
        write(&path, &list(&["a", "b", "c"]));
        assert_eq!(look(&mut watched).await, Some(3));
        assert_eq!(look(&mut watched).await, None);
        // As if it were being written anew.
        write(&path, &list(&["a"]));
        assert_eq!(look(&mut watched).await, Some(3 + 1), "the list before counts beside it");
        write(&path, &list(&["a", "b", "c"]));
        assert_eq!(look(&mut watched).await, Some(3));
        write(&path, &list(&["c"]));
        assert_eq!(look(&mut watched).await, Some(3 + 1));
        assert_eq!(look(&mut watched).await, Some(1));
        assert_eq!(look(&mut watched).await, None);
    }

    #[tokio::test]
    async fn a_file_that_others_may_change_is_not_believed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("list.toml");
        write(&path, &list(&["a"]));
        let mut watched = Watched::new(path.clone()).unwrap();
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(watched.look().await, Err(FileError::Writable)), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(look(&mut watched).await, Some(1));
        assert!(matches!(secret(&path), Err(FileError::Readable)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(watched.look().await, Err(FileError::Io(_))));
        fs::create_dir(&path).unwrap();
        assert!(matches!(watched.look().await, Err(FileError::NotPlain)));
    }

    #[test]
    fn a_secret_is_one_line() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("token");
        write(&path, "t0k\n");
        assert_eq!(secret(&path).unwrap().expose(), "t0k");
        for bad in ["", "\n", "a b", "a\nb\n"] {
            write(&path, bad);
            assert!(matches!(secret(&path), Err(FileError::NotOneLine)), "{bad:?}");
        }
    }
}
