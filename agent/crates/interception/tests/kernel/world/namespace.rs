//! A network namespace and threads inside of it.

use std::{
    any::Any,
    fs::{self, File},
    path::PathBuf,
    process::Command,
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

/// A named network namespace with loopback up. Deleted on drop; it ends when its last thread and socket do.
pub(crate) struct Namespace(String);

impl Namespace {
    pub(crate) fn new(name: &str) -> Self {
        ip(&["netns", "add", name]);
        let namespace = Self(name.to_owned());
        namespace.ip("link set lo up", "");
        // Devices that come later have their link-local address at once. While its uniqueness is being asked for, a second
        // or two, the kernel does not ask for any neighbour (ndisc_send_ns), and what it forwards to one waits.
        namespace.enter(|| fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
        namespace
    }

    /// Runs `body` in this namespace, to its end.
    fn enter(&self, body: impl FnOnce() + Send) {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // Only this thread moves, and it does not come back.
                setns(File::open(self.path()).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
                body();
            });
            inside.join().unwrap();
        });
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }

    /// Runs `ip` on this namespace: the words of `line`, then `last` if there is one.
    pub(crate) fn ip(&self, line: &str, last: &str) {
        let words = line.split(' ').chain((!last.is_empty()).then_some(last));
        ip(&["-n", &self.0].into_iter().chain(words).collect::<Vec<_>>());
    }

    pub(crate) fn add_address(&self, address: &str, device: &str) {
        // Without `nodad`, an IPv6 address could not be used for a second.
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.ip(&format!("addr add {address} dev {device}"), nodad);
    }

    /// Runs `body` on a thread of its own inside of this namespace, with a runtime of its own.
    pub(crate) fn spawn<F>(&self, body: impl FnOnce() -> F + Send + 'static) -> Inside
    where
        F: Future<Output = ()>,
    {
        let path = self.path();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            // Only this thread moves, and it does not come back.
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = body() => {}
                    _ = stopped => {}
                }
            });
        });
        Inside { thread, stop }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Nothing here may panic: a failed test is unwinding.
        if let Err(error) = Command::new("ip").args(["netns", "del", &self.0]).status() {
            eprintln!("cannot delete the namespace {}: {error}", self.0);
        }
    }
}

/// A thread inside of a namespace.
pub(crate) struct Inside {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Inside {
    /// Waits for its end; the error is what it panicked with.
    pub(crate) fn join(self) -> Result<(), Box<dyn Any + Send>> {
        let Self { thread, stop: _stop } = self;
        thread.join()
    }

    /// Ends it at its next step.
    pub(crate) fn stop(self) {
        let Self { thread, stop } = self;
        drop(stop);
        if thread.join().is_err() {
            eprintln!("the server behind the network had panicked");
        }
    }
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().expect("`ip` is needed: install iproute2");
    assert!(output.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
}
