//! Two connections made one: what comes in on either goes out on the other, byte for byte.
//!
//! splice(2) moves the bytes through a pipe inside the kernel, so that nothing is copied here and nothing can be looked
//! at. A sockmap would spare the pipe, and loses the end of streams.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    net::{Shutdown, shutdown, sockopt},
    pipe::{PipeFlags, SpliceFlags, pipe_with, splice},
};
use tokio::{
    io::Interest,
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    corridor::told,
    limits::{PASSED_IDLE_MAX, PASSED_KEEPALIVE, PASSED_STOP_WAIT_MAX},
};

/// What a pipe holds, pipe(7). Larger ones were measured to be no faster.
const PIPE_BYTES: usize = 64 * 1024;

/// Moves bytes until both ends have said that they are done, and carries each end's half-close over. Ends early when
/// nothing moves for [`PASSED_IDLE_MAX`], or, once the agent is to stop, for [`PASSED_STOP_WAIT_MAX`]. `moved` counts
/// the bytes.
///
/// # Errors
/// When one side broke, or nothing moved. Both are then reset, because a plain end would look to a client like the
/// end of what it asked for.
pub(crate) async fn join(
    client: &TcpStream,
    server: &TcpStream,
    moved: &AtomicU64,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let activity = Activity { began: Instant::now(), last: AtomicU64::new(0), moved };
    let joined = async {
        prepare(client, server)?;
        tokio::try_join!(one_way(client, server, &activity), one_way(server, client, &activity)).map(drop)
    };
    let stopped = async {
        told(&mut stopping).await;
        activity.cease(PASSED_STOP_WAIT_MAX).await;
    };
    let ended = tokio::select! {
        ended = joined => ended,
        () = activity.cease(PASSED_IDLE_MAX) => Err(io::ErrorKind::TimedOut.into()),
        () = stopped => Err(io::ErrorKind::Interrupted.into()),
    };
    if ended.is_err() {
        reset(client);
        reset(server);
    }
    ended
}

/// Has a connection end with a reset when it is dropped.
pub(crate) fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection ends in the ordinary way in place of a reset");
    }
}

/// The client's own keep-alive reaches no further than the agent, so the agent keeps the other half alive.
fn prepare(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    sockopt::set_socket_keepalive(server, true)?;
    sockopt::set_tcp_keepidle(server, PASSED_KEEPALIVE)?;
    Ok(())
}

/// One direction, to the end of what `from` says.
async fn one_way(from: &TcpStream, to: &TcpStream, activity: &Activity<'_>) -> io::Result<()> {
    let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        // The pipe is empty here, so that only an empty socket can be what has to be waited for.
        let fill = || Ok(splice(from, None, &inlet, None, PIPE_BYTES, flags)?);
        let mut held = from.async_io(Interest::READABLE, fill).await?;
        if held == 0 {
            // The other side may have closed meanwhile; then there is nobody to tell.
            let _closed = shutdown(to, Shutdown::Write);
            return Ok(());
        }
        while held > 0 {
            let drain = || Ok(splice(&outlet, None, to, None, held, flags)?);
            let sent = to.async_io(Interest::WRITABLE, drain).await?;
            held = held.saturating_sub(sent);
            activity.note(sent);
        }
    }
}

/// When something last moved, in either direction.
struct Activity<'a> {
    began: Instant,
    /// Milliseconds after `began`.
    last: AtomicU64,
    moved: &'a AtomicU64,
}

impl Activity<'_> {
    fn note(&self, bytes: usize) {
        self.moved.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Waits until nothing has moved for this long.
    async fn cease(&self, limit: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let idle = self.began.elapsed().saturating_sub(last);
            if idle >= limit {
                return;
            }
            sleep(limit - idle).await;
        }
    }
}

#[cfg(test)]
mod tests;
