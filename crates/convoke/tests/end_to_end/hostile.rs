//! Hostile peers: idle and half-open connections, garbage, slow writers, frames and messages that claim what they have
//! not. The coordinator serves its job meanwhile, to the same bits, in bounded memory, and nothing panics.
//!
//! What a role may ask for in due form is tested in `rights`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convoke_wire::tls::Credentials;
use convoke_wire::tls::handshake::Trust;
use convoke_wire::tls::verify::Expected;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::access::{file_below, token, worker};
use crate::cluster::{Cluster, Home, text};
use crate::job::{JOB, check_same_bits};
use crate::rights::{authority, credentials};

/// What the coordinator's memory may grow by.
const GROWTH_KIB_MAX: u64 = 64 * 1024;
/// Whence strangers come: another address than the workers', on the same machine.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// A client's first record, the beginning of it: a handshake of 512 bytes, of which none come.
const HALF_A_HANDSHAKE: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// How often everything is tried while the job runs.
const TIMES_MAX: usize = 20;

/// The most memory that a process had, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process is there");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line for it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Lets this process have as many connections as it may.
fn allow_connections() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("one's own limit");
}

/// Connects from elsewhere; nothing where that is refused for want of room.
async fn connect(address: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((ELSEWHERE, 0).into()).ok()?;
    socket.connect(address).await.ok()
}

/// What comes back for these bytes, until the other side ends the connection.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u8> {
    // It may have heard enough before it has heard all.
    drop(stream.write_all(bytes).await);
    drop(stream.shutdown().await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    answer
}

/// What comes back for these bytes over TLS.
async fn secure_answer(address: SocketAddr, trust: &Trust, bytes: &[u8]) -> Option<Vec<u8>> {
    let stream = trust.greet(connect(address).await?).await.ok()?;
    Some(answer(stream, bytes).await)
}

/// A call by HTTP/1, whose body is not checked by anybody on this side.
fn call(path: &str, body: &[u8]) -> Vec<u8> {
    let bytes = body.len();
    let head = format!(
        "POST /convoke.wire.v1.{path} HTTP/1.1\r\nHost: convoke\r\nContent-Type: application/grpc\r\nTE: trailers\r\n\
         convoke-protocol: 1.0\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A message of gRPC with its length before it.
fn framed(message: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(message.len()).expect("a short message");
    [&[0][..], &bytes.to_be_bytes(), message].concat()
}

/// Bodies that no peer of ours sends: lengths that are not there, nested and truncated messages, compression.
fn bodies() -> Vec<Vec<u8>> {
    let nested = |depth: usize| framed(&[vec![0x0b; depth], vec![0x0c; depth]].concat());
    vec![
        vec![0, 0x7f, 0xff, 0xff, 0xff],
        vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3],
        vec![1, 0, 0, 0, 4, 31, 139, 8, 0],
        vec![0, 0, 0],
        framed(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x07]),
        framed(&[0x0a; 64]),
        framed(&[0xff; 4_000]),
        nested(1_900),
        nested(1_000_000),
    ]
}

/// What is said over TLS that is no call.
fn frames() -> Vec<Vec<u8>> {
    let headers = [&[0xff, 0xff, 0xff, 1, 4, 0, 0, 0, 1][..], &[0x40; 40_000]].concat();
    [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [b"GET / HTTP/1.1\r\nX: ", &[b'x'; 1 << 20][..]].concat(),
        [PREFACE, &headers].concat(),
        // Headers that go on and on, and never end.
        [PREFACE, &[0, 0x40, 0, 1, 0, 0, 0, 0, 1], &[0; 0x4000]].concat(),
        [PREFACE, &[0, 0x40, 0, 9, 0, 0, 0, 0, 1].repeat(64)].concat(),
        [PREFACE, &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8].repeat(10_000)].concat(),
        vec![0; 1 << 20],
    ]
    .into()
}

/// Everything, once. Those that only wait are held until the end.
async fn attack(address: SocketAddr, stranger: &Trust, worker: &Trust, held: &mut Vec<TcpStream>) {
    for _ in 0..1_000 {
        held.extend(connect(address).await);
    }
    for _ in 0..300 {
        if let Some(mut stream) = connect(address).await {
            drop(stream.write_all(HALF_A_HANDSHAKE).await);
            held.push(stream);
        }
    }
    let plain = [b"GET / HTTP/1.1\r\nHost: convoke\r\n\r\n".to_vec(), PREFACE.to_vec(), vec![0xff; 1 << 20]];
    let records = [vec![22; 1 << 20], [HALF_A_HANDSHAKE, &[7; 600]].concat(), vec![22, 3, 1, 0xff, 0xff]];
    for bytes in plain.iter().chain(&records) {
        if let Some(stream) = connect(address).await {
            answer(stream, bytes).await;
        }
    }
    for bytes in &frames() {
        secure_answer(address, stranger, bytes).await;
        secure_answer(address, worker, bytes).await;
    }
    for body in &bodies() {
        for path in
            ["Enrolment/Enrol", "Sessions/Open", "Blobs/Put", "Clients/Submit", "Nothing/Else", &"x".repeat(9_000)]
        {
            secure_answer(address, stranger, &call(path, body)).await;
            secure_answer(address, worker, &call(path, body)).await;
        }
    }
}

fn trust(authority: convoke_wire::core::Digest, shown: Vec<Credentials>) -> Trust {
    Trust::new(Expected::Authority(authority), shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_served_whatever_else_comes() {
    allow_connections();
    let cluster = Cluster::start();
    let address: SocketAddr = cluster.address.parse().expect("an address");
    let authority = authority(&cluster);
    let stranger = trust(authority, Vec::new());
    let rogue = trust(authority, vec![credentials(&cluster, "worker", "eve").await]);
    let (_, joins) = token(&cluster, &["--role", "worker"]);
    let before = cluster.worker("before", &[]);
    // What a job takes by itself is no growth.
    check_same_bits(cluster.train(&JOB).ends());
    drop(before);
    let usual_kib = peak_kib(cluster.coordinator.id());

    let train = cluster.train(&JOB);
    let mut held = Vec::new();
    attack(address, &stranger, &rogue, &mut held).await;
    // A worker finds its way in meanwhile, and others are heard.
    let home = Home::new();
    let _worker = worker(&home, &cluster.address, "ann", &joins);
    let over = AtomicBool::new(false);
    let attacking = async {
        let mut times = 1;
        while times < TIMES_MAX && !over.load(Ordering::Relaxed) {
            held.clear();
            attack(address, &stranger, &rogue, &mut held).await;
            times += 1;
        }
        times
    };
    let working = async {
        let ended = tokio::task::spawn_blocking(move || train.ends()).await.expect("it ends");
        over.store(true, Ordering::Relaxed);
        ended
    };
    let (times, ended) = tokio::join!(attacking, working);
    check_same_bits(ended);

    let grown_kib = peak_kib(cluster.coordinator.id()).saturating_sub(usual_kib);
    println!("everything was tried {times} times; the coordinator's memory grew from {usual_kib} by {grown_kib} KiB");
    assert!(grown_kib < GROWTH_KIB_MAX, "it grew by {grown_kib} KiB");
    let said = cluster.coordinator.said();
    assert!(!said.iter().any(|line| line.contains("panicked")), "{said:#?}");
    let denials = said.iter().filter(|line| line.contains("may not call") || line.contains("does not join")).count();
    assert!((1..=60).contains(&denials), "{denials} lines for denials");
    assert!(said.iter().all(|line| line.len() < 1_000), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_shows_nothing_is_gone_after_a_while() {
    let cluster = Cluster::start();
    let address: SocketAddr = cluster.address.parse().expect("an address");
    let expected = authority(&cluster);
    let stranger = trust(expected, Vec::new());
    let idle = connect(address).await.expect("a connection");
    let mut half = connect(address).await.expect("a connection");
    half.write_all(HALF_A_HANDSHAKE).await.expect("it is read");
    let mut slow = stranger.greet(connect(address).await.expect("a connection")).await.expect("a handshake");
    slow.write_all(PREFACE).await.expect("it is read");
    let removed = trust(expected, vec![credentials(&cluster, "worker", "eve").await]);
    cluster.ask(&["worker", "remove", "eve"]).with_status(0);
    let mut removed = removed.greet(connect(address).await.expect("a connection")).await.expect("a handshake");
    removed.write_all(PREFACE).await.expect("it is read");
    let is_over = async |mut stream: Box<dyn Peer>| {
        drop(stream.read_to_end(&mut Vec::new()).await);
    };
    let all = async {
        tokio::join!(
            is_over(Box::new(idle)),
            is_over(Box::new(half)),
            is_over(Box::new(slow)),
            is_over(Box::new(removed))
        );
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("each is ended");
    assert_eq!(cluster.jobs(), Vec::<serde_json::Value>::new());
}

/// Any connection.
trait Peer: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Peer for T {}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_said_in_plain_text_is_answered_so() {
    let cluster = Cluster::start();
    let address: SocketAddr = cluster.address.parse().expect("an address");
    let said = answer(connect(address).await.expect("a connection"), b"GET / HTTP/1.1\r\n\r\n").await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("This port speaks TLS"), "{said}");
}

/// What `openssl s_client` shows of a connection over which it says something; `None` where there is no such program.
fn s_client(cluster: &Cluster, arguments: &[&str], says: &[u8]) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &cluster.address, "-ign_eof"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), says).expect("it reads");
    let ended = child.wait_with_output().expect("it ends");
    Some(String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned())
}

#[test]
fn openssl_gets_nothing_either() {
    let cluster = Cluster::start();
    let jobs = call("Clients/Jobs", &framed(&[]));
    let Some(said) = s_client(&cluster, &[], &jobs) else {
        println!("skipped: there is no openssl here");
        return;
    };
    // 16 is UNAUTHENTICATED.
    assert!(said.contains("grpc-status: 16") && said.contains("no%20certificate%20was%20shown"), "{said}");
    let elsewhere = Cluster::start();
    let (home, (_, foreign)) = (Home::new(), token(&elsewhere, &["--role", "worker"]));
    drop(worker(&home, &elsewhere.address, "eve", &foreign));
    let kept = file_below(&home.path("state"), ".pem");
    let said = s_client(&cluster, &shown(&kept), &jobs).expect("it was there");
    assert!(said.contains("alert") && !said.contains("grpc-status"), "another cluster's certificate: {said}");
    let said = s_client(&elsewhere, &shown(&kept), &jobs).expect("it was there");
    // 7 is PERMISSION_DENIED.
    assert!(said.contains("grpc-status: 7") && said.contains("and%20this%20is%20a%20worker"), "{said}");
    let said = s_client(&cluster, &["-tls1_2"], &jobs).expect("it was there");
    assert!(said.contains("alert protocol version"), "{said}");
}

fn shown(kept: &Path) -> [&str; 4] {
    ["-cert", text(kept), "-key", text(kept)]
}
