//! Who is who: join tokens, the certificates that they become, and mutual TLS between peers that know one authority.
//!
//! A cluster has one authority, whose certificate everybody knows by its digest. Peers are told by what the authority
//! wrote into their certificates, never by a host's name or address, so that tunnels and address translation are no
//! obstacle. What a role may do, the coordinator says.

pub mod token;
pub mod identity;
pub mod key;
pub mod credentials;
pub mod book;
pub mod verify;
pub mod handshake;

pub use book::Book;
pub use credentials::{Credentials, CredentialsError};
pub use handshake::TlsError;
pub use identity::Subject;
pub use key::{Key, PublicKey};
pub use token::JoinToken;

use std::sync::Arc;

use convoke_core::Digest;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

/// What names an authority: the digest of its certificate.
pub fn authority_of(certificate: &CertificateDer<'_>) -> Digest {
    Digest(*blake3::hash(certificate).as_bytes())
}

/// The algorithms, as ring has them.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
