//! Accepting: every connection, from wherever it comes, becomes TLS and then HTTP on the one router. What comes from
//! inside this process needs no TLS.
//!
//! This is the only file that knows how a stream turns into requests. What the router serves it does not know.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http;
use convoke_core::coordinator::credentials::Credentials;
use convoke_wire::channel::{PING_EVERY, PING_TIMEOUT};
use convoke_wire::tls::verify::MemberVerifier;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::util::MapRequest;

use crate::peer::Peer;
use crate::strangers::Strangers;

/// How many connections may stand at a time.
const CONNECTIONS_MAX: usize = 16_384;
/// How many calls one connection may have under way.
const STREAMS_MAX: u32 = 1_024;
/// What one stream may have under way before its reader took it.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What all streams of a connection may have under way.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// What one frame may have: a blob's chunk in a few.
const FRAME_BYTES: u32 = 512 * 1024;
/// What a request's headers may have.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// How long to wait after the system refused to accept, which it does when it has no room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a peer has to show who it is: until the handshake is over, and, where it showed no certificate, until it has
/// enrolled and gone.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);
/// What such a peer may have under way: no more than an enrolment needs.
const STRANGER_WINDOW_BYTES: u32 = 64 * 1024;
/// The least that HTTP/2 allows.
const STRANGER_FRAME_BYTES: u32 = 16 * 1024;
/// What the first record of a handshake begins with (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// What whoever speaks HTTP without TLS is told.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This port speaks TLS: use a convoke client or worker.\n";

/// What becomes of connections, from wherever they come: the router, and room for so many.
#[derive(Clone)]
pub(crate) struct Acceptor {
    router: Router,
    room: Arc<Semaphore>,
    tls: TlsAcceptor,
    members: Arc<MemberVerifier>,
    /// Who still counts.
    credentials: watch::Receiver<Arc<Credentials>>,
}

/// A connection after its handshake.
pub(crate) type Secured = TlsStream<TcpStream>;

/// Why nothing can be served on a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Mute {
    /// Nothing came.
    #[error("it does not speak")]
    Silent,
    /// It ended, and had said nothing.
    #[error("it ended the connection without a word")]
    Ended,
    /// It speaks something else.
    #[error("it does not speak TLS")]
    Plain,
    /// It broke, or the handshake failed.
    #[error(transparent)]
    Broken(#[from] std::io::Error),
}

impl Acceptor {
    pub(crate) fn new(
        router: Router,
        config: Arc<ServerConfig>,
        members: Arc<MemberVerifier>,
        credentials: watch::Receiver<Arc<Credentials>>,
    ) -> Self {
        Self { router, room: Arc::new(Semaphore::new(CONNECTIONS_MAX)), tls: config.into(), members, credentials }
    }

    fn knows(&self, peer: &Peer) -> bool {
        peer.is_known(&self.credentials.borrow())
    }

    /// Serves the router on both ways in until dropped.
    pub(crate) async fn accept(self, listener: Option<TcpListener>, mut inside: mpsc::Receiver<DuplexStream>) {
        let mut connections = JoinSet::new();
        let mut strangers = Strangers::default();
        loop {
            let acceptor = self.clone();
            // There is always room for what comes from inside.
            let dialled = async { (self.room().await, accept_tcp(listener.as_ref()).await) };
            tokio::select! {
                (permit, (stream, address)) = dialled => {
                    let (known, knows) = oneshot::channel();
                    let connection = connections.spawn(async move {
                        if let Err(mute) = acceptor.serve_tcp(stream, address, known).await {
                            tracing::debug!(%address, "a connection ended: {mute}");
                        }
                        drop(permit);
                    });
                    strangers.add(address.ip(), connection, knows);
                }
                Some(stream) = inside.recv() => {
                    let served = async move { acceptor.serve(stream, Peer::inside(), Arc::default()).await };
                    connections.spawn(served);
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

    /// Serves whoever dialled; says so on `known` once it is a member.
    async fn serve_tcp(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
        known: oneshot::Sender<()>,
    ) -> Result<(), Mute> {
        let spoken = tokio::time::timeout(STRANGER_TIMEOUT, speaks_tls(&stream)).await.unwrap_or(Err(Mute::Silent));
        if let Err(Mute::Plain) = spoken {
            // Whoever it is may be gone already.
            drop(stream.write_all(PLAIN).await);
            drop(stream.shutdown().await);
        }
        spoken?;
        let (stream, peer) = self.greet(stream, address, STRANGER_TIMEOUT).await?;
        if self.knows(&peer) {
            // The list may be gone, with everything else.
            known.send(()).ok();
        }
        self.serve_known(stream, peer).await;
        Ok(())
    }

    /// Serves the router on a connection until it ends; a stranger, for no longer than it takes to enrol. Who asks for
    /// nothing has no business here, and who was removed has it no more, whatever is under way.
    pub(crate) async fn serve_known(&self, stream: Secured, peer: Peer) {
        let patience = if self.knows(&peer) { Duration::MAX } else { STRANGER_TIMEOUT };
        let asked = Arc::new(AtomicBool::new(false));
        tokio::select! {
            _ = tokio::time::timeout(patience, self.serve(stream, peer.clone(), asked.clone())) => {}
            () = is_mute(&asked) => tracing::debug!("{peer} asked for nothing"),
            () = self.until_removed(&peer) => {}
        }
    }

    /// Shakes hands with a peer, and finds out who it is.
    pub(crate) async fn greet(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<(Secured, Peer), Mute> {
        let greeted = async {
            speaks_tls(&stream).await?;
            Ok(self.tls.accept(stream).await?)
        };
        let stream = tokio::time::timeout(timeout, greeted).await.unwrap_or(Err(Mute::Silent))?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = Peer::of(shown, &self.members, address);
        Ok((stream, peer))
    }

    /// Ends when a peer counts no more that counted; never for others.
    async fn until_removed(&self, peer: &Peer) {
        let mut credentials = self.credentials.clone();
        if self.knows(peer) {
            // Where nobody says more, the coordinator ends.
            if credentials.wait_for(|credentials| !peer.is_known(credentials)).await.is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Serves the router on a stream until it ends; `asked` becomes true with the first call.
    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        asked: Arc<AtomicBool>,
    ) {
        let mut builder = Builder::new(TokioExecutor::new());
        let (streams_max, stream_bytes, connection_bytes, frame_bytes) = if self.knows(&peer) {
            (STREAMS_MAX, STREAM_WINDOW_BYTES, CONNECTION_WINDOW_BYTES, FRAME_BYTES)
        } else {
            (1, STRANGER_WINDOW_BYTES, STRANGER_WINDOW_BYTES, STRANGER_FRAME_BYTES)
        };
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(streams_max)
            .initial_stream_window_size(stream_bytes)
            .initial_connection_window_size(connection_bytes)
            .max_frame_size(frame_bytes)
            .max_header_list_size(HEADERS_BYTES_MAX);
        builder.http1().timer(TokioTimer::new()).max_buf_size(HEADERS_BYTES_MAX as usize);
        let named = MapRequest::new(self.router.clone(), move |mut request: http::Request<_>| {
            asked.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer.clone());
            request
        });
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(named)).await {
            tracing::debug!("a connection ended: {error}");
        }
    }
}

/// Ends when nothing was asked for in time; otherwise never.
async fn is_mute(asked: &AtomicBool) {
    tokio::time::sleep(STRANGER_TIMEOUT).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Waits for the first byte, which stays to be read: nothing is said to whoever does not speak TLS.
async fn speaks_tls(stream: &TcpStream) -> Result<(), Mute> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(Mute::Ended),
        _ if first[0] == HANDSHAKE => Ok(()),
        _ => Err(Mute::Plain),
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> (TcpStream, SocketAddr) {
    match listener {
        Some(listener) => next_stream(listener).await,
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
