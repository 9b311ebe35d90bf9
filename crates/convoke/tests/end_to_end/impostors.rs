//! Who answers in a coordinator's place: another cluster, or something that is none. It is told from one's own at once.
//!
//! Nothing is shown to it; that the coordinator in turn refuses whoever it does not know is tested in `access`.

use std::io::{Read, Write};
use std::net::TcpListener;

use nix::sys::signal::Signal;

use crate::access::{check_denied, token, worker};
use crate::cluster::{Cluster, Home};

#[test]
fn another_cluster_at_the_same_address_is_told_from_ones_own() {
    let mut cluster = Cluster::start();
    let (_, known) = token(&cluster, &["--role", "worker"]);
    let home = Home::new();
    let joined = worker(&home, &cluster.address, "ann", &known);
    cluster.coordinator.signal(Signal::SIGTERM);
    cluster.coordinator.gone();
    let stranger = Home::new();
    let mut impostor = stranger.start(&["coordinator", "--bind", &cluster.address]);
    impostor.says(&["coordinator on"]);
    joined.says(&["belongs to another cluster", "it may be an impostor"]);
    let said = ["belongs to another cluster", "it may be an impostor"];
    check_denied(&cluster.home, &["jobs", "--coordinator", &cluster.address], &said, "do not trust what is there");
    check_denied(&home, &["worker", &cluster.address, "--name", "ben", "--token", &known], &said, "do not trust");
    impostor.signal(Signal::SIGTERM);
    impostor.gone();
    cluster.start_again();
    joined.says_times(&["joined as ann"], 2);
    assert_eq!(cluster.jobs(), Vec::<serde_json::Value>::new());
}

#[test]
fn what_does_not_speak_tls_is_found_out_soon() {
    let cluster = Cluster::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        // One that answers in plain text, and one that says nothing; held until the test ends.
        let (mut plain, _) = listener.accept().expect("a client");
        drop(plain.read(&mut [0; 64]));
        plain.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("the client reads");
        let silent = listener.accept().expect("a client");
        drop((listener.accept(), silent));
    });
    let jobs = ["jobs", "--coordinator", &address];
    check_denied(&cluster.home, &jobs, &["does not speak TLS"], "check the address");
    check_denied(&cluster.home, &jobs, &[&address], "");
}
