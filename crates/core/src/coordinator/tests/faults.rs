//! Attempts that fail: deaths, errors, rejections, deadlines. It does not know why a worker was lost.

use expect_test::expect;

use super::*;

#[test]
fn the_third_death_fails_the_job_with_its_certificate() {
    let mut trace = Trace::new();
    trace.submit(1, &job(1, 1));
    trace.skip();
    for (session, name) in [(1, "ann"), (2, "bob"), (3, "cat")] {
        trace.join(session, name, 1);
        trace.hang_up(session);
        trace.pass(5_000);
    }
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 1
          notice: task 00000001/1/0 goes to ann, attempt 1
          to session 1: assign 00000001/1/0 as 1.1
        0 > session 1 ends
          notice: ann was lost with 1 task
          notice: job 00000001 waits: no worker is connected
        5000 > time
          + task 00000001/1/0 attempt 1 failed on ann: the worker was lost
        5000 > bob in session 2, holding 0
          notice: bob joined with 1 slot
          to session 2: welcome bob to term 1
          notice: task 00000001/1/0 goes to bob, attempt 2
          to session 2: assign 00000001/1/0 as 1.2
        5000 > session 2 ends
          notice: bob was lost with 1 task
          notice: job 00000001 waits: no worker is connected
        10000 > time
          + task 00000001/1/0 attempt 2 failed on bob: the worker was lost
        10000 > cat in session 3, holding 0
          notice: cat joined with 1 slot
          to session 3: welcome cat to term 1
          notice: task 00000001/1/0 goes to cat, attempt 3
          to session 3: assign 00000001/1/0 as 1.3
        10000 > session 3 ends
          notice: cat was lost with 1 task
          notice: job 00000001 waits: no worker is connected
        15000 > time
          + task 00000001/1/0 attempt 3 failed on cat: the worker was lost
          + task 00000001/1/0 failed for good
          + job 00000001 failed: task 0 of stage 1 was running on 3 workers when they were lost: ann, bob, cat
    "#]]);
}

#[test]
fn a_task_that_may_have_killed_three_workers_is_held_back() {
    let mut trace = Trace::new();
    trace.submit(1, &job(1, 1));
    for (session, name) in [(1, "ann"), (2, "bob"), (3, "cat")] {
        trace.join(session, name, 1);
        trace.hang_up(session);
    }
    trace.skip();
    trace.join(4, "dan", 1);
    trace.pass(1_000);
    trace.check(expect![[r#"
        0 > dan in session 4, holding 0
          notice: dan joined with 1 slot
          to session 4: welcome dan to term 1
    "#]]);
    // One of the three is back without it: then it was not the task.
    trace.connect(5, hello(2, "bob", 1));
    trace.check(expect![[r#"
        1000 > bob in session 5, holding 0
          notice: bob joined with 1 slot
          to session 5: welcome bob to term 1
          notice: task 00000001/1/0 goes to dan, attempt 4
          to session 4: assign 00000001/1/0 as 1.4
    "#]]);
    trace.done(4, 1, 0);
    trace.pass(10_000);
    trace.check(expect![[r#"
        1000 > session 4: done 1.4: blob 00000000
          + task 00000001/1/0 done by dan, attempt 4: blob 00000000
          + stage 00000001/1 closed
          to session 4: accepted 1.4
          combine 00000001/1: 1 part
    "#]]);
}

#[test]
fn the_third_error_fails_the_job() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 2));
    trace.skip();
    trace.failed(1, 1, 0);
    trace.failed(1, 1, 0);
    trace.failed(1, 1, 0);
    trace.check(expect![[r#"
        0 > session 1: failed 1.1: no such file
          + task 00000001/1/0 attempt 1 failed on ann: no such file
          to session 1: accepted 1.1
          notice: task 00000001/1/0 goes to ann, attempt 2
          to session 1: assign 00000001/1/0 as 1.3
        0 > session 1: failed 1.3: no such file
          + task 00000001/1/0 attempt 2 failed on ann: no such file
          to session 1: accepted 1.3
          notice: task 00000001/1/0 goes to ann, attempt 3
          to session 1: assign 00000001/1/0 as 1.4
        0 > session 1: failed 1.4: no such file
          + task 00000001/1/0 attempt 3 failed on ann: no such file
          + task 00000001/1/0 failed for good
          + job 00000001 failed: task 0 of stage 1 failed on ann: no such file (the last of 3 attempts)
          to session 1: accepted 1.4
          to session 1: revoke 1.2
    "#]]);
}

#[test]
fn errors_survive_a_restart() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 1));
    trace.failed(1, 1, 0);
    trace.failed(1, 1, 0);
    trace.restart();
    trace.join(1, "ann", 1);
    trace.pass(2_000);
    trace.skip();
    trace.failed(1, 1, 0);
    trace.check(expect![[r#"
        2000 > session 1: failed 2.1: no such file
          + task 00000001/1/0 attempt 3 failed on ann: no such file
          + task 00000001/1/0 failed for good
          + job 00000001 failed: task 0 of stage 1 failed on ann: no such file (the last of 3 attempts)
          to session 1: accepted 2.1
    "#]]);
}

#[test]
fn a_rejection_backs_off_twice_as_long_each_time() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(1, 1)));
    trace.skip();
    for _ in 0..4 {
        trace.rejected(1, 1, 0);
        while trace.held(1).is_empty() {
            assert!(trace.now < 60_000, "the task does not come back");
            trace.pass(10);
        }
    }
    trace.check(expect![[r#"
        0 > session 1: rejected 1.1
          notice: ann rejected task 00000001/1/0
        50 > time
          notice: task 00000001/1/0 goes to ann, attempt 2
          to session 1: assign 00000001/1/0 as 1.2
        50 > session 1: rejected 1.2
          notice: ann rejected task 00000001/1/0
        150 > time
          notice: task 00000001/1/0 goes to ann, attempt 3
          to session 1: assign 00000001/1/0 as 1.3
        150 > session 1: rejected 1.3
          notice: ann rejected task 00000001/1/0
          notice: job 00000001 waits: the only worker rejects its tasks (busy)
        350 > time
          notice: task 00000001/1/0 goes to ann, attempt 4
          to session 1: assign 00000001/1/0 as 1.4
        350 > session 1: rejected 1.4
          notice: ann rejected task 00000001/1/0
        750 > time
          notice: task 00000001/1/0 goes to ann, attempt 5
          to session 1: assign 00000001/1/0 as 1.5
    "#]]);
    // A result forgives.
    trace.done(1, 1, 0);
    trace.submit(2, &placed(Policy::LoadBalancing, job(1, 1)));
    trace.skip();
    let lease = trace.lease(1, task(2, 1, 0));
    trace.hear(1, FromWorker::Rejected { lease });
    trace.pass(50);
    trace.check(expect![[r#"
        750 > session 1: rejected 1.6
          notice: ann rejected task 00000002/1/0
        800 > time
          notice: task 00000002/1/0 goes to ann, attempt 2
          to session 1: assign 00000002/1/0 as 1.7
    "#]]);
}

#[test]
fn that_all_reject_is_said_once_and_nothing_spins() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(1, 2)));
    trace.skip();
    let mut rejections = 0;
    let end = trace.now + 60_000;
    while trace.now < end {
        for session in [1, 2] {
            for task in trace.held(session) {
                rejections += 1;
                let lease = trace.lease(session, task);
                trace.hear(session, FromWorker::Rejected { lease });
            }
        }
        trace.pass(10);
    }
    // 50, 100, 200 … ms up to 2 s apart: some thirty rounds a minute on each worker, of up to two tasks.
    assert!((60..=150).contains(&rejections), "{rejections} rejections");
    let said = |word: &str| trace.text.lines().filter(|line| line.contains(word)).count();
    assert_eq!(said("workers reject its tasks"), 1, "said once");
    trace.skip();
    trace.check(expect![[""]]);
}

#[test]
fn an_attempt_that_runs_too_long_is_revoked_and_tried_again() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &JobSpec { attempts: Attempts { timeout_ms: Some(2_000), ..Attempts::default() }, ..job(1, 2) });
    trace.skip();
    trace.pass(77_000);
    trace.check(expect![[r#"
        77000 > time
          + task 00000001/1/0 attempt 1 failed on ann: it ran longer than its time limit of 2 s
          to session 1: revoke 1.1
          notice: task 00000001/1/0 goes to ann, attempt 2
          to session 1: assign 00000001/1/0 as 1.3
    "#]]);
    // The task behind it has its own time, from its own start.
    trace.pass(76_999);
    trace.check(expect![[""]]);
    trace.pass(1);
    trace.check(expect![[r#"
        154000 > time
          + task 00000001/1/1 attempt 1 failed on ann: it ran longer than its time limit of 2 s
          to session 1: revoke 1.2
          notice: task 00000001/1/1 goes to ann, attempt 2
          to session 1: assign 00000001/1/1 as 1.4
    "#]]);
}

#[test]
fn tallies_of_a_stage_name_who_rejected_and_who_was_lost() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(1, 2)));
    trace.rejected(1, 1, 0);
    trace.hang_up(2);
    trace.pass(50);
    trace.done(1, 1, 0);
    trace.done(1, 1, 1);
    let closed = trace.journal.iter().find(|event| matches!(event, Event::StageClosed { .. }));
    expect![[r#"
        Some(
            StageClosed {
                job: 00000001,
                stage: StageNumber(
                    1,
                ),
                tallies: [
                    Tally {
                        worker: "ann",
                        rejections: 1,
                        losses: 0,
                    },
                    Tally {
                        worker: "bob",
                        rejections: 0,
                        losses: 1,
                    },
                ],
            },
        )
    "#]]
    .assert_debug_eq(&closed);
    trace.skip();
    trace.check(expect![[""]]);
}
