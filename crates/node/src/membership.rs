//! A worker's place in a cluster: how it comes by credentials where the coordinator dials, and how they stay good.
//!
//! Where they are kept, and what tokens there are, whoever starts the worker knows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::Digest;
use convoke_wire::channel;
use convoke_wire::tls::handshake::Trust;
use convoke_wire::tls::verify::Expected;
use convoke_wire::tls::{Credentials, JoinToken, Key};
use convoke_wire::{CallError, enrolment};
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::link::LinkError;
use crate::listen::Listener;

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
    /// Renews the credentials whenever half their time is over, for ever.
    pub(crate) async fn keep_renewed(self, mut connection: watch::Receiver<Option<Channel>>) {
        loop {
            let channel = connection.wait_for(Option::is_some).await.ok().and_then(|channel| channel.clone());
            let Some(channel) = channel else { return };
            let file = |authority| self.files.get(&authority).cloned().unwrap_or_default();
            match enrolment::renew_if_due(channel, &self.trust, file).await {
                Ok(false) => {}
                Ok(true) => tracing::info!("the certificate was renewed"),
                Err(error) => tracing::warn!("the certificate cannot be renewed for now: {error}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Joins by a token with whoever dials and belongs to its authority.
pub async fn enrol_when_dialled(
    listener: &Listener,
    token: &JoinToken,
    name: &str,
    key: &Key,
) -> Result<Credentials, LinkError> {
    let trust = Trust::new(Expected::Authority(token.authority), Vec::new());
    loop {
        let (stream, peer, _taken) = listener.take().await;
        let enrolled = match channel::over(stream, peer, &trust).await {
            Ok(channel) => enrolment::enrol(channel, token, name, key).await.map_err(LinkError::from),
            Err(error) => Err(error.into()),
        };
        match enrolled {
            Ok(credentials) => return Ok(credentials),
            // It is the token's coordinator, and does not take the token.
            Err(error @ LinkError::Call(CallError::Denied(_) | CallError::Refused(_) | CallError::Version(_))) => {
                return Err(error);
            }
            Err(error) => tracing::warn!(%peer, "no enrolment: {error}"),
        }
    }
}
