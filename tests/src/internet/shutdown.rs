//! When to stop: a signal, or the end of standard input, which is how a parent that died says so.

use std::io::{self, Read};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Returns once SIGTERM or SIGINT arrived or standard input came to its end.
pub(super) async fn requested() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let input_ended = input_ended();
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        // The sender is never used: that it is gone is the message.
        _ = input_ended => Ok(()),
    }
}

/// A thread of its own, because the runtime would wait at its end for a read that never returns.
fn input_ended() -> oneshot::Receiver<()> {
    let (open, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _open = open;
        let mut ignored = [0; 256];
        let mut input = io::stdin().lock();
        while input.read(&mut ignored).is_ok_and(|length| length > 0) {}
    });
    ended
}
