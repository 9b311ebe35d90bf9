//! Listening: the address a process may be reached at, and the connections that a listening worker takes there.
//!
//! A worker takes one connection at a time. Who dials, and what is said over it, this file does not know.

use std::io::ErrorKind;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use crate::accept::next_stream;
use crate::trouble::Trouble;

/// For how long an address that is in use is tried again: a process that was killed may hold its socket for a moment, and
/// whoever is started in its place wants the same address.
const IN_USE_MAX: Duration = Duration::from_secs(2);
/// How long to wait before each try.
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// A process cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Takes an address, once whoever holds it lets it go.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let until = Instant::now() + IN_USE_MAX;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                tokio::time::sleep(IN_USE_PAUSE).await;
            }
            bound => return bound.map_err(|source| ListenError::Bind { address, source }),
        }
    }
}

/// Where a worker waits for its coordinator to dial.
#[derive(Clone, Debug)]
pub struct Listener {
    listener: Arc<TcpListener>,
    address: SocketAddr,
}

/// A connection that was taken. Dropped, it ends, whoever may still use the stream.
pub(crate) struct Taken(std::net::TcpStream);

impl Listener {
    /// Takes an address.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let listener = bind(address).await?;
        let address = listener.local_addr().map_err(|source| ListenError::Bind { address, source })?;
        Ok(Self { listener: Arc::new(listener), address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits, without a deadline, for the next connection. Those that came while nobody took them, and are gone again, are
    /// passed over.
    pub(crate) async fn take(&self) -> (TcpStream, SocketAddr, Taken) {
        loop {
            let (stream, peer) = next_stream(&self.listener).await;
            match Taken::split(stream) {
                Ok((stream, taken)) if taken.is_open() => return (stream, peer, taken),
                Ok(_) => tracing::debug!(%peer, "a connection is gone already"),
                Err(error) => tracing::warn!(%peer, "cannot take a connection: {error}"),
            }
        }
    }

    /// Ends whatever else comes, until dropped.
    pub(crate) async fn turn_others_away(&self) {
        let mut trouble = Trouble::default();
        loop {
            let (_, peer) = next_stream(&self.listener).await;
            if trouble.is_news(&peer.ip().to_string(), Instant::now()) {
                tracing::warn!(%peer, "turned a connection away: the worker has a coordinator");
            }
        }
    }
}

impl Taken {
    fn split(stream: TcpStream) -> std::io::Result<(TcpStream, Self)> {
        let stream = stream.into_std()?;
        let taken = Self(stream.try_clone()?);
        Ok((TcpStream::from_std(stream)?, taken))
    }

    /// Whether the peer is still there, as far as this side knows. The socket does not block.
    fn is_open(&self) -> bool {
        match self.0.peek(&mut [0]) {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // A call under way may hold the channel for as long as its deadline lets it. Meanwhile the coordinator would take
        // the worker for connected, and not dial.
        drop(self.0.shutdown(Shutdown::Both));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn listener() -> Listener {
        Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn an_address_is_had_once_it_is_let_go() {
        let before = listener().await;
        let address = before.address();
        let (after, ()) = tokio::join!(Listener::bind(address), async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            drop(before);
        });
        assert_eq!(after.unwrap().address(), address);
    }

    #[tokio::test]
    async fn an_address_that_somebody_keeps_is_not_waited_for_for_ever() {
        let other = listener().await;
        let refused = Listener::bind(other.address()).await.err().unwrap().to_string();
        assert!(
            refused.starts_with(&format!("cannot listen on {}: Address already in use", other.address())),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn who_is_gone_is_passed_over() {
        let listener = listener().await;
        drop(TcpStream::connect(listener.address()).await.unwrap());
        let stays = TcpStream::connect(listener.address()).await.unwrap();
        let (_, peer, _taken) = listener.take().await;
        assert_eq!(peer, stays.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_dropped_connection_ends_though_its_stream_is_held() {
        let listener = listener().await;
        let mut peer = TcpStream::connect(listener.address()).await.unwrap();
        let (_stream, _, taken) = listener.take().await;
        drop(taken);
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_secs(10), peer.read(&mut byte)).await;
        assert_eq!(read.expect("it ends").unwrap(), 0);
    }

    #[tokio::test]
    async fn others_are_turned_away() {
        let listener = listener().await;
        let mut other = TcpStream::connect(listener.address()).await.unwrap();
        let mut byte = [0];
        tokio::select! {
            () = listener.turn_others_away() => {}
            read = other.read(&mut byte) => assert_eq!(read.unwrap(), 0),
        }
    }
}
