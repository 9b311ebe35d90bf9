//! Restarts: what a new coordinator does with the journal that it finds. It does not know how the last one died.

use expect_test::expect;

use super::*;

#[test]
fn in_the_middle_of_a_stage_the_known_workers_are_awaited() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &job(1, 4));
    trace.done(1, 1, 0);
    trace.done(2, 1, 1);
    trace.skip();
    trace.restart();
    trace.connect(3, hello_holding(1, "ann", 1, &[2]));
    trace.pass(500);
    trace.check(expect![[r#"
        0 > restart
          + term 2 opened
        0 > ann in session 3, holding 1
          notice: ann is back and keeps 1 task
          to session 3: welcome ann to term 2, keep 00000001/1/2 as 2.1
    "#]]);
    // The last of them is back: what nobody holds is placed at once.
    trace.connect(4, hello_holding(2, "bob", 1, &[]));
    trace.done(3, 1, 2);
    trace.done(3, 1, 3);
    trace.check(expect![[r#"
        500 > bob in session 4, holding 0
          notice: bob joined with 1 slot
          to session 4: welcome bob to term 2
          notice: task 00000001/1/3 goes to ann, attempt 1
          to session 3: assign 00000001/1/3 as 2.2
        500 > session 3: done 2.1: blob 02020202
          + task 00000001/1/2 done by ann, attempt 1: blob 02020202
          to session 3: accepted 2.1
        500 > session 3: done 2.2: blob 03030303
          + task 00000001/1/3 done by ann, attempt 1: blob 03030303
          + stage 00000001/1 closed
          to session 3: accepted 2.2
          combine 00000001/1: 4 parts
    "#]]);
}

#[test]
fn the_recovery_ends_after_two_seconds_without_them() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &job(1, 4));
    trace.done(1, 1, 0);
    trace.done(2, 1, 1);
    trace.restart();
    trace.skip();
    trace.join(3, "cat", 1);
    trace.pass(1_999);
    trace.check(expect![[r#"
        0 > cat in session 3, holding 0
          notice: cat joined with 1 slot
          to session 3: welcome cat to term 2
    "#]]);
    trace.pass(1);
    trace.check(expect![[r#"
        2000 > time
          notice: task 00000001/1/2 goes to cat, attempt 1
          to session 3: assign 00000001/1/2 as 2.1
          notice: task 00000001/1/3 goes to cat, attempt 1
          to session 3: assign 00000001/1/3 as 2.2
    "#]]);
}

#[test]
fn in_the_middle_of_a_combine_it_is_ordered_again() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &evaluated(job(2, 1)));
    trace.done(1, 1, 0);
    trace.skip();
    trace.restart();
    trace.combined(1, 1, 0xb1);
    trace.join(1, "ann", 1);
    trace.check(expect![[r#"
        0 > restart
          + term 2 opened
          combine 00000001/1: 1 part
        0 > combine of 00000001/1 made blob b1b1b1b1
          + stage 00000001/1 combined: blob b1b1b1b1
          + stage 00000001/2 opened to evaluate version 1: 1 task from blob b1b1b1b1
          + stage 00000001/3 opened to train round 2: 1 task from blob b1b1b1b1
        0 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 2
          notice: task 00000001/2/0 goes to ann, attempt 1
          to session 1: assign 00000001/2/0 as 2.1
          notice: task 00000001/3/0 goes to ann, attempt 1
          to session 1: assign 00000001/3/0 as 2.2
    "#]]);
    trace.pass(2_000);
    trace.check(expect![[""]]);
}

#[test]
fn results_of_the_term_before_come_under_a_stale_lease() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 1));
    trace.restart();
    trace.skip();
    trace.connect(2, hello_holding(1, "ann", 1, &[0]));
    trace.done_under(2, lease(1, 1), 9);
    trace.done_under(2, lease(2, 1), 0);
    trace.check(expect![[r#"
        0 > ann in session 2, holding 1
          notice: ann is back and keeps 1 task
          to session 2: welcome ann to term 2, keep 00000001/1/0 as 2.1
        0 > session 2: done 1.1: blob 09090909
          to session 2: revoke 1.1
        0 > session 2: done 2.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/1 closed
          to session 2: accepted 2.1
          combine 00000001/1: 1 part
    "#]]);
}

#[test]
fn without_jobs_nothing_is_waited_for() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.restart();
    trace.join(2, "bob", 1);
    trace.submit(1, &job(1, 1));
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 1
        0 > restart
          + term 2 opened
        0 > bob in session 2, holding 0
          notice: bob joined with 1 slot
          to session 2: welcome bob to term 2
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to train round 1: 1 task from blob b0b0b0b0
          reply to 1: Submitted
          notice: task 00000001/1/0 goes to bob, attempt 1
          to session 2: assign 00000001/1/0 as 2.1
    "#]]);
}

#[test]
fn what_has_ended_stays_ended() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 1));
    trace.submit(2, &job(1, 1));
    trace.cancel(2);
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0xb1);
    trace.skip();
    trace.restart();
    trace.cancel(1);
    trace.submit(2, &job(1, 1));
    trace.check(expect![[r#"
        0 > restart
          + term 2 opened
        0 > cancel 00000001
          reply to 4: Ended(Succeeded)
        0 > submit 00000002
          reply to 5: Submitted
    "#]]);
}

#[test]
fn an_event_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 1));
    let durable = trace.machine.durable();
    let unfit = trace.journal.iter().map(|event| {
        let mut again = durable.clone();
        let misfit = again.apply(event).expect_err("no event fits twice");
        assert_eq!(&again, durable);
        misfit.to_string() + "\n"
    });
    expect![[r#"
        the event `term 1 opened` does not fit: a term is one more than the last
        the event `job 00000001 `letters` submitted by kim` does not fit: the job is there already
        the event `stage 00000001/1 opened to train round 1: 1 task from blob b0b0b0b0` does not fit: the job is live and has such stages, and a stage's number is one more than the last
    "#]].assert_eq(&unfit.collect::<String>());
}

#[test]
fn a_snapshot_is_recorded_before_the_journal_is_trimmed() {
    let mut trace = Trace::new();
    trace.snapshot_stored(2);
    // An older one changes nothing.
    trace.snapshot_stored(1);
    // The trim may not have happened: it is made up for.
    trace.restart();
    trace.check(expect![[r#"
        0 > snapshot stored through 2
          + snapshot 02020202 taken through position 2
          trim the journal through position 2
        0 > snapshot stored through 1
        0 > restart
          + term 2 opened
          trim the journal through position 2
    "#]]);
}
