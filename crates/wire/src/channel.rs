//! How a channel to a coordinator comes about: over TCP, whoever dialled, or over streams in this process.
//!
//! It knows what an address looks like and how long a connection may take; nothing of what is said over it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
pub use tonic::transport::Channel;
use tonic::transport::Endpoint;

use crate::tls::handshake::{TlsError, Trust};

/// The port of a coordinator.
pub const PORT: u16 = 9095;
/// How long a connection may take. Short enough that a command fails within five seconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How often a connection with calls under way is tried: a call may wait long for its next message, but not for ever
/// for a peer that is gone.
pub const PING_EVERY: Duration = Duration::from_secs(3);
/// How long the peer has to answer.
pub const PING_TIMEOUT: Duration = Duration::from_secs(7);

/// What one stream may have under way before its reader took it.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What all streams of a connection may have under way.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// What one frame may have: a blob's chunk in a few.
const FRAME_BYTES: u32 = 512 * 1024;

/// Where a coordinator is.
#[derive(Clone, Debug)]
pub enum Target {
    /// At an address, over TLS.
    Address {
        /// `host:port`.
        address: String,
        /// Whom to believe there, and what to show.
        trust: Arc<Trust>,
    },
    /// In this process: each connection is a pair of streams, whose other end goes to the coordinator's acceptor.
    InProcess(mpsc::Sender<DuplexStream>),
}

/// A channel could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It is no address.
    #[error("`{address}` is not an address: host:port is expected, such as 10.0.0.5:{PORT}")]
    Address {
        /// As given.
        address: String,
    },
    /// Nobody answers there.
    #[error("cannot reach a coordinator at {target}: {reason}")]
    Unreachable {
        /// The address.
        target: String,
        /// What the system says.
        reason: String,
    },
    /// Somebody answers there, and is not who should.
    #[error("no secure connection with {target}: {source}")]
    Untrusted {
        /// The address.
        target: String,
        /// Why not.
        source: TlsError,
    },
}

impl Target {
    /// Connects.
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        let fail = |error| refusal(self, &error);
        match self {
            Self::Address { address, trust } => {
                let (address, trust) = (address.clone(), trust.clone());
                let connector = tower::service_fn(move |_| {
                    let (address, trust) = (address.clone(), trust.clone());
                    async move {
                        let stream = TcpStream::connect(address).await.map_err(TlsError::unreachable)?;
                        // Without it small messages wait for acknowledgements; a socket that refuses still works.
                        drop(stream.set_nodelay(true));
                        Ok::<_, TlsError>(TokioIo::new(trust.greet(stream).await?))
                    }
                });
                let endpoint = Endpoint::from_static("http://coordinator");
                settings(endpoint).connect_with_connector(connector).await.map_err(fail)
            }
            Self::InProcess(acceptor) => {
                let acceptor = acceptor.clone();
                let connector = tower::service_fn(move |_| {
                    let acceptor = acceptor.clone();
                    async move {
                        let (ours, theirs) = tokio::io::duplex(CONNECTION_WINDOW_BYTES as usize / 16);
                        let gone = |_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                        acceptor.send(theirs).await.map_err(gone)?;
                        Ok::<_, std::io::Error>(TokioIo::new(ours))
                    }
                });
                let endpoint = Endpoint::from_static("http://in.process");
                settings(endpoint).connect_with_connector(connector).await.map_err(fail)
            }
        }
    }
}

/// An address as people write it; the port is [`PORT`] where none is given.
pub fn parse(text: &str) -> Result<String, ConnectError> {
    let bare_ipv6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match text.rsplit_once(':').filter(|_| !bare_ipv6) {
        Some((host, port)) => (host.to_owned(), port.parse::<u16>().ok().filter(|port| *port > 0)),
        None if bare_ipv6 => (format!("[{text}]"), Some(PORT)),
        None => (text.to_owned(), Some(PORT)),
    };
    let address = port.filter(|_| !host.is_empty()).map(|port| format!("{host}:{port}"));
    let is_uri = |address: &String| format!("http://{address}").parse::<tonic::transport::Uri>().is_ok();
    let address = address.filter(|address| is_uri(address) && !host.contains(['/', '@', ' ', '?']));
    address.ok_or_else(|| ConnectError::Address { address: text.chars().take(128).collect() })
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address { address, .. } => f.write_str(address),
            Self::InProcess(_) => f.write_str("the embedded cluster"),
        }
    }
}

/// A channel over a connection that somebody else opened. When that ends, so does the channel: it is never made again.
pub async fn over(stream: TcpStream, peer: SocketAddr, trust: &Trust) -> Result<Channel, ConnectError> {
    let untrusted = |source| ConnectError::Untrusted { target: peer.to_string(), source };
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, trust.greet(stream)).await;
    let mut stream = Some(stream.unwrap_or(Err(TlsError::Silent)).map_err(untrusted)?);
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or(std::io::ErrorKind::NotConnected);
        async move { Ok::<_, std::io::Error>(TokioIo::new(stream?)) }
    });
    let endpoint = settings(Endpoint::from_static("http://accepted.connection"));
    endpoint.connect_with_connector(connector).await.map_err(|error| refusal(&peer, &error))
}

fn settings(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
}

fn refusal(target: &dyn std::fmt::Display, error: &tonic::transport::Error) -> ConnectError {
    let target = target.to_string();
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    match causes.find_map(|cause| cause.downcast_ref::<TlsError>()) {
        // A coordinator that was killed in the middle is not there, and nobody else is in its place.
        Some(error) if error.is_absence() => ConnectError::Unreachable { target, reason: error.to_string() },
        Some(source) => ConnectError::Untrusted { target, source: source.clone() },
        None => ConnectError::Unreachable { target, reason: deepest(error) },
    }
}

/// The innermost cause: the others only say that there is one.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let parse = |text| parse(text).ok();
        assert_eq!(parse("10.0.0.5").as_deref(), Some("10.0.0.5:9095"));
        assert_eq!(parse("lab:80").as_deref(), Some("lab:80"));
        assert_eq!(parse("::1").as_deref(), Some("[::1]:9095"));
        assert_eq!(parse("[::1]:7").as_deref(), Some("[::1]:7"));
        for wrong in ["", ":", ":80", "lab:", "lab:0", "lab:70000", "a b:1", "http://lab:80", "u@lab:1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
