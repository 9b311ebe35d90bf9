//! Dialling: a connection to each worker that listens, made again for ever whenever it ends.
//!
//! It makes connections; the handshake and what is served on them is `accept`'s. The worker is the client of both, though it
//! was dialled; who the workers are, and whether they join, it does not know.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::accept::{Acceptor, Mute, Secured};
use crate::peer::Peer;
use crate::trouble::Trouble;

/// How long a connection may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a worker has to speak. It may be in a pause before it takes the connection, of 5 s at most. And it is less
/// than whoever accepts waits for first words: of two coordinators that face each other, the one that dialled gives up,
/// for the same reason each time.
const SPEAK_TIMEOUT: Duration = Duration::from_secs(8);
/// How many connections may be made at a time: names are looked up on threads, which others need too.
const DIALS_MAX: usize = 256;
/// The first pause before dialling again; doubled after each failure.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How long a connection has to stand for the pauses to begin anew.
const STANDS: Duration = Duration::from_secs(10);

/// Where a worker listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// A name or an address; one of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Why there is no connection with a worker.
#[derive(Debug, thiserror::Error)]
enum Unreached {
    #[error(transparent)]
    Dial(#[from] std::io::Error),
    #[error("no answer came within {} s", DIAL_TIMEOUT.as_secs())]
    TimedOut,
    #[error("{0}; a worker that has another coordinator does so")]
    Ended(Mute),
    #[error("{0}; is it a worker with --listen?")]
    Mute(Mute),
    #[error("it does not speak as a worker does: {0}")]
    Stranger(Mute),
}

/// Keeps a connection with each, until dropped.
pub(crate) async fn keep_all(nodes: Vec<Node>, acceptor: Acceptor) {
    let dials = Arc::new(Semaphore::new(DIALS_MAX));
    let mut keeping = JoinSet::new();
    for node in nodes {
        keeping.spawn(keep(node, acceptor.clone(), dials.clone()));
    }
    while keeping.join_next().await.is_some() {}
}

async fn keep(node: Node, acceptor: Acceptor, dials: Arc<Semaphore>) {
    let mut trouble = Trouble::default();
    let mut failures = 0;
    loop {
        let began = Instant::now();
        match reach(&node, &acceptor, &dials).await {
            Ok((stream, peer, _room)) => {
                if trouble.ends() {
                    tracing::info!("reached the worker at {node}");
                }
                let began = Instant::now();
                acceptor.serve_known(stream, peer).await;
                tracing::debug!("the connection with the worker at {node} ended");
                if began.elapsed() >= STANDS {
                    failures = 0;
                }
            }
            Err(reason) => {
                if trouble.is_news(&reason.to_string(), began) {
                    tracing::warn!("cannot reach a worker at {node}: {reason}");
                }
            }
        }
        tokio::time::sleep(pause(failures, getrandom::u64().unwrap_or_default())).await;
        failures = failures.saturating_add(1);
    }
}

/// Dials, and waits for the peer to speak, which a worker does first: nothing is sent to whoever is there by mistake.
async fn reach(
    node: &Node,
    acceptor: &Acceptor,
    dials: &Arc<Semaphore>,
) -> Result<(Secured, Peer, OwnedSemaphorePermit), Unreached> {
    let room = acceptor.room().await;
    // The semaphore is never closed.
    let turn = dials.clone().acquire_owned().await.ok();
    let stream = tokio::time::timeout(DIAL_TIMEOUT, dial(node, turn)).await.unwrap_or(Err(Unreached::TimedOut))?;
    // Without it small messages wait for acknowledgements; a socket that refuses still works.
    drop(stream.set_nodelay(true));
    let address = stream.peer_addr()?;
    match acceptor.greet(stream, address, SPEAK_TIMEOUT).await {
        Ok((stream, peer)) => Ok((stream, peer, room)),
        Err(mute @ Mute::Ended) => Err(Unreached::Ended(mute)),
        Err(mute @ Mute::Silent) => Err(Unreached::Mute(mute)),
        Err(mute) => Err(Unreached::Stranger(mute)),
    }
}

/// A connection with the first of the node's addresses that answers.
///
/// A look-up cannot be broken off: it keeps its turn until it is over, so that those that nobody waits for any more do not
/// pile up.
async fn dial(node: &Node, turn: Option<OwnedSemaphorePermit>) -> Result<TcpStream, Unreached> {
    let name = (node.host.clone(), node.port);
    let look_up = move || (turn, name.to_socket_addrs().map(Vec::from_iter));
    let (_turn, addresses) = tokio::task::spawn_blocking(look_up).await.map_err(io::Error::other)?;
    let addresses: Vec<SocketAddr> = addresses?;
    Ok(TcpStream::connect(&addresses[..]).await?)
}

/// How long to wait after so many failures in a row: between half of the pause and all of it, so that a thousand
/// workers are not dialled in step.
fn pause(failures: u32, random: u64) -> Duration {
    let pause = PAUSE_MIN.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
    pause / 2 + (pause / 2).mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let most = |failures| pause(failures, u64::MAX).as_millis();
        assert_eq!([0, 1, 2, 5, 6, 7, u32::MAX].map(most), [250, 500, 1_000, 8_000, 15_000, 15_000, 15_000]);
        assert_eq!(pause(0, 0), Duration::from_millis(125));
    }

    #[test]
    fn nodes_are_shown_as_they_are_dialled() {
        let shown = |host: &str| Node { host: host.to_owned(), port: 7 }.to_string();
        assert_eq!((shown("lab"), shown("::1")), ("lab:7".to_owned(), "[::1]:7".to_owned()));
    }
}
