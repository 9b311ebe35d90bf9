//! Credentials: a certificate, its key, and the authority that signed it, kept in one file that its owner alone may read.
//!
//! The file is PEM, in this order: the certificate, the authority's, the key (PKCS #8). It says nothing of where the
//! coordinator is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use convoke_core::{Digest, Identity};
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::handshake::now;
use super::identity::{Nameless, Subject};
use super::key::PublicKey;
use super::{authority_of, provider, verify};

const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";
/// How long before their end credentials are renewed: half of the 30 days that they are good for.
const RENEW_BEFORE_SECONDS: u64 = 15 * 24 * 60 * 60;

/// What a peer shows, and by what it knows others.
#[derive(Clone)]
pub struct Credentials {
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    key: Arc<PrivatePkcs8KeyDer<'static>>,
    identity: Identity,
}

/// Credentials cannot be used or kept.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others may read the key.
    #[error("others may read the key in {}: its mode is {mode:03o}, and 600 is needed (chmod 600 {})", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else.
    #[error("{} holds no credentials: a certificate, its authority's, and a key are expected", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A certificate does not say whose it is.
    #[error(transparent)]
    Nameless(#[from] Nameless),
}

impl Credentials {
    /// Of their parts.
    pub fn new(
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
        key: PrivatePkcs8KeyDer<'static>,
    ) -> Result<Self, Nameless> {
        let Subject::Member(identity) = Subject::of(&certificate)? else { return Err(Nameless) };
        Ok(Self { certificate, authority, key: Arc::new(key), identity })
    }

    /// Those in a file; `None` if there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, CredentialsError> {
        let Some(parts) = read_private(path)? else { return Ok(None) };
        let foreign = || CredentialsError::Foreign { path: path.to_owned() };
        let parts = pem::parse_many(parts).map_err(|_| foreign())?;
        let [certificate, authority, key] = &parts[..] else { return Err(foreign()) };
        if [certificate.tag(), authority.tag(), key.tag()] != [CERTIFICATE, CERTIFICATE, PRIVATE_KEY] {
            return Err(foreign());
        }
        let [certificate, authority] = [certificate, authority].map(|part| part.contents().to_vec().into());
        Ok(Some(Self::new(certificate, authority, key.contents().to_vec().into())?))
    }

    /// Keeps them in a file, in place of what was there.
    pub fn save(&self, path: &Path) -> Result<(), CredentialsError> {
        let parts = [
            (CERTIFICATE, self.certificate.to_vec()),
            (CERTIFICATE, self.authority.to_vec()),
            (PRIVATE_KEY, self.key.secret_pkcs8_der().to_vec()),
        ];
        let parts: Vec<_> = parts.into_iter().map(|(tag, contents)| Pem::new(tag, contents)).collect();
        let text = pem::encode_many_config(&parts, EncodeConfig::new().set_line_ending(LineEnding::LF));
        write_private(path, text.as_bytes())
    }

    /// Whose they are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Which authority signed them.
    pub fn authority(&self) -> Digest {
        authority_of(&self.authority)
    }

    /// Whether the authority signed them for this key.
    pub fn are_sound(&self, key: &PublicKey) -> bool {
        let certificate = webpki::EndEntityCert::try_from(&self.certificate);
        let is_for_key = certificate.is_ok_and(|found| found.subject_public_key_info().ends_with(key.bytes()));
        is_for_key && self.ends().is_some()
    }

    /// When they end, in unix seconds; `None` if that cannot be told.
    pub fn ends(&self) -> Option<u64> {
        verify::end_of(&self.certificate, &self.authority)
    }

    /// Whether they are to be renewed: half their time is over.
    pub fn is_due(&self) -> bool {
        self.ends().is_none_or(|ends| now().as_secs() + RENEW_BEFORE_SECONDS >= ends)
    }

    /// The authority's certificate.
    pub fn authority_certificate(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// Their own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// As a handshake shows them, the authority's certificate included.
    pub fn certified(&self) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let key = provider().key_provider.load_private_key(self.key.clone_key().into())?;
        Ok(Arc::new(CertifiedKey::new(vec![self.certificate.clone(), self.authority.clone()], key)))
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} {})", self.identity.role, self.identity.name)
    }
}

/// Reads a file that its owner alone may read; `None` if there is none.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, CredentialsError> {
    let fail = |source| CredentialsError::File { doing: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(fail)?,
    };
    check_private(path, &file.metadata().map_err(fail)?)?;
    io::read_to_string(file).map(|text| Some(text.into_bytes())).map_err(fail)
}

#[cfg(unix)]
fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<(), CredentialsError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(CredentialsError::Open { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &fs::Metadata) -> Result<(), CredentialsError> {
    Ok(())
}

/// Writes a file that its owner alone may read, whole or not at all, in place of what was there. Its folder is made
/// where there is none, for its owner alone.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CredentialsError> {
    let fail = |doing| move |source| CredentialsError::File { doing, path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let (mut folders, mut options) = (fs::DirBuilder::new(), File::options());
    folders.recursive(true);
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    folders.create(folder).map_err(fail("create the folder of"))?;
    let unique = format!("new-{}", std::process::id());
    let incoming = path.with_extension(unique);
    // What a process of that number left behind is nobody's.
    drop(fs::remove_file(&incoming));
    let mut file = options.open(&incoming).map_err(fail("write"))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&incoming, path));
    written.map_err(|error| {
        drop(fs::remove_file(&incoming));
        fail("write")(error)
    })
}
