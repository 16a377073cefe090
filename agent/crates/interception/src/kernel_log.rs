//! Lines that the kernel programs write, forwarded to the agent's log.

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::JoinHandle,
};

use crate::error::Error;

/// The task that forwards; ends when this is dropped.
#[derive(Debug)]
pub(crate) struct KernelLog(JoinHandle<()>);

impl KernelLog {
    pub(crate) fn start(object: &mut Ebpf) -> Result<Self, Error> {
        let logger = EbpfLogger::init_with_logger(object, Forward)
            .map_err(|error| Error::KernelLog(io::Error::other(error)))?;
        // SAFETY: the descriptor is that of the ring buffer which the logger owns and never replaces.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(|error| Error::KernelLog(error.into()))?;
        Ok(Self(tokio::spawn(forward(logger))))
    }
}

impl Drop for KernelLog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn forward(mut logger: AsyncFd<EbpfLogger<Forward>>) {
    loop {
        match logger.readable_mut().await {
            Ok(mut ready) => {
                ready.get_inner_mut().flush();
                ready.clear_ready();
            }
            Err(error) => {
                tracing::error!(%error, "the kernel programs' log cannot be read any more");
                return;
            }
        }
    }
}

/// From one logging interface to the other, under a target of its own.
struct Forward;

impl Log for Forward {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        match record.level() {
            Level::Error => tracing::error!(target: "interception::kernel", "{}", record.args()),
            Level::Warn => tracing::warn!(target: "interception::kernel", "{}", record.args()),
            Level::Info => tracing::info!(target: "interception::kernel", "{}", record.args()),
            Level::Debug | Level::Trace => {
                tracing::debug!(target: "interception::kernel", "{}", record.args())
            }
        }
    }

    fn flush(&self) {}
}
