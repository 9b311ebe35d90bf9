//! Tasks that fail: what is said of them, what is tried again, what goes on without them.

use std::fs;

use nix::sys::signal::Signal;

use super::{Farm, until};

#[test]
fn a_death_certificate_says_how_a_command_died() {
    let farm = Farm::start();
    let _worker = farm.worker("ann");
    let check = |terms: &[&str], script: &str, reason: &str, field: (&str, i64)| {
        let (status, report) = farm.reports(&[&["run"], terms, &["--", "sh", "-c", script]].concat());
        let attempt = &report["failures"][0]["attempts"][0];
        assert_eq!((status, &report["tasks_failed"]), (Some(1), &1.into()), "{report}");
        assert!(attempt["reason"].as_str().is_some_and(|said| said.contains(reason)), "{report}");
        assert_eq!(attempt[field.0].as_i64(), Some(field.1).filter(|_| !field.0.is_empty()), "{report}");
        assert!(!farm.path("results").exists());
        report
    };
    let report = check(&[], "echo first >&2; echo last >&2; exit 3", "exited with status 3", ("exit_status", 3));
    assert_eq!(report["failures"][0]["attempts"][0]["stderr"], "first\nlast\n");
    check(&[], "kill -SEGV $$", "was killed by signal 11 (SIGSEGV)", ("signal", 11));
    check(&["--timeout", "200ms"], "sleep 100", "ran longer than 0.2 s", ("", 0));
    check(&[], "exec no-such-program", "exited with status 127", ("exit_status", 127));
    let hog = "awk 'BEGIN { s = \"x\"; for (i = 0; i < 27; i++) s = s s; exit 4 }'";
    let report = check(&[], hog, "exited with status 4", ("exit_status", 4));
    let peak = report["failures"][0]["attempts"][0]["peak_memory_bytes"].as_u64().expect("a peak");
    assert!((128 << 20..1 << 30).contains(&peak), "{peak}");
    let ended = farm.does(&["run", "--deadline", "300ms", "--", "sleep", "100"]).with_status(1);
    assert!(ended.line("error: ").contains("its deadline has passed"), "{ended:#?}");
    assert!(
        farm.does(&["run", "--", "no-such-program"]).with_status(1).line("error: ").contains("no program `no-such")
    );
}

#[test]
fn a_task_that_fails_is_tried_again_as_often_as_was_said() {
    let farm = Farm::start();
    let _worker = farm.worker("ann");
    let tries = farm.path("tries");
    let script = format!("echo x >>{0}; test $(wc -l <{0}) -gt 2 && echo done", tries.display());
    let run = |retries| farm.does(&["run", "--retries", retries, "--", "sh", "-c", &script]);
    run("1").with_status(1);
    fs::remove_file(&tries).expect("tries");
    assert_eq!(run("2").with_status(0).stdout, "done\n");
}

#[test]
fn the_rest_is_done_without_tasks_that_fail() {
    let farm = Farm::start();
    let _workers = [farm.worker("ann"), farm.worker("ben")];
    let command = ["sh", "-c", "test {} != 3 && test {} != 7 && echo {}"];
    let ended = farm.does(&[&["run", "--array", "1-9", "--keep-going", "--"], &command[..]].concat()).with_status(1);
    assert_eq!(ended.stdout, "1\n2\n4\n5\n6\n8\n9\n");
    assert_eq!((ended.count(&["task 2 (3) failed"]), ended.count(&["task 6 (7) failed"])), (1, 1), "{ended:#?}");
    assert!(ended.line("error: ").contains("2 of 9 tasks failed"), "{ended:#?}");
    farm.does(&[&["run", "--array", "1-9", "--"], &command[..]].concat()).with_status(1);
}

#[test]
fn a_task_that_kills_its_workers_is_given_up_and_the_rest_is_done() {
    let farm = Farm::start();
    // The first: of one that was done just before, the worker may not have told yet.
    let job = ["run", "--array", "1-4", "--keep-going", "--idempotent", "--"];
    let client = farm.begin(&[&job[..], &["sh", "-c", "test {} = 1 && kill -9 $PPID; echo {}"]].concat());
    let mut killed = 0;
    let mut worker = farm.worker("w0");
    until("the end of the job", || client.has_ended().then_some(()).or_else(|| worker.has_ended().then_some(())));
    while !client.has_ended() {
        killed += 1;
        assert!(killed < 10, "{:#?}", client.said());
        worker = farm.worker(&format!("w{killed}"));
        until("the end of the job", || client.has_ended().then_some(()).or_else(|| worker.has_ended().then_some(())));
    }
    let ended = client.ends().with_status(1);
    assert_eq!((ended.stdout.as_str(), killed), ("2\n3\n4\n", 3), "{ended:#?}");
    assert_eq!(ended.count(&["task 0 (1) failed"]), 1, "{ended:#?}");
    worker.signal(Signal::SIGTERM);
    worker.ends().with_status(0);
}
