//! Draining: a worker is taken out of service, and nothing is lost of what it does. It does not know how a process ends.

use expect_test::expect;

use super::*;

#[test]
fn what_runs_goes_on_and_what_waits_is_for_others_at_once() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 4);
    trace.submit(1, &job(1, 6));
    trace.skip();
    trace.drain("ann");
    trace.check(expect![[r#"
        0 > drain ann
          notice: ann is draining and has 1 task to bring to an end
          to session 1: revoke 1.3
          to session 1: drain
          reply to 2: Draining { running: 1 }
          notice: task 00000001/1/2 goes to bob, attempt 1
          to session 2: assign 00000001/1/2 as 1.7
    "#]]);
    trace.done(1, 1, 0);
    trace.hear(1, FromWorker::Leaving);
    trace.check(expect![[r#"
        0 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          to session 1: accepted 1.1
        0 > session 1: leaving
          notice: ann left and gave back 0 tasks
          close session 1: the worker left
    "#]]);
}

#[test]
fn nothing_more_is_placed_on_it_by_any_policy() {
    for policy in [Policy::Random, Policy::RoundRobin, Policy::LoadBalancing] {
        let mut trace = Trace::new();
        trace.join(1, "ann", 2);
        trace.join(2, "bob", 1);
        trace.drain("ann");
        trace.submit(1, &placed(policy, job(1, 4)));
        // Bob's first task takes long enough for a second attempt, his second for a takeover.
        trace.pass(5_000);
        assert_eq!(trace.held(1), []);
        trace.done(2, 1, 0);
        trace.pass(5_000);
        assert_eq!(trace.held(1), []);
        assert!(!trace.held(2).is_empty());
    }
}

#[test]
fn a_draining_worker_is_still_draining_when_it_is_back() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 3));
    trace.hang_up(1);
    trace.skip();
    // It is drained while it is away, and hears of it when it is back.
    trace.drain("ann");
    trace.connect(2, hello_holding(1, "ann", 1, &[0]));
    trace.check(expect![[r#"
        0 > drain ann
          notice: ann is draining and has 1 task to bring to an end
          reply to 2: Draining { running: 1 }
        0 > ann in session 2, holding 1
          notice: ann is back and keeps 1 task
          to session 2: welcome ann to term 1, keep 00000001/1/0 as 1.3
          to session 2: drain
    "#]]);
    trace.hang_up(2);
    trace.restart();
    trace.skip();
    // A coordinator that knows nothing of it is told.
    trace.connect(3, Hello { draining: true, ..hello_holding(1, "ann", 1, &[0]) });
    trace.pass(3_000);
    trace.done(3, 1, 0);
    trace.inspect();
    trace.check(expect![[r#"
        0 > ann in session 3, holding 1
          notice: ann is back and keeps 1 task
          to session 3: welcome ann to term 2, keep 00000001/1/0 as 2.1
        3000 > session 3: done 2.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          to session 3: accepted 2.1
          notice: job 00000001 waits: the only worker is draining
        3000 > inspect
          reply to 3: Workers([WorkerView { name: "ann", connected: true, draining: true, slots: 1, abilities: [Ability("moments"), Ability("train"), Ability("evaluate"), Ability("map"), Ability("reduce")], resources: Resources({}), running: 0, queued: 0, tasks_done: 1, rejections: 0, pace_ms: None, hardware: "none", profile: "test" }])
    "#]]);
    trace.connect(4, hello(2, "bob", 1));
    trace.drain("ann");
    trace.hear(3, FromWorker::Leaving);
    trace.drain("ann");
    trace.check(expect![[r#"
        3000 > bob in session 4, holding 0
          notice: bob joined with 1 slot
          to session 4: welcome bob to term 2
          notice: task 00000001/1/1 goes to bob, attempt 1
          to session 4: assign 00000001/1/1 as 2.2
          notice: task 00000001/1/2 goes to bob, attempt 1
          to session 4: assign 00000001/1/2 as 2.3
        3000 > drain ann
          reply to 4: Draining { running: 0 }
        3000 > session 3: leaving
          notice: ann left and gave back 0 tasks
          close session 3: the worker left
        3000 > drain ann
          reply to 5: Refused(NoSuchWorker("ann"))
    "#]]);
}

#[test]
fn a_job_that_waits_for_draining_workers_says_so() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.drain("ann");
    trace.skip();
    trace.submit(1, &job(1, 1));
    trace.check(expect![[r#"
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to train round 1: 1 task from blob b0b0b0b0
          reply to 2: Submitted
          notice: job 00000001 waits: the only worker is draining
    "#]]);
    trace.join(2, "bob", 1);
    trace.drain("bob");
    trace.skip();
    trace.submit(2, &job(1, 1));
    trace.check(expect![[r#"
        0 > submit 00000002
          + job 00000002 `letters` submitted by kim
          + stage 00000002/1 opened to train round 1: 1 task from blob b0b0b0b0
          reply to 4: Submitted
          notice: job 00000002 waits: all 2 workers are draining
    "#]]);
}

#[test]
fn others_count_only_while_they_are_in_service() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(1, 3)));
    trace.pass(100);
    trace.done(2, 1, 1);
    trace.drain("bob");
    trace.pass(900);
    trace.done(1, 1, 0);
    trace.skip();
    // Bob would be through sooner, but takes no more.
    trace.submit(2, &placed(Policy::LoadBalancing, job(1, 2)));
    trace.check(expect![[r#"
        1000 > submit 00000002
          + job 00000002 `letters` submitted by kim
          + stage 00000002/1 opened to train round 1: 2 tasks from blob b0b0b0b0
          reply to 3: Submitted
          notice: task 00000002/1/0 goes to ann, attempt 1
          to session 1: assign 00000002/1/0 as 1.5
          notice: task 00000002/1/1 goes to ann, attempt 1
          to session 1: assign 00000002/1/1 as 1.6
    "#]]);
}
