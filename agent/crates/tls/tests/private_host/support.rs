//! A host that is this one and yet cannot be harmed: mount and network namespaces of its own, private copies of the
//! system's certificate store, no hooks, and a loopback with nothing behind it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::SystemTime,
};

use model::HostName;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;
use tls::Authority;

/// The guarded host.
pub(crate) const HOST: &str = "acme.snowflakecomputing.com";

/// Where the system's store is, and where local certificates go.
pub(crate) const STORE: [&str; 2] = ["/etc/ssl/certs", "/usr/local/share/ca-certificates"];

/// A folder for one test, and an authority in it.
pub(crate) struct Room {
    pub(crate) dir: TempDir,
    pub(crate) authority: Arc<Authority>,
}

impl Room {
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
}

/// Runs `test` on a thread of its own inside the private host. Needs root, and fails without.
pub(crate) fn on_private_host(test: impl FnOnce(&Room) + Send) {
    let run = || {
        let dir = tempfile::tempdir().unwrap();
        // Jobs of other users reach the bundles below it.
        run(Command::new("chmod").arg("755").arg(dir.path()));
        let guarded = [HostName::parse(HOST).unwrap()];
        let authority =
            Arc::new(Authority::create(&dir.path().join("ca"), &guarded, SystemTime::now()).unwrap());
        let room = Room { dir, authority };
        fs::create_dir(room.at("state")).unwrap();
        enter(&room);
        test(&room);
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn enter(room: &Room) {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .expect("this test makes namespaces of its own and needs root: run it as root");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    for (number, folder) in STORE.into_iter().enumerate() {
        let copy = room.at(&format!("store{number}"));
        run(Command::new("cp").arg("-a").arg(folder).arg(&copy));
        bind(&copy, folder);
    }
    // Java's hook would write to the package database.
    mount(Some("tmpfs"), "/etc/ca-certificates/update.d", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    let hosts = room.at("hosts");
    fs::write(&hosts, format!("127.0.0.1 localhost {HOST} ocsp.snowflakecomputing.com\n")).unwrap();
    bind(&hosts, "/etc/hosts");
    run(Command::new("ip").args(["link", "set", "lo", "up"]));
    // So that what the machine's store has drifted by is not taken for our doing.
    run(&mut Command::new("/usr/sbin/update-ca-certificates"));
}

pub(crate) fn bind(from: &Path, onto: impl AsRef<Path>) {
    let none = None::<&str>;
    mount(Some(from), onto.as_ref(), none, MsFlags::MS_BIND, none).unwrap();
}

/// Runs a command that must succeed, and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let (done, said) = attempt(command);
    assert!(done, "{command:?}: {said}");
    said
}

/// Runs a command with no setting of this process that concerns certificates, but with those that it was given. Returns
/// whether it succeeded, and all it printed.
pub(crate) fn attempt(command: &mut Command) -> (bool, String) {
    let given: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for (name, _) in std::env::vars_os().filter(|(name, _)| !given.contains(name)) {
        let text = name.to_string_lossy();
        if ["SSL", "CERT", "BUNDLE", "CAINFO", "PROXY", "proxy"].iter().any(|part| text.contains(part)) {
            command.env_remove(name);
        }
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Every file, folder and link below `folders`, with mode, owner and content.
pub(crate) fn tree(folders: &[&Path]) -> String {
    let script =
        "find \"$@\" -printf '%p %M %U:%G %l\\n' | sort; find \"$@\" -type f -exec sha256sum {} + | sort -k2";
    run(Command::new("sh").args(["-c", script, "sh"]).args(folders))
}
