//! Two real connections joined, and what each end sees of the other.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

use super::*;

const PATIENT: Duration = Duration::from_secs(60);

struct Joined {
    client: TcpStream,
    server: TcpStream,
    moved: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    joined: JoinHandle<io::Result<()>>,
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

async fn joined() -> Joined {
    let ((client, near), (far, server)) = (pair().await, pair().await);
    let (stop, stopping) = watch::channel(false);
    let moved = Arc::new(AtomicU64::new(0));
    let count = moved.clone();
    let joined = tokio::spawn(async move { join(&near, &far, &count, stopping).await });
    Joined { client, server, moved, stop, joined }
}

async fn ended(joined: JoinHandle<io::Result<()>>) -> io::Result<()> {
    timeout(PATIENT, joined).await.expect("it does not end").unwrap()
}

/// Bytes of which no two stretches are alike, so that one lost, doubled or out of place would show.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * at / 7 + at) % 251).unwrap()).collect()
}

#[tokio::test]
async fn every_byte_arrives_in_order_while_both_speak() {
    let Joined { client, server, moved, joined, .. } = joined().await;
    let (up, down) = (bytes(3_000_001), bytes(5_000_003));
    let speak = |stream: TcpStream, said: Vec<u8>| {
        let (mut from, mut to) = stream.into_split();
        let writing = tokio::spawn(async move {
            to.write_all(&said).await.unwrap();
            to.shutdown().await.unwrap();
            to
        });
        async move {
            let mut heard = Vec::new();
            from.read_to_end(&mut heard).await.unwrap();
            drop(writing.await.unwrap());
            heard
        }
    };
    let (at_client, at_server) = tokio::join!(speak(client, up.clone()), speak(server, down.clone()));
    assert!(at_client == down && at_server == up);
    ended(joined).await.unwrap();
    assert_eq!(moved.load(Ordering::Relaxed), 8_000_004);
}

#[tokio::test]
async fn an_end_that_is_done_speaking_is_still_spoken_to() {
    let Joined { mut client, mut server, joined, .. } = joined().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    server.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    heard.clear();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "answer");
    ended(joined).await.unwrap();
}

#[tokio::test]
async fn a_reset_on_either_side_is_a_reset_on_the_other() {
    for client_breaks in [true, false] {
        let Joined { mut client, mut server, joined, .. } = joined().await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        let (broken, mut other) = if client_breaks { (client, server) } else { (server, client) };
        reset(&broken);
        drop(broken);
        let heard = timeout(PATIENT, other.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(heard.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(ended(joined).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_reader_that_stalls_holds_up_nobody_but_its_sender_and_loses_nothing() {
    let Joined { mut client, mut server, joined, .. } = joined().await;
    let said = bytes(20_000_000);
    let sent = said.clone();
    let writing = tokio::spawn(async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    sleep(Duration::from_millis(200)).await;
    assert!(!writing.is_finished(), "somebody keeps what nobody reads");
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert!(heard == said);
    drop((server, writing.await.unwrap()));
    ended(joined).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_nothing_moves_on_is_reset_in_the_end() {
    let began = Instant::now();
    // Without who could tell it to stop, it would stop.
    let Joined { mut client, server: _server, stop: _stop, joined, .. } = joined().await;
    let heard = client.read_u8().await.unwrap_err();
    assert_eq!(heard.kind(), io::ErrorKind::ConnectionReset);
    assert!(began.elapsed() >= PASSED_IDLE_MAX);
    assert_eq!(ended(joined).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn when_the_agent_stops_what_is_idle_is_reset_and_what_moves_goes_on() {
    let Joined { mut client, mut server, stop, joined, .. } = joined().await;
    stop.send_replace(true);
    for _ in 0..30 {
        client.write_all(b"x").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        sleep(PASSED_STOP_WAIT_MAX / 20).await;
    }
    let heard = timeout(PATIENT, client.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(heard.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(ended(joined).await.unwrap_err().kind(), io::ErrorKind::Interrupted);
}
