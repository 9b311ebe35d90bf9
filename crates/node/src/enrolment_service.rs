//! The service that turns a token into a certificate, and a certificate into its successor.
//!
//! Whether somebody is let in, the machine decides, and that is durable before a certificate is signed.

use std::sync::Arc;

use convoke_core::coordinator::Reply;
use convoke_core::{Identity, TokenId, check_name};
use convoke_wire::denial::Denial;
use convoke_wire::tls::PublicKey;
use convoke_wire::tls::token::Secret;
use convoke_wire::v1;
use time::OffsetDateTime;
use tonic::{Code, Request, Response, Status};

use crate::authority::Authority;
use crate::calls::{Call, Calls};
use crate::denials::Denials;
use crate::peer::Peer;

/// The service that peers enrol with.
pub(crate) struct EnrolmentService {
    pub(crate) authority: Arc<Authority>,
    pub(crate) calls: Calls,
    pub(crate) denials: Denials,
}

#[tonic::async_trait]
impl v1::enrolment_server::Enrolment for EnrolmentService {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::Enrolled>, Status> {
        let peer = Peer::calling(&request)?;
        let v1::EnrolRequest { token, secret, name, public_key } = request.into_inner();
        let key = public_key_of(&public_key)?;
        let secret = secret.try_into().map_err(|_| Status::invalid_argument("a token's secret has 16 bytes"))?;
        check_name("name", &name).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (token, secret) = (TokenId::from_bits(token), Secret(secret).hash());
        let call = Call::Enrol { token, secret, name, key: key.digest() };
        let reply = self.calls.call(call).await.map_err(|status| {
            self.denials.say(format!("{peer} does not join: {}", status.message()));
            // It is not asked what there is, but whether it may.
            if status.code() == Code::NotFound { Denial::TokenUnknown.status(status.message()) } else { status }
        })?;
        let Reply::Enrolled(identity) = reply else {
            return Err(Status::internal("an enrolment was answered otherwise"));
        };
        tracing::info!("{} {} joins by token {token}, from {peer}", identity.role, identity.name.escape_debug());
        self.admit(&identity, &key)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::Enrolled>, Status> {
        let peer = Peer::calling(&request)?;
        let identity = peer.identity().ok_or_else(|| Status::unauthenticated("no certificate was shown"))?;
        let key = public_key_of(&request.into_inner().public_key)?;
        tracing::debug!("{peer} renews its certificate");
        self.admit(identity, &key)
    }
}

impl EnrolmentService {
    fn admit(&self, identity: &Identity, key: &PublicKey) -> Result<Response<v1::Enrolled>, Status> {
        let certificate = self
            .authority
            .admit(identity, key, OffsetDateTime::now_utc())
            .map_err(|error| Status::internal(error.to_string()))?;
        let authority = self.authority.certificate().to_vec();
        Ok(Response::new(v1::Enrolled { certificate: certificate.to_vec(), authority }))
    }
}

fn public_key_of(bytes: &[u8]) -> Result<PublicKey, Status> {
    PublicKey::from_bytes(bytes)
        .ok_or_else(|| Status::invalid_argument("a public key is an uncompressed point of P-256"))
}
