//! Whom a peer believes: the authority's signature, and what the certificate says its holder is.
//!
//! A name or an address is never asked for. Revocation is not known here: the coordinator refuses whoever was removed.

use std::sync::Arc;
use std::time::Duration;

use convoke_core::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::handshake::TlsError;
use super::identity::Subject;
use super::{authority_of, provider};

/// Whose coordinator a peer expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This authority's: a token or an earlier visit says so.
    Authority(Digest),
    /// That of any of these.
    OneOf(Vec<Digest>),
}

/// Believes a coordinator.
#[derive(Debug)]
pub(super) struct CoordinatorVerifier {
    pub(super) expected: Expected,
}

/// Believes whom the authority let in. Whose certificate has ended, too: it may be renewed for a while, and who may do
/// what is decided call by call.
#[derive(Debug)]
pub struct MemberVerifier {
    authority: CertificateDer<'static>,
    subjects: Vec<DistinguishedName>,
}

fn other(error: TlsError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// Checks that the authority signed it, for this use, and that this is its time.
fn check_signed(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
    usage: KeyUsage,
    now: UnixTime,
) -> Result<(), webpki::Error> {
    let anchor = anchor_from_trusted_cert(authority)?;
    EndEntityCert::try_from(certificate)?
        .verify_for_usage(algorithms().all, &[anchor], &[], now, usage, None, None)
        .map(drop)
}

fn bad(error: webpki::Error) -> Error {
    match error {
        webpki::Error::CertExpired { time, not_after } => {
            Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after })
        }
        webpki::Error::CertNotValidYet { time, not_before } => {
            Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before })
        }
        webpki::Error::UnknownIssuer => Error::InvalidCertificate(CertificateError::UnknownIssuer),
        error => Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error)))),
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let authority = chain.last().ok_or_else(|| other(TlsError::Foreign))?;
        let found = authority_of(authority);
        match &self.expected {
            Expected::Authority(expected) if *expected != found => {
                return Err(other(TlsError::Impostor { expected: *expected, found }));
            }
            Expected::OneOf(known) if !known.contains(&found) => return Err(other(TlsError::Unknown { found })),
            _ => {}
        }
        check_signed(certificate, authority, KeyUsage::server_auth(), now).map_err(bad)?;
        match Subject::of(certificate) {
            Ok(Subject::Coordinator) => Ok(ServerCertVerified::assertion()),
            _ => Err(other(TlsError::NoCoordinator)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// When a member's certificate that the authority signed ends, in unix seconds.
pub(super) fn end_of(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> Option<u64> {
    ended(certificate, authority, UnixTime::since_unix_epoch(Duration::from_secs(u64::from(u32::MAX) * 8)))
}

/// The same, if that was before `now`.
fn ended(certificate: &CertificateDer<'_>, authority: &CertificateDer<'_>, now: UnixTime) -> Option<u64> {
    match check_signed(certificate, authority, KeyUsage::client_auth(), now) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    }
}

impl MemberVerifier {
    /// Of an authority's members.
    pub fn new(authority: CertificateDer<'static>) -> Result<Self, webpki::Error> {
        let subjects = vec![subject_of(&authority)?];
        Ok(Self { authority, subjects })
    }

    /// When the certificate of somebody whom [`Self`] believes ended, in unix seconds; `None` while it has not.
    pub fn ended(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Option<u64> {
        ended(certificate, &self.authority, now)
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let check = |now| check_signed(certificate, &self.authority, KeyUsage::client_auth(), now);
        match check(now) {
            Err(webpki::Error::CertExpired { not_after, .. }) => check(not_after).map_err(bad)?,
            checked => checked.map_err(bad)?,
        }
        match Subject::of(certificate) {
            Ok(Subject::Member(_)) => Ok(ClientCertVerified::assertion()),
            _ => Err(other(TlsError::Foreign)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

/// How an authority is named in a handshake.
pub(super) fn subject_of(authority: &CertificateDer<'_>) -> Result<DistinguishedName, webpki::Error> {
    Ok(DistinguishedName::in_sequence(&anchor_from_trusted_cert(authority)?.subject))
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// It is never negotiated.
fn no_tls12() -> Error {
    Error::General("only TLS 1.3 is spoken".to_owned())
}
