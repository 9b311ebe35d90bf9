//! Accepting: every connection, from wherever it comes, becomes HTTP on the one router.
//!
//! This is the only file that knows how a stream turns into requests. What the router serves it does not know.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use convoke_wire::channel::{PING_EVERY, PING_TIMEOUT};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
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

/// Serves the router on both ways in until dropped.
pub(crate) async fn accept(router: Router, listener: Option<TcpListener>, mut inside: mpsc::Receiver<DuplexStream>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed; without a permit there is nothing to serve with.
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let router = router.clone();
        tokio::select! {
            stream = accept_tcp(listener.as_ref()) => {
                connections.spawn(async move {
                    match tokio::time::timeout(FIRST_BYTES_TIMEOUT, first_bytes(&stream)).await {
                        Ok(Ok(())) => serve(stream, router).await,
                        Ok(Err(error)) => tracing::debug!("a connection ended: {error}"),
                        Err(_) => tracing::debug!("a connection ended: it did not begin to speak"),
                    }
                    drop(permit);
                });
            }
            Some(stream) = inside.recv() => {
                connections.spawn(async move { serve(stream, router).await; drop(permit); });
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it small messages wait for acknowledgements; a socket that refuses still works.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits until the stream's first bytes say which HTTP it speaks, or that nothing comes; they stay to be read.
async fn first_bytes(stream: &TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; HTTP2_PREFACE.len()];
    loop {
        let count = stream.peek(&mut bytes).await?;
        let undecided = count < bytes.len() && HTTP2_PREFACE.starts_with(&bytes[..count]);
        if count == 0 || !undecided {
            return Ok(());
        }
        tokio::time::sleep(FIRST_BYTES_PAUSE).await;
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
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
    let service = TowerToHyperService::new(router);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("a connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn first_bytes_decide() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (bytes, decided) in [(&b""[..], false), (b"PRI * HT", false), (HTTP2_PREFACE, true), (b"GET /", true)] {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            peer.write_all(bytes).await.unwrap();
            let waited = tokio::time::timeout(Duration::from_millis(200), first_bytes(&stream)).await;
            assert_eq!(waited.is_ok(), decided, "{}", bytes.escape_ascii());
        }
    }
}
