//! The control socket: how `snowfence status` asks the running agent.
//!
//! One question, one answer: whoever connects and is root reads one JSON document. Everybody else is turned away
//! without one, whatever the socket's mode says.

use std::{
    io::{self, Read},
    os::unix::{fs::PermissionsExt, net::UnixStream as BlockingStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
};
use tracing::warn;

/// A reader that takes longer than this is cut off.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(2);

/// The answer of an agent is small; more than this is not an agent.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Said to whoever is not answered.
const ROOT_ONLY: &str = "the agent gives its status to root only";

/// Opens the socket, in place of one that an earlier agent left. Must be called in a tokio runtime.
pub(crate) fn open(socket: &Path) -> Result<UnixListener> {
    let at = || format!("the control socket {} cannot be opened", socket.display());
    if let Some(dir) = socket.parent() {
        std::fs::create_dir_all(dir).with_context(at)?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(at),
        _ => {}
    }
    let listener = UnixListener::bind(socket).with_context(at)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).with_context(at)?;
    Ok(listener)
}

/// Answers until the task is aborted. `answer` makes the document anew for each question.
pub(crate) fn serve(
    listener: UnixListener,
    answer: Arc<dyn Fn() -> String + Send + Sync>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(tokio::time::timeout(ANSWER_WAIT_MAX, reply(stream, answer.clone())));
                }
                Err(error) => {
                    warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

async fn reply(mut stream: UnixStream, answer: Arc<dyn Fn() -> String + Send + Sync>) {
    let allowed = stream.peer_cred().is_ok_and(|peer| peer.uid() == 0);
    if !allowed {
        return;
    }
    if let Err(error) = stream.write_all(answer().as_bytes()).await {
        warn!(%error, "a status question went unanswered");
    }
}

/// Asks a running agent. `None` when none listens there.
pub(crate) fn ask(socket: &Path) -> Result<Option<String>> {
    let stream = match BlockingStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!(ROOT_ONLY),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("the control socket {} cannot be asked", socket.display()));
        }
    };
    stream.set_read_timeout(Some(ANSWER_WAIT_MAX))?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).context("the agent's answer cannot be read")?;
    ensure!(!text.is_empty(), ROOT_ONLY);
    Ok(Some(text))
}
