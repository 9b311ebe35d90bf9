//! Needs: which workers a task of several slots, or of something scarce, may go to, and what a job then waits for.

use expect_test::expect;

use super::*;

#[test]
fn a_task_of_several_slots_goes_where_it_can_start() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 3);
    trace.submit(1, &needing(divisible(3, None), 2, &[]));
    trace.done(2, 1, 0);
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 1
        0 > bob in session 2, holding 0
          notice: bob joined with 3 slots
          to session 2: welcome bob to term 1
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to map: 3 tasks from blob b0b0b0b0
          reply to 1: Submitted
          notice: task 00000001/1/0 goes to bob, attempt 1
          to session 2: assign 00000001/1/0 as 1.1
        0 > session 2: done 1.1: blob 00000000
          + task 00000001/1/0 done by bob, attempt 1: blob 00000000
          to session 2: accepted 1.1
          notice: task 00000001/1/1 goes to bob, attempt 1
          to session 2: assign 00000001/1/1 as 1.2
    "#]]);
}

#[test]
fn a_scarce_resource_is_never_promised_twice() {
    let mut trace = Trace::new();
    trace.connect(1, having(hello(1, "ann", 4), &[("gpu", 2)]));
    trace.join(2, "bob", 4);
    trace.submit(1, &needing(divisible(3, None), 1, &[("gpu", 1)]));
    trace.done(1, 1, 0);
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 4 slots
          to session 1: welcome ann to term 1
        0 > bob in session 2, holding 0
          notice: bob joined with 4 slots
          to session 2: welcome bob to term 1
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to map: 3 tasks from blob b0b0b0b0
          reply to 1: Submitted
          notice: task 00000001/1/0 goes to ann, attempt 1
          to session 1: assign 00000001/1/0 as 1.1
          notice: task 00000001/1/1 goes to ann, attempt 1
          to session 1: assign 00000001/1/1 as 1.2
        0 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          to session 1: accepted 1.1
          notice: task 00000001/1/2 goes to ann, attempt 1
          to session 1: assign 00000001/1/2 as 1.3
    "#]]);
}

#[test]
fn a_job_that_nobody_has_enough_for_says_of_what() {
    let mut trace = Trace::new();
    trace.connect(1, having(hello(1, "ann", 2), &[("gpu", 1)]));
    trace.join(2, "bob", 4);
    trace.submit(1, &needing(divisible(1, None), 1, &[("gpu", 2)]));
    trace.submit(2, &needing(divisible(1, None), 5, &[]));
    // Each lacks something else.
    trace.submit(3, &needing(divisible(1, None), 3, &[("gpu", 1)]));
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 2 slots
          to session 1: welcome ann to term 1
        0 > bob in session 2, holding 0
          notice: bob joined with 4 slots
          to session 2: welcome bob to term 1
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to map: 1 task from blob b0b0b0b0
          reply to 1: Submitted
          notice: job 00000001 waits: a task needs gpu=2, and no connected worker has more than 1
        0 > submit 00000002
          + job 00000002 `letters` submitted by kim
          + stage 00000002/1 opened to map: 1 task from blob b0b0b0b0
          reply to 2: Submitted
          notice: job 00000002 waits: a task needs slots=5, and no connected worker has more than 4
        0 > submit 00000003
          + job 00000003 `letters` submitted by kim
          + stage 00000003/1 opened to map: 1 task from blob b0b0b0b0
          reply to 3: Submitted
          notice: job 00000003 waits: a task needs slots=3, and no connected worker has more than 4
    "#]]);
    // It is told again to whoever comes later and asks, and to nobody else.
    let stranger = Caller { role: Role::Client, token: TokenId::from_bits(99) };
    trace.why_waits(1, Caller::LOCAL);
    trace.why_waits(1, stranger);
    trace.why_waits(4, Caller::LOCAL);
    trace.check(expect![[r#"
        0 > why does 00000001 wait?
          reply to 4: Waits(Some(NotEnough { what: "gpu", needed: 2, most: 1 }))
        0 > why does 00000001 wait?
          reply to 5: Refused(NotYours(00000001))
        0 > why does 00000004 wait?
          reply to 6: Refused(NoSuchJob(00000004))
    "#]]);
    trace.connect(3, having(hello(3, "cat", 8), &[("gpu", 2)]));
    trace.why_waits(1, Caller::LOCAL);
    trace.check(expect![[r#"
        0 > cat in session 3, holding 0
          notice: cat joined with 8 slots
          to session 3: welcome cat to term 1
          notice: task 00000001/1/0 goes to cat, attempt 1
          to session 3: assign 00000001/1/0 as 1.1
          notice: task 00000002/1/0 goes to cat, attempt 1
          to session 3: assign 00000002/1/0 as 1.2
        0 > why does 00000001 wait?
          reply to 7: Waits(None)
    "#]]);
}

#[test]
fn a_large_task_gets_its_turn_beside_a_stream_of_small_ones() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 2);
    trace.submit(1, &divisible(100, None));
    trace.submit(2, &needing(divisible(1, None), 2, &[]));
    trace.skip();
    // Ann holds three of the older job's tasks, and gets no more of them before the large one.
    for index in 0..3 {
        trace.pass(1_000);
        trace.done(1, 1, index);
    }
    trace.check(expect![[r#"
        1000 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          to session 1: accepted 1.1
        2000 > session 1: done 1.2: blob 01010101
          + task 00000001/1/1 done by ann, attempt 1: blob 01010101
          to session 1: accepted 1.2
        3000 > session 1: done 1.3: blob 02020202
          + task 00000001/1/2 done by ann, attempt 1: blob 02020202
          to session 1: accepted 1.3
          notice: task 00000002/1/0 goes to ann, attempt 1
          to session 1: assign 00000002/1/0 as 1.4
          notice: task 00000001/1/3 goes to ann, attempt 1
          to session 1: assign 00000001/1/3 as 1.5
    "#]]);
    trace.pass(1_000);
    let large = TaskId { job: JobId::from_bits(2), ..task(1, 1, 0) };
    trace.done_under(1, trace.lease(1, large), 0);
    trace.check(expect![[r#"
        4000 > session 1: done 1.4: blob 00000000
          + task 00000002/1/0 done by ann, attempt 1: blob 00000000
          + stage 00000002/1 closed
          to session 1: accepted 1.4
          combine 00000002/1: 1 part
          notice: task 00000001/1/4 goes to ann, attempt 1
          to session 1: assign 00000001/1/4 as 1.6
          notice: task 00000001/1/5 goes to ann, attempt 1
          to session 1: assign 00000001/1/5 as 1.7
    "#]]);
}

#[test]
fn who_waits_for_something_scarce_keeps_no_slot_from_others() {
    let mut trace = Trace::new();
    trace.connect(1, having(hello(1, "ann", 3), &[("gpu", 2)]));
    trace.submit(1, &needing(divisible(1, None), 1, &[("gpu", 1)]));
    trace.submit(2, &needing(divisible(1, None), 1, &[("gpu", 2)]));
    trace.skip();
    // It would take what the second waits for; the fourth job does not.
    trace.submit(3, &needing(divisible(1, None), 1, &[("gpu", 1)]));
    trace.submit(4, &divisible(2, None));
    trace.check(expect![[r#"
        0 > submit 00000003
          + job 00000003 `letters` submitted by kim
          + stage 00000003/1 opened to map: 1 task from blob b0b0b0b0
          reply to 3: Submitted
        0 > submit 00000004
          + job 00000004 `letters` submitted by kim
          + stage 00000004/1 opened to map: 2 tasks from blob b0b0b0b0
          reply to 4: Submitted
          notice: task 00000004/1/0 goes to ann, attempt 1
          to session 1: assign 00000004/1/0 as 1.2
          notice: task 00000004/1/1 goes to ann, attempt 1
          to session 1: assign 00000004/1/1 as 1.3
    "#]]);
    trace.done(1, 1, 0);
    trace.check(expect![[r#"
        0 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/1 closed
          to session 1: accepted 1.1
          combine 00000001/1: 1 part
          notice: task 00000002/1/0 goes to ann, attempt 1
          to session 1: assign 00000002/1/0 as 1.4
    "#]]);
}

#[test]
fn a_worker_is_kept_free_where_what_is_scarce_is_free_and_slots_are_not() {
    let mut trace = Trace::new();
    trace.connect(1, having(hello(1, "ann", 4), &[("gpu", 1)]));
    trace.submit(1, &needing(divisible(1, None), 1, &[("gpu", 1)]));
    trace.connect(2, having(hello(2, "bob", 1), &[("gpu", 1)]));
    trace.submit(2, &divisible(6, None));
    trace.submit(3, &needing(divisible(1, None), 1, &[("gpu", 1)]));
    trace.skip();
    // Ann has slots to spare, and her GPU for as long as the first job takes; Bob's is free once a slot is.
    for lease in trace.held(2) {
        let lease = trace.lease(2, lease);
        trace.pass(100);
        trace.done_under(2, lease, 0);
    }
    trace.check(expect![[r#"
        100 > session 2: done 1.2: blob 00000000
          + task 00000002/1/0 done by bob, attempt 1: blob 00000000
          to session 2: accepted 1.2
        200 > session 2: done 1.4: blob 00000000
          + task 00000002/1/2 done by bob, attempt 1: blob 00000000
          to session 2: accepted 1.4
          notice: task 00000003/1/0 goes to bob, attempt 1
          to session 2: assign 00000003/1/0 as 1.8
    "#]]);
}
