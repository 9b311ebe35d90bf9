//! Processes that run commands and are killed: nothing of what they ran is left, and no guard; nor after an ordinary end.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Farm, all_gone, pids, runs, until};
use crate::cluster::text;
use crate::process::Process;

/// How soon. It tries for two seconds.
const SOON: Duration = Duration::from_secs(3);

/// Starts a child in its group, one there that forgot where it comes from, and one in a session of its own.
const FAMILY: &str = "echo $$ >>pids; sleep 1000 & echo $! >>pids; env -i sleep 1000 & echo $! >>pids; \
                      setsid sh -c 'echo $$ >>pids; sleep 1000 & echo $! >>pids; wait' & wait";

/// A command like that of one slot.
fn family(farm: &Farm) -> String {
    FAMILY.replace("pids", text(&farm.path("pids")))
}

fn join(farm: &Farm, name: &str) -> Process {
    farm.cluster.worker(name, &["--allow-command"])
}

/// The guard of a process, which is known by its one argument.
fn guard_of(farm: &Farm, guarded: &Process) -> Option<u32> {
    let folder = farm.path("tmp");
    let own = format!("/worker-{}-", guarded.id());
    let is_it = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = String::from_utf8_lossy(&command).split_terminator('\0').map(str::to_owned).collect();
        words.contains(&"guard".to_owned())
            && words.last().is_some_and(|path| path.starts_with(text(&folder)) && path.ends_with(&own))
    };
    let processes = fs::read_dir("/proc").expect("a list of processes");
    processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(is_it)
}

#[test]
fn what_a_killed_worker_ran_is_gone_and_its_guard_too() {
    let farm = Farm::start();
    let mut worker = join(&farm, "ann");
    // Of one that goes on, nothing is ended.
    let other = join(&farm, "ben");
    let command = farm.begin(&["run", "--array", "1-2", "--", "sh", "-c", &family(&farm)]);
    let both = pids(&farm.path("pids"), 10);
    let of = |worker: &Process| -> Vec<u32> {
        let own = format!("/worker-{}-", worker.id());
        let leader = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&own)
        };
        both.iter().copied().filter(leader).collect()
    };
    // Until then a process still has the environment of the shell that started it, or none to be seen.
    until("what was started to be what it is", || {
        let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        (both.iter().filter(|pid| name(pid) == "sleep\n").count() == 6).then_some(())
    });
    let (lost, kept) = until("who ran what", || {
        let (lost, kept) = (of(&worker), of(&other));
        ((lost.len(), kept.len()) == (4, 4)).then_some((lost, kept))
    });
    let forgetful: Vec<u32> = both.iter().copied().filter(|pid| !lost.contains(pid) && !kept.contains(pid)).collect();
    let guard = guard_of(&farm, &worker).expect("a guard");

    worker.signal(Signal::SIGKILL);
    worker.gone();
    let took = all_gone(&[&lost[..], &[guard]].concat());
    assert!(took < SOON, "it took {took:?}");
    assert_eq!(forgetful.iter().filter(|pid| runs(**pid)).count(), 1);
    assert!(kept.iter().all(|pid| runs(*pid)));
    assert!(guard_of(&farm, &other).is_some_and(runs));
    drop(other);
    all_gone(&both);
    drop(command);
}

#[test]
fn what_a_killed_embedded_cluster_ran_is_gone_and_its_guard_too() {
    let farm = Farm::start();
    let mut client =
        farm.cluster.home.start(&["run", "--workers", "2", "--array", "1-2", "--", "sh", "-c", &family(&farm)]);
    let family = pids(&farm.path("pids"), 10);
    let guard = guard_of(&farm, &client).expect("a guard");
    client.signal(Signal::SIGKILL);
    client.gone();
    let took = all_gone(&[&family[..], &[guard]].concat());
    assert!(took < SOON, "it took {took:?}");
}

#[test]
fn a_worker_that_ends_leaves_no_guard() {
    let farm = Farm::start();
    let worker = join(&farm, "ann");
    // Commands that end, and orphans that are looked for, leave the guard be.
    let orphan = "setsid sleep 1000 & sleep 0.1; echo {}";
    let arguments = ["run", "--array", "1-3", "--", "sh", "-c", orphan];
    assert_eq!(farm.does(&arguments).with_status(0).stdout, "1\n2\n3\n");
    let guard = guard_of(&farm, &worker).expect("a guard");
    assert!(runs(guard));
    worker.signal(Signal::SIGTERM);
    let found = until("the guard's end", || (!runs(guard)).then(|| guard_of(&farm, &worker)));
    assert_eq!(found, None);
    worker.ends().with_status(0);
}
