//! The ends of combines: results lost, refused, or no longer wanted. It does not know how results become one.

use expect_test::expect;

use super::*;
use crate::coordinator::Part;

#[test]
fn results_are_combined_in_task_order_whoever_came_first() {
    let mut trace = Trace::new();
    (1..).zip(["cat", "bob", "ann"]).for_each(|(session, name)| trace.join(session, name, 1));
    trace.submit(1, &job(1, 3));
    trace.done(3, 1, 2);
    trace.done(1, 1, 0);
    trace.done(2, 1, 1);
    let parts = (0..3).map(|index| Part { index, result: blob(index as u8), samples: 10, extras: Extras::default() });
    let combine = Combine {
        job: JobId::from_bits(1),
        stage: StageNumber(1),
        rule: blob(0xc0),
        base: blob(0xb0),
        input: blob(0x10),
        parts: parts.collect(),
    };
    assert_eq!(trace.combine, Some(combine));
}

#[test]
fn a_cancel_while_a_stage_is_combined_drops_the_combine() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(2, 1));
    trace.done(1, 1, 0);
    trace.skip();
    trace.cancel(1);
    trace.combined(1, 1, 0xb1);
    trace.check(expect![[r#"
        0 > cancel 00000001
          + job 00000001 cancelled
          reply to 2: Ended(Cancelled)
        0 > combine of 00000001/1 made blob b1b1b1b1
    "#]]);
}

#[test]
fn lost_results_run_again() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 3));
    trace.done(1, 1, 0);
    trace.done(1, 1, 1);
    trace.done(1, 1, 2);
    trace.skip();
    trace.combine_ends(1, 1, CombineOutcome::ResultsLost(vec![0, 2]));
    trace.done(1, 1, 0);
    trace.done(1, 1, 2);
    trace.combined(1, 1, 0xb1);
    trace.check(expect![[r#"
        0 > combine of 00000001/1: ResultsLost([0, 2])
          + stage 00000001/1 lost results [0, 2]
          notice: task 00000001/1/0 goes to ann, attempt 1
          to session 1: assign 00000001/1/0 as 1.4
          notice: task 00000001/1/2 goes to ann, attempt 1
          to session 1: assign 00000001/1/2 as 1.5
        0 > session 1: done 1.4: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          to session 1: accepted 1.4
        0 > session 1: done 1.5: blob 02020202
          + task 00000001/1/2 done by ann, attempt 1: blob 02020202
          + stage 00000001/1 closed
          to session 1: accepted 1.5
          combine 00000001/1: 3 parts
        0 > combine of 00000001/1 made blob b1b1b1b1
          + stage 00000001/1 combined: blob b1b1b1b1
          + job 00000001 succeeded
    "#]]);
}

#[test]
fn a_combine_that_cannot_be_done_fails_the_job() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 1));
    trace.done(1, 1, 0);
    trace.skip();
    trace.combine_ends(1, 1, CombineOutcome::Failed("all 1 deltas were refused".to_owned()));
    trace.combined(1, 1, 0xb1);
    trace.check(expect![[r#"
        0 > combine of 00000001/1: Failed("all 1 deltas were refused")
          + job 00000001 failed: all 1 deltas were refused
        0 > combine of 00000001/1 made blob b1b1b1b1
    "#]]);
}
