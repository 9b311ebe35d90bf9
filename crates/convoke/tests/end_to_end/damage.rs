//! A state directory that is not what it was: an older copy, spoiled bytes, a newer version's. Each is refused by name, and
//! never believed.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use rusqlite::{Connection, params};

use crate::cluster::{Cluster, text};
use crate::job::{JOB, check_same_bits};
use crate::refusals::check_refused;

fn state(cluster: &Cluster) -> PathBuf {
    cluster.home.path("state/convoke/coordinator")
}

fn end(cluster: &mut Cluster) {
    cluster.coordinator.signal(Signal::SIGTERM);
    cluster.coordinator.gone();
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    let mut folder = fs::DirBuilder::new();
    folder.mode(0o700).create(to).expect("a folder");
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
    let train = cluster.train(&["--preset", "reference", "--rounds", "100000", "--epochs", "50"]);
    train.says(&["round 2/"]);
    end(&mut cluster);
    fs::remove_dir_all(&state).expect("the newer one");
    fs::rename(&older, &state).expect("the older one");
    cluster.start_again();

    // Both coordinators' terms have the same number, and yet they are told apart.
    let refused = "the journal was rolled back: w1 has seen term 2, position ";
    worker.says(&[refused, ", and it ends at term 1, position "]);
    cluster.coordinator.says(&["ERROR", "the journal was rolled back", "restore the newer state directory"]);
    check_refused(
        train.ends(),
        3,
        &["the journal was rolled back: the client has seen term 2", "ends at term 1, position "],
    );
    let _anew = cluster.worker("w2", &[]);
    check_same_bits(cluster.train(&JOB).ends());
    let said = worker.said().iter().filter(|line| line.contains(refused)).count();
    assert_eq!(said, 1, "it goes on trying, and says so once: {:#?}", worker.said());
}

/// Changes a byte of a frame, and has a coordinator take the journal over.
fn check_changed(position: i64, place: usize, byte: u8, parts: &[&str], hint: &str) {
    let mut cluster = Cluster::start();
    let state = state(&cluster);
    let worker = cluster.worker("w1", &[]);
    cluster.train(&["--preset", "reference", "--rounds", "1", "--epochs", "1"]).ends().with_status(0);
    drop(worker);
    end(&mut cluster);
    let journal = Connection::open(state.join("journal.sqlite")).expect("a journal");
    let read = "SELECT frame FROM frames WHERE position = ?1";
    let mut frame: Vec<u8> = journal.query_row(read, [position], |row| row.get(0)).expect("a frame");
    frame[place] ^= byte;
    journal
        .execute("UPDATE frames SET frame = ?2 WHERE position = ?1", params![position, frame])
        .expect("it is changed");
    drop(journal);
    let refused = cluster.home.run(&["coordinator", "--bind", "127.0.0.1:0"]);
    assert!(refused.line("hint: ").contains(hint) && refused.line("hint: ").contains("--state"), "{refused:#?}");
    check_refused(refused, 2, parts);
}

#[test]
fn a_spoiled_frame_is_named_by_its_position() {
    check_changed(2, 40, 1, &["the journal is damaged at position 2"], "restore");
}

#[test]
fn a_newer_version_s_frame_or_file_is_refused_by_its_version() {
    // A frame begins with its format.
    check_changed(3, 1, 3, &["position 3", "written by a newer version (format 2;"], "that version");

    let mut cluster = Cluster::start();
    let journal = state(&cluster).join("journal.sqlite");
    end(&mut cluster);
    let newer = Connection::open(&journal).expect("a journal");
    newer.pragma_update(None, "user_version", 2).expect("it is changed");
    drop(newer);
    let refused = cluster.home.run(&["coordinator", "--bind", "127.0.0.1:0"]);
    assert!(refused.line("hint: ").contains("that version"), "{refused:#?}");
    check_refused(refused, 2, &[text(&journal), "written by a newer version (layout 2;"]);
}
