//! Rejections: while all workers reject, a job waits, says so, and costs nothing.

use std::fs;
use std::time::Instant;

use crate::cluster::Cluster;

/// How many rejections the coordinator is watched for.
const WATCHED: usize = 8;

/// The CPU time of a process in seconds: its 14th and 15th field, in ticks of 10 ms, which Linux fixes for all.
fn cpu_seconds(process: u32) -> f64 {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process is there");
    // The name, in parentheses, may hold spaces.
    let fields = line.rsplit_once(')').expect("a name").1.split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

#[test]
fn a_job_that_all_workers_reject_waits_for_one_that_does_not() {
    let cluster = Cluster::start();
    let busy = ["--load-probability", "1", "--load-delay", "0s"];
    let _busy = cluster.worker("busy", &busy);
    let (began, before) = (Instant::now(), cpu_seconds(cluster.coordinator.id()));
    let train = cluster.train(&["--preset", "reference", "--rounds", "2", "--epochs", "50"]);
    train.says(&["the only worker rejects its tasks"]);
    cluster.coordinator.says_times(&["busy rejected task"], WATCHED);
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(cluster.coordinator.id()) - before);
    assert!(seconds > 1.0, "{WATCHED} rejections in {seconds} s: nobody backs off");
    assert!(cpu < 0.2 * seconds, "{cpu} s of CPU in {seconds} s");

    let _free = cluster.worker("free", &[]);
    let ended = train.ends().with_status(0);
    assert_eq!(ended.count(&["rejects its tasks"]), 1, "{ended:#?}");
    let report = ended.json();
    let workers = report["workers"].as_array().expect("workers");
    let rejections = |name: &str| {
        let worker = workers.iter().find(|worker| worker["name"] == name);
        worker.and_then(|worker| worker["rejections"].as_u64()).unwrap_or_default()
    };
    assert!(rejections("busy") >= WATCHED as u64 && rejections("free") == 0, "{report}");
}
