//! A world of its own for each test: a host, the network behind it with a server at real addresses, a cgroup for jobs,
//! and a BPF file system for pins. Everything is removed when the world is dropped.
//!
//! Needs root, `ip` (iproute2), `nsenter` and `setpriv` (util-linux), `nft` (nftables) and `python3`; fails when one is missing.

mod agent;
mod home;
mod log;
mod namespace;
mod proof;
mod query;

use std::{
    collections::BTreeSet,
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aya::programs::links::{FdLink, PinnedLink};
use interception::{Config, LsmConfig, Scope};
use model::HostName;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Child, ChildStdout},
    time::{sleep, timeout},
};

use self::{home::Home, namespace::Namespace};
pub(crate) use agent::Agent;
pub(crate) use log::Log;
pub(crate) use proof::{caught, not_shown, there};

/// Longest that one client may take, its start included. An emulated machine needs minutes where others need seconds.
const CLIENT_TIME_MAX: Duration = Duration::from_secs(300);
/// Where the server is.
const SERVER_ADDRESSES: [&str; 4] = ["203.0.113.10", "203.0.113.11", "2001:db8::10", "2001:db8::11"];
/// Where it answers, at every address of the network.
const SERVER_PORTS: [u16; 2] = [443, 8443];

/// Set where the programs go on the root of the cgroup hierarchy.
const ATTACH_TO_ROOT: &str = "SNOWFENCE_TEST_ATTACH_TO_ROOT";

/// What a client runs: the tricks of the first files are verbs of the last.
const SCRIPT: &str = concat!(
    include_str!("ring.py"),
    include_str!("handed.py"),
    include_str!("jobs.py"),
    include_str!("packets.py"),
    include_str!("protocols.py"),
    include_str!("client.py")
);

/// One test's world. Its methods are for code running [inside](World::run).
pub(crate) struct World {
    name: String,
    host: Namespace,
    network: Namespace,
    cgroup: PathBuf,
    pins: TempDir,
    _home: Arc<Home>,
}

impl World {
    /// Builds a world and runs `test` on its host: on a thread of its own, whose sockets and children are in the
    /// host's network namespace.
    pub(crate) fn run<F>(test: impl FnOnce(Arc<Self>) -> F + Send + 'static)
    where
        F: Future<Output = ()>,
    {
        assert!(nix::unistd::geteuid().is_root(), "these tests load kernel programs: run them as root");
        let world = Arc::new(Self::build());
        let server = world.network.spawn(serve);
        let guest = Arc::clone(&world);
        let body = world.host.spawn(move || test(guest));
        let outcome = body.join();
        server.stop();
        if let Err(panic) = outcome {
            drop(world);
            std::panic::resume_unwind(panic);
        }
    }

    fn build() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("sf{}-{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let home = Home::enter();
        let cgroup = home.folder().join(&name);
        fs::create_dir(&cgroup).unwrap();
        let pins = tempfile::tempdir().unwrap();
        mount(Some("bpf"), pins.path(), Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
        let (host, network) = (Namespace::new(&format!("{name}h")), Namespace::new(&format!("{name}n")));
        host.ip("link add eth0 type veth peer name eth0 netns", network.name());
        for (namespace, addresses) in
            [(&host, ["192.0.2.1/24", "2001:db8:1::1/64"]), (&network, ["192.0.2.2/24", "2001:db8:1::2/64"])]
        {
            for address in addresses {
                namespace.add_address(address, "eth0");
            }
            namespace.ip("link set eth0 up", "");
        }
        for address in SERVER_ADDRESSES {
            network.add_address(address, "lo");
        }
        host.ip("route add default via", "192.0.2.2");
        host.ip("-6 route add default via", "2001:db8:1::2");
        Self { name, host, network, cgroup, pins, _home: home }
    }

    /// Attach to this world's jobs, pin in this world's folder. Where this is all that runs on a machine, it may be told to
    /// attach to the root of the hierarchy: then one test runs at a time.
    pub(crate) fn config(&self, port: u16) -> Config {
        config(env::var_os(ATTACH_TO_ROOT).is_none().then(|| self.cgroup.clone()), self.pins(), port)
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.pins.path().join("snowfence")
    }

    /// The cgroup that jobs run in.
    pub(crate) fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// What the kernel calls the jobs' cgroup.
    pub(crate) fn cgroup_id(&self) -> u64 {
        fs::metadata(&self.cgroup).unwrap().ino()
    }

    /// Another network namespace of the same host, with nothing but loopback.
    pub(crate) fn container(&self, name: &str) -> Namespace {
        Namespace::new(&format!("{}c{name}", self.name))
    }

    /// Another network namespace, with a device by which the host forwards, as the bridge of a container engine does.
    pub(crate) fn routed_container(&self, name: &str) -> Namespace {
        let container = self.container(name);
        let (inside, device) = (container.name(), format!("veth-{name}"));
        self.admin(&format!(
            "ip link add {device} address 02:00:00:00:88:01 type veth peer name eth0 netns {inside}
             ip addr add 10.88.0.1/24 dev {device}
             ip addr add fd00:88::1/64 dev {device} nodad
             ip link set {device} up
             ip -n {inside} addr add 10.88.0.2/24 dev eth0
             ip -n {inside} addr add fd00:88::2/64 dev eth0 nodad
             ip -n {inside} link set eth0 up
             ip -n {inside} route add default via 10.88.0.1
             ip -n {inside} -6 route add default via fd00:88::1
             ip netns exec $(ip netns identify) sh -ec '
               echo 1 > /proc/sys/net/ipv4/ip_forward
               echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
             nft add table inet out
             nft add chain inet out post '{{ type nat hook postrouting priority 100; }}'
             nft add rule inet out post ip saddr 10.88.0.0/24 masquerade
             nft add rule inet out post ip6 saddr fd00:88::/64 masquerade"
        ));
        container
    }

    /// Starts a job's client on the host.
    pub(crate) fn start(&self, line: &str) -> Client {
        Client::start(&self.cgroup, &[], line)
    }

    /// Runs a job's client on the host and answers the last line that it says.
    pub(crate) async fn client(&self, line: &str) -> String {
        self.start(line).last_line().await
    }

    /// Starts a client through another program, which is given its command line.
    pub(crate) fn start_through(&self, through: &[&str], line: &str) -> Client {
        Client::start(&self.cgroup, through, line)
    }

    /// Starts a job's client in another namespace.
    pub(crate) fn start_in(&self, namespace: &Namespace, line: &str) -> Client {
        let net = format!("--net={}", namespace.path().display());
        Client::start(&self.cgroup, &["nsenter", &net], line)
    }

    /// Runs a job's client in another namespace.
    pub(crate) async fn client_in(&self, namespace: &Namespace, line: &str) -> String {
        self.start_in(namespace, line).last_line().await
    }

    /// A second cgroup for jobs, beside the first.
    pub(crate) fn sibling_cgroup(&self) -> Sibling {
        Sibling::make(self.cgroup.with_extension("sibling"))
    }

    /// A cgroup below the jobs' own.
    pub(crate) fn child_cgroup(&self, name: &str) -> Sibling {
        Sibling::make(self.cgroup.join(name))
    }

    /// Ids of the programs that are attached to the covered cgroup, whoever attached them.
    pub(crate) fn attached_programs(&self) -> BTreeSet<u32> {
        query::programs(&self.config(0).cgroup.unwrap_or_else(home::root))
    }

    /// Ids of the pinned links of these names.
    pub(crate) fn pinned_links(&self, names: &[&str]) -> Vec<u32> {
        let folder = self.pins().join(format!("v{}", agent_common::LAYOUT));
        let id = |name: &&str| {
            let link = FdLink::from(PinnedLink::from_pin(folder.join(name)).unwrap());
            link.info().unwrap().id()
        };
        names.iter().map(id).collect()
    }

    /// Runs an administrator's command on the host.
    pub(crate) fn admin(&self, script: &str) {
        let status = Command::new("sh").args(["-ec", script]).status().unwrap();
        assert!(status.success(), "{script}");
    }
}

/// What an agent of these tests is told.
pub(crate) fn config(cgroup: Option<PathBuf>, pins: PathBuf, port: u16) -> Config {
    let domains = vec![HostName::parse("snowflakecomputing.com").unwrap()];
    let (scope, lsm) = (Scope::Addresses, LsmConfig::default());
    let (workers, runners) = (Vec::new(), Vec::new());
    Config {
        cgroup,
        pins,
        port,
        drop_forwarded: true,
        domains,
        observing: false,
        scope,
        workers,
        runners,
        lsm,
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Nothing here may panic: a failed test is unwinding.
        if let Err(error) = umount2(self.pins.path(), MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {error}", self.pins.path().display());
        }
        home::remove_cgroup(&self.cgroup);
    }
}

/// A cgroup for jobs beside the world's own, or below it.
pub(crate) struct Sibling(PathBuf);

impl Sibling {
    fn make(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// What the kernel calls it.
    pub(crate) fn id(&self) -> u64 {
        fs::metadata(&self.0).unwrap().ino()
    }

    /// A cgroup anywhere, with those above it.
    #[allow(dead_code, reason = "only one of the two test programs wants it")]
    pub(crate) fn at(path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        Self(path.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Starts a client in this cgroup.
    pub(crate) fn start(&self, line: &str) -> Client {
        Client::start(&self.0, &[], line)
    }

    /// Runs a client in this cgroup.
    pub(crate) async fn client(&self, line: &str) -> String {
        self.start(line).last_line().await
    }
}

impl Drop for Sibling {
    fn drop(&mut self) {
        home::remove_cgroup(&self.0);
    }
}

/// A process of a job.
pub(crate) struct Client {
    child: Child,
    pid: u32,
    said: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(cgroup: &Path, through: &[&str], line: &str) -> Self {
        let mut command = in_cgroup(cgroup);
        command.args(through).args(["python3", "-c", SCRIPT]).args(line.split(' '));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let pid = child.id().unwrap();
        Self { child, pid, said }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The next line that it says.
    pub(crate) async fn line(&mut self) -> String {
        let said = timeout(CLIENT_TIME_MAX, self.said.next_line()).await.expect("the client hangs");
        said.unwrap().expect("the client says no more")
    }

    /// Takes note of its end, so that its pid is free, and goes on reading what its children say.
    pub(crate) async fn reap(&mut self) {
        let ended = async {
            while self.child.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(CLIENT_TIME_MAX, ended).await.expect("the client does not end");
    }

    /// Lets a waiting client go on.
    pub(crate) async fn nudge(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    }

    /// What it says last.
    pub(crate) async fn last_line(mut self) -> String {
        let mut last = self.line().await;
        while let Some(line) = timeout(CLIENT_TIME_MAX, self.said.next_line()).await.unwrap().unwrap() {
            last = line;
        }
        last
    }
}

/// A command that begins its life in `cgroup`, under its final pid.
pub(crate) fn in_cgroup(cgroup: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("sh");
    let script = "echo $$ > \"$0\"/cgroup.procs && exec \"$@\"";
    command.args(["-c", script]).arg(cgroup);
    command
}

/// The first line that the other end says.
pub(crate) async fn first_line(stream: TcpStream) -> String {
    let mut line = String::new();
    timeout(CLIENT_TIME_MAX, BufReader::new(stream).read_line(&mut line)).await.expect("silence").unwrap();
    line.trim_end().to_owned()
}

/// The server behind the network: says that it is the real one, then answers what it is sent.
async fn serve() {
    for port in SERVER_PORTS {
        let listener = TcpListener::bind(("::", port)).await.unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(echo(stream));
            }
        });
    }
    for address in SERVER_ADDRESSES {
        // At each address a socket of its own, so that the answer comes from there.
        let socket = UdpSocket::bind((address, 443)).await.unwrap();
        tokio::spawn(answer(socket));
    }
    std::future::pending::<()>().await;
}

async fn answer(socket: UdpSocket) {
    let mut datagram = [0; 2048];
    loop {
        // Of a client that is gone by now, the socket is told; that is not this server's concern.
        if let Ok((_, from)) = socket.recv_from(&mut datagram).await {
            let _gone = socket.send_to(b"REAL\n", from).await;
        }
    }
}

async fn echo(mut stream: TcpStream) {
    if stream.write_all(b"REAL\n").await.is_ok() {
        let (mut from, mut to) = stream.split();
        // A client that goes away is not this server's concern.
        let _gone = tokio::io::copy(&mut from, &mut to).await;
    }
}
