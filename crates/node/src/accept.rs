//! Accepting: every connection, from wherever it comes, becomes HTTP on the one router.
//!
//! This is the only file that knows how a stream turns into requests. What the router serves it does not know.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use convoke_wire::channel::{PING_EVERY, PING_TIMEOUT};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

/// How many connections may stand at a time.
const CONNECTIONS_MAX: usize = 16_384;
/// How many calls one connection may have under way.
const STREAMS_MAX: u32 = 1_024;
/// What one stream may have under way before its reader took it.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What all streams of a connection may have under way.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// How long to wait after the system refused to accept, which it does when it has no room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a peer has until its first bytes say which HTTP it speaks. The server waits for those without end.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for more of them, where some came.
const FIRST_BYTES_PAUSE: Duration = Duration::from_millis(10);
/// What a peer that speaks HTTP/2 begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What becomes of connections, from wherever they come: the router, and room for so many.
#[derive(Clone)]
pub(crate) struct Acceptor {
    router: Router,
    room: Arc<Semaphore>,
}

/// Why nothing can be served on a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mute {
    /// Nothing came.
    #[error("it does not speak")]
    Silent,
    /// It ended, and had said nothing.
    #[error("it ended the connection without a word")]
    Ended,
    /// It broke.
    #[error(transparent)]
    Broken(#[from] std::io::Error),
}

/// What a stream's first bytes say of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// As a worker or a client does.
    Http2,
    /// HTTP/1, or nothing that is known.
    Other,
}

impl Acceptor {
    pub(crate) fn new(router: Router) -> Self {
        Self { router, room: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Serves the router on both ways in until dropped.
    pub(crate) async fn accept(self, listener: Option<TcpListener>, mut inside: mpsc::Receiver<DuplexStream>) {
        let mut connections = JoinSet::new();
        loop {
            let permit = self.room().await;
            let acceptor = self.clone();
            tokio::select! {
                stream = accept_tcp(listener.as_ref()) => {
                    connections.spawn(async move {
                        match first_bytes(&stream, FIRST_BYTES_TIMEOUT).await {
                            Ok(_) => acceptor.serve(stream).await,
                            Err(mute) => tracing::debug!("a connection ended: {mute}"),
                        }
                        drop(permit);
                    });
                }
                Some(stream) = inside.recv() => {
                    connections.spawn(async move { acceptor.serve(stream).await; drop(permit); });
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }

    /// Waits until there is room for a connection, which takes it up until the permit is dropped.
    pub(crate) async fn room(&self) -> OwnedSemaphorePermit {
        match self.room.clone().acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Serves the router on a stream until it ends.
    pub(crate) async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        builder.http1().timer(TokioTimer::new());
        let service = TowerToHyperService::new(self.router.clone());
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!("a connection ended: {error}");
        }
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => next_stream(listener).await.0,
        None => std::future::pending().await,
    }
}

/// The next connection to a listener, and whose it is.
pub(crate) async fn next_stream(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without it small messages wait for acknowledgements; a socket that refuses still works.
                drop(stream.set_nodelay(true));
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits until the stream's first bytes say which HTTP it speaks; they stay to be read.
pub(crate) async fn first_bytes(stream: &TcpStream, timeout: Duration) -> Result<Speaks, Mute> {
    let decided = async {
        let mut bytes = [0; HTTP2_PREFACE.len()];
        loop {
            let count = stream.peek(&mut bytes).await?;
            match &bytes[..count] {
                [] => return Err(Mute::Ended),
                HTTP2_PREFACE => return Ok(Speaks::Http2),
                some if HTTP2_PREFACE.starts_with(some) => tokio::time::sleep(FIRST_BYTES_PAUSE).await,
                _ => return Ok(Speaks::Other),
            }
        }
    };
    tokio::time::timeout(timeout, decided).await.unwrap_or(Err(Mute::Silent))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn first_bytes_decide() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http2, other) = (Some(Speaks::Http2), Some(Speaks::Other));
        for (bytes, speaks) in [(&b""[..], None), (b"PRI * HT", None), (HTTP2_PREFACE, http2), (b"GET /", other)] {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            peer.write_all(bytes).await.unwrap();
            let decided = first_bytes(&stream, Duration::from_millis(200)).await;
            assert_eq!(decided.ok(), speaks, "{}", bytes.escape_ascii());
        }
        drop(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (stream, _) = listener.accept().await.unwrap();
        assert!(matches!(first_bytes(&stream, FIRST_BYTES_TIMEOUT).await, Err(Mute::Ended)));
    }
}
