//! What a security team would put there instead: reverse proxies that end TLS and verify the server, each with its own
//! recommended settings for connections that stay open.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::SERVER_NAME;
use crate::Lab;

const START_WAIT: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(20);

/// A proxy that is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    Nginx,
    Haproxy,
    Mitmproxy,
}

impl Peer {
    pub(super) const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Mitmproxy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Mitmproxy => "mitmproxy",
        }
    }

    /// Where it listens on the host's loopback.
    pub(super) fn address(self) -> SocketAddr {
        let port = match self {
            Self::Nginx => 18_001,
            Self::Haproxy => 18_002,
            Self::Mitmproxy => 18_003,
        };
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Its command line, for a folder that [`Desk::prepare`] has filled.
    fn words(self, desk: &Desk) -> Vec<String> {
        let file = |name: &str| desk.folder.join(name).display().to_string();
        match self {
            Self::Nginx => ["nginx", "-p", &file(""), "-c", &file("nginx.conf")].map(str::to_owned).into(),
            Self::Haproxy => ["haproxy", "-db", "-f", &file("haproxy.cfg")].map(str::to_owned).into(),
            Self::Mitmproxy => [
                "mitmdump".to_owned(),
                "--quiet".to_owned(),
                "--mode".to_owned(),
                format!("reverse:https://{SERVER_NAME}:{}/", desk.server.port()),
                "--listen-host=127.0.0.1".to_owned(),
                format!("--listen-port={}", self.address().port()),
                format!("--certs=*={}", file("leaf-and-key.pem")),
                format!("--set=confdir={}", file("mitmproxy")),
                format!("--set=ssl_verify_upstream_trusted_ca={}", desk.server_root.display()),
                "--set=stream_large_bodies=1m".to_owned(),
            ]
            .into(),
        }
    }
}

/// A proxy at work. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Working {
    pub(super) peer: Peer,
    /// Its cgroup, in which nothing else runs.
    pub(super) cgroup: PathBuf,
    child: Child,
}

impl Drop for Working {
    fn drop(&mut self) {
        // The lab ends what is left in its cgroups; this one has ended or does so now.
        drop(self.child.kill().and_then(|()| self.child.wait()));
    }
}

/// What the proxies are given: a certificate for the server's name, and their configurations.
#[derive(Debug)]
pub(super) struct Desk {
    folder: PathBuf,
    server: SocketAddr,
    server_root: PathBuf,
}

impl Desk {
    /// Writes everything into a folder. `server_root` is the certificate that the server is verified by.
    pub(super) fn prepare(folder: &Path, server: SocketAddr, server_root: &Path) -> Result<Self> {
        let desk = Self { folder: folder.to_owned(), server, server_root: server_root.to_owned() };
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (root, leaf, key) = certificate()?;
        for (name, text) in [
            ("root.pem", root),
            ("leaf.pem", leaf.clone()),
            ("key.pem", key.clone()),
            ("leaf-and-key.pem", format!("{leaf}{key}")),
            ("nginx.conf", desk.nginx()),
            ("haproxy.cfg", desk.haproxy()),
        ] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(desk)
    }

    /// The certificate that clients of the proxies have to trust.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.join("root.pem")
    }

    /// Starts one, and waits until it listens.
    pub(super) fn start(&self, lab: &Lab, peer: Peer) -> Result<Working> {
        let (mut command, cgroup) = lab.beside_command(peer.name())?;
        let log = self.folder.join(format!("{}.log", peer.name()));
        let output = fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.args(peer.words(self)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start {}", peer.name()))?;
        let mut working = Working { peer, cgroup, child };
        let begun = Instant::now();
        while !listens(lab, peer.address())? {
            let ended = working.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > START_WAIT {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("{} does not listen: {}", peer.name(), said.trim());
            }
            std::thread::sleep(START_POLL);
        }
        Ok(working)
    }

    fn nginx(&self) -> String {
        let Self { folder, server, server_root } = self;
        let (folder, root) = (folder.display(), server_root.display());
        let listen = Peer::Nginx.address();
        format!(
            "daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 64m; proxy_max_temp_file_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    upstream origin {{ server {server}; keepalive 32; }}
    server {{
        listen {listen} ssl; ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/key.pem;
        keepalive_requests 1000000;
        location / {{
            proxy_pass https://origin; proxy_http_version 1.1;
            proxy_set_header Connection \"\"; proxy_set_header Host {SERVER_NAME};
            proxy_ssl_server_name on; proxy_ssl_name {SERVER_NAME};
            proxy_ssl_verify on; proxy_ssl_verify_depth 3; proxy_ssl_trusted_certificate {root};
        }}
    }}
}}
"
        )
    }

    fn haproxy(&self) -> String {
        let Self { folder, server, server_root } = self;
        let (folder, root, listen) = (folder.display(), server_root.display(), Peer::Haproxy.address());
        format!(
            "global
    maxconn 1024
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend jobs
    bind {listen} ssl crt {folder}/leaf-and-key.pem
    default_backend origin
backend origin
    server origin {server} ssl verify required ca-file {root} sni str({SERVER_NAME}) verifyhost {SERVER_NAME}
"
        )
    }
}

/// Asks from where it can be asked: the host's namespace.
fn listens(lab: &Lab, address: SocketAddr) -> Result<bool> {
    let (mut command, _) = lab.beside_command("look")?;
    let connect = format!("exec 3<>/dev/tcp/{}/{}", address.ip(), address.port());
    let status = command.args(["bash", "-c", &connect]).stderr(Stdio::null()).status();
    Ok(status.context("cannot run bash")?.success())
}

/// A root, a leaf for the server's name, and the leaf's key, as PEM: P-256, as the agent's.
fn certificate() -> Result<(String, String, String)> {
    let mut root = CertificateParams::new(Vec::<String>::new())?;
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "Benchmark Root");
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec![SERVER_NAME.to_owned()])?.signed_by(&key, &root)?;
    Ok((root.pem(), leaf.pem(), key.serialize_pem()))
}
