//! What this machine may show a coordinator, and whom it believes there: the user's book of clusters, the credentials of
//! workers, and the token that a coordinator prints.
//!
//! It keeps files; what they are good for, the coordinator says.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_node::coordinator::Coordinator;
use convoke_wire::core::{Digest, Role, TokenId};
use convoke_wire::tls::book::Book;
use convoke_wire::tls::credentials::{Credentials, CredentialsError, read_private, write_private};
use convoke_wire::tls::token::{JoinToken, Secret};
use convoke_wire::{Client, TokenTerms};
use etcetera::BaseStrategy;

use crate::failure::Failure;
use crate::place;

/// For how long a token is good unless something else is asked for.
pub const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The token that a coordinator prints is good for at least as long.
const PRINTED_FOR: Duration = Duration::from_secs(60 * 60);
/// Where that is kept, in the coordinator's state directory.
const PRINTED_TOKEN: &str = "join-token";

/// The user's book of clusters.
pub fn book() -> Result<Book, Failure> {
    let no_home = |error| {
        Failure::bad_input(format!("there is no place for credentials: {error}")).hint("set HOME or XDG_CONFIG_HOME")
    };
    let base = etcetera::choose_base_strategy().map_err(no_home)?;
    Ok(Book::new(&base.config_dir().join("convoke").join("clusters")))
}

/// The credentials of workers by this name that were kept on this machine, and where.
pub fn worker_credentials(name: &str) -> Result<BTreeMap<Digest, (Credentials, PathBuf)>, Failure> {
    let mut kept = BTreeMap::new();
    for folder in fs::read_dir(workers()?).into_iter().flatten().flatten() {
        let file = folder.path().join(file_name(name));
        if let Some(credentials) = Credentials::load(&file)? {
            kept.insert(credentials.authority(), (credentials, file));
        }
    }
    Ok(kept)
}

/// Where the credentials of a worker are kept.
pub fn worker_file(authority: Digest, name: &str) -> Result<PathBuf, Failure> {
    Ok(workers()?.join(&authority.to_string()[..16]).join(file_name(name)))
}

fn workers() -> Result<PathBuf, Failure> {
    Ok(place::state()?.join("workers"))
}

/// A file for a name that may hold anything: what is left of it where only letters and digits are, and its digest.
fn file_name(name: &str) -> String {
    let readable: String = name.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("{readable}-{}.pem", &blake3::hash(name.as_bytes()).to_hex()[..8])
}

/// A new token, as yet unknown to its coordinator.
pub fn new_token(authority: Digest) -> Result<JoinToken, Failure> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(Failure::failed)?;
    // 0 stands for no token.
    let id = TokenId::from_bits(getrandom::u64().map_err(Failure::failed)? | 1);
    Ok(JoinToken { id, secret: Secret(secret), authority })
}

/// So long from now, in unix milliseconds.
pub fn after(ttl: Duration) -> u64 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(ttl);
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}

/// Lets the user who starts a coordinator do everything there, from this machine, without a flag.
pub fn admit_user(coordinator: &Coordinator, addresses: &[String]) -> Result<(), Failure> {
    let credentials = coordinator.local_credentials(&place::submitter()).map_err(Failure::failed)?;
    Ok(book()?.record(&credentials, addresses)?)
}

/// The token that a coordinator prints for workers elsewhere: the one that it printed before, while that is good.
pub async fn printed_token(coordinator: &Coordinator) -> Result<JoinToken, Failure> {
    let file = coordinator.state().join(PRINTED_TOKEN);
    let mut client = Client::connect(&coordinator.target()).await?;
    if let Some(kept) = kept_token(&file)?.filter(|kept| kept.authority == coordinator.authority()) {
        let known = client.tokens().await?.into_iter().find(|token| token.token == kept.id);
        if known.is_some_and(|token| token.expires_ms.is_none_or(|expires| expires > after(PRINTED_FOR))) {
            return Ok(kept);
        }
    }
    let token = new_token(coordinator.authority())?;
    let terms =
        TokenTerms { role: Role::Worker, commands: false, name: None, expires_ms: Some(after(TOKEN_TTL)), uses: None };
    client.create_token(&token, terms).await?;
    write_private(&file, token.to_string().as_bytes())?;
    Ok(token)
}

fn kept_token(file: &Path) -> Result<Option<JoinToken>, Failure> {
    let text = read_private(file)?.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| text.parse().ok()))
}

/// How a coordinator that listens at an address is reached from this machine and, as far as can be told, from others.
pub fn reached_at(bound: SocketAddr, advertised: Option<&str>) -> Vec<String> {
    let port = bound.port();
    let at = |ip: IpAddr| SocketAddr::new(ip, port).to_string();
    let mut addresses: Vec<String> = advertised.map(str::to_owned).into_iter().collect();
    if bound.ip().is_unspecified() {
        addresses.extend(outward().map(at));
        addresses.push(at(Ipv4Addr::LOCALHOST.into()));
    } else {
        addresses.push(bound.to_string());
    }
    addresses
}

/// The address by which this machine would speak to others. Nothing is sent.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737): only the way there is looked up.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Self {
        let hint = match &error {
            CredentialsError::Open { .. } => "keep keys to yourself: then it is used again",
            CredentialsError::File { .. } => "check the path, its owner and its rights",
            CredentialsError::Foreign { .. } | CredentialsError::Nameless(_) => {
                "remove the file, and join again with a token"
            }
        };
        Self::bad_input(&error).hint(hint)
    }
}
