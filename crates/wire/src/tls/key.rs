//! Keys: pairs for ECDSA on P-256, each made where it is used. Only the public half ever travels.

use convoke_core::Digest;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// The bytes of an uncompressed point of P-256.
const PUBLIC_KEY_BYTES: usize = 65;
/// What an uncompressed point begins with.
const UNCOMPRESSED: u8 = 4;

/// A key pair.
pub struct Key(KeyPair, PublicKey);

/// The public half of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

/// A key pair cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The library refuses.
    #[error("no key can be had: {0}")]
    Library(#[from] rcgen::Error),
    /// It is of another kind.
    #[error("the key is not one for P-256")]
    Kind,
}

impl Key {
    /// A new one.
    pub fn generate() -> Result<Self, KeyError> {
        Self::of(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
    }

    /// One that was kept.
    pub fn from_pkcs8(key: &PrivatePkcs8KeyDer<'_>) -> Result<Self, KeyError> {
        Self::of(KeyPair::from_pkcs8_der_and_sign_algo(key, &PKCS_ECDSA_P256_SHA256)?)
    }

    fn of(pair: KeyPair) -> Result<Self, KeyError> {
        let public = PublicKey::from_bytes(pair.public_key_raw()).ok_or(KeyError::Kind)?;
        Ok(Self(pair, public))
    }

    /// To be kept.
    pub fn to_pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der())
    }

    /// What others may know of it.
    pub fn public(&self) -> PublicKey {
        self.1.clone()
    }

    /// As what signs certificates.
    pub fn signing(self) -> KeyPair {
        self.0
    }
}

impl PublicKey {
    /// As it travels: an uncompressed point. Whether it is one on the curve shows when it is used.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().filter(|bytes: &[u8; PUBLIC_KEY_BYTES]| bytes[0] == UNCOMPRESSED).map(Self)
    }

    /// As it travels.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What names it.
    pub fn digest(&self) -> Digest {
        Digest(*blake3::hash(&self.0).as_bytes())
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}
