//! Enrolling: a token becomes credentials, and credentials that end become new ones.
//!
//! The key is made here, and never leaves. Where credentials are kept is the caller's.

use std::path::PathBuf;

use convoke_core::Digest;
use tonic::codegen::InterceptedService;
use tonic::transport::Channel;

use crate::call_error::CallError;
use crate::client::{CALL_TIMEOUT, within};
use crate::protocol::SayVersion;
use crate::tls::handshake::Trust;
use crate::tls::{Credentials, CredentialsError, JoinToken, Key};
use crate::v1;
use crate::v1::enrolment_client::EnrolmentClient;

/// Joins by a token, over a channel to the coordinator of its authority. Where the answer was lost, the same key again
/// gets the same, and takes no other use of the token.
pub async fn enrol(channel: Channel, token: &JoinToken, name: &str, key: &Key) -> Result<Credentials, CallError> {
    let public_key = key.public().bytes().to_vec();
    let secret = token.secret.0.to_vec();
    let request = v1::EnrolRequest { token: token.id.bits(), secret, name: name.to_owned(), public_key };
    let enrolled = calls(channel).enrol(within(CALL_TIMEOUT, request)).await?.into_inner();
    credentials(enrolled, key, token.authority)
}

/// New credentials in place of those of an authority that the channel was made with.
pub async fn renew(channel: Channel, authority: Digest) -> Result<Credentials, CallError> {
    let key = Key::generate().map_err(|error| CallError::Failed(error.to_string()))?;
    let public_key = key.public().bytes().to_vec();
    let enrolled = calls(channel).renew(within(CALL_TIMEOUT, v1::RenewRequest { public_key })).await?.into_inner();
    credentials(enrolled, &key, authority)
}

/// New credentials, if half the time of those that are shown is over. Says whether there are some; they are kept in the
/// file that an authority's have, and shown from now on.
pub async fn renew_if_due(
    channel: Channel,
    trust: &Trust,
    file: impl Fn(Digest) -> PathBuf,
) -> Result<bool, RenewError> {
    let Some(authority) = trust.met() else { return Ok(false) };
    let is_due = trust.credentials_for(authority).is_some_and(|credentials| credentials.is_due());
    if is_due {
        let credentials = renew(channel, authority).await?;
        credentials.save(&file(authority))?;
        trust.renew(credentials);
    }
    Ok(is_due)
}

/// Credentials were not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The coordinator did not.
    #[error(transparent)]
    Call(#[from] CallError),
    /// They cannot be kept.
    #[error(transparent)]
    Keep(#[from] CredentialsError),
}

fn calls(channel: Channel) -> EnrolmentClient<InterceptedService<Channel, SayVersion>> {
    EnrolmentClient::with_interceptor(channel, SayVersion)
}

/// Nothing but what was asked for is kept: what another cluster gave would take the place of its own.
fn credentials(enrolled: v1::Enrolled, key: &Key, authority: Digest) -> Result<Credentials, CallError> {
    let (certificate, signer) = (enrolled.certificate.into(), enrolled.authority.into());
    let credentials = Credentials::new(certificate, signer, key.to_pkcs8());
    let credentials = credentials.map_err(|error| CallError::Failed(error.to_string()))?;
    if credentials.authority() != authority || !credentials.are_sound(&key.public()) {
        return Err(CallError::Failed("the certificate that came is not the one that was asked for".to_owned()));
    }
    Ok(credentials)
}
