//! A cluster's authority: the key that lets peers in, made at the first start and kept in the state directory.
//!
//! It signs; whom, the coordinator's machine decides. Its certificate is known to every peer by its digest, so that it is
//! never made anew: a cluster whose authority is lost is another cluster.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::{Digest, Identity};
use convoke_wire::tls::credentials::{read_private, write_private};
use convoke_wire::tls::verify::MemberVerifier;
use convoke_wire::tls::{self, Credentials, CredentialsError, Key, PublicKey, Subject, authority_of};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;

/// Its file in the state directory.
const FILE: &str = "authority.pem";
/// How long the authority and the coordinator's own certificates are good for. They end with the cluster.
const AUTHORITY_DAYS: i64 = 36_500;
/// How long a member's certificate is good for. It is renewed at half of that.
pub const MEMBER_VALID: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long after its end a member's certificate may still be renewed.
pub const RENEWABLE_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How much before now a certificate begins: clocks differ.
const BEFORE: Duration = Duration::from_secs(60 * 60);
/// What is spoken on the one port.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The authority of a cluster.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// There is no authority to be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] CredentialsError),
    /// It cannot sign.
    #[error("the cluster's authority cannot sign: {0}")]
    Sign(#[from] rcgen::Error),
    /// What it signed is not understood.
    #[error("the cluster's authority is not usable: {0}")]
    Unusable(String),
}

fn unusable(error: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Unusable(error.to_string())
}

impl Authority {
    /// That of a state directory, made where there is none.
    pub fn open(state: &Path) -> Result<Self, AuthorityError> {
        let path = state.join(FILE);
        if let Some(kept) = read_private(&path)? {
            let parts = pem::parse_many(kept).map_err(unusable)?;
            let [certificate, key] = &parts[..] else {
                return Err(CredentialsError::Foreign { path }.into());
            };
            let key = PrivatePkcs8KeyDer::from(key.contents().to_vec());
            let key = Key::from_pkcs8(&key).map_err(unusable)?;
            return Ok(Self::of(certificate.contents().to_vec().into(), key.signing()));
        }
        let authority = Self::fleeting()?;
        let parts = [
            pem::Pem::new("CERTIFICATE", authority.certificate.to_vec()),
            pem::Pem::new("PRIVATE KEY", authority.issuer.key().serialize_der()),
        ];
        write_private(&path, pem::encode_many(&parts).as_bytes())?;
        Ok(authority)
    }

    /// One that nobody keeps, for a coordinator that nobody reaches from outside its process.
    pub fn fleeting() -> Result<Self, AuthorityError> {
        let key = Key::generate().map_err(unusable)?.signing();
        let certificate = authority_params(&key).self_signed(&key)?.der().clone();
        Ok(Self::of(certificate, key))
    }

    fn of(certificate: CertificateDer<'static>, key: KeyPair) -> Self {
        Self { certificate, issuer: Issuer::new(authority_params(&key), key) }
    }

    /// What names it.
    pub fn digest(&self) -> Digest {
        authority_of(&self.certificate)
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs a member's certificate, at that time.
    pub fn admit(
        &self,
        identity: &Identity,
        key: &PublicKey,
        now: OffsetDateTime,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let (usage, ends) = (ExtendedKeyUsagePurpose::ClientAuth, now + MEMBER_VALID);
        self.sign(&Subject::Member(identity.clone()), key, usage, now - BEFORE..ends)
    }

    /// Credentials with a key of their own, for somebody in this process, signed at that time.
    pub fn credentials(&self, identity: &Identity, now: OffsetDateTime) -> Result<Credentials, AuthorityError> {
        let key = Key::generate().map_err(unusable)?;
        let certificate = self.admit(identity, &key.public(), now)?;
        Credentials::new(certificate, self.certificate.clone(), key.to_pkcs8()).map_err(unusable)
    }

    /// How the coordinator shakes hands that starts at that time, with a new key for as long as it runs.
    pub fn server_config(
        &self,
        now: OffsetDateTime,
    ) -> Result<(Arc<ServerConfig>, Arc<MemberVerifier>), AuthorityError> {
        let key = Key::generate().map_err(unusable)?;
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        let valid = now - BEFORE..now + time::Duration::days(AUTHORITY_DAYS);
        let own = self.sign(&Subject::Coordinator, &key.public(), usage, valid)?;
        let signing = tls::provider().key_provider.load_private_key(key.to_pkcs8().into()).map_err(unusable)?;
        let certified = CertifiedKey::new(vec![own, self.certificate.clone()], signing);
        let members = Arc::new(MemberVerifier::new(self.certificate.clone()).map_err(unusable)?);
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(members.clone())
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        Ok((Arc::new(config), members))
    }

    fn sign(
        &self,
        subject: &Subject,
        key: &PublicKey,
        usage: ExtendedKeyUsagePurpose,
        valid: Range<OffsetDateTime>,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let mut params = params(subject.kind());
        params.subject_alt_names = vec![SanType::URI(subject.to_string().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        (params.not_before, params.not_after) = (valid.start, valid.end);
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }
}

/// What its certificate says, which follows from its key. It has a name of its own, so that a peer of several clusters
/// knows which of its certificates is asked for.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let number = blake3::hash(key.public_key_raw()).to_hex();
    let mut params = params(&format!("Convoke cluster {}", &number[..16]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(AUTHORITY_DAYS);
    params
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = OffsetDateTime::now_utc() - BEFORE;
    params
}

#[cfg(test)]
mod tests;
