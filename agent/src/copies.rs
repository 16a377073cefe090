//! Where tagged data went, on disk: one line of JSON for each place, in a file of the state folder.
//!
//! What was dropped stays in it for as long as Snowflake could bring it back: its tags would come back with it.
//! A line is flushed before anybody acts on it. A line that a crash cut short was never acted on, so it is left out. Any
//! other line that cannot be read is an error at the start: without it, data might be shown that must not be.

use std::{
    fs::{self, File, OpenOptions},
    future::Future,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use model::{AccountName, Ident};
use policy::Carried;
use proxy::{Copies, Place, Shelf, State};
use serde::{Deserialize, Serialize};

/// The file, in the state folder.
const FILE: &str = "copies.jsonl";

/// How long what was dropped can be brought back, and some time for the clock.
/// Source: Snowflake documentation, "Data retention period for Time Travel": up to 90 days.
const BRINGS_BACK_MAX: Duration = Duration::from_secs(100 * 24 * 3600);

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    tags: Vec<String>,
    /// Whether it is none any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
    /// When what was there was dropped, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
}

/// Reads the file, leaves out of it what counts no more, and opens it for more.
pub(crate) fn open(state: &Path) -> Result<Arc<Copies>> {
    let path = state.join(FILE);
    let at = || format!("the list of where tagged data went, {}, cannot be used", path.display());
    let kept = read(&path).with_context(at)?;
    let mut places = Copies::new(kept, Arc::new(Nowhere)).places();
    let oldest = now().saturating_sub(BRINGS_BACK_MAX.as_secs());
    places.retain(|place| !matches!(place.state, State::Dropped(Some(at)) if at < oldest));
    let file = write_anew(&path, &places).with_context(at)?;
    Ok(Arc::new(Copies::new(places, Arc::new(Disk { file: Arc::new(Mutex::new(file)) }))))
}

fn read(path: &Path) -> Result<Vec<Place>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let whole = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    let lines = whole.lines().enumerate();
    lines
        .map(|(at, line)| {
            let line: Line = serde_json::from_str(line).with_context(|| format!("line {}", at + 1))?;
            Ok(line.into())
        })
        .collect()
}

/// Writes the whole file beside the old one, and puts it in its place.
fn write_anew(path: &Path, places: &[Place]) -> Result<File> {
    let new = path.with_extension("new");
    let mut text = Vec::new();
    for place in places {
        text.extend(line(place)?);
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn line(place: &Place) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Line::from(place))?;
    line.push(b'\n');
    Ok(line)
}

struct Disk {
    file: Arc<Mutex<File>>,
}

impl Shelf for Disk {
    fn keep(&self, place: Place) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        let file = self.file.clone();
        let write = move || {
            let line = line(&dated(place))?;
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let before = file.metadata()?.len();
            let written = file.write_all(&line).and_then(|()| file.sync_data());
            if written.is_err() {
                // Half a line must not stand before the next one. If that fails as well, the start will say so.
                drop(file.set_len(before));
            }
            written
        };
        Box::pin(async move { tokio::task::spawn_blocking(write).await.map_err(io::Error::other)? })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// With the time of a drop that has none yet.
fn dated(place: Place) -> Place {
    match place.state {
        State::Dropped(None) => Place { state: State::Dropped(Some(now())), ..place },
        _ => place,
    }
}

/// For reading only.
struct Nowhere;

impl Shelf for Nowhere {
    fn keep(&self, _: Place) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

impl From<&Place> for Line {
    fn from(place: &Place) -> Self {
        let Place { account, carried, state } = place;
        let text = |part: &Option<Ident>| part.as_ref().map(ToString::to_string);
        Self {
            account: account.to_string(),
            database: text(&carried.database),
            schema: text(&carried.schema),
            table: text(&carried.table),
            column: text(&carried.column),
            tags: carried.tags.iter().cloned().collect(),
            gone: *state == State::Gone,
            dropped: match state {
                State::Dropped(at) => Some(at.unwrap_or_default()),
                State::Here | State::Gone => None,
            },
        }
    }
}

impl From<Line> for Place {
    fn from(line: Line) -> Self {
        let part = |part: Option<String>| part.map(Ident::exact);
        let carried = Carried {
            database: part(line.database),
            schema: part(line.schema),
            table: part(line.table),
            column: part(line.column),
            tags: line.tags.into_iter().collect(),
        };
        let state = match (line.gone, line.dropped) {
            (true, _) => State::Gone,
            (false, Some(at)) => State::Dropped(Some(at)),
            (false, None) => State::Here,
        };
        Self { account: AccountName::new(&line.account), carried, state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str =
        "{\"account\":\"ACME\",\"database\":\"D\",\"schema\":\"S\",\"table\":\"X\",\"tags\":[\"pii\"]}\n";

    fn text(state: &Path) -> String {
        fs::read_to_string(state.join(FILE)).unwrap()
    }

    #[tokio::test]
    async fn places_are_kept_line_by_line_and_read_again() {
        let state = tempfile::tempdir().unwrap();
        assert!(open(state.path()).unwrap().places().is_empty());
        let place: Place = serde_json::from_str::<Line>(X.trim()).unwrap().into();
        let file = OpenOptions::new().append(true).open(state.path().join(FILE)).unwrap();
        let disk = Disk { file: Arc::new(Mutex::new(file)) };
        disk.keep(place.clone()).await.unwrap();
        assert_eq!(text(state.path()), X);
        assert_eq!(open(state.path()).unwrap().places(), std::slice::from_ref(&place));
        disk.keep(Place { state: State::Gone, ..place }).await.unwrap();
        // What was opened meanwhile is another file by now; this one is read as it was left.
        fs::write(state.path().join(FILE), format!("{X}{}", X.replace("\"]}", "\"],\"gone\":true}")))
            .unwrap();
        assert!(open(state.path()).unwrap().places().is_empty());
        assert_eq!(text(state.path()), "");
    }

    #[tokio::test]
    async fn what_was_dropped_stays_as_long_as_it_can_come_back() {
        let state = tempfile::tempdir().unwrap();
        let dropped = |at: u64| X.replace("\"]}", &format!("\"],\"dropped\":{at}}}"));
        let of = |text: String| {
            fs::write(state.path().join(FILE), text).unwrap();
            open(state.path()).unwrap().places()
        };
        let yesterday = now() - 24 * 3600;
        let places = of(format!("{X}{}", dropped(yesterday)));
        assert_eq!(
            places.iter().map(|place| place.state).collect::<Vec<_>>(),
            [State::Dropped(Some(yesterday))]
        );
        assert_eq!(text(state.path()), dropped(yesterday));
        assert!(of(format!("{X}{}", dropped(1_000))).is_empty());
        assert_eq!(of(format!("{}{X}", dropped(yesterday)))[0].state, State::Here, "it was made again");
        let undated = Place { state: State::Dropped(None), ..places[0].clone() };
        let State::Dropped(Some(at)) = dated(undated).state else { panic!("no date") };
        assert!(at >= yesterday);
    }

    #[test]
    fn a_line_that_was_cut_short_is_left_out_and_a_damaged_one_stops_the_start() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FILE), format!("{X}{{\"account\":\"AC")).unwrap();
        assert_eq!(open(state.path()).unwrap().places().len(), 1);
        assert_eq!(text(state.path()), X);
        fs::write(state.path().join(FILE), format!("{{}}\n{X}")).unwrap();
        let error = format!("{:#}", open(state.path()).unwrap_err());
        assert!(error.contains("copies.jsonl") && error.contains("line 1"), "{error}");
    }
}
