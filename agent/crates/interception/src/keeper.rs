//! The thread that goes into other network namespaces: it listens where processes are, and stops where they no longer
//! are.
//!
//! It learns of a namespace in three ways: by looking at the start, by an event of the connect hook, which names the
//! process that was just refused, and by looking again every few seconds, which also finds what an event was lost for.
//! A namespace is over when no thread is in it and no path keeps it. If something else still does (a socket that was
//! passed on, an open file), closing costs nothing but one refused connect, whose event opens it again: a namespace
//! without a listener is refused, never let through.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use agent_common::Event;
use nix::sched::{CloneFlags, setns};
use tokio::{net::TcpSocket, runtime::Handle};

use crate::{
    cgroup::Cgroup,
    dialer::Marker,
    error::Error,
    listener::{Desk, Listening},
    listeners::Table,
    namespaces::{self, Found},
    sys,
};

/// How often all namespaces are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Least time between two searches for a namespace whose process was gone before it could be asked.
const SEARCH_PAUSE: Duration = Duration::from_millis(100);
/// Least time between two log lines about a namespace where listening failed.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// Events that may wait. What does not fit is found by looking.
const EVENTS_MAX: usize = 1_024;

/// All that the thread has.
pub(crate) struct Keeper {
    table: Arc<Table>,
    marker: Marker,
    desk: Desk,
    cgroup: Cgroup,
    runtime: Handle,
    /// The namespace that the thread comes back to.
    home: File,
    home_inode: u64,
    searched_at: Option<Instant>,
    warned_at: Option<Instant>,
}

impl Keeper {
    /// For the calling thread's namespace and runtime.
    pub(crate) fn new(table: Arc<Table>, marker: Marker, desk: Desk, cgroup: &Cgroup) -> Result<Self, Error> {
        Ok(Self {
            table,
            marker,
            desk,
            cgroup: cgroup.try_clone().map_err(Error::Namespaces)?,
            runtime: Handle::current(),
            home: File::open("/proc/thread-self/ns/net").map_err(Error::Namespaces)?,
            home_inode: namespaces::own_inode().map_err(Error::Namespaces)?,
            searched_at: None,
            warned_at: None,
        })
    }

    pub(crate) fn home_inode(&self) -> u64 {
        self.home_inode
    }

    /// Looks once, and waits for that; then goes on in a thread of its own, until the answered queue is dropped.
    pub(crate) fn start(mut self) -> Result<SyncSender<Event>, Error> {
        let (sender, events) = sync_channel(EVENTS_MAX);
        let (looked, has_looked) = sync_channel(1);
        let thread = thread::Builder::new().name("namespaces".to_owned());
        let run = move || {
            let runtime = self.runtime.clone();
            let _inside = runtime.enter();
            self.look();
            // Who started this may have given up.
            let _gone = looked.send(());
            self.follow(&events);
        };
        thread.spawn(run).map_err(Error::Namespaces)?;
        has_looked.recv().map_err(|_| Error::Namespaces(io::Error::other("the thread ended")))?;
        Ok(sender)
    }

    fn follow(mut self, events: &Receiver<Event>) {
        let mut next = Instant::now() + LOOK_EVERY;
        loop {
            match events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => self.answer(&event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next {
                self.close_ended();
                self.look();
                next = Instant::now() + LOOK_EVERY;
            }
        }
    }

    /// Listens wherever a covered process is and nobody listens yet.
    fn look(&mut self) {
        let known = self.table.inodes();
        for (inode, path) in namespaces::covered(&self.cgroup) {
            if inode != self.home_inode && !known.contains(&inode) {
                self.open(&path, None);
            }
        }
    }

    /// Listens where a process was just refused. It may be gone by now, its number may be another's, or the socket may
    /// have been another namespace's: only the cookie says that it is the right one.
    fn answer(&mut self, event: &Event) {
        if self.table.serves(event.netns_cookie) {
            return;
        }
        let path = namespaces::of_process(event.pid);
        let wanted = Some(event.netns_cookie);
        if self.open(&path, wanted) {
            return;
        }
        if self.searched_at.is_some_and(|at| at.elapsed() < SEARCH_PAUSE) {
            return;
        }
        let known = self.table.inodes();
        let mut elsewhere: Found = namespaces::everywhere();
        elsewhere.retain(|inode, _| !known.contains(inode));
        for path in elsewhere.values() {
            if self.open(path, wanted) {
                break;
            }
        }
        self.searched_at = Some(Instant::now());
    }

    /// Stops listening where nobody is.
    fn close_ended(&self) {
        let known = self.table.inodes();
        let alive = namespaces::everywhere();
        // Threads are many, and nearly all are where their process is.
        let is_all = known.iter().all(|inode| alive.contains_key(inode));
        let threads = if is_all { BTreeSet::new() } else { namespaces::of_threads() };
        let closed = self.table.retain(|inode| alive.contains_key(&inode) || threads.contains(&inode));
        if let Err(error) = closed {
            tracing::error!(%error, "the listener of a namespace that has ended cannot be taken away");
        }
    }

    /// Listens in the namespace that `path` stands for, if it is the one with this cookie. Answers whether it does now
    /// and did not before.
    fn open(&mut self, path: &Path, wanted: Option<u64>) -> bool {
        match self.try_open(path, wanted) {
            Ok(is_open) => is_open,
            Err(error) => {
                if self.warned_at.is_none_or(|at| at.elapsed() >= FAILED_PAUSE) {
                    self.warned_at = Some(Instant::now());
                    let namespace = path.display();
                    tracing::warn!(%namespace, %error, "cannot listen in a network namespace: it stays refused");
                }
                false
            }
        }
    }

    fn try_open(&self, path: &Path, wanted: Option<u64>) -> Result<bool, Error> {
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(error) if namespaces::is_gone(&error) => return Ok(false),
            Err(error) => return Err(Error::Namespaces(error)),
        };
        let inode = file.metadata().map_err(Error::Namespaces)?.ino();
        if inode == self.home_inode {
            return Ok(false);
        }
        setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Namespaces(errno.into()))?;
        let opened = self.listen_here(inode, wanted);
        // Whatever this thread does next begins by going somewhere; until then, it keeps that namespace in being.
        setns(&self.home, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Namespaces(errno.into()))?;
        opened
    }

    fn listen_here(&self, inode: u64, wanted: Option<u64>) -> Result<bool, Error> {
        let probe = TcpSocket::new_v4().map_err(Error::Namespaces)?;
        let cookie = sys::netns_cookie(&probe).map_err(Error::Namespaces)?;
        if wanted.is_some_and(|wanted| wanted != cookie) || self.table.serves(cookie) {
            return Ok(false);
        }
        sys::raise_loopback(&probe).map_err(Error::Namespaces)?;
        // Any port: the usual one may be taken, by whoever governs the namespace.
        let listening = Listening::open(0, false, &self.marker, &self.desk)?;
        self.table.put(listening, inode)?;
        tracing::debug!(netns_cookie = cookie, inode, "listening in a network namespace");
        Ok(true)
    }
}
