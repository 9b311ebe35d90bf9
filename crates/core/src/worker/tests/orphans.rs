//! Orphans: what must not run twice ends when the coordinator was not heard for too long; everything else goes on.

use expect_test::expect;

use super::*;

#[test]
fn after_a_lost_session_what_must_not_run_twice_ends_in_time() {
    let mut trace = Trace::joined(2);
    trace.assign(1);
    trace.assign_once(2);
    trace.pass(1_000);
    trace.hear(ToWorker::Heartbeat);
    trace.text.clear();
    trace.disconnect();
    trace.pass(3_999);
    trace.check(expect![[r#"
        1000 > disconnected
          notice: lost the coordinator; dialling again
        1070 > time
          dial
    "#]]);
    trace.pass(1);
    trace.check(expect![[r#"
        5000 > time
          notice: ended task 00000001/1/2: without the coordinator, someone else may be given it, and it must not run twice
          abort run 2
    "#]]);
    trace.join(&[(task(1), lease(11))]);
    trace.finish(2);
    trace.check(expect![[r#"
        5000 > connected
          greet as ann with 1 task
        5000 > welcome ann to term 1, keep 00000001/1/1 as 1.11
          notice: joined again as ann, going on with 1 task
        5000 > run 2 ends
    "#]]);
}

#[test]
fn a_session_in_which_nobody_is_heard_ends_with_what_must_not_run_twice() {
    let mut trace = Trace::joined(1);
    trace.assign_once(1);
    trace.text.clear();
    trace.pass(4_000);
    trace.check(expect![[r#"
        4000 > time
          hang up
          notice: lost the coordinator; dialling again
          notice: ended task 00000001/1/1: without the coordinator, someone else may be given it, and it must not run twice
          abort run 1
    "#]]);
}

#[test]
fn a_session_that_is_only_greeted_ends_with_what_it_was_told_of() {
    let mut trace = Trace::joined(1);
    trace.assign_once(1);
    trace.disconnect();
    trace.pass(100);
    trace.text.clear();
    trace.handle(Some("connected"), Input::Connected);
    trace.pass(3_900);
    trace.check(expect![[r#"
        100 > connected
          greet as ann with 1 task
        4000 > time
          hang up
          notice: ended task 00000001/1/1: without the coordinator, someone else may be given it, and it must not run twice
          abort run 1
    "#]]);
}

#[test]
fn what_is_done_is_no_orphan() {
    let mut trace = Trace::joined(1);
    trace.assign_once(1);
    trace.disconnect();
    trace.finish(1);
    trace.text.clear();
    trace.pass(100);
    trace.handle(Some("connected"), Input::Connected);
    trace.pass(3_950);
    trace.check(expect![[r#"
        55 > time
          dial
        100 > connected
          greet as ann with 1 task
    "#]]);
}

#[test]
fn what_needs_more_than_is_free_waits() {
    let mut trace = Trace::joined(2);
    trace.assign(1);
    let needs = Needs { slots: 2, resources: Resources::default() };
    trace.hear(ToWorker::Assign(Assignment { needs, ..assignment(2, false) }));
    trace.assign(3);
    trace.text.clear();
    trace.finish(1);
    trace.check(expect![[r#"
        0 > run 1 ends
          send done 1.1: blob 07070707
          start 00000001/1/2 as run 2
    "#]]);
}
