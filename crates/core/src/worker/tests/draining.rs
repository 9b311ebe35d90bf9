//! Draining: a worker brings its work to an end, and then itself. It does not know who wanted that.

use expect_test::expect;

use super::*;

#[test]
fn it_ends_once_the_last_report_is_accepted() {
    let mut trace = Trace::joined(2);
    (1..=3).for_each(|number| trace.assign(number));
    trace.text.clear();
    trace.hear(ToWorker::Revoke { lease: lease(3) });
    trace.hear(ToWorker::Drain);
    trace.hear(ToWorker::Drain);
    trace.assign(4);
    trace.finish(1);
    trace.hear(ToWorker::Accepted { lease: lease(1) });
    trace.finish(2);
    trace.pass(1_000);
    trace.hear(ToWorker::Accepted { lease: lease(2) });
    trace.disconnect();
    trace.check(expect![[r#"
        0 > revoke 1.3
        0 > drain
          notice: draining: 2 tasks to bring to an end
        0 > drain
        0 > assign 00000001/1/4 as 1.4
          send rejected 1.4
        0 > run 1 ends
          send done 1.1: blob 07070707
        0 > accepted 1.1
        0 > run 2 ends
          send done 1.2: blob 07070707
        1000 > accepted 1.2
          send leaving
          notice: drained
          end
        1000 > disconnected
    "#]]);
    assert_eq!(trace.machine.poll_timeout(), None);
}

#[test]
fn an_idle_one_ends_at_once() {
    let mut trace = Trace::joined(1);
    trace.hear(ToWorker::Drain);
    trace.check(expect![[r#"
        0 > drain
          notice: draining: 0 tasks to bring to an end
          send leaving
          notice: drained
          end
    "#]]);
}

#[test]
fn a_loss_changes_nothing_but_the_session_that_it_ends_in() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.hear(ToWorker::Drain);
    trace.text.clear();
    trace.finish(1);
    trace.disconnect();
    trace.pass(100);
    trace.handle(Some("connected"), Input::Connected);
    assert!(trace.machine.config.hello.draining);
    trace.hear(ToWorker::Welcome { term: Term(1), name: "ann".to_owned(), kept: vec![(task(1), lease(5))] });
    trace.hear(ToWorker::Accepted { lease: lease(5) });
    trace.check(expect![[r#"
        0 > run 1 ends
          send done 1.1: blob 07070707
        0 > disconnected
          notice: lost the coordinator; dialling again
        55 > time
          dial
        100 > connected
          greet as ann with 1 task, draining
        100 > welcome ann to term 1, keep 00000001/1/1 as 1.5
          notice: joined again as ann, going on with 1 task
          send done 1.5: blob 07070707
        100 > accepted 1.5
          send leaving
          notice: drained
          end
    "#]]);
}
