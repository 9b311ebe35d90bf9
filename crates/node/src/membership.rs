//! A worker's place in a cluster: how its credentials stay good, and how somebody who listens is first met.
//!
//! Where they are kept, and how they came about, whoever starts the worker knows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::Digest;
use convoke_wire::channel::{self, ConnectError};
use convoke_wire::enrolment;
use convoke_wire::tls::handshake::{Trust, now};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::listen::{Listener, Taken};

/// How often it is looked whether credentials are to be renewed.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// The credentials of a worker that runs.
#[derive(Clone, Debug)]
pub struct Membership {
    /// What it shows.
    pub trust: Arc<Trust>,
    /// Where those of a cluster are kept, for each that it has credentials of.
    pub files: Arc<BTreeMap<Digest, PathBuf>>,
}

impl Membership {
    /// Where credentials of an authority are kept.
    pub fn file(&self, authority: Digest) -> PathBuf {
        self.files.get(&authority).cloned().unwrap_or_default()
    }

    /// Renews the credentials whenever half their time is over, for ever.
    pub(crate) async fn keep_renewed(self, mut connection: watch::Receiver<Option<Channel>>) {
        loop {
            let channel = connection.wait_for(Option::is_some).await.ok().and_then(|channel| channel.clone());
            let Some(channel) = channel else { return };
            self.renew_if_due(channel).await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Renews, over a channel that was made with it, a certificate that has ended: nothing else is allowed with it. Says
    /// whether there is a new one to show, which takes another channel.
    pub(crate) async fn renew_ended(&self, channel: Channel) -> bool {
        let shown = self.trust.met().and_then(|authority| self.trust.credentials_for(authority));
        let ends = shown.and_then(|credentials| credentials.ends());
        ends.is_some_and(|ends| ends <= now().as_secs()) && self.renew_if_due(channel).await
    }

    async fn renew_if_due(&self, channel: Channel) -> bool {
        let file = |authority| self.files.get(&authority).cloned().unwrap_or_default();
        let renewed = enrolment::renew_if_due(channel, &self.trust, file).await;
        match &renewed {
            Ok(false) => {}
            Ok(true) => tracing::info!("the certificate was renewed"),
            Err(error) => tracing::warn!("the certificate cannot be renewed for now: {error}"),
        }
        renewed.unwrap_or(false)
    }
}

/// Somebody who dialled. Dropped, the connection ends.
pub struct Caller {
    stream: TcpStream,
    peer: SocketAddr,
    taken: Taken,
}

/// A connection that a coordinator dialled. Dropped, it ends.
pub struct Dialled {
    /// What is spoken over it.
    pub channel: Channel,
    /// Who dialled.
    pub peer: SocketAddr,
    _taken: Taken,
}

/// Waits, without a deadline, for whoever dials next.
pub async fn next_caller(listener: &Listener) -> Caller {
    let (stream, peer, taken) = listener.take().await;
    Caller { stream, peer, taken }
}

impl Caller {
    /// Shakes hands.
    pub async fn greet(self, trust: &Trust) -> Result<Dialled, ConnectError> {
        let Self { stream, peer, taken } = self;
        Ok(Dialled { channel: channel::over(stream, peer, trust).await?, peer, _taken: taken })
    }
}
