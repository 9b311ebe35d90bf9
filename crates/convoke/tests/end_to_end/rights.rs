//! What a role may do, asked by raw gRPC: nothing that the binary would not ask keeps the coordinator from refusing.
//!
//! Who may come in is tested in `access`; here everybody is in, or knocks at every door.

use std::sync::Arc;

use convoke_wire::channel::Target;
use convoke_wire::core::event::{Completion, Event, Failure, Timing};
use convoke_wire::core::message::{FromWorker, Hello};
use convoke_wire::core::{
    Ability, Attempts, Digest, JobId, JobSpec, LeaseId, MapReduce, Needs, Payload, Plan, Position, Resources, Split,
    Term, Work, WorkerId,
};
use convoke_wire::enrolment;
use convoke_wire::protocol::SayVersion;
use convoke_wire::seen::Seen;
use convoke_wire::session::WorkerFrame;
use convoke_wire::tls::handshake::Trust;
use convoke_wire::tls::verify::Expected;
use convoke_wire::tls::{Book, Credentials, JoinToken, Key};
use convoke_wire::v1::blobs_client::BlobsClient;
use convoke_wire::v1::clients_client::ClientsClient;
use convoke_wire::v1::enrolment_client::EnrolmentClient;
use convoke_wire::v1::sessions_client::SessionsClient;
use convoke_wire::{BlobClient, CallError, Client, Followed, SubmitError, job, program, v1};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::access::token;
use crate::cluster::Cluster;
use crate::job::{JOB, check_same_bits};

/// A channel to a cluster's coordinator, with these credentials to show.
pub async fn channel(cluster: &Cluster, shown: Vec<Credentials>) -> Channel {
    let trust = Arc::new(Trust::new(Expected::Authority(authority(cluster)), shown));
    let target = Target::Address { address: cluster.address.clone(), trust };
    target.connect().await.expect("the coordinator is there")
}

/// What names a cluster.
pub fn authority(cluster: &Cluster) -> Digest {
    let (id, text) = token(cluster, &["--role", "worker"]);
    cluster.ask(&["token", "revoke", &id]).with_status(0);
    text.parse::<JoinToken>().expect("a token").authority
}

/// Credentials by a new token.
pub async fn credentials(cluster: &Cluster, role: &str, name: &str) -> Credentials {
    let (_, text) = token(cluster, &["--role", role, "--uses", "1"]);
    enrol(cluster, &text, name).await.expect("it is let in")
}

async fn enrol(cluster: &Cluster, token: &str, name: &str) -> Result<Credentials, CallError> {
    let (token, key) = (token.parse().expect("a token"), Key::generate().expect("a key"));
    enrolment::enrol(channel(cluster, Vec::new()).await, &token, name, &key).await
}

fn code<T>(answer: Result<Response<T>, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// What comes of every call, made with nothing in it, but for those that a role may make.
async fn call_all(channel: Channel) -> Vec<(&'static str, Code)> {
    let mut enrolment = EnrolmentClient::with_interceptor(channel.clone(), SayVersion);
    let mut sessions = SessionsClient::with_interceptor(channel.clone(), SayVersion);
    let mut blobs = BlobsClient::with_interceptor(channel.clone(), SayVersion);
    let mut clients = ClientsClient::with_interceptor(channel, SayVersion);
    vec![
        ("Enrol", code(enrolment.enrol(v1::EnrolRequest::default()).await)),
        ("Renew", code(enrolment.renew(v1::RenewRequest::default()).await)),
        ("Open", code(sessions.open(tokio_stream::iter([v1::WorkerFrame::default()])).await)),
        ("Get", code(blobs.get(v1::GetRequest { digest: vec![7; 32] }).await)),
        (
            "Put",
            code(blobs.put(tokio_stream::iter([v1::PutChunk { digest: vec![7; 32], ..Default::default() }])).await),
        ),
        ("Missing", code(blobs.missing(v1::Digests::default()).await)),
        ("Submit", code(clients.submit(v1::SubmitRequest::default()).await)),
        ("Cancel", code(clients.cancel(v1::JobRequest { job: 1 }).await)),
        ("Jobs", code(clients.jobs(Request::new(Default::default())).await)),
        ("Workers", code(clients.workers(Request::new(Default::default())).await)),
        ("Follow", code(clients.follow(v1::FollowRequest { job: 1, ..Default::default() }).await)),
        ("Drain", code(clients.drain(v1::DrainRequest { worker: "ann".to_owned() }).await)),
        ("CreateToken", code(clients.create_token(v1::CreateTokenRequest::default()).await)),
        ("Tokens", code(clients.tokens(Request::new(Default::default())).await)),
        ("RevokeToken", code(clients.revoke_token(v1::TokenRequest { token: 1 }).await)),
        ("Remove", code(clients.remove(v1::RemoveRequest { role: "worker".to_owned(), name: "ann".to_owned() }).await)),
    ]
}

/// Those of the calls that end so.
fn that_end(calls: &[(&'static str, Code)], code: Code) -> Vec<&'static str> {
    calls.iter().filter(|(_, ended)| *ended == code).map(|(name, _)| *name).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_a_certificate_there_is_only_enrolment() {
    let cluster = Cluster::start();
    let calls = call_all(channel(&cluster, Vec::new()).await).await;
    assert_eq!(that_end(&calls, Code::InvalidArgument), ["Enrol"], "an empty key: {calls:?}");
    assert_eq!(that_end(&calls, Code::Unauthenticated).len(), calls.len() - 1, "{calls:?}");
    // Nor has another cluster's certificate any worth.
    let elsewhere = Cluster::start();
    let foreign = credentials(&elsewhere, "admin", "eve").await;
    let calls = call_all(channel(&cluster, vec![foreign]).await).await;
    assert_eq!(that_end(&calls, Code::Unauthenticated).len(), calls.len() - 1, "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_role_makes_its_own_calls() {
    let cluster = Cluster::start();
    let worker = channel(&cluster, vec![credentials(&cluster, "worker", "ann").await]).await;
    let calls = call_all(worker).await;
    assert_eq!(that_end(&calls, Code::InvalidArgument), ["Enrol", "Renew", "Open"], "{calls:?}");
    // It has no session, so there are no blobs for it, either.
    assert_eq!(that_end(&calls, Code::PermissionDenied).len(), calls.len() - 3, "{calls:?}");
    let client = channel(&cluster, vec![credentials(&cluster, "client", "ben").await]).await;
    let calls = call_all(client).await;
    let admins = ["Open", "Drain", "CreateToken", "Tokens", "RevokeToken", "Remove"];
    assert_eq!(that_end(&calls, Code::PermissionDenied), admins, "{calls:?}");
    let admin = channel(&cluster, vec![credentials(&cluster, "admin", "eve").await]).await;
    let calls = call_all(admin).await;
    assert_eq!(that_end(&calls, Code::PermissionDenied), ["Open"], "{calls:?}");
}

fn hello(name: &str) -> Hello {
    Hello {
        worker: WorkerId(7),
        name: name.to_owned(),
        slots: 1,
        // No task is for a worker that can do nothing.
        abilities: Vec::new(),
        profile: "none".to_owned(),
        hardware: "none".to_owned(),
        holding: Vec::new(),
        draining: false,
        resources: Resources::default(),
    }
}

/// Opens a session, and waits for its first words.
async fn open(channel: Channel, hello: Hello) -> Result<mpsc::Sender<v1::WorkerFrame>, CallError> {
    let (frames, outbound) = mpsc::channel(4_096);
    frames.try_send(WorkerFrame::Hello(hello, Seen::default()).into()).expect("it has room");
    let mut sessions = SessionsClient::with_interceptor(channel, SayVersion);
    let mut inbound = sessions.open(ReceiverStream::new(outbound)).await?.into_inner();
    inbound.message().await?.expect("a welcome");
    tokio::spawn(async move { while let Ok(Some(_)) = inbound.message().await {} });
    Ok(frames)
}

/// The model that a cluster's only job starts from, once a worker has a task of it.
async fn base(cluster: &Cluster) -> Digest {
    let user = Book::new(&cluster.home.path("config/convoke/clusters")).trust(&cluster.address).expect("a book");
    let target = Target::Address { address: cluster.address.clone(), trust: Arc::new(user) };
    let mut client = Client::connect(&target).await.expect("the coordinator is there");
    let job = cluster.jobs()[0]["job"].as_str().expect("a job").parse::<JobId>().expect("an id");
    let mut followed = client.follow(job, Position(0), false).await.expect("the user's job");
    while let Some(told) = followed.next().await {
        if let Ok(Followed::Recorded { event: Event::JobSubmitted { spec, .. }, .. }) = told {
            let Plan::Rounds(rounds) = &spec.plan else { panic!("the job trains") };
            return rounds.base.as_blob().expect("a model is a blob");
        }
    }
    panic!("the job was submitted");
}

fn is_denied<T>(answer: &Result<T, CallError>, said: &str) -> bool {
    matches!(answer, Err(CallError::Denied(denied)) if denied.said.contains(said))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_has_no_part_in_what_is_anothers() {
    let cluster = Cluster::start();
    let honest = cluster.worker("honest", &[]);
    let train = cluster.train(&JOB);
    honest.says(&["train begins"]);
    let base = base(&cluster).await;
    let channel = channel(&cluster, vec![credentials(&cluster, "worker", "eve").await]).await;
    let mut blobs = BlobClient::new(channel.clone());
    let read = async |blobs: &mut BlobClient| blobs.get(base, 1 << 20).await;
    assert!(is_denied(&read(&mut blobs).await, "no task of this worker names blob"));
    assert!(is_denied(&blobs.put(vec![1; 9].into(), false).await, "a worker without a session has no results"));
    assert!(is_denied(
        &open(channel.clone(), hello("honest")).await,
        "is that of the worker `eve`, and not of `honest`"
    ));
    let session = open(channel, hello("eve")).await.expect("its own name is its own");
    assert!(is_denied(&read(&mut blobs).await, "no task of this worker names blob"));

    // It reports for every lease that there may be.
    for number in 0..256 {
        let lease = LeaseId { term: Term(1), number };
        let completion = Completion {
            result: Payload::blob(base),
            samples: 1_000_000,
            metrics: Default::default(),
            timing: Timing::default(),
            ..Completion::default()
        };
        for message in [
            FromWorker::Done { lease, completion },
            FromWorker::Failed { lease, failure: Failure::of("forged\nINFO a line\u{1b}[2J") },
            FromWorker::Rejected { lease },
        ] {
            session.send(WorkerFrame::Message(message).into()).await.expect("the session stands");
        }
    }
    let report = check_same_bits(train.ends());
    let tasks = report["rounds"].as_array().expect("rounds").iter().flat_map(|round| round["tasks"].as_array());
    assert!(tasks.flatten().all(|task| task["worker"] == "honest" && task["attempt"] == 1), "{report}");
    let said = cluster.coordinator.said();
    assert!(!said.iter().any(|line| line.contains("forged") || line.contains("panicked")), "{said:#?}");
}

/// A job whose tasks are of that ability.
fn spec(ability: &str) -> JobSpec {
    let nothing = || Payload::inline(b"").expect("it is short");
    let map = Work {
        ability: Ability::new(ability).expect("a name"),
        program: nothing(),
        input: nothing(),
        split: Split::Range,
        count: 1,
        combine: program::inline(&job::collect()),
        needs: Needs::default(),
    };
    JobSpec {
        name: ability.to_owned(),
        plan: Plan::MapReduce(MapReduce { base: nothing(), map, reduce: None, keep_going: false }),
        policy: None,
        seed: 0,
        attempts: Attempts::default(),
        deadline_ms: None,
        priority: 0,
    }
}

/// What comes of submitting such a job.
async fn submit(cluster: &Cluster, shown: &Credentials, job: u64, ability: &str) -> Result<(), CallError> {
    let mut client = Client::over(channel(cluster, vec![shown.clone()]).await);
    let submitted = client.submit(JobId::from_bits(job), &spec(ability), "somebody").await;
    submitted.map_err(|error| match error {
        SubmitError::Call(error) => error,
        error => panic!("{error}"),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_are_for_whom_a_token_gave_the_right() {
    let cluster = Cluster::start();
    let no = "runs commands on workers";
    let plain = credentials(&cluster, "client", "ann").await;
    for (job, ability) in [(1, "command"), (2, "step")] {
        assert!(is_denied(&submit(&cluster, &plain, job, ability).await, no), "{ability}");
    }
    submit(&cluster, &plain, 3, "train").await.expect("training is for everybody");
    let (id, text) = token(&cluster, &["--role", "client", "--allow-command"]);
    let trusted = enrol(&cluster, &text, "ben").await.expect("it is let in");
    submit(&cluster, &trusted, 4, "command").await.expect("it has the right");
    // Revoked, it gives nobody the right, and takes it from nobody.
    cluster.ask(&["token", "revoke", &id]).with_status(0);
    assert!(enrol(&cluster, &text, "eve").await.is_err());
    let renewed = enrolment::renew(channel(&cluster, vec![trusted.clone()]).await, authority(&cluster)).await;
    for (job, shown) in [(5, trusted), (6, renewed.expect("it is let in"))] {
        submit(&cluster, &shown, job, "step").await.expect("it keeps the right");
    }
    assert!(is_denied(&submit(&cluster, &plain, 7, "command").await, no));
    let admin = credentials(&cluster, "admin", "boss").await;
    submit(&cluster, &admin, 8, "command").await.expect("an admin always may");
    let worker = credentials(&cluster, "worker", "box").await;
    assert!(is_denied(&submit(&cluster, &worker, 9, "command").await, "needs the role client"));
    assert_eq!(cluster.jobs().len(), 5);
}
