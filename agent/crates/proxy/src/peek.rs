//! Looking at what a client said first without taking it: whoever serves the connection then finds it whole.

use std::{io, time::Duration};

use rustix::net::{RecvFlags, recv};
use tls::{HELLO_BYTES_MAX, Hello};
use tokio::{io::Interest, net::TcpStream, time::timeout};

/// Waits until `read` finds what it looks for among the first bytes, at most `bytes_max` of them. None when it cannot
/// find it: the buffer is full, the client says no more, or `wait` is over.
pub(crate) async fn first<T>(
    stream: &TcpStream,
    bytes_max: usize,
    wait: Duration,
    mut read: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut buffer = vec![0; bytes_max];
    let look = async {
        loop {
            let is_last = stream.ready(Interest::READABLE).await?.is_read_closed();
            let looked = stream.try_io(Interest::READABLE, || {
                let (bytes, _) = recv(stream, buffer.as_mut_slice(), RecvFlags::PEEK)?;
                let seen = buffer.get(..bytes).unwrap_or_default();
                match read(seen) {
                    Some(found) => Ok(Some(found)),
                    None if is_last || bytes == bytes_max || bytes == 0 => Ok(None),
                    // Only new bytes make the stream ready again.
                    None => Err(io::ErrorKind::WouldBlock.into()),
                }
            });
            match looked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                looked => return looked,
            }
        }
    };
    timeout(wait, look).await.unwrap_or(Ok(None))
}

/// The client's hello. One that is never whole is [`Hello::Incomplete`].
pub(crate) async fn hello(stream: &TcpStream, wait: Duration) -> io::Result<Hello> {
    let read = |bytes: &[u8]| Some(Hello::read(bytes)).filter(|hello| *hello != Hello::Incomplete);
    Ok(first(stream, HELLO_BYTES_MAX, wait, read).await?.unwrap_or(Hello::Incomplete))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::sleep,
    };

    use super::*;

    const PATIENT: Duration = Duration::from_secs(60);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    fn line(bytes: &[u8]) -> Option<usize> {
        bytes.iter().position(|byte| *byte == b'\n')
    }

    #[tokio::test]
    async fn what_comes_in_pieces_is_seen_when_it_is_whole_and_left_where_it_is() {
        let (mut client, mut server) = pair().await;
        let said = async {
            for piece in ["a", "b", "c\n", "d"] {
                client.write_all(piece.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(20)).await;
            }
            client.shutdown().await.unwrap();
        };
        let (found, ()) = tokio::join!(first(&server, 100, PATIENT, line), said);
        assert_eq!(found.unwrap(), Some(3));
        let mut all = String::new();
        server.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "abc\nd");
    }

    #[tokio::test]
    async fn a_client_that_says_no_more_or_too_much_is_not_waited_for() {
        for (said, is_over) in [("", true), ("abc", true), (&"x".repeat(200), false)] {
            let (mut client, server) = pair().await;
            client.write_all(said.as_bytes()).await.unwrap();
            if is_over {
                client.shutdown().await.unwrap();
            }
            assert_eq!(first(&server, 100, PATIENT, line).await.unwrap(), None, "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_silent_client_is_waited_for_only_so_long() {
        let (mut client, server) = pair().await;
        assert_eq!(hello(&server, Duration::from_millis(20)).await.unwrap(), Hello::Incomplete);
        client.write_all(b"\x16").await.unwrap();
        assert_eq!(hello(&server, Duration::from_millis(20)).await.unwrap(), Hello::Incomplete);
    }
}
