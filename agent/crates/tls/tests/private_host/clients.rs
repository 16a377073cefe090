//! Clients that are not ours, as published, against the terminator: they take the chain, name constraints and all, with the
//! trust that `trust install` gives them; and without it they refuse, so that this can fail.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use crate::support::{HOST, Room, attempt, on_private_host, run};
use tls::{
    Terminator,
    trust::{self, SystemStore, TrustPlan},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the server refuses every login with. A client that prints it has believed the certificate.
const MARK: &str = "the-handshake-went-well";
const PORT: u16 = 443;

/// Answers every request on the private host's loopback with a refused login (protocol reference, 1.6).
fn serve(room: &Room) {
    let terminator = Arc::new(Terminator::new(Arc::clone(&room.authority), |_| true).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", PORT)).unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                let terminator = Arc::clone(&terminator);
                tokio::spawn(async move {
                    if let Ok(terminated) = terminator.accept(tcp).await {
                        assert_eq!(terminated.server_name().as_str(), HOST);
                        answer(terminated.into_parts().0).await;
                    }
                });
            }
        });
    });
}

async fn answer(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let body =
        format!(r#"{{"data":null,"code":"390422","message":"{MARK}","success":false,"headers":null}}"#);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // A client that hangs up early has read enough.
    drop(stream.write_all((head + &body).as_bytes()).await);
    drop(stream.shutdown().await);
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    request.len() >= head.len() + 4 + length.unwrap_or(0)
}

/// Installs trust as an operator would, and returns the variables that a job then has.
fn install(room: &Room) -> Vec<(String, String)> {
    let env = room.at("runner.env");
    fs::write(&env, "").unwrap();
    let plan = TrustPlan {
        state: room.at("state"),
        system: SystemStore::detect(Path::new("/")),
        runner_env_files: vec![env.clone()],
        certifi_roots: vec![],
    };
    let installed = trust::install(&plan, room.authority.root_pem()).unwrap();
    assert!(installed.iter().all(|one| one.state.is_trusted()), "{installed:?}");
    let text = fs::read_to_string(env).unwrap();
    text.lines().filter_map(|line| line.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/private_host/clients").join(name)
}

/// The Python with the pinned drivers that `cargo xtask setup` makes.
fn drivers() -> PathBuf {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = var("SNOWFENCE_CACHE")
        .or_else(|| Some(var("XDG_CACHE_HOME")?.join("snowfence")))
        .or_else(|| Some(var("HOME")?.join(".cache/snowfence")))
        .unwrap();
    let python = cache.join("py-client/bin/python3");
    assert!(python.exists(), "needs {}: run `cargo xtask setup`", python.display());
    python
}

#[test]
fn pythons_own_ssl_takes_the_chain_and_resumes() {
    on_private_host(|room| {
        serve(room);
        let mut python = Command::new("python3");
        python.arg(script("standard.py")).args([HOST, &PORT.to_string()]).arg(room.at("ca/root.pem"));
        let said = run(&mut python);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[..2], ["TLSv1.2 http/1.1 resumed", "TLSv1.3 http/1.1 resumed"], "{said}");
        assert!(lines[2].starts_with("refused: unable to get local issuer certificate"), "{said}");
    });
}

#[test]
fn the_python_connector_takes_it_through_the_runners_environment() {
    on_private_host(|room| {
        serve(room);
        let variables = install(room);
        let (_, without) = attempt(Command::new(drivers()).arg(script("connector.py")));
        assert!(
            without.contains("certificate verify failed") && !without.contains(MARK),
            "the control: {without}"
        );
        let (_, with) = attempt(Command::new(drivers()).arg(script("connector.py")).envs(variables));
        assert!(with.contains(MARK), "{with}");
    });
}

#[test]
fn the_go_driver_takes_it_through_the_systems_store() {
    on_private_host(|room| {
        serve(room);
        let (_, without) = attempt(Command::new(drivers()).arg(script("adbc.py")));
        assert!(
            without.contains("failed to verify certificate") && !without.contains(MARK),
            "the control: {without}"
        );
        install(room);
        let (_, with) = attempt(Command::new(drivers()).arg(script("adbc.py")));
        assert!(with.contains(MARK), "{with}");
    });
}
