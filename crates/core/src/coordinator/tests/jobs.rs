//! Jobs from their submission to their end. It does not know how tasks find their workers.

use expect_test::expect;

use super::*;

#[test]
fn two_rounds_with_evaluation_from_submission_to_success() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &evaluated(job(2, 2)));
    trace.done(1, 1, 0);
    trace.done(1, 1, 1);
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 1
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to train round 1: 2 tasks from blob b0b0b0b0
          reply to 1: Submitted
          notice: task 00000001/1/0 goes to ann, attempt 1
          to session 1: assign 00000001/1/0 as 1.1
          notice: task 00000001/1/1 goes to ann, attempt 1
          to session 1: assign 00000001/1/1 as 1.2
        0 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          to session 1: accepted 1.1
        0 > session 1: done 1.2: blob 01010101
          + task 00000001/1/1 done by ann, attempt 1: blob 01010101
          + stage 00000001/1 closed
          to session 1: accepted 1.2
          combine 00000001/1: 2 parts
    "#]]);
    trace.combined(1, 1, 0xb1);
    trace.done(1, 2, 0);
    trace.combined(1, 2, 0xe1);
    trace.check(expect![[r#"
        0 > combine of 00000001/1 made blob b1b1b1b1
          + stage 00000001/1 combined: blob b1b1b1b1
          + stage 00000001/2 opened to evaluate version 1: 1 task from blob b1b1b1b1
          + stage 00000001/3 opened to train round 2: 2 tasks from blob b1b1b1b1
          notice: task 00000001/2/0 goes to ann, attempt 1
          to session 1: assign 00000001/2/0 as 1.3
          notice: task 00000001/3/0 goes to ann, attempt 1
          to session 1: assign 00000001/3/0 as 1.4
          notice: task 00000001/3/1 goes to ann, attempt 1
          to session 1: assign 00000001/3/1 as 1.5
        0 > session 1: done 1.3: blob 00000000
          + task 00000001/2/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/2 closed
          to session 1: accepted 1.3
          combine 00000001/2: 1 part
        0 > combine of 00000001/2 made blob e1e1e1e1
          + stage 00000001/2 combined: blob e1e1e1e1
    "#]]);
    trace.done(1, 3, 0);
    trace.done(1, 3, 1);
    trace.combined(1, 3, 0xb2);
    trace.done(1, 4, 0);
    trace.combined(1, 4, 0xe2);
    trace.check(expect![[r#"
        0 > session 1: done 1.4: blob 00000000
          + task 00000001/3/0 done by ann, attempt 1: blob 00000000
          to session 1: accepted 1.4
        0 > session 1: done 1.5: blob 01010101
          + task 00000001/3/1 done by ann, attempt 1: blob 01010101
          + stage 00000001/3 closed
          to session 1: accepted 1.5
          combine 00000001/3: 2 parts
        0 > combine of 00000001/3 made blob b2b2b2b2
          + stage 00000001/3 combined: blob b2b2b2b2
          + stage 00000001/4 opened to evaluate version 2: 1 task from blob b2b2b2b2
          notice: task 00000001/4/0 goes to ann, attempt 1
          to session 1: assign 00000001/4/0 as 1.6
        0 > session 1: done 1.6: blob 00000000
          + task 00000001/4/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/4 closed
          to session 1: accepted 1.6
          combine 00000001/4: 1 part
        0 > combine of 00000001/4 made blob e2e2e2e2
          + stage 00000001/4 combined: blob e2e2e2e2
          + job 00000001 succeeded
    "#]]);
}

#[test]
fn training_waits_when_two_versions_wait_for_their_evaluation() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 9);
    trace.submit(1, &evaluated(job(3, 1)));
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0xb1);
    trace.done(1, 3, 0);
    trace.skip();
    // Neither version 1 nor version 2 is measured: round 3 is not opened.
    trace.combined(1, 3, 0xb2);
    trace.check(expect![[r#"
        0 > combine of 00000001/3 made blob b2b2b2b2
          + stage 00000001/3 combined: blob b2b2b2b2
          + stage 00000001/4 opened to evaluate version 2: 1 task from blob b2b2b2b2
          notice: task 00000001/4/0 goes to ann, attempt 1
          to session 1: assign 00000001/4/0 as 1.4
    "#]]);
    trace.done(1, 2, 0);
    trace.combined(1, 2, 0xe1);
    trace.check(expect![[r#"
        0 > session 1: done 1.2: blob 00000000
          + task 00000001/2/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/2 closed
          to session 1: accepted 1.2
          combine 00000001/2: 1 part
        0 > combine of 00000001/2 made blob e1e1e1e1
          + stage 00000001/2 combined: blob e1e1e1e1
          + stage 00000001/5 opened to train round 3: 1 task from blob b2b2b2b2
          notice: task 00000001/5/0 goes to ann, attempt 1
          to session 1: assign 00000001/5/0 as 1.5
    "#]]);
}

#[test]
fn a_submission_says_what_it_came_to() {
    let mut trace = Trace::new();
    let spec = job(1, 1);
    trace.submit_missing(1, &spec, vec![Digest([0x10; 32])]);
    trace.submit(1, &spec);
    trace.submit(1, &spec);
    trace.submit_missing(1, &spec, vec![Digest([0x10; 32])]);
    trace.submit(1, &job(2, 1));
    trace.submit(2, &job(0, 1));
    trace.submit(2, &JobSpec { name: "a\nb".to_owned(), ..job(1, 1) });
    let mut large = job(1, 1);
    let plan = rounds(&mut large);
    plan.base = Payload::inline(&[0; 16 * 1024]).expect("16 KiB fit");
    plan.train.input = plan.base.clone();
    trace.submit(2, &large);
    trace.cancel(3);
    trace.check(expect![[r#"
        0 > submit 00000001
          reply to 1: Missing([10101010])
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to train round 1: 1 task from blob b0b0b0b0
          reply to 2: Submitted
          notice: job 00000001 waits: no worker is connected
        0 > submit 00000001
          reply to 3: Submitted
        0 > submit 00000001
          reply to 4: Submitted
        0 > submit 00000001
          reply to 5: Refused(AnotherSpec(00000001))
        0 > submit 00000002
          reply to 6: Refused(Spec(Count { what: "rounds", value: 0, min: 1, max: 1000000 }))
        0 > submit 00000002
          reply to 7: Refused(Spec(Name { what: "job", name: "a\nb" }))
        0 > submit 00000002
          reply to 8: Refused(Spec(Inline { bytes: 32768 }))
        0 > cancel 00000003
          reply to 9: Refused(NoSuchJob(00000003))
    "#]]);
}

#[test]
fn a_cancel_revokes_and_what_still_comes_is_revoked_again() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &job(1, 4));
    trace.skip();
    trace.cancel(1);
    trace.done_under(1, lease(1, 1), 0);
    trace.hear(2, FromWorker::Failed { lease: lease(1, 2), failure: Failure::of("stopped") });
    trace.hear(2, FromWorker::Rejected { lease: lease(1, 4) });
    trace.cancel(1);
    trace.submit(1, &job(1, 4));
    trace.check(expect![[r#"
        0 > cancel 00000001
          + job 00000001 cancelled
          to session 1: revoke 1.1
          to session 2: revoke 1.2
          to session 1: revoke 1.3
          to session 2: revoke 1.4
          reply to 2: Ended(Cancelled)
        0 > session 1: done 1.1: blob 00000000
          to session 1: revoke 1.1
        0 > session 2: failed 1.2: stopped
          to session 2: revoke 1.2
        0 > session 2: rejected 1.4
          to session 2: revoke 1.4
        0 > cancel 00000001
          reply to 3: Ended(Cancelled)
        0 > submit 00000001
          reply to 4: Submitted
    "#]]);
}

#[test]
fn what_is_under_no_standing_lease_changes_nothing() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &job(1, 2));
    trace.skip();
    let before = trace.machine.durable().clone();
    // Of an older term, of a newer one, another worker's, never granted, in a session that nobody opened.
    trace.done_under(1, lease(0, 1), 9);
    trace.done_under(1, lease(2, 1), 9);
    trace.done_under(2, lease(1, 1), 9);
    trace.done_under(1, lease(1, 77), 9);
    trace.done_under(9, lease(1, 1), 9);
    assert_eq!(trace.machine.durable(), &before);
    trace.check(expect![[r#"
        0 > session 1: done 0.1: blob 09090909
          to session 1: revoke 0.1
        0 > session 1: done 2.1: blob 09090909
          to session 1: revoke 2.1
        0 > session 2: done 1.1: blob 09090909
          to session 2: revoke 1.1
        0 > session 1: done 1.77: blob 09090909
          to session 1: revoke 1.77
        0 > session 9: done 1.1: blob 09090909
    "#]]);
    // The lease itself still counts, once.
    trace.done_under(1, lease(1, 1), 0);
    trace.done_under(1, lease(1, 1), 9);
    trace.check(expect![[r#"
        0 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          to session 1: accepted 1.1
        0 > session 1: done 1.1: blob 09090909
          to session 1: revoke 1.1
    "#]]);
}

#[test]
fn jobs_share_workers_by_what_they_have_there_then_by_age() {
    let mut trace = Trace::new();
    trace.submit(1, &job(1, 9));
    trace.submit(2, &job(1, 9));
    trace.skip();
    trace.join(1, "ann", 2);
    trace.join(2, "bob", 2);
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 2 slots
          to session 1: welcome ann to term 1
          notice: task 00000001/1/0 goes to ann, attempt 1
          to session 1: assign 00000001/1/0 as 1.1
          notice: task 00000002/1/0 goes to ann, attempt 1
          to session 1: assign 00000002/1/0 as 1.2
          notice: task 00000001/1/1 goes to ann, attempt 1
          to session 1: assign 00000001/1/1 as 1.3
        0 > bob in session 2, holding 0
          notice: bob joined with 2 slots
          to session 2: welcome bob to term 1
          notice: task 00000002/1/1 goes to bob, attempt 1
          to session 2: assign 00000002/1/1 as 1.4
          notice: task 00000001/1/2 goes to bob, attempt 1
          to session 2: assign 00000001/1/2 as 1.5
          notice: task 00000002/1/2 goes to bob, attempt 1
          to session 2: assign 00000002/1/2 as 1.6
    "#]]);
    // A third job has nothing anywhere: the next room is its own.
    trace.submit(3, &job(1, 9));
    trace.done(1, 1, 0);
    trace.check(expect![[r#"
        0 > submit 00000003
          + job 00000003 `letters` submitted by kim
          + stage 00000003/1 opened to train round 1: 9 tasks from blob b0b0b0b0
          reply to 3: Submitted
        0 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          to session 1: accepted 1.1
          notice: task 00000003/1/0 goes to ann, attempt 1
          to session 1: assign 00000003/1/0 as 1.7
          notice: task 00000003/1/1 goes to ann, attempt 1
          to session 1: assign 00000003/1/1 as 1.8
          notice: task 00000001/1/3 goes to ann, attempt 1
          to session 1: assign 00000001/1/3 as 1.9
          notice: task 00000003/1/2 goes to ann, attempt 1
          to session 1: assign 00000003/1/2 as 1.10
          notice: task 00000001/1/4 goes to ann, attempt 1
          to session 1: assign 00000001/1/4 as 1.11
          notice: task 00000002/1/3 goes to ann, attempt 1
          to session 1: assign 00000002/1/3 as 1.12
          notice: task 00000003/1/3 goes to ann, attempt 1
          to session 1: assign 00000003/1/3 as 1.13
          notice: task 00000001/1/5 goes to ann, attempt 1
          to session 1: assign 00000001/1/5 as 1.14
          notice: task 00000002/1/4 goes to ann, attempt 1
          to session 1: assign 00000002/1/4 as 1.15
          notice: task 00000003/1/4 goes to ann, attempt 1
          to session 1: assign 00000003/1/4 as 1.16
          notice: task 00000001/1/6 goes to ann, attempt 1
          to session 1: assign 00000001/1/6 as 1.17
          notice: task 00000002/1/5 goes to ann, attempt 1
          to session 1: assign 00000002/1/5 as 1.18
          notice: task 00000003/1/5 goes to ann, attempt 1
          to session 1: assign 00000003/1/5 as 1.19
          notice: task 00000001/1/7 goes to ann, attempt 1
          to session 1: assign 00000001/1/7 as 1.20
          notice: task 00000002/1/6 goes to ann, attempt 1
          to session 1: assign 00000002/1/6 as 1.21
          notice: task 00000003/1/6 goes to ann, attempt 1
          to session 1: assign 00000003/1/6 as 1.22
          notice: task 00000001/1/8 goes to ann, attempt 1
          to session 1: assign 00000001/1/8 as 1.23
          notice: task 00000002/1/7 goes to ann, attempt 1
          to session 1: assign 00000002/1/7 as 1.24
          notice: task 00000003/1/7 goes to ann, attempt 1
          to session 1: assign 00000003/1/7 as 1.25
          notice: task 00000002/1/8 goes to ann, attempt 1
          to session 1: assign 00000002/1/8 as 1.26
          notice: task 00000003/1/8 goes to ann, attempt 1
          to session 1: assign 00000003/1/8 as 1.27
    "#]]);
}
