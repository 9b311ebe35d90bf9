//! A state directory that is not what it was. It is refused by name, and never believed.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::cluster::Cluster;
use crate::job::{JOB, check_same_bits};
use crate::refusals::check_refused;

fn state(cluster: &Cluster) -> PathBuf {
    cluster.home.path("state/convoke/coordinator")
}

fn end(cluster: &mut Cluster) {
    cluster.coordinator.signal(Signal::SIGTERM);
    cluster.coordinator.gone();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a file");
        }
    }
}

#[test]
fn a_journal_that_was_rolled_back_is_found_out_by_those_who_saw_more() {
    let mut cluster = Cluster::start();
    let (state, older) = (state(&cluster), cluster.home.path("older"));
    let worker = cluster.worker("w1", &[]);
    end(&mut cluster);
    copy(&state, &older);
    cluster.start_again();
    worker.says_times(&["joined as w1"], 2);
    let train = cluster.train(&["--rounds", "100000", "--epochs", "50"]);
    train.says(&["round 2/"]);
    end(&mut cluster);
    fs::remove_dir_all(&state).expect("the newer one");
    fs::rename(&older, &state).expect("the older one");
    cluster.start_again();

    // Both coordinators' terms have the same number, and yet they are told apart.
    let refused = "the journal was rolled back: w1 has seen term 2, position ";
    worker.says(&[refused, ", and it ends at term 1, position 1"]);
    cluster.coordinator.says(&["ERROR", "the journal was rolled back", "restore the newer state directory"]);
    check_refused(
        train.ends(),
        3,
        &["the journal was rolled back: the client has seen term 2", "ends at term 1, position 1"],
    );
    let _anew = cluster.worker("w2", &[]);
    check_same_bits(cluster.train(&JOB).ends());
    let said = worker.said().iter().filter(|line| line.contains(refused)).count();
    assert_eq!(said, 1, "it goes on trying, and says so once: {:#?}", worker.said());
}
