//! Certificates over their time: renewed at half of it, also by another run of the coordinator; for a while after their
//! end good for being renewed, and for nothing else; and then for nothing.
//!
//! The clock is the machine's: what differs is for how long the authority signed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::worker::Load;
use convoke_core::{Policy, Role, TokenId};
use convoke_node::Coordinator;
use convoke_node::authority::{Authority, MEMBER_VALID, RENEWABLE_AFTER};
use convoke_node::coordinator::{Options, SNAPSHOT_EVERY_BYTES};
use convoke_node::devices::Devices;
use convoke_node::link::Way;
use convoke_node::membership::Membership;
use convoke_node::worker::{self, End, Worker};
use convoke_wire::channel::Target;
use convoke_wire::denial::Denial;
use convoke_wire::tls::handshake::{Trust, now};
use convoke_wire::tls::token::Secret;
use convoke_wire::tls::verify::Expected;
use convoke_wire::tls::{Credentials, JoinToken, Key};
use convoke_wire::{CallError, Client, TokenTerms, enrolment};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn start(state: &Path, bind: &str) -> Coordinator {
    let options = Options {
        state: state.to_owned(),
        bind: Some(bind.parse().unwrap()),
        nodes: Vec::new(),
        policy: Policy::default(),
        patience: None,
        snapshot_every_bytes: SNAPSHOT_EVERY_BYTES,
        state_max: None,
    };
    Coordinator::start(options).await.unwrap()
}

/// Lets somebody in by a new token.
async fn admitted(coordinator: &Coordinator, role: Role) -> Credentials {
    let token = JoinToken { id: TokenId::from_bits(7), secret: Secret([7; 16]), authority: coordinator.authority() };
    let mut inside = Client::connect(&coordinator.target()).await.unwrap();
    let terms = TokenTerms {
        role,
        commands: role == Role::Client,
        name: Some("ann".to_owned()),
        expires_ms: None,
        uses: Some(1),
    };
    inside.create_token(&token, terms).await.unwrap();
    let channel =
        at(coordinator, Trust::new(Expected::Authority(token.authority), Vec::new())).connect().await.unwrap();
    enrolment::enrol(channel, &token, "ann", &Key::generate().unwrap()).await.unwrap()
}

/// The same identity's, as if signed so long before their end.
fn ending(state: &Path, credentials: &Credentials, ends: OffsetDateTime) -> Credentials {
    Authority::open(state).unwrap().credentials(credentials.identity(), ends - MEMBER_VALID).unwrap()
}

fn at(coordinator: &Coordinator, trust: Trust) -> Target {
    Target::Address { address: coordinator.address().unwrap().to_string(), trust: Arc::new(trust) }
}

fn showing(credentials: Credentials) -> Trust {
    Trust::known(vec![credentials])
}

/// For how long they are still good.
fn left(credentials: &Credentials) -> Duration {
    Duration::from_secs(credentials.ends().unwrap().saturating_sub(now().as_secs()))
}

fn is_new(credentials: &Credentials) -> bool {
    left(credentials) > MEMBER_VALID - DAY
}

/// As a state directory has to be.
fn private_folder() -> tempfile::TempDir {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().permissions(mode).tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_half_their_time_credentials_are_renewed_also_by_the_next_run_of_a_coordinator() {
    let folder = private_folder();
    let (state, file) = (folder.path().join("state"), folder.path().join("ann.pem"));
    let mut coordinator = start(&state, "127.0.0.1:0").await;
    let fresh = admitted(&coordinator, Role::Client).await;
    assert!(is_new(&fresh) && !fresh.is_due() && fresh.identity().commands);
    let mut shown = ending(&state, &fresh, OffsetDateTime::now_utc() + MEMBER_VALID / 2 - DAY);
    for _ in 0..2 {
        assert!(shown.is_due());
        let target = at(&coordinator, showing(shown.clone()));
        let Target::Address { trust, .. } = &target else { unreachable!() };
        let client = Client::connect(&target).await.unwrap();
        let renew = async || enrolment::renew_if_due(client.channel(), trust, |_| file.clone()).await.unwrap();
        assert!(renew().await, "it is due");
        assert!(!renew().await, "it was renewed");
        let kept = Credentials::load(&file).unwrap().unwrap();
        assert!(is_new(&kept) && kept.identity() == fresh.identity());
        Client::connect(&target).await.unwrap().jobs().await.unwrap();
        // And another run does the same, with what the first signed.
        let address = coordinator.address().unwrap().to_string();
        coordinator.stop().await;
        coordinator = start(&state, &address).await;
        let again = at(&coordinator, showing(kept));
        Client::connect(&again).await.unwrap().jobs().await.unwrap();
        shown = ending(&state, &fresh, OffsetDateTime::now_utc() + DAY);
    }
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_may_be_renewed_for_a_while_and_nothing_else() {
    let folder = private_folder();
    let coordinator = start(folder.path(), "127.0.0.1:0").await;
    let fresh = admitted(&coordinator, Role::Admin).await;
    let ended = |before: Duration| ending(folder.path(), &fresh, OffsetDateTime::now_utc() - before);
    let denied = |error: CallError| match error {
        CallError::Denied(denied) => (denied.denial, denied.said),
        error => panic!("{error}"),
    };
    let target = at(&coordinator, showing(ended(Duration::from_secs(1))));
    let mut client = Client::connect(&target).await.unwrap();
    let (denial, said) = denied(client.jobs().await.unwrap_err());
    assert_eq!(denial, Denial::CertificateEnded, "{said}");
    assert_eq!(denied(client.tokens().await.unwrap_err()).0, Denial::CertificateEnded);
    assert!(is_new(&enrolment::renew(client.channel(), coordinator.authority()).await.unwrap()));

    let target = at(&coordinator, showing(ended(RENEWABLE_AFTER + DAY)));
    let client = Client::connect(&target).await.unwrap();
    let (denial, said) = denied(enrolment::renew(client.channel(), coordinator.authority()).await.unwrap_err());
    assert_eq!(denial, Denial::CertificateEnded);
    assert!(said.contains("ended 31 days ago: join again with a new token"), "{said}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_over_its_certificates_end_comes_back() {
    let folder = private_folder();
    let (state, file) = (folder.path().join("state"), folder.path().join("ann.pem"));
    let coordinator = start(&state, "127.0.0.1:0").await;
    let fresh = admitted(&coordinator, Role::Worker).await;
    let trust = Arc::new(showing(ending(&state, &fresh, OffsetDateTime::now_utc() - Duration::from_secs(60))));
    let address = coordinator.address().unwrap().to_string();
    let files = Arc::new(BTreeMap::from([(coordinator.authority(), file.clone())]));
    let options = worker::Options {
        way: Way::Dial { target: Target::Address { address, trust: trust.clone() }, wait: Duration::ZERO },
        name: "ann".to_owned(),
        slots: 1,
        devices: Devices::default(),
        load: Load::default(),
        cache_bytes: 1 << 20,
        commands: None,
        wasm: convoke_node::executor::WasmLimits::default(),
        membership: Some(Membership { trust, files }),
    };
    let (leave, told) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(Worker::new(options).unwrap().run(async move { drop(told.await) }));
    let mut inside = Client::connect(&coordinator.target()).await.unwrap();
    let joined = async {
        while !inside.workers().await.unwrap().iter().any(|worker| worker.connected) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), joined).await.expect("it joins");
    assert!(is_new(&Credentials::load(&file).unwrap().unwrap()));
    drop(leave);
    assert_eq!(running.await.unwrap().unwrap(), End::Told);
    coordinator.stop().await;
}
