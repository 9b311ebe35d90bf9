//! A coordinator, put together: journal, blobs, decider, combines and the one port.
//!
//! It starts and ends the parts; what they do is theirs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use convoke_core::coordinator::{Config, LIVE_JOBS_MAX};
use convoke_core::{Digest, Identity, Policy, Position, Role, TokenId};
pub use convoke_store::blobs::BlobError;
use convoke_store::holds::{Holds, Times};
use convoke_store::journal::Journal;
pub use convoke_store::journal::{ReadError, StoreError};
use convoke_store::state::StateDir;
pub use convoke_store::state::StateError;
use convoke_wire::channel::Target;
use convoke_wire::protocol::{CheckVersion, MESSAGE_BYTES_MAX};
use convoke_wire::tls::Credentials;
use convoke_wire::v1::blobs_server::BlobsServer;
use convoke_wire::v1::clients_server::ClientsServer;
use convoke_wire::v1::enrolment_server::EnrolmentServer;
use convoke_wire::v1::sessions_server::SessionsServer;
use time::OffsetDateTime;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle as TaskHandle;
use tonic::service::interceptor::InterceptedService;

use crate::accept::Acceptor;
use crate::authority::{Authority, AuthorityError};
use crate::blob_service::BlobService;
use crate::calls::Calls;
use crate::client_service::ClientService;
use crate::collector::Collecting;
use crate::combine::Combining;
pub use crate::decider::DecideError;
use crate::decider::{COMMANDS_MAX, Command, Decider, Outlets};
use crate::denials::Denials;
use crate::dial::{self, Node};
use crate::disk::Disk;
use crate::enrolment_service::EnrolmentService;
use crate::grants::Grants;
use crate::history::History;
pub use crate::history::{DamagedSnapshot, HistoryError};
use crate::listen::{ListenError, bind};
use crate::peer::Guard;
use crate::rollback::Rollback;
use crate::session::SessionService;
use crate::snapshots;
pub use crate::snapshots::SNAPSHOT_EVERY_BYTES;

/// How many notices a follower may be behind before it loses some.
const NOTICES_MAX: usize = 256;
/// How many combines may wait: each job under way has at most this many closed stages at a time, and a spare.
const COMBINES_MAX: usize = LIVE_JOBS_MAX * 4;
/// How many connections inside the process may wait to be accepted.
const INSIDE_MAX: usize = 16;
/// The most bytes of what somebody says who has not shown a certificate.
const ENROLMENT_BYTES_MAX: usize = 4 * 1024;

/// What a coordinator is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The state directory.
    pub state: PathBuf,
    /// Where to listen; `None` for connections inside the process only.
    pub bind: Option<SocketAddr>,
    /// The listening workers to dial, beside those that join by themselves.
    pub nodes: Vec<Node>,
    /// How tasks are placed where the job does not say.
    pub policy: Policy,
    /// For how long it waits for a disk that takes nothing, before it ends; `None` for ever.
    pub patience: Option<Duration>,
    /// How many bytes of frames there are at least between two snapshots: [`SNAPSHOT_EVERY_BYTES`] unless something else
    /// is tried out.
    pub snapshot_every_bytes: u64,
    /// The most bytes of blobs, beyond which nothing can be uploaded.
    pub state_max: Option<u64>,
}

/// A coordinator that runs.
pub struct Coordinator {
    address: Option<SocketAddr>,
    inside: mpsc::Sender<tokio::io::DuplexStream>,
    /// Dropped, it ends the decider.
    stop: oneshot::Sender<()>,
    accepting: TaskHandle<()>,
    dialling: TaskHandle<()>,
    /// Ends with the decider.
    remembering: TaskHandle<()>,
    deciding: Option<JoinHandle<Result<(), DecideError>>>,
    collecting: Option<JoinHandle<()>>,
    /// Dropped, it ends the collector.
    collect: Option<std::sync::mpsc::Sender<()>>,
    /// Dropped when the decider has ended.
    ended: watch::Receiver<Position>,
    state: StateDir,
    authority: Arc<Authority>,
}

/// A coordinator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] StoreError),
    /// The blobs cannot be opened.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The journal cannot be taken over.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// There is no authority to let peers in.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Coordinator {
    /// Takes over the state directory, and serves.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        Self::start_on(options, |state| Ok(Box::new(state.journal()?))).await
    }

    /// The same with a journal that may be another than the directory's.
    pub async fn start_on(
        options: Options,
        journal: impl FnOnce(&StateDir) -> Result<Box<dyn Journal>, StoreError>,
    ) -> Result<Self, StartError> {
        Self::start_timed(options, Times::default(), journal).await
    }

    pub(crate) async fn start_timed(
        options: Options,
        times: Times,
        journal: impl FnOnce(&StateDir) -> Result<Box<dyn Journal>, StoreError>,
    ) -> Result<Self, StartError> {
        let listener = match options.bind {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let state = StateDir::open(&options.state)?;
        let is_reached = listener.is_some() || !options.nodes.is_empty();
        let authority = if is_reached { Authority::open(state.path())? } else { Authority::fleeting()? };
        let authority = Arc::new(authority);
        let holds = Holds::new(Arc::new(state.blobs()?), options.state_max, times);
        let (uploads, work) = (holds.for_uploads(), holds.for_work());
        let journal = journal(&state)?;
        let found = work.clone();
        let history = History::new(journal.reader(), Box::new(move |digest, bytes_max| found.get(digest, bytes_max)));
        let history = Arc::new(history);
        let (commands, waiting) = mpsc::channel(COMMANDS_MAX);
        let (notices, _) = broadcast::channel(NOTICES_MAX);
        let (position, positions) = watch::channel(Position(0));
        let (combines, orders) = mpsc::channel(COMBINES_MAX);
        let (stalled, stalls) = watch::channel(None);
        let credentials = history.durable().map_err(DecideError::from)?.credentials().clone();
        let (credentials, known) = watch::channel(Arc::new(credentials));
        let holding = holds.clone();
        let outlets = Outlets { combines, notices: notices.clone(), position, stalled, holds: holding, credentials };
        let (config, patience) = (Config { policy: options.policy, ..Config::default() }, options.patience);
        let decider = Decider::start(config, journal, &history, outlets, patience)?;
        let rollback = Arc::new(Rollback::new(decider.takeover()));
        let (stop, stopped) = oneshot::channel();
        let deciding = spawn("decider", move || decide(decider, waiting, stopped))?;
        let (collect, stay) = std::sync::mpsc::channel();
        let collector = Collecting::new(holds, commands.clone(), history.clone());
        let collecting = spawn("collector", move || collector.run(&stay))?;
        let combining =
            Combining { blobs: work.clone(), commands: commands.clone(), notices: notices.clone(), patience };
        spawn("combine", move || combining.run(orders))?;
        // One for small blobs and one for large ones: the disk may still have room for the former alone.
        let disk = |commands: &mpsc::Sender<Command>| Disk::new(commands.clone(), patience);
        let (histories, snapshots, position) = (history.clone(), work.clone(), positions.clone());
        let every_bytes = options.snapshot_every_bytes;
        let snapshots = snapshots::keep(every_bytes, histories, snapshots, commands.clone(), position);
        let remembering = tokio::spawn(snapshots);
        let calls = Calls { commands: commands.clone(), stalled: stalls };
        let denials = Denials::default();
        let enrolment =
            EnrolmentService { authority: authority.clone(), calls: calls.clone(), denials: denials.clone() };
        let grants = Arc::new(Grants::default());
        let clients = ClientService {
            calls,
            blobs: uploads.clone(),
            history,
            notices,
            position: positions.clone(),
            rollback: rollback.clone(),
        };
        let sessions = SessionService {
            commands: commands.clone(),
            blobs: work.clone(),
            disk: disk(&commands),
            rollback,
            position: positions.clone(),
            next_session: AtomicU64::new(1),
            grants: grants.clone(),
        };
        let sessions = SessionsServer::new(sessions);
        let blobs = BlobService::new((uploads, work), disk(&commands), grants, denials.clone());
        let (clients, blobs) = (ClientsServer::new(clients), BlobsServer::new(blobs));
        let sessions = sessions.max_decoding_message_size(MESSAGE_BYTES_MAX);
        let clients = clients.max_decoding_message_size(MESSAGE_BYTES_MAX);
        let blobs = blobs.max_decoding_message_size(MESSAGE_BYTES_MAX);
        let enrolment = EnrolmentServer::new(enrolment).max_decoding_message_size(ENROLMENT_BYTES_MAX);
        let routes = tonic::service::Routes::new(InterceptedService::new(sessions, CheckVersion))
            .add_service(InterceptedService::new(enrolment, CheckVersion))
            .add_service(InterceptedService::new(clients, CheckVersion))
            .add_service(InterceptedService::new(blobs, CheckVersion));
        let (inside, connections) = mpsc::channel(INSIDE_MAX);
        let guard = Guard::new(known.clone(), denials);
        let guarded = move |request, next| guard.clone().pass(request, next);
        let router = routes.into_axum_router().layer(axum::middleware::from_fn(guarded));
        let (config, members) = authority.server_config(OffsetDateTime::now_utc())?;
        let acceptor = Acceptor::new(router, config, members, known);
        let dialling = tokio::spawn(dial::keep_all(options.nodes, acceptor.clone()));
        let accepting = tokio::spawn(acceptor.accept(listener, connections));
        Ok(Self {
            address,
            inside,
            stop,
            accepting,
            dialling,
            remembering,
            deciding: Some(deciding),
            collecting: Some(collecting),
            collect: Some(collect),
            ended: positions,
            state,
            authority,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// What names its cluster.
    pub fn authority(&self) -> Digest {
        self.authority.digest()
    }

    /// Credentials of an admin for the user who starts it.
    pub fn local_credentials(&self, name: &str) -> Result<Credentials, AuthorityError> {
        let (role, token) = (Role::Admin, TokenId::LOCAL);
        let identity = Identity { role, commands: false, token, serial: 0, name: name.to_owned() };
        self.authority.credentials(&identity, OffsetDateTime::now_utc())
    }

    /// How to reach it from inside this process.
    pub fn target(&self) -> Target {
        Target::InProcess(self.inside.clone())
    }

    /// Returns when it cannot go on, with the reason; otherwise never.
    pub async fn failed(&mut self) -> DecideErrorOrEnd {
        while self.ended.changed().await.is_ok() {}
        DecideErrorOrEnd(self.deciding.take().and_then(|deciding| deciding.join().ok()).and_then(Result::err))
    }

    /// Ends: nothing more is accepted, and what was decided is on disk.
    pub async fn stop(mut self) {
        self.accepting.abort();
        self.dialling.abort();
        // The decider may have ended by itself.
        drop(self.stop);
        while self.ended.changed().await.is_ok() {}
        if let Some(deciding) = self.deciding.take() {
            drop(deciding.join());
        }
        // A snapshot that is being written is let be finished while the directory is still this process's.
        drop(self.remembering.await);
        self.collect.take();
        if let Some(collecting) = self.collecting.take() {
            drop(collecting.join());
        }
    }
}

/// Why a coordinator ended by itself, as far as it is known.
#[derive(Debug)]
pub struct DecideErrorOrEnd(Option<DecideError>);

impl std::fmt::Display for DecideErrorOrEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(error) => error.fmt(f),
            None => f.write_str("the coordinator's decider ended"),
        }
    }
}

/// Runs the decider on this thread: it may wait for the disk, and nobody else waits with it.
fn decide(decider: Decider, waiting: mpsc::Receiver<Command>, stop: oneshot::Receiver<()>) -> Result<(), DecideError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    match runtime {
        Ok(runtime) => runtime.block_on(decider.run(waiting, stop)),
        Err(error) => {
            tracing::error!("cannot start the decider's loop: {error}");
            Ok(())
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(StartError::Thread)
}
