//! The control socket: how verbs ask the running agent.
//!
//! Everybody may connect, also a job. One line of JSON asks, one JSON document answers. Who asks is what the kernel says of
//! the process that connected; [`Question::may_ask`] is the table of who may ask what, and whoever may not is told no more
//! than that.

use std::{
    io::{self, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream as BlockingStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::UCred},
    sync::Semaphore,
    time::timeout,
};
use tracing::warn;
use workload::Workload;

use crate::whoami;

/// Somebody who takes longer to ask, or to take the answer, is cut off.
const PEER_WAIT_MAX: Duration = Duration::from_secs(2);

/// An answer can need the issuer of a token, which is given ten seconds for its keys and ten for the token.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// A token and some words around it.
const QUESTION_BYTES_MAX: u64 = 32 << 10;

/// The answer of an agent is small; more than this is not an agent.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Who is answered at one time. Beyond it the next ones wait.
const PEERS_MAX: usize = 64;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Question {
    /// What the agent says of itself.
    Status,
    /// Who a process is; the asking one, if none is named.
    Whoami {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
    },
    /// Binds the job of the asking process to a token.
    Bind { token: String },
}

impl Question {
    /// The table. A job learns of itself and nobody else: jobs of one runner have one uid.
    ///
    /// | question | root | everybody else |
    /// |---|---|---|
    /// | status | yes | no |
    /// | whoami | of any process | of itself |
    /// | bind | its own job | its own job |
    fn may_ask(&self, uid: u32, own_pid: u32) -> bool {
        match self {
            Self::Status => uid == 0,
            Self::Whoami { pid } => uid == 0 || pid.is_none_or(|pid| pid == own_pid),
            Self::Bind { .. } => true,
        }
    }
}

/// What is answered: one of the two.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// The document that was asked for.
    Document(serde_json::Value),
    /// Why there is none.
    Refused(String),
}

/// Where answers come from.
pub(crate) struct Answers {
    /// Makes the status anew for each question.
    pub(crate) status: Box<dyn Fn() -> String + Send + Sync>,
    pub(crate) workload: Arc<Workload>,
}

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
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).with_context(at)?;
    Ok(listener)
}

/// Answers until the task is aborted.
pub(crate) fn serve(listener: UnixListener, answers: Arc<Answers>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(PEERS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let answers = answers.clone();
                    tokio::spawn(async move {
                        reply(stream, &answers).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

async fn reply(mut stream: UnixStream, answers: &Answers) {
    // Without knowing who asks nothing is answered. A peer that is looked at is held to be no younger than this moment, so
    // that a pid that was given to another process meanwhile is noticed.
    let Ok(peer) = stream.peer_cred() else { return };
    let arrived = whoami::now_ns();
    let Ok(Ok(line)) = timeout(PEER_WAIT_MAX, question(&mut stream)).await else { return };
    let answer = match timeout(ANSWER_WAIT_MAX, answer(&line, &peer, arrived, answers)).await {
        Ok(Ok(document)) => Answer::Document(document),
        Ok(Err(error)) => Answer::Refused(format!("{error:#}")),
        Err(_) => Answer::Refused("the agent took too long to find an answer".to_owned()),
    };
    let Ok(text) = serde_json::to_vec(&answer) else { return };
    if !matches!(timeout(PEER_WAIT_MAX, stream.write_all(&text)).await, Ok(Ok(()))) {
        warn!("a question over the control socket went unanswered");
    }
}

async fn question(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(stream.take(QUESTION_BYTES_MAX)).read_until(b'\n', &mut line).await?;
    Ok(line)
}

async fn answer(line: &[u8], peer: &UCred, arrived: u64, answers: &Answers) -> Result<serde_json::Value> {
    // What was written may be a token, so it is not repeated.
    let question: Question =
        serde_json::from_slice(line).map_err(|_| anyhow!("the question was not understood"))?;
    let own_pid =
        peer.pid().and_then(|pid| u32::try_from(pid).ok()).context("the asking process is not known")?;
    if !question.may_ask(peer.uid(), own_pid) {
        bail!("the agent answers this to root only");
    }
    match question {
        Question::Status => Ok(serde_json::from_str(&(answers.status)())?),
        Question::Whoami { pid } => {
            let who = whoami::Who::of(pid.unwrap_or(own_pid), arrived)?;
            Ok(serde_json::to_value(whoami::find(&answers.workload, &who).await)?)
        }
        Question::Bind { token } => {
            let who = whoami::Who::of(own_pid, arrived)?;
            Ok(serde_json::to_value(whoami::bind(&answers.workload, &who, token).await?)?)
        }
    }
}

/// Asks a running agent. `None` when none listens there.
pub(crate) fn ask(socket: &Path, question: &Question) -> Result<Option<String>> {
    let at = || format!("the control socket {} cannot be asked", socket.display());
    let mut stream = match BlockingStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(at),
    };
    stream.set_read_timeout(Some(ANSWER_WAIT_MAX + PEER_WAIT_MAX))?;
    let line = serde_json::to_string(question)?;
    stream.write_all(format!("{line}\n").as_bytes()).with_context(at)?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).context("the agent's answer cannot be read")?;
    ensure!(!text.is_empty(), "the agent gave no answer");
    match serde_json::from_str(&text).context("what the agent answered is not understood")? {
        Answer::Document(document) => Ok(Some(document.to_string())),
        Answer::Refused(reason) => bail!(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_may_ask_for_itself_and_nothing_else() {
        let bind = Question::Bind { token: String::new() };
        let (own, other) = (Question::Whoami { pid: Some(7) }, Question::Whoami { pid: Some(8) });
        let itself = Question::Whoami { pid: None };
        let may = |question: &Question, uid| question.may_ask(uid, 7);
        assert!(may(&bind, 1001) && may(&own, 1001) && may(&itself, 1001));
        assert!(!may(&Question::Status, 1001) && !may(&other, 1001));
        for question in [Question::Status, bind, own, other, itself] {
            assert!(may(&question, 0), "{question:?}");
        }
    }

    #[test]
    fn a_question_is_understood_whole_or_not_at_all() {
        let read = |text: &str| serde_json::from_str::<Question>(text).ok();
        assert_eq!(read(r#"{"verb":"status"}"#), Some(Question::Status));
        assert_eq!(read(r#"{"verb":"whoami","pid":7}"#), Some(Question::Whoami { pid: Some(7) }));
        for bad in
            ["", "{}", "status", r#"{"verb":"stop"}"#, r#"{"verb":"whoami","pid":-1}"#, r#"{"verb":"bind"}"#]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
