//! Sessions: dialling, greeting, losing the coordinator and coming back to it. It does not know who hung up.

use expect_test::expect;

use super::*;

#[test]
fn it_dials_greets_and_lets_the_coordinator_hear_from_it() {
    let mut trace = Trace::new(2, idle());
    trace.loud = true;
    trace.pass(0);
    trace.join(&[]);
    trace.pass(2_500);
    trace.check(expect![[r#"
        0 > time
          dial
        0 > connected
          greet as ann with 0 tasks
        0 > welcome ann to term 1
          notice: joined as ann
        1000 > time
          send heartbeat
        2000 > time
          send heartbeat
    "#]]);
}

#[test]
fn what_runs_goes_on_through_a_loss_and_is_reported_under_its_new_lease() {
    let mut trace = Trace::joined(2);
    (1..=4).for_each(|number| trace.assign(number));
    trace.text.clear();
    trace.disconnect();
    // The third starts in the slot that is free; the fourth never did, so it is left out.
    trace.finish(1);
    trace.pass(100);
    trace.join(&[(task(1), lease(11)), (task(2), lease(12))]);
    trace.hear(ToWorker::Revoke { lease: lease(1) });
    trace.finish(2);
    trace.check(expect![[r#"
        0 > disconnected
          notice: lost the coordinator; dialling again
        0 > run 1 ends
        70 > time
          dial
        100 > connected
          greet as ann with 2 tasks
        100 > welcome ann to term 1, keep 00000001/1/1 as 1.11, keep 00000001/1/2 as 1.12
          notice: joined again as ann, going on with 2 tasks
          send done 1.11: blob 07070707
        100 > revoke 1.1
        100 > run 2 ends
          send done 1.12: blob 07070707
    "#]]);
}

#[test]
fn what_is_not_kept_is_dropped() {
    let mut trace = Trace::joined(2);
    trace.assign(1);
    trace.assign(2);
    trace.finish(2);
    trace.disconnect();
    trace.pass(100);
    trace.text.clear();
    trace.join(&[]);
    trace.finish(1);
    trace.disconnect();
    trace.pass(100);
    trace.join(&[]);
    trace.check(expect![[r#"
        100 > connected
          greet as ann with 2 tasks
        100 > welcome ann to term 1
          notice: joined as ann
          abort run 1
        100 > run 1 ends
        100 > disconnected
          notice: lost the coordinator; dialling again
        151 > time
          dial
        200 > connected
          greet as ann with 0 tasks
        200 > welcome ann to term 1
          notice: joined as ann
    "#]]);
}

#[test]
fn a_report_that_was_not_acknowledged_is_made_again() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.finish(1);
    trace.text.clear();
    trace.disconnect();
    trace.pass(100);
    trace.join(&[(task(1), lease(5))]);
    trace.disconnect();
    trace.pass(100);
    trace.join(&[(task(1), lease(6))]);
    trace.hear(ToWorker::Accepted { lease: lease(6) });
    trace.check(expect![[r#"
        0 > disconnected
          notice: lost the coordinator; dialling again
        55 > time
          dial
        100 > connected
          greet as ann with 1 task
        100 > welcome ann to term 1, keep 00000001/1/1 as 1.5
          notice: joined again as ann, going on with 1 task
          send done 1.5: blob 07070707
        100 > disconnected
          notice: lost the coordinator; dialling again
        187 > time
          dial
        200 > connected
          greet as ann with 1 task
        200 > welcome ann to term 1, keep 00000001/1/1 as 1.6
          notice: joined again as ann, going on with 1 task
          send done 1.6: blob 07070707
        200 > accepted 1.6
    "#]]);
    assert!(trace.machine.holding.is_empty());
}

#[test]
fn a_failure_is_reported_once() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.text.clear();
    trace.handle(Some("run 1 fails"), Input::Finished { run: Run(1), outcome: Err(Failure::of("no such file")) });
    trace.disconnect();
    trace.pass(100);
    trace.join(&[]);
    trace.check(expect![[r#"
        0 > run 1 fails
          send failed 1.1: no such file
        0 > disconnected
          notice: lost the coordinator; dialling again
        55 > time
          dial
        100 > connected
          greet as ann with 0 tasks
        100 > welcome ann to term 1
          notice: joined as ann
    "#]]);
}

#[test]
fn a_silent_coordinator_is_hung_up_on_after_five_seconds() {
    let mut trace = Trace::joined(1);
    trace.pass_heard(20_000);
    trace.pass(4_999);
    trace.check(expect![[""]]);
    trace.pass(100);
    trace.check(expect![[r#"
        25000 > time
          hang up
          notice: lost the coordinator; dialling again
        25078 > time
          dial
    "#]]);
    // What still comes of the old session is not heard; a hello without an answer is given up, too.
    trace.assign(1);
    trace.handle(Some("connected"), Input::Connected);
    trace.pass(5_100);
    trace.check(expect![[r#"
        25099 > assign 00000001/1/1 as 1.1
        25099 > connected
          greet as ann with 0 tasks
        29099 > time
          hang up
        29289 > time
          dial
    "#]]);
}

#[test]
fn dialling_pauses_longer_each_time_within_bounds() {
    let pauses = |seed| {
        let mut trace = Trace::new(1, Load { seed, ..idle() });
        trace.pass(0);
        let pause = |_| {
            trace.disconnect();
            let at = trace.now;
            let due = trace.machine.poll_timeout().expect("it dials again");
            trace.pass(due - at);
            due - at
        };
        (0..12).map(pause).collect::<Vec<Millis>>()
    };
    for seed in 0..100 {
        for (failures, pause) in pauses(seed).into_iter().enumerate() {
            let most = (REDIAL_MS << failures).min(REDIAL_MS_MAX);
            assert!((most / 2..=most).contains(&pause), "seed {seed}, after {failures}: {pause}");
        }
    }
    assert_ne!(pauses(1), pauses(2));
    expect!["[78, 190, 295, 403, 1528, 2414, 4200, 2805, 4657, 2583, 4159, 3652]"]
        .assert_eq(&format!("{:?}", pauses(1)));
}

#[test]
fn leaving_drops_everything_and_dials_no_more() {
    let mut trace = Trace::joined(1);
    trace.assign(1);
    trace.assign(2);
    trace.text.clear();
    trace.handle(Some("leave"), Input::Leave);
    trace.finish(1);
    trace.disconnect();
    trace.check(expect![[r#"
        0 > leave
          notice: leaving: 2 tasks given back
          send leaving
          abort run 1
        0 > run 1 ends
        0 > disconnected
    "#]]);
    assert_eq!(trace.machine.poll_timeout(), None);
}

#[test]
fn a_session_that_stood_forgives_what_failed_before() {
    let mut trace = Trace::new(1, idle());
    trace.pass(0);
    for _ in 0..9 {
        trace.disconnect();
        trace.pass(REDIAL_MS_MAX);
    }
    trace.join(&[]);
    trace.disconnect();
    assert!(trace.machine.poll_timeout().is_some_and(|due| due <= trace.now + REDIAL_MS));
}
