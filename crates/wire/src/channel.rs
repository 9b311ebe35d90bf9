//! How a channel to a coordinator comes about: over TCP, whoever dialled, or over streams in this process.
//!
//! It knows what an address looks like and how long a connection may take; nothing of what is said over it.

use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

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

/// Where a coordinator is.
#[derive(Clone, Debug)]
pub enum Target {
    /// At an address, `host:port`.
    Address(String),
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
}

impl Target {
    /// An address as people write it; the port is [`PORT`] where none is given.
    pub fn parse(text: &str) -> Result<Self, ConnectError> {
        let bare_ipv6 = text.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match text.rsplit_once(':').filter(|_| !bare_ipv6) {
            Some((host, port)) => (host.to_owned(), port.parse::<u16>().ok().filter(|port| *port > 0)),
            None if bare_ipv6 => (format!("[{text}]"), Some(PORT)),
            None => (text.to_owned(), Some(PORT)),
        };
        let address = port.filter(|_| !host.is_empty()).map(|port| format!("{host}:{port}"));
        let is_uri = |address: &String| format!("http://{address}").parse::<tonic::transport::Uri>().is_ok();
        let address = address.filter(|address| is_uri(address) && !host.contains(['/', '@', ' ', '?']));
        address.map(Self::Address).ok_or_else(|| ConnectError::Address { address: text.chars().take(128).collect() })
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        let fail = |error: tonic::transport::Error| ConnectError::Unreachable {
            target: self.to_string(),
            reason: deepest(&error),
        };
        match self {
            Self::Address(address) => {
                let uri = format!("http://{address}");
                let endpoint = Endpoint::from_shared(uri).map_err(fail)?;
                settings(endpoint).connect().await.map_err(fail)
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

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => f.write_str(address),
            Self::InProcess(_) => f.write_str("the embedded cluster"),
        }
    }
}

/// A channel over a stream that somebody else opened. When the stream ends, so does the channel: it is never made again.
pub async fn over(stream: TcpStream, peer: SocketAddr) -> Result<Channel, ConnectError> {
    let mut stream = Some(stream);
    let connector = tower::service_fn(move |_| {
        let stream = stream.take().ok_or(std::io::ErrorKind::NotConnected);
        async move { Ok::<_, std::io::Error>(TokioIo::new(stream?)) }
    });
    let endpoint = settings(Endpoint::from_static("http://accepted.connection"));
    let fail = |error| ConnectError::Unreachable { target: peer.to_string(), reason: deepest(&error) };
    endpoint.connect_with_connector(connector).await.map_err(fail)
}

fn settings(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
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
        let parse = |text| Target::parse(text).map(|target| target.to_string()).ok();
        assert_eq!(parse("10.0.0.5").as_deref(), Some("10.0.0.5:9095"));
        assert_eq!(parse("lab:80").as_deref(), Some("lab:80"));
        assert_eq!(parse("::1").as_deref(), Some("[::1]:9095"));
        assert_eq!(parse("[::1]:7").as_deref(), Some("[::1]:7"));
        for wrong in ["", ":", ":80", "lab:", "lab:0", "lab:70000", "a b:1", "http://lab:80", "u@lab:1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_channel_whose_stream_ended_is_lost_each_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let mut blobs = crate::BlobClient::new(over(stream, address).await.unwrap());
        drop(peer);
        for _ in 0..3 {
            let answer = blobs.missing(&[convoke_core::Digest([0; 32])]).await;
            assert!(matches!(answer, Err(crate::CallError::Lost(_))), "{answer:?}");
        }
    }
}
