//! What workers offer: what they count beside slots, and whether they run commands.
//!
//! What becomes of it is placement's, and tested with the machine.

use serde_json::json;

use crate::cluster::Cluster;
use crate::refusals::check_refused;

#[test]
fn a_worker_says_what_it_has_and_runs_no_commands_unless_told() {
    let cluster = Cluster::start();
    let words = ["--resource", "gpu=2", "--resource", "license=1", "--memory", "2GiB", "--allow-command"];
    let _trusting = cluster.worker("trusting", &words);
    let _plain = cluster.worker("plain", &[]);
    let workers = cluster.ask(&["workers"]).with_status(0).json();
    let named = |name: &str| {
        let rows = workers.as_array().expect("a list");
        rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{workers}")).clone()
    };
    let (trusting, plain) = (named("trusting"), named("plain"));
    assert_eq!(trusting["resources"], json!({"gpu": 2, "license": 1, "memory": 2_u64 << 30}));
    assert_eq!(trusting["abilities"], json!(["moments", "train", "evaluate", "predict", "wasm", "command", "step"]));
    assert_eq!(plain["abilities"], json!(["moments", "train", "evaluate", "predict", "wasm"]));
    // The machine's own, where it can be known.
    assert!(plain["resources"]["gpu"].is_null() && plain["resources"]["memory"].as_u64() > Some(0), "{plain}");
    let shown = cluster.home.run(&["workers", "--coordinator", &cluster.address]).with_status(0).stdout;
    let row = shown.lines().find(|line| line.starts_with("trusting")).unwrap_or_else(|| panic!("{shown}"));
    assert!(row.contains("gpu=2, license=1, memory=2.0 GiB  yes"), "{shown}");
}

#[test]
fn whoever_follows_a_job_that_nobody_can_do_hears_why_once() {
    let cluster = Cluster::start();
    let _plain = cluster.worker("plain", &[]);
    let commands = "waits: no connected worker runs commands: start one with `convoke worker --allow-command`";
    let at = ["--coordinator", &cluster.address];
    let run = cluster.home.start(&[&["run"], &at[..], &["--", "true"]].concat());
    run.says(&[commands]);
    let job = cluster.jobs()[0]["job"].as_str().expect("an id").to_owned();
    let follower = cluster.home.start(&[&["job", &job, "--follow"], &at[..]].concat());
    follower.says(&[&job, commands]);
    // Whoever looks finds it too.
    let told = cluster.ask(&["job", &job]).with_status(0).json();
    assert_eq!(told["waits"].as_str().map(|waits| format!("waits: {waits}")).as_deref(), Some(commands));
    let shown = cluster.home.run(&[&["job", &job], &at[..]].concat()).with_status(0).stdout;
    assert!(shown.lines().any(|line| line == commands), "{shown}");

    let scarce = cluster.home.start(&[&["run", "--resource", "gpu=1"], &at[..], &["--", "true"]].concat());
    scarce.says(&[commands]);
    let _trusting = cluster.worker("trusting", &["--allow-command"]);
    for ended in [run.ends(), follower.ends()] {
        assert_eq!(ended.with_status(0).count(&[commands]), 1);
    }
    let told = cluster.ask(&["job", &job]).with_status(0).json();
    assert_eq!((&told["state"], &told["waits"]), (&json!("succeeded"), &json!(null)));
    // What it waits for next is news.
    scarce.says(&["waits: a task needs gpu=1, and no connected worker has more than 0"]);
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let cluster = Cluster::start();
    for (words, said) in [
        (&["--resource", "gpu"][..], "NAME=COUNT"),
        (&["--resource", "gpu=none"], "'gpu=none'"),
        (&["--resource", "memory=5"], "--memory SIZE"),
        (&["--resource", "gpu=1", "--resource", "gpu=2"], "gpu was given already"),
        (&["--resource", "gpu=100000"], "gpu=100000 is more than"),
        (&["--memory", "much"], "a size is a number"),
    ] {
        let command = [&["worker", &cluster.address][..], words].concat();
        check_refused(cluster.home.run(&command), 2, &[said]);
    }
}
