//! The other direction: workers that listen, and a coordinator that dials them. What comes of a job is the same.
//!
//! Who opened a connection is all that differs; what is said over it is tested elsewhere.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Status};

use crate::cluster::{Cluster, Home};
use crate::front::Front;
use crate::job::{JOB, check_same_bits};
use crate::process::Process;
use crate::refusals::check_refused;

/// Starts a worker with one slot that listens, and waits until it says where.
fn listen(home: &Home, name: &str, address: &str) -> (Process, String) {
    let worker = home.start(&["worker", "--listen", address, "--slots", "1", "--name", name]);
    let line = worker.says(&["listening on "]);
    let address = line.trim_start_matches("listening on ").to_owned();
    (worker, address)
}

/// Two workers that listen, and a coordinator that dials them.
fn dialled() -> (Cluster, [Process; 2], [String; 2]) {
    let home = Home::new();
    let (left, at_left) = listen(&home, "left", "127.0.0.1:0");
    let (right, at_right) = listen(&home, "right", "127.0.0.1:0");
    let cluster = Cluster::dialling(home, &[at_left.replace(':', ","), at_right.clone()]);
    left.says(&["joined as left"]);
    right.says(&["joined as right"]);
    (cluster, [left, right], [at_left, at_right])
}

/// An address that nobody has, but that somebody may have soon.
fn vacant() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").to_string()
}

#[test]
fn two_listening_workers() {
    let (cluster, _workers, _) = dialled();
    let joined = cluster.worker("dialler", &[]);
    check_same_bits(cluster.train(&JOB).ends());
    let listed = cluster.ask(&["workers"]).with_status(0).json();
    let mut names: Vec<_> = listed.as_array().expect("workers").iter().map(|worker| &worker["name"]).collect();
    names.sort_by_key(|name| name.to_string());
    assert_eq!(names, ["dialler", "left", "right"]);
    drop(joined);
}

#[test]
fn the_coordinator_is_killed_and_dials_again() {
    let (mut cluster, workers, _) = dialled();
    let train = cluster.train(&JOB);
    cluster.coordinator.says(&["round opened", "round=2"]);
    cluster.restart();
    check_same_bits(train.ends());
    for worker in workers {
        worker.says(&["lost the coordinator; waiting for it to dial again"]);
        worker.says_times(&["joined"], 2);
    }
}

#[test]
fn a_worker_is_killed_and_listens_again() {
    let (cluster, [left, mut right], [_, at_right]) = dialled();
    let train = cluster.train(&JOB);
    right.says(&["train begins"]);
    right.signal(Signal::SIGKILL);
    right.gone();
    cluster.coordinator.says(&["cannot reach a worker at", &at_right, "refused"]);
    let _right = listen(&cluster.home, "right", &at_right);
    cluster.coordinator.says(&["reached the worker at", &at_right]);
    cluster.coordinator.says_times(&["right joined"], 2);
    check_same_bits(train.ends());
    drop(left);
}

#[test]
fn a_worker_is_stopped_until_it_is_lost_and_then_goes_on() {
    let (cluster, [left, right], _) = dialled();
    let train = cluster.train(&JOB);
    right.says(&["train begins"]);
    right.signal(Signal::SIGSTOP);
    cluster.coordinator.says(&["right was lost"]);
    right.signal(Signal::SIGCONT);
    right.says_times(&["joined"], 2);
    check_same_bits(train.ends());
    drop(left);
}

#[test]
fn a_worker_starts_later_than_its_coordinator() {
    let address = vacant();
    let cluster = Cluster::dialling(Home::new(), std::slice::from_ref(&address));
    cluster.coordinator.says(&["cannot reach a worker at", &address, "refused"]);
    let (worker, _) = listen(&cluster.home, "late", &address);
    worker.says(&["joined as late"]);
    cluster.coordinator.says(&["reached the worker at", &address]);
    let said = cluster.coordinator.said();
    assert_eq!(said.iter().filter(|line| line.contains("cannot reach")).count(), 1, "{said:#?}");
}

#[test]
fn a_worker_has_one_coordinator_at_a_time_and_only_of_its_cluster() {
    let (mut cluster, [left, _right], [at_left, _]) = dialled();
    let other = Cluster::dialling(Home::new(), std::slice::from_ref(&at_left));
    other.coordinator.says(&["cannot reach a worker at", &at_left, "ended the connection without a word"]);
    left.says(&["turned a connection away: the worker has a coordinator"]);
    cluster.coordinator.signal(Signal::SIGTERM);
    cluster.coordinator.gone();
    // The other dials again and again, and never gets anywhere.
    other.coordinator.says(&["cannot reach a worker at", &at_left, "it does not speak as a worker does"]);
    cluster.start_again();
    left.says_times(&["joined as left"], 2);
}

#[test]
fn whoever_is_there_by_mistake_hears_nothing() {
    let [garbage, silent] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [at_garbage, at_silent] = [&garbage, &silent].map(|listener| listener.local_addr().expect("one").to_string());
    let nodes = [at_garbage.clone(), at_silent.clone(), "nowhere.invalid,1".to_owned()];
    let cluster = Cluster::dialling(Home::new(), &nodes);
    let (mut peer, _) = garbage.accept().expect("the coordinator dials");
    peer.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").expect("the coordinator reads");
    cluster.coordinator.says(&["cannot reach a worker at", &at_garbage, "does not speak as a worker does"]);
    let (mut peer, _) = silent.accept().expect("the coordinator dials");
    cluster.coordinator.says(&["cannot reach a worker at", &at_silent, "it does not speak"]);
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).expect("the coordinator gave up");
    assert_eq!(heard, b"");
    cluster.coordinator.says(&["cannot reach a worker at nowhere.invalid:1"]);
}

#[test]
fn a_listening_worker_outlives_strangers() {
    let home = Home::new();
    let (worker, address) = listen(&home, "w1", "127.0.0.1:0");
    for words in ["GET / HTTP/1.1\r\nHost: w1\r\n\r\n", "\0\0\0\0\0\0\0\0\0\0\0\0"] {
        let mut stranger = TcpStream::connect(&address).expect("the worker listens");
        stranger.write_all(words.as_bytes()).expect("it takes what comes");
        // It may have been ended with its words unread.
        drop(stranger.read_to_end(&mut Vec::new()));
    }
    // Another worker, which waits to be served.
    check_refused(home.run(&["worker", &address]), 3, &[]);
    let cluster = Cluster::dialling(home, std::slice::from_ref(&address));
    worker.says(&["joined as w1"]);
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_coordinator_of_another_protocol_that_dials_ends_a_worker_that_has_yet_to_join() {
    let home = Home::new();
    let (worker, address) = listen(&home, "w1", "127.0.0.1:0");
    let refuse = |_: Request<()>| -> Result<Request<()>, Status> {
        Err(Status::failed_precondition("the peer speaks 1.0, this coordinator speaks 9.1"))
    };
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let server = incoming.local_addr().expect("an address");
    let refusing = Server::builder().layer(InterceptorLayer::new(refuse)).add_routes(Default::default());
    let serving = tokio::spawn(refusing.serve_with_incoming(incoming));
    let front = Front::new(&home.path("front"));
    front.admit(&home, &[]);
    let dialled = tokio::net::TcpStream::connect(&address).await.expect("the worker listens");
    let fronting = tokio::spawn(async move { front.serve(dialled, server).await });
    tokio::task::spawn_blocking(move || {
        check_refused(worker.ends(), 3, &["9.1"]);
        let (worker, address) = listen(&home, "w1", "127.0.0.1:0");
        let _cluster = Cluster::dialling(home, std::slice::from_ref(&address));
        worker.says(&["joined as w1"]);
    })
    .await
    .expect("it joined the next");
    fronting.abort();
    serving.abort();
}

#[test]
fn bad_nodes_files_are_named() {
    let home = Home::new();
    let check = |text: &str, parts: &[&str]| {
        fs::write(home.path("nodes.txt"), text).expect("a nodes file");
        let arguments = ["coordinator", "--bind", "127.0.0.1:0", "--nodes", "nodes.txt"];
        check_refused(home.run(&arguments), 2, &[&["nodes.txt, line "], parts].concat());
    };
    check("# ours\nlab\n", &["line 2", "`lab` names no port"]);
    check("lab,7001\nlab,70000\n", &["line 2", "`70000` is not a port"]);
    check("http://lab,7001", &["line 1", "`http://lab` is not a host"]);
    check("lab,7001\n\nlab:7001", &["line 3", "lab:7001 is named already, on line 1"]);
    check_refused(home.run(&["coordinator", "--nodes", "missing.txt"]), 2, &["cannot read missing.txt"]);
}

#[test]
fn what_a_worker_cannot_listen_on_is_named() {
    let home = Home::new();
    let (_worker, address) = listen(&home, "w1", "127.0.0.1:0");
    check_refused(home.run(&["worker", "--listen", &address]), 2, &["cannot listen on", &address]);
    for other in [&["127.0.0.1:1"][..], &["--wait", "1s"]] {
        let ended = home.run(&[&["worker", "--listen", "127.0.0.1:0"], other].concat()).with_status(2);
        assert!(ended.line("error: ").contains("cannot be used with"), "{ended:#?}");
    }
}
