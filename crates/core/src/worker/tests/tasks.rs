//! Tasks in a worker's hands: slots, reports, revocations, and the load that delays and rejects. It does not know what
//! they compute.

use expect_test::expect;

use super::*;

#[test]
fn tasks_wait_for_a_slot_in_order() {
    let mut trace = Trace::joined(2);
    (1..=4).for_each(|number| trace.assign(number));
    trace.finish(2);
    trace.hear(ToWorker::Accepted { lease: lease(2) });
    trace.finish(1);
    trace.check(expect![[r#"
        0 > assign 00000001/1/1 as 1.1
          start 00000001/1/1 as run 1
        0 > assign 00000001/1/2 as 1.2
          start 00000001/1/2 as run 2
        0 > assign 00000001/1/3 as 1.3
        0 > assign 00000001/1/4 as 1.4
        0 > run 2 ends
          send done 1.2: blob 07070707
          start 00000001/1/3 as run 3
        0 > accepted 1.2
        0 > run 1 ends
          send done 1.1: blob 07070707
          start 00000001/1/4 as run 4
    "#]]);
}

#[test]
fn a_failed_task_says_why_within_limits() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.text.clear();
    let outcome = Err(Failure::of("ä".repeat(REASON_BYTES_MAX)));
    let outputs = trace.machine.handle(0, Input::Finished { run: Run(1), outcome });
    let [Output::Send(FromWorker::Failed { lease: failed, failure })] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((*failed, failure.reason.len()), (lease(1), REASON_BYTES_MAX));
}

#[test]
fn a_revoked_task_is_aborted_and_its_end_is_news_to_nobody() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.assign(2);
    trace.assign(3);
    trace.hear(ToWorker::Revoke { lease: lease(3) });
    trace.hear(ToWorker::Revoke { lease: lease(1) });
    trace.finish(1);
    trace.hear(ToWorker::Revoke { lease: lease(9) });
    trace.finish(2);
    trace.check(expect![[r#"
        0 > assign 00000001/1/1 as 1.1
          start 00000001/1/1 as run 1
        0 > assign 00000001/1/2 as 1.2
        0 > assign 00000001/1/3 as 1.3
        0 > revoke 1.3
        0 > revoke 1.1
          abort run 1
          start 00000001/1/2 as run 2
        0 > run 1 ends
        0 > revoke 1.9
        0 > run 2 ends
          send done 1.2: blob 07070707
    "#]]);
}

#[test]
fn load_delays_and_rejects() {
    let mut trace = Trace::joined_under(1, busy(3));
    for number in 1..=6 {
        trace.hear(ToWorker::Assign(assignment(number, true)));
        trace.pass_heard(1_000);
        let running = trace.machine.holding.iter().find_map(|held| match held.state {
            State::Running { run } => Some(run),
            _ => None,
        });
        running.into_iter().for_each(|run| trace.finish(run.0));
        trace.hear(ToWorker::Accepted { lease: lease(number) });
    }
    trace.check(expect![[r#"
        0 > assign 00000001/1/1 as 1.1
          notice: task 00000001/1/1 waits 500 ms (busy)
        500 > time
          notice: rejected task 00000001/1/1 (busy)
          send rejected 1.1
        1000 > accepted 1.1
        1000 > assign 00000001/1/2 as 1.2
          notice: rejected task 00000001/1/2 (busy)
          send rejected 1.2
        2000 > accepted 1.2
        2000 > assign 00000001/1/3 as 1.3
          start 00000001/1/3 as run 3
        3000 > run 3 ends
          send done 1.3: blob 07070707
        3000 > accepted 1.3
        3000 > assign 00000001/1/4 as 1.4
          notice: task 00000001/1/4 waits 500 ms (busy)
        3500 > time
          notice: rejected task 00000001/1/4 (busy)
          send rejected 1.4
        4000 > accepted 1.4
        4000 > assign 00000001/1/5 as 1.5
          notice: task 00000001/1/5 waits 500 ms (busy)
        4500 > time
          notice: rejected task 00000001/1/5 (busy)
          send rejected 1.5
        5000 > accepted 1.5
        5000 > assign 00000001/1/6 as 1.6
          start 00000001/1/6 as run 6
        6000 > run 6 ends
          send done 1.6: blob 07070707
        6000 > accepted 1.6
    "#]]);
}

#[test]
fn what_may_not_be_rejected_is_only_delayed_in_the_same_sequence() {
    let delays = |may_reject| {
        let mut trace = Trace::joined_under(1, busy(3));
        for number in 1..=50 {
            trace.hear(ToWorker::Assign(assignment(number, may_reject)));
            trace.pass(500);
            trace.hear(ToWorker::Revoke { lease: lease(number) });
        }
        let lines = trace.text.lines().filter(|line| line.contains("waits 500 ms")).map(str::to_owned);
        (lines.collect::<Vec<_>>(), trace.text.contains("send rejected"))
    };
    let (with, rejected) = delays(true);
    let (without, rejected_none) = delays(false);
    assert_eq!(with, without);
    assert!(rejected && !rejected_none);
    assert!((15..=35).contains(&with.len()), "{}", with.len());
}

#[test]
fn a_delayed_task_keeps_its_slot_and_can_be_revoked() {
    let mut trace = Trace::joined_under(1, Load { probability: 1.0, ..busy(1) });
    trace.hear(ToWorker::Assign(assignment(1, false)));
    trace.hear(ToWorker::Assign(assignment(2, false)));
    trace.hear(ToWorker::Revoke { lease: lease(1) });
    trace.pass(500);
    trace.check(expect![[r#"
        0 > assign 00000001/1/1 as 1.1
          notice: task 00000001/1/1 waits 500 ms (busy)
        0 > assign 00000001/1/2 as 1.2
        0 > revoke 1.1
          notice: task 00000001/1/2 waits 500 ms (busy)
        500 > time
          start 00000001/1/2 as run 2
    "#]]);
}

#[test]
fn a_flood_of_tasks_is_given_back() {
    let mut trace = Trace::joined(1);
    (1..=1 + QUEUE_MAX as u64).for_each(|number| trace.assign(number));
    trace.text.clear();
    trace.assign(100);
    trace.check(expect![[r#"
        0 > assign 00000001/1/100 as 1.100
          send rejected 1.100
    "#]]);
}
