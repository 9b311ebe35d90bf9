//! Refusals: each is one `error:` line and one `hint:` line, the right exit status, and nothing half-done.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convoke_wire::channel::Target;
use convoke_wire::v1::JobRequest;
use convoke_wire::v1::clients_client::ClientsClient;
use tonic::metadata::MetadataValue;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Status};

use crate::cluster::{Cluster, Home, text};
use crate::front::{self, Front};
use crate::process::Ended;

/// Checks the exit status and that the error names these; and that there is a hint.
pub fn check_refused(ended: Ended, status: i32, parts: &[&str]) {
    let ended = ended.with_status(status);
    let error = ended.line("error: ");
    assert!(parts.iter().all(|part| error.contains(part)), "{error:?} lacks one of {parts:?}");
    ended.line("hint: ");
    assert_eq!(ended.stdout, "");
}

#[test]
fn no_coordinator_is_found_out_soon() {
    let home = Home::new();
    let data = home.data();
    for command in [&["workers", "--coordinator"][..], &["worker"], &["train", text(&data), "--coordinator"]] {
        let began = Instant::now();
        check_refused(home.run(&[command, &["127.0.0.1:1"]].concat()), 3, &["127.0.0.1:1", "refused"]);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_coordinator_that_is_not_there_yet_is_waited_for() {
    let home = Home::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    let asked = home.start(&["jobs", "--coordinator", &address, "--wait", "1h", "--output", "json"]);
    asked.says(&["waiting for the coordinator at", &address]);
    let _coordinator = home.start(&["coordinator", "--bind", &address]);
    assert_eq!(asked.ends().with_status(0).json(), serde_json::Value::Array(Vec::new()));
    let gone = home.run(&["jobs", "--coordinator", "127.0.0.1:1", "--wait", "100ms"]);
    assert_eq!(gone.count(&["waiting for the coordinator"]), 1);
    check_refused(gone, 3, &["127.0.0.1:1", "refused"]);
}

#[test]
fn bad_usage_and_bad_input_are_named() {
    let home = Home::new();
    let data = home.data();
    check_refused(home.run(&["workers", "--coordinator", "lab:0"]), 2, &["`lab:0` is not an address"]);
    check_refused(home.run(&["train", "missing"]), 2, &["missing"]);
    check_refused(home.run(&["train", "state"]), 2, &["state"]);
    let empty = home.path("empty");
    fs::create_dir(&empty).expect("a folder");
    check_refused(home.run(&["train", text(&empty)]), 2, &[text(&empty), "no shards"]);
    assert_eq!(home.run(&["train", "data", "--eta", "-1"]).with_status(2).stdout, "");
    check_refused(home.run(&["train", "data", "--detach"]), 2, &["--detach"]);
    check_refused(home.run(&["predict", "missing.safetensors", "-"]), 2, &["missing.safetensors"]);
    home.run(&["train", text(&data), "--epochs", "1", "--model", "m"]).with_status(0);
    check_refused(home.run(&["evaluate", "m", text(&empty)]), 2, &[text(&empty), "named validate_"]);
    check_refused(home.run(&["evaluate", "data/train_1.txt", "data"]), 2, &["data/train_1.txt is not a model"]);
}

#[test]
fn what_is_for_an_embedded_cluster_goes_with_no_coordinator() {
    let home = Home::new();
    let data = home.data();
    for flag in [["--workers", "2"], ["--load-probability", "0.5"], ["--load-seed", "1"]] {
        let arguments = [&["train", text(&data)][..], &flag].concat();
        check_refused(home.run_at("127.0.0.1:1", &arguments), 2, &[flag[0], "CONVOKE_COORDINATOR"]);
        let named = [&arguments[..], &["--coordinator", "127.0.0.1:1"]].concat();
        check_refused(home.run(&named), 2, &[flag[0], "--coordinator 127.0.0.1:1"]);
    }
    let load = ["--load-probability", "0.1", "--load-delay", "1ms", "--epochs", "1"];
    let ended = home.run_at("", &[&["train", text(&data), "--workers", "2"][..], &load].concat()).with_status(0);
    ended.line("load seed ");
    assert_eq!(ended.count(&["was lost"]), 0, "embedded workers leave before their coordinator: {ended:#?}");
}

#[test]
fn a_model_that_cannot_be_written_costs_no_report() {
    let home = Home::new();
    let data = home.data();
    check_refused(home.run(&["train", text(&data), "--model", "no/m"]), 2, &["no directory no", "no/m"]);
    check_refused(home.run(&["train", text(&data), "--model", &"m".repeat(300)]), 2, &["cannot write mmm"]);
    // A device that opens, and is full.
    let ended = home.run(&["train", text(&data), "--epochs", "1", "--model", "/dev/full", "--output", "json"]);
    let ended = ended.with_status(1);
    let report = ended.json();
    assert_eq!((&report["state"], &report["model"]), (&"succeeded".into(), &serde_json::Value::Null));
    assert!(ended.line("error: ").contains("cannot write the model"), "{ended:#?}");
    ended.line("hint: ");
}

#[test]
fn a_bad_row_is_named_and_nothing_is_submitted() {
    let cluster = Cluster::start();
    let shard = cluster.home.data().join("train_2.txt");
    let rows = fs::read_to_string(&shard).expect("a shard");
    let rows = rows.lines().enumerate().map(|(place, row)| if place == 6 { "1,2,x,4,5,6,7,8,0" } else { row });
    fs::write(&shard, rows.collect::<Vec<_>>().join("\n")).expect("a shard");
    check_refused(cluster.train(&[]).ends(), 2, &[text(&shard), "line 7, column 3", "`x` is not a number"]);
    assert_eq!(cluster.jobs(), Vec::<serde_json::Value>::new());
}

#[test]
fn what_is_not_there_is_named() {
    let cluster = Cluster::start();
    check_refused(cluster.ask(&["job", "7k3q9x2m"]), 2, &["no job 7k3q9x2m"]);
    check_refused(cluster.ask(&["cancel", "7k3q9x2m"]), 2, &["no job 7k3q9x2m"]);
}

#[test]
fn a_state_directory_or_a_port_has_one_coordinator() {
    let cluster = Cluster::start();
    let other = cluster.home.run(&["coordinator", "--bind", "127.0.0.1:0"]);
    check_refused(other, 2, &["state directory", "already in use"]);
    let other = cluster.home.run(&["coordinator", "--bind", &cluster.address, "--state", "other"]);
    check_refused(other, 2, &["cannot listen on", &cluster.address]);
    assert_eq!(cluster.jobs(), Vec::<serde_json::Value>::new(), "the first goes on");
}

#[tokio::test]
async fn a_coordinator_refuses_another_protocol_and_names_both() {
    let cluster = Cluster::start();
    let trust = Arc::new(front::book(&cluster.home).trust(&cluster.address).expect("a book"));
    let target = Target::Address { address: cluster.address.clone(), trust };
    let channel = target.connect().await.expect("the coordinator is there");
    let mut clients = ClientsClient::with_interceptor(channel, |mut request: Request<()>| {
        request.metadata_mut().insert("convoke-protocol", MetadataValue::from_static("7.3"));
        Ok(request)
    });
    let refused = clients.cancel(JobRequest { job: 1 }).await.expect_err("another major");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let ours = convoke_wire::protocol::VERSION.to_string();
    assert!(refused.message().contains("7.3") && refused.message().contains(&ours), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_coordinator_of_another_protocol_ends_clients_and_workers() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let server_at = incoming.local_addr().expect("an address");
    let refuse = |_: Request<()>| -> Result<Request<()>, Status> {
        Err(Status::failed_precondition("the peer speaks 1.0, this coordinator speaks 9.1"))
    };
    let server = Server::builder().layer(tonic::service::InterceptorLayer::new(refuse));
    let serving = tokio::spawn(server.clone().add_routes(Default::default()).serve_with_incoming(incoming));
    let home = Home::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let front = Front::new(&home.path("front"));
    front.admit(&home, std::slice::from_ref(&address));
    let fronting = tokio::spawn(front.listen(listener, server_at));
    let refused = tokio::task::spawn_blocking(move || {
        let run = |arguments: &[&str]| home.run(&[arguments, &[&address]].concat());
        check_refused(run(&["jobs", "--coordinator"]), 3, &["1.0", "9.1"]);
        check_refused(run(&["worker"]), 3, &["1.0", "9.1"]);
    });
    refused.await.expect("both were refused");
    fronting.abort();
    serving.abort();
}
