//! Handshakes between an authority's coordinator and peers of every kind.

use convoke_core::{Role, TokenId};
use convoke_wire::tls::handshake::{TlsError, Trust};
use convoke_wire::tls::verify::Expected;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

fn ann() -> Identity {
    Identity { role: Role::Worker, commands: false, token: TokenId::from_bits(1), serial: 2, name: "ann".to_owned() }
}

fn authority() -> (tempfile::TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path()).unwrap();
    (folder, authority)
}

/// What a peer with this trust meets at a coordinator of the authority, and whom that sees.
async fn meet(authority: &Authority, trust: &Trust) -> (Result<(), TlsError>, Option<Identity>) {
    meet_at(OffsetDateTime::now_utc(), authority, trust).await
}

/// The same with a coordinator that started at a time by its own clock.
async fn meet_at(
    started: OffsetDateTime,
    authority: &Authority,
    trust: &Trust,
) -> (Result<(), TlsError>, Option<Identity>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(authority.server_config(started).unwrap().0);
    let served = async {
        let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.ok()?;
        stream.write_all(b"hi").await.ok()?;
        match Subject::of(stream.get_ref().1.peer_certificates()?.first()?).ok()? {
            Subject::Member(identity) => Some(identity),
            Subject::Coordinator => None,
        }
    };
    let greeted = async {
        let mut stream = trust.greet(TcpStream::connect(address).await.unwrap()).await?;
        let mut said = [0; 2];
        stream.read_exact(&mut said).await.map_err(TlsError::from).map(drop)
    };
    tokio::join!(greeted, served)
}

#[tokio::test]
async fn who_was_let_in_is_known_by_name_and_who_was_not_is_nobody() {
    let (_folder, authority) = authority();
    let expected = Expected::Authority(authority.digest());
    let credentials = vec![authority.credentials(&ann(), OffsetDateTime::now_utc()).unwrap()];
    let (met, seen) = meet(&authority, &Trust::new(expected.clone(), credentials)).await;
    assert_eq!((met, seen), (Ok(()), Some(ann())));
    let (met, seen) = meet(&authority, &Trust::new(expected, Vec::new())).await;
    assert_eq!((met, seen), (Ok(()), None));
}

#[tokio::test]
async fn another_cluster_is_told_from_the_expected_one() {
    let ((_ours, ours), (_theirs, theirs)) = (authority(), authority());
    let credentials = vec![theirs.credentials(&ann(), OffsetDateTime::now_utc()).unwrap()];
    let pinned = Trust::new(Expected::Authority(ours.digest()), credentials.clone());
    let (met, _) = meet(&theirs, &pinned).await;
    assert_eq!(met, Err(TlsError::Impostor { expected: ours.digest(), found: theirs.digest() }));
    let known = Trust::known(credentials);
    assert_eq!(meet(&ours, &known).await.0, Err(TlsError::Unknown { found: ours.digest() }));
    assert_eq!(meet(&theirs, &known).await.0, Ok(()));
}

#[tokio::test]
async fn a_members_certificate_does_not_make_a_coordinator() {
    let (_folder, authority) = authority();
    let expected = Expected::Authority(authority.digest());
    let certified = authority.credentials(&ann(), OffsetDateTime::now_utc()).unwrap().certified().unwrap();
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let served = async { drop(TlsAcceptor::from(Arc::new(config)).accept(listener.accept().await.unwrap().0).await) };
    let trust = Trust::new(expected, Vec::new());
    let (met, ()) = tokio::join!(trust.greet(stream), served);
    assert_eq!(met.map(drop), Err(TlsError::Foreign), "its use is another");
}

#[tokio::test]
async fn what_does_not_speak_tls_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let served = async { listener.accept().await.unwrap().0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await };
    let trust = Trust::known(Vec::new());
    let (met, _) = tokio::join!(trust.greet(stream), served);
    assert_eq!(met.map(drop), Err(TlsError::Plain));
}

#[test]
fn it_is_the_same_after_a_restart_and_nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, first) = authority();
    let again = Authority::open(folder.path()).unwrap();
    assert_eq!(first.digest(), again.digest());
    let credentials = first.credentials(&ann(), OffsetDateTime::now_utc()).unwrap();
    let path = folder.path().join("ann/kept.pem");
    credentials.save(&path).unwrap();
    assert_eq!(Credentials::load(&path).unwrap().unwrap().identity(), &ann());
    let file = folder.path().join(FILE);
    for file in [&file, &path] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let refused = Authority::open(folder.path()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("its mode is 640, and 600 is needed"), "{refused}");
}

#[tokio::test]
async fn clocks_that_differ_are_told_by_how_much() {
    let (_folder, authority) = authority();
    let trust = Trust::new(Expected::Authority(authority.digest()), Vec::new());
    let now = OffsetDateTime::now_utc();
    assert_eq!(meet_at(now + BEFORE / 2, &authority, &trust).await.0, Ok(()), "a little is no matter");
    let (met, _) = meet_at(now + 3 * BEFORE, &authority, &trust).await;
    let Err(error @ TlsError::TooEarly { seconds }) = met else { panic!("{met:?}") };
    assert!((7_100..=7_200).contains(&seconds), "{seconds}");
    assert!(error.to_string().contains("from now: this machine's clock is behind"), "{error}");
    // No coordinator outlives its certificate's hundred years: what the handshake would say.
    let at = |days: u64| UnixTime::since_unix_epoch(Duration::from_secs(days * 24 * 60 * 60));
    let ended = CertificateError::ExpiredContext { time: at(103), not_after: at(100) };
    let error = TlsError::from(std::io::Error::other(rustls::Error::InvalidCertificate(ended)));
    assert!(error.to_string().contains("ended 3 days ago, by this machine's clock"), "{error}");
}
