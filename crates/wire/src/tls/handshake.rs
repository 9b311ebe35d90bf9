//! The handshake on whoever takes the part of the TLS client: a client or a worker, whoever dialled.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_core::Digest;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, DistinguishedName, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::credentials::Credentials;
use super::verify::{CoordinatorVerifier, Expected, subject_of};
use super::{authority_of, provider};

/// What is asked for in the handshake. Nobody looks at it: peers are told by their certificates.
const SERVER_NAME: &str = "convoke";
/// HTTP/2.
const ALPN: &[u8] = b"h2";

/// Whom a peer believes, and what it shows of itself.
#[derive(Debug)]
pub struct Trust {
    /// Whose coordinator it expects.
    pub expected: Expected,
    /// What it may show: those of the authority that asks for some. Renewed, they serve the next handshake.
    credentials: Mutex<Vec<Credentials>>,
    /// Whose coordinator it met last.
    met: Mutex<Option<Digest>>,
}

/// There is no secure connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// There is no connection.
    #[error("{0}")]
    Unreachable(String),
    /// It broke.
    #[error("{0}")]
    Broken(String),
    /// Nobody answers.
    #[error("what listens there says nothing")]
    Silent,
    /// The peer went in the middle of the handshake: it may speak something else, or be at its end.
    #[error("what listens there ended the connection during the handshake: it may not speak TLS, or it may be busy")]
    Ended,
    /// The peer answers, and not as TLS does.
    #[error("what answers there does not speak TLS")]
    Plain,
    /// The peer has another authority than the one expected.
    #[error(
        "what answers there belongs to another cluster ({}…, where {}… was expected): it may be an impostor",
        short(found),
        short(expected)
    )]
    Impostor {
        /// The authority that was expected.
        expected: Digest,
        /// The one that is there.
        found: Digest,
    },
    /// The peer has an authority that nothing is known of.
    #[error("there are no credentials for the cluster there ({}…)", short(found))]
    Unknown {
        /// The authority.
        found: Digest,
    },
    /// The peer's certificate is no coordinator's.
    #[error("what answers there shows a certificate that is not a coordinator's: it may be an impostor")]
    NoCoordinator,
    /// The peer's certificate is none of a cluster.
    #[error("what answers there shows a certificate of something else")]
    Foreign,
    /// The peer's certificate is from the future: one of the clocks is wrong.
    #[error(
        "the coordinator's certificate begins {} from now: this machine's clock is behind, or the coordinator's was ahead",
        span(*seconds)
    )]
    TooEarly {
        /// By how much.
        seconds: u64,
    },
    /// The peer's certificate has ended, or the clock is wrong.
    #[error("the coordinator's certificate ended {} ago, by this machine's clock", span(*seconds))]
    TooLate {
        /// By how much.
        seconds: u64,
    },
    /// The peer refused the handshake.
    #[error("the coordinator refused the handshake: {0}")]
    Refused(String),
}

fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(8).collect()
}

/// A span of time, roughly.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

impl Trust {
    /// In this coordinator, with these credentials to show.
    pub fn new(expected: Expected, credentials: Vec<Credentials>) -> Self {
        Self { expected, credentials: Mutex::new(credentials), met: Mutex::default() }
    }

    /// In the coordinators of those whose credentials there are.
    pub fn known(credentials: Vec<Credentials>) -> Self {
        Self::new(Expected::OneOf(credentials.iter().map(Credentials::authority).collect()), credentials)
    }

    /// Shows these from now on, in place of those of the same authority.
    pub fn renew(&self, credentials: Credentials) {
        let mut shown = self.shown();
        shown.retain(|other| other.authority() != credentials.authority());
        shown.push(credentials);
    }

    /// What is shown to an authority.
    pub fn credentials_for(&self, authority: Digest) -> Option<Credentials> {
        self.shown().iter().find(|credentials| credentials.authority() == authority).cloned()
    }

    /// Whose coordinator it met last.
    pub fn met(&self) -> Option<Digest> {
        *self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, Vec<Credentials>> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shakes hands with a coordinator.
    pub async fn greet(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, TlsError> {
        let config = self.config().map_err(|error| TlsError::Broken(error.to_string()))?;
        let name = ServerName::try_from(SERVER_NAME).map_err(|error| TlsError::Broken(error.to_string()))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let authority = stream.get_ref().1.peer_certificates().and_then(|chain| chain.last()).map(authority_of);
        *self.met.lock().unwrap_or_else(PoisonError::into_inner) = authority;
        Ok(stream)
    }

    fn config(&self) -> Result<ClientConfig, rustls::Error> {
        let shown = self.shown();
        let shown = shown.iter().map(|credentials| {
            let subject = subject_of(credentials.authority_certificate());
            let subject = subject.map_err(|error| rustls::Error::General(error.to_string()))?;
            Ok((subject, credentials.certified()?))
        });
        let shown = Shown(shown.collect::<Result<_, rustls::Error>>()?);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(CoordinatorVerifier { expected: self.expected.clone() }))
            .with_client_cert_resolver(Arc::new(shown));
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

/// The certificates that may be shown, by the names of their authorities.
#[derive(Debug)]
struct Shown(Vec<(DistinguishedName, Arc<CertifiedKey>)>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, authorities: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let asked = |subject: &DistinguishedName| authorities.contains(&subject.as_ref());
        self.0.iter().find(|(subject, _)| asked(subject)).map(|(_, key)| key.clone())
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

impl TlsError {
    /// Whether nobody was there, or nobody any more, rather than somebody else.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Broken(_) | Self::Silent | Self::Ended)
    }

    /// For want of a connection.
    pub fn unreachable(error: io::Error) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Self::Ended,
                _ => Self::Broken(error.to_string()),
            };
        };
        match tls {
            rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => Self::Plain,
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref::<Self>().cloned().unwrap_or(Self::Foreign)
            }
            rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
                Self::TooLate { seconds: between(*not_after, *time) }
            }
            rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => {
                Self::TooEarly { seconds: between(*time, *not_before) }
            }
            rustls::Error::InvalidCertificate(_) => Self::Foreign,
            rustls::Error::AlertReceived(alert) => Self::Refused(alert_text(*alert)),
            error => Self::Broken(error.to_string()),
        }
    }
}

fn alert_text(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "it does not know who signed this certificate".to_owned(),
        alert => format!("{alert:?}"),
    }
}

fn between(earlier: UnixTime, later: UnixTime) -> u64 {
    later.as_secs().saturating_sub(earlier.as_secs())
}

/// Now, as certificates count: unix seconds.
pub fn now() -> UnixTime {
    UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}
