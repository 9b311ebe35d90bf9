//! Sessions: workers that join, fall silent, are lost and return. It does not know which bytes made a session end.

use expect_test::expect;

use super::*;

#[test]
fn a_lost_workers_task_is_tried_elsewhere_at_once_and_the_first_result_wins() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 1));
    trace.skip();
    trace.join(2, "bob", 1);
    trace.hang_up(1);
    trace.check(expect![[r#"
        0 > bob in session 2, holding 0
          notice: bob joined with 1 slot
          to session 2: welcome bob to term 1
        0 > session 1 ends
          notice: ann was lost with 1 task
          notice: task 00000001/1/0 goes to bob, attempt 2
          to session 2: assign 00000001/1/0 as 1.2
    "#]]);
    trace.pass(1_000);
    trace.connect(3, hello_holding(1, "ann", 1, &[0]));
    trace.done(2, 1, 0);
    trace.done_under(3, lease(1, 3), 9);
    trace.check(expect![[r#"
        1000 > ann in session 3, holding 1
          notice: ann is back and keeps 1 task
          to session 3: welcome ann to term 1, keep 00000001/1/0 as 1.3
        1000 > session 2: done 1.2: blob 00000000
          + task 00000001/1/0 done by bob, attempt 2: blob 00000000
          + stage 00000001/1 closed
          to session 2: accepted 1.2
          to session 3: revoke 1.3
          combine 00000001/1: 1 part
        1000 > session 3: done 1.3: blob 09090909
          to session 3: revoke 1.3
    "#]]);
}

#[test]
fn a_worker_back_in_time_keeps_its_work_under_a_new_lease() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 2));
    trace.skip();
    trace.hang_up(1);
    trace.pass(4_999);
    trace.connect(2, hello_holding(1, "ann", 1, &[0]));
    // The old lease is over, even for the same worker.
    trace.done_under(2, lease(1, 1), 9);
    trace.done(2, 1, 0);
    trace.pass(10_000);
    trace.check(expect![[r#"
        0 > session 1 ends
          notice: ann was lost with 2 tasks
          notice: job 00000001 waits: no worker is connected
        4999 > ann in session 2, holding 1
          notice: ann is back and keeps 1 task
          to session 2: welcome ann to term 1, keep 00000001/1/0 as 1.3
          notice: task 00000001/1/1 goes to ann, attempt 1
          to session 2: assign 00000001/1/1 as 1.4
        4999 > session 2: done 1.1: blob 09090909
          to session 2: revoke 1.1
        4999 > session 2: done 1.3: blob 00000000
          + task 00000001/1/0 done by ann, attempt 2: blob 00000000
          to session 2: accepted 1.3
    "#]]);
}

#[test]
fn a_worker_back_too_late_has_died_once_and_keeps_what_is_still_wanted() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 2));
    trace.skip();
    trace.hang_up(1);
    trace.pass(5_000);
    trace.connect(2, hello_holding(1, "ann", 1, &[0]));
    trace.check(expect![[r#"
        0 > session 1 ends
          notice: ann was lost with 2 tasks
          notice: job 00000001 waits: no worker is connected
        5000 > time
          + task 00000001/1/0 attempt 1 failed on ann: the worker was lost
        5000 > ann in session 2, holding 1
          notice: ann is back and keeps 1 task
          to session 2: welcome ann to term 1, keep 00000001/1/0 as 1.3
          notice: task 00000001/1/1 goes to ann, attempt 1
          to session 2: assign 00000001/1/1 as 1.4
    "#]]);
}

#[test]
fn what_a_worker_brings_is_kept_only_if_it_is_wanted_and_the_same() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 4);
    trace.submit(1, &job(1, 4));
    trace.done(1, 1, 0);
    trace.hang_up(1);
    trace.skip();
    let mut hello = hello_holding(1, "ann", 4, &[0, 1, 1, 2, 3, 4]);
    hello.holding[3].base = blob(0xff);
    hello.holding[4].input = blob(0xff);
    trace.connect(2, hello);
    trace.check(expect![[r#"
        0 > ann in session 2, holding 6
          notice: ann is back and keeps 1 task
          to session 2: welcome ann to term 1, keep 00000001/1/1 as 1.5
          notice: task 00000001/1/2 goes to ann, attempt 2
          to session 2: assign 00000001/1/2 as 1.6
          notice: task 00000001/1/3 goes to ann, attempt 2
          to session 2: assign 00000001/1/3 as 1.7
    "#]]);
}

#[test]
fn a_silent_worker_is_lost_after_five_seconds_and_given_up_after_ten() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &job(1, 2));
    trace.skip();
    trace.pass_without(1, 4_999);
    trace.check(expect![[""]]);
    trace.pass_without(1, 10_000);
    // It wakes up, and what it sends is of a session that is no more.
    trace.done_under(1, lease(1, 1), 9);
    trace.check(expect![[r#"
        5000 > time
          close session 1: nothing was heard from the worker
          notice: ann was lost with 1 task
          notice: task 00000001/1/0 goes to bob, attempt 2
          to session 2: assign 00000001/1/0 as 1.3
        10000 > time
          + task 00000001/1/0 attempt 1 failed on ann: the worker was lost
        14999 > session 1: done 1.1: blob 09090909
    "#]]);
}

#[test]
fn a_worker_that_leaves_has_not_died() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 2));
    trace.skip();
    trace.join(2, "bob", 1);
    trace.hear(1, FromWorker::Leaving);
    trace.done_under(1, lease(1, 1), 9);
    trace.hang_up(1);
    trace.pass(10_000);
    trace.check(expect![[r#"
        0 > bob in session 2, holding 0
          notice: bob joined with 1 slot
          to session 2: welcome bob to term 1
        0 > session 1: leaving
          notice: ann left and gave back 2 tasks
          close session 1: the worker left
          notice: task 00000001/1/0 goes to bob, attempt 2
          to session 2: assign 00000001/1/0 as 1.3
          notice: task 00000001/1/1 goes to bob, attempt 2
          to session 2: assign 00000001/1/1 as 1.4
        0 > session 1: done 1.1: blob 09090909
        0 > session 1 ends
    "#]]);
}

#[test]
fn heartbeats_go_to_every_session_each_second() {
    let mut trace = Trace::new();
    trace.loud = true;
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.hang_up(2);
    trace.pass(2_000);
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 1
        0 > bob in session 2, holding 0
          notice: bob joined with 1 slot
          to session 2: welcome bob to term 1
        0 > session 2 ends
          notice: bob was lost with 0 tasks
        1000 > session 1: heartbeat
          to session 1: heartbeat
        2000 > session 1: heartbeat
          to session 1: heartbeat
    "#]]);
}

#[test]
fn another_session_of_a_worker_replaces_the_one_before() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 2));
    trace.skip();
    trace.connect(2, hello_holding(1, "ann", 1, &[0]));
    trace.done_under(1, lease(1, 1), 9);
    trace.hang_up(1);
    trace.done(2, 1, 0);
    trace.check(expect![[r#"
        0 > ann in session 2, holding 1
          close session 1: the worker opened another session
          notice: ann is back and keeps 1 task
          to session 2: welcome ann to term 1, keep 00000001/1/0 as 1.3
          notice: task 00000001/1/1 goes to ann, attempt 2
          to session 2: assign 00000001/1/1 as 1.4
        0 > session 1: done 1.1: blob 09090909
        0 > session 1 ends
        0 > session 2: done 1.3: blob 00000000
          + task 00000001/1/0 done by ann, attempt 2: blob 00000000
          to session 2: accepted 1.3
    "#]]);
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "ann", 1);
    trace.join(3, "ann", 1);
    trace.hang_up(1);
    trace.join(4, "ann", 1);
    trace.connect(5, hello(2, "ann", 1));
    trace.inspect();
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 1
        0 > ann in session 2, holding 0
          notice: ann-2 joined with 1 slot
          to session 2: welcome ann-2 to term 1
        0 > ann in session 3, holding 0
          notice: ann-3 joined with 1 slot
          to session 3: welcome ann-3 to term 1
        0 > session 1 ends
          notice: ann was lost with 0 tasks
        0 > ann in session 4, holding 0
          notice: ann joined with 1 slot
          to session 4: welcome ann to term 1
        0 > ann in session 5, holding 0
          close session 2: the worker opened another session
          notice: ann-2 joined with 1 slot
          to session 5: welcome ann-2 to term 1
        0 > inspect
          reply to 1: Workers([WorkerView { name: "ann", connected: false, draining: false, slots: 1, abilities: [Ability("moments"), Ability("train"), Ability("evaluate"), Ability("map"), Ability("reduce")], resources: Resources({}), running: 0, queued: 0, tasks_done: 0, rejections: 0, pace_ms: None, hardware: "none", profile: "test" }, WorkerView { name: "ann", connected: true, draining: false, slots: 1, abilities: [Ability("moments"), Ability("train"), Ability("evaluate"), Ability("map"), Ability("reduce")], resources: Resources({}), running: 0, queued: 0, tasks_done: 0, rejections: 0, pace_ms: None, hardware: "none", profile: "test" }, WorkerView { name: "ann-2", connected: true, draining: false, slots: 1, abilities: [Ability("moments"), Ability("train"), Ability("evaluate"), Ability("map"), Ability("reduce")], resources: Resources({}), running: 0, queued: 0, tasks_done: 0, rejections: 0, pace_ms: None, hardware: "none", profile: "test" }, WorkerView { name: "ann-3", connected: true, draining: false, slots: 1, abilities: [Ability("moments"), Ability("train"), Ability("evaluate"), Ability("map"), Ability("reduce")], resources: Resources({}), running: 0, queued: 0, tasks_done: 0, rejections: 0, pace_ms: None, hardware: "none", profile: "test" }])
    "#]]);
}

#[test]
fn a_long_name_that_is_taken_stays_within_its_limit() {
    let mut trace = Trace::new();
    let long = "é".repeat(crate::NAME_BYTES_MAX / 2);
    trace.join(1, &long, 1);
    trace.join(2, &long, 1);
    trace.join(3, &long, 1);
    let names: Vec<_> = trace.machine.roster.iter().map(|(_, worker)| worker.name.clone()).collect();
    assert!(names.iter().all(|name| crate::check_name("worker", name).is_ok()), "{names:?}");
    assert!(names[0] != names[1] && names[1] != names[2]);
}

#[test]
fn what_waits_for_workers_says_so_once() {
    let mut trace = Trace::new();
    trace.submit(1, &job(1, 1));
    trace.pass(10_000);
    trace.connect(1, Hello { abilities: vec![ability("other")], ..hello(1, "ann", 1) });
    trace.pass(10_000);
    trace.join(2, "bob", 1);
    trace.check(expect![[r#"
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to train round 1: 1 task from blob b0b0b0b0
          reply to 1: Submitted
          notice: job 00000001 waits: no worker is connected
        10000 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 1
          notice: job 00000001 waits: no connected worker can `train`
        20000 > bob in session 2, holding 0
          notice: bob joined with 1 slot
          to session 2: welcome bob to term 1
          notice: task 00000001/1/0 goes to bob, attempt 1
          to session 2: assign 00000001/1/0 as 1.1
    "#]]);
}

#[test]
fn a_full_worker_is_no_lack_of_ability() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.connect(2, Hello { abilities: vec![ability("other")], ..hello(2, "bob", 1) });
    trace.submit(1, &job(1, 9));
    trace.skip();
    trace.submit(2, &job(1, 9));
    trace.check(expect![[r#"
        0 > submit 00000002
          + job 00000002 `letters` submitted by kim
          + stage 00000002/1 opened to train round 1: 9 tasks from blob b0b0b0b0
          reply to 2: Submitted
    "#]]);
}
