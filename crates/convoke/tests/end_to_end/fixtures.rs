//! State directories that releases have left behind: each later version opens them, tells of their jobs, and goes on.
//!
//! `scripts/state-fixture` makes one.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Home, text};
use crate::damage::copy;

#[test]
fn what_a_release_wrote_is_opened() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let releases: Vec<_> = fs::read_dir(fixtures).expect("fixtures").map(|entry| entry.expect("one").path()).collect();
    assert!(!releases.is_empty());
    for release in releases {
        check(&release);
    }
}

/// It holds a job that ended, folded into a snapshot in part, and one that nobody has begun.
fn check(release: &Path) {
    let expected = fs::read_to_string(release.join("expected.json")).expect("what is expected");
    let expected: serde_json::Value = serde_json::from_str(&expected).expect("JSON");
    let home = Home::new();
    let state = home.path("fixture");
    copy(release, &state);
    let mut cluster = Cluster::start_with(home, &["--state", text(&state)]);

    let done = expected["done"].as_str().expect("a job");
    let told = cluster.ask(&["job", done]).with_status(0).json();
    assert_eq!(told["state"], "succeeded", "{release:?}");
    assert_eq!(told["rounds"].as_array().map(Vec::len), expected["rounds"].as_u64().map(|rounds| rounds as usize));
    let model = cluster.home.path("model");
    let result = |round| {
        cluster.ask(&["result", done, "--round", round, "-o", text(&model)]).with_status(0);
        fs::read(&model).expect("a model")
    };
    result("best");
    assert!(result("last") == fs::read(release.join("done.safetensors")).expect("a model"), "{release:?}");

    let live = expected["live"].as_str().expect("a job");
    let _worker = cluster.worker("ann", &[]);
    let ended = cluster.ask(&["job", live, "--follow"]).with_status(0).json();
    assert_eq!((&ended["state"], cluster.jobs().len()), (&"succeeded".into(), 2), "{release:?}");
    cluster.coordinator.signal(Signal::SIGTERM);
    cluster.coordinator.gone();
}
