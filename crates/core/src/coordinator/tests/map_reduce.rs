//! Map-reduce plans: levels, tasks that fail for good, retries, deadlines, and what must not run twice at a time. It knows
//! no result's meaning.

use expect_test::expect;

use super::*;

#[test]
fn the_map_is_reduced_level_by_level_until_one_result_is_left() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 4);
    trace.submit(1, &divisible(3, Some(2)));
    trace.skip();
    (0..3).for_each(|index| trace.done(1, 1, index));
    trace.skip();
    trace.combined(1, 1, 0x21);
    trace.done(1, 2, 0);
    trace.done(1, 2, 1);
    trace.skip();
    trace.combined(1, 2, 0x22);
    trace.done(1, 3, 0);
    trace.combined(1, 3, 0x23);
    trace.check(expect![[r#"
        0 > combine of 00000001/2 made blob 22222222
          + stage 00000001/2 combined: blob 22222222
          + stage 00000001/3 opened to reduce, level 2: 1 task from blob b0b0b0b0
          notice: task 00000001/3/0 goes to ann, attempt 1
          to session 1: assign 00000001/3/0 as 1.6
        0 > session 1: done 1.6: blob 00000000
          + task 00000001/3/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/3 closed
          to session 1: accepted 1.6
          combine 00000001/3: 1 part
        0 > combine of 00000001/3 made blob 23232323
          + stage 00000001/3 combined: blob 23232323
          + job 00000001 succeeded
    "#]]);
}

#[test]
fn one_result_is_reduced_once() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &divisible(1, Some(2)));
    trace.done(1, 1, 0);
    trace.skip();
    trace.combined(1, 1, 0x21);
    trace.done(1, 2, 0);
    trace.combined(1, 2, 0x22);
    trace.check(expect![[r#"
        0 > combine of 00000001/1 made blob 21212121
          + stage 00000001/1 combined: blob 21212121
          + stage 00000001/2 opened to reduce, level 1: 1 task from blob b0b0b0b0
          notice: task 00000001/2/0 goes to ann, attempt 1
          to session 1: assign 00000001/2/0 as 1.2
        0 > session 1: done 1.2: blob 00000000
          + task 00000001/2/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/2 closed
          to session 1: accepted 1.2
          combine 00000001/2: 1 part
        0 > combine of 00000001/2 made blob 22222222
          + stage 00000001/2 combined: blob 22222222
          + job 00000001 succeeded
    "#]]);
}

#[test]
fn without_a_reduction_the_job_ends_with_the_map() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &divisible(1, None));
    trace.done(1, 1, 0);
    trace.skip();
    trace.combined(1, 1, 0x21);
    trace.check(expect![[r#"
        0 > combine of 00000001/1 made blob 21212121
          + stage 00000001/1 combined: blob 21212121
          + job 00000001 succeeded
    "#]]);
}

#[test]
fn a_job_that_keeps_going_ends_failed_without_its_dead_task() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 2);
    let mut spec = tried_again(divisible(2, Some(2)), 0);
    plan(&mut spec).keep_going = true;
    trace.submit(1, &spec);
    trace.skip();
    trace.failed(1, 1, 1);
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0x21);
    trace.done(1, 2, 0);
    trace.combined(1, 2, 0x22);
    trace.check(expect![[r#"
        0 > session 1: failed 1.2: no such file
          + task 00000001/1/1 attempt 1 failed on ann: no such file
          + task 00000001/1/1 failed for good
          to session 1: accepted 1.2
        0 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/1 closed
          to session 1: accepted 1.1
          combine 00000001/1: 1 part
        0 > combine of 00000001/1 made blob 21212121
          + stage 00000001/1 combined: blob 21212121
          + stage 00000001/2 opened to reduce, level 1: 1 task from blob b0b0b0b0
          notice: task 00000001/2/0 goes to ann, attempt 1
          to session 1: assign 00000001/2/0 as 1.3
        0 > session 1: done 1.3: blob 00000000
          + task 00000001/2/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/2 closed
          to session 1: accepted 1.3
          combine 00000001/2: 1 part
        0 > combine of 00000001/2 made blob 22222222
          + stage 00000001/2 combined: blob 22222222
          + job 00000001 failed: 1 of 2 tasks failed
    "#]]);
}

#[test]
fn with_every_task_dead_there_is_nothing_to_reduce() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    let mut spec = tried_again(divisible(1, Some(2)), 0);
    plan(&mut spec).keep_going = true;
    trace.submit(1, &spec);
    trace.skip();
    trace.failed(1, 1, 0);
    trace.combined(1, 1, 0x21);
    trace.check(expect![[r#"
        0 > session 1: failed 1.1: no such file
          + task 00000001/1/0 attempt 1 failed on ann: no such file
          + task 00000001/1/0 failed for good
          + stage 00000001/1 closed
          to session 1: accepted 1.1
          combine 00000001/1: 0 parts
        0 > combine of 00000001/1 made blob 21212121
          + stage 00000001/1 combined: blob 21212121
          + job 00000001 failed: its only task failed
    "#]]);
}

#[test]
fn a_reduction_that_fails_for_good_fails_a_job_that_keeps_going() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    let mut spec = tried_again(divisible(1, Some(2)), 0);
    plan(&mut spec).keep_going = true;
    trace.submit(1, &spec);
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0x21);
    trace.skip();
    trace.failed(1, 2, 0);
    trace.check(expect![[r#"
        0 > session 1: failed 1.2: no such file
          + task 00000001/2/0 attempt 1 failed on ann: no such file
          + task 00000001/2/0 failed for good
          + job 00000001 failed: task 0 of stage 2 failed on ann: no such file
          to session 1: accepted 1.2
    "#]]);
}

#[test]
fn the_third_death_ends_a_task_and_the_rest_goes_on() {
    let mut trace = Trace::new();
    let mut spec = divisible(2, None);
    plan(&mut spec).keep_going = true;
    trace.submit(1, &spec);
    for (session, name) in [(1, "ann"), (2, "bob"), (3, "cat")] {
        trace.join(session, name, 1);
        trace.hang_up(session);
        trace.pass(5_000);
    }
    trace.skip();
    trace.join(4, "dan", 1);
    trace.done(4, 1, 1);
    trace.check(expect![[r#"
        15000 > dan in session 4, holding 0
          notice: dan joined with 1 slot
          to session 4: welcome dan to term 1
          notice: task 00000001/1/1 goes to dan, attempt 1
          to session 4: assign 00000001/1/1 as 1.7
        15000 > session 4: done 1.7: blob 01010101
          + task 00000001/1/1 done by dan, attempt 1: blob 01010101
          + stage 00000001/1 closed
          to session 4: accepted 1.7
          combine 00000001/1: 1 part
    "#]]);
}

#[test]
fn a_task_is_tried_again_as_often_as_the_job_says() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &tried_again(divisible(1, None), 1));
    trace.skip();
    trace.failed(1, 1, 0);
    trace.failed(1, 1, 0);
    trace.check(expect![[r#"
        0 > session 1: failed 1.1: no such file
          + task 00000001/1/0 attempt 1 failed on ann: no such file
          to session 1: accepted 1.1
          notice: task 00000001/1/0 goes to ann, attempt 2
          to session 1: assign 00000001/1/0 as 1.2
        0 > session 1: failed 1.2: no such file
          + task 00000001/1/0 attempt 2 failed on ann: no such file
          + task 00000001/1/0 failed for good
          + job 00000001 failed: task 0 of stage 1 failed on ann: no such file (the last of 2 attempts)
          to session 1: accepted 1.2
    "#]]);
}

#[test]
fn a_deadline_that_has_passed_ends_the_job() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &divisible(1, None));
    trace.skip();
    trace.deadline_passed(1);
    trace.deadline_passed(1);
    trace.check(expect![[r#"
        0 > the deadline of 00000001 passes
          + job 00000001 failed: its deadline has passed
          to session 1: revoke 1.1
        0 > the deadline of 00000001 passes
    "#]]);
}

#[test]
fn what_must_not_run_twice_waits_until_its_worker_is_given_up() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &never_twice(divisible(2, None)));
    trace.done(2, 1, 1);
    trace.skip();
    trace.hang_up(1);
    trace.pass(6_999);
    trace.check(expect![[r#"
        0 > session 1 ends
          notice: ann was lost with 1 task
    "#]]);
    trace.pass(1);
    trace.check(expect![[r#"
        7000 > time
          + task 00000001/1/0 attempt 1 failed on ann: the worker was lost
          notice: task 00000001/1/0 goes to bob, attempt 2
          to session 2: assign 00000001/1/0 as 1.3
    "#]]);
}

#[test]
fn what_must_not_run_twice_waits_even_if_it_waited_for_a_slot() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &never_twice(divisible(2, None)));
    trace.skip();
    trace.join(2, "bob", 2);
    trace.drain("ann");
    trace.hang_up(1);
    trace.check(expect![[r#"
        0 > bob in session 2, holding 0
          notice: bob joined with 2 slots
          to session 2: welcome bob to term 1
        0 > drain ann
          notice: ann is draining and has 1 task to bring to an end
          to session 1: drain
          reply to 2: Draining { running: 1 }
        0 > session 1 ends
          notice: ann was lost with 2 tasks
    "#]]);
    // What never had a slot here has cost nobody his life.
    trace.pass(7_000);
    trace.check(expect![[r#"
        7000 > time
          + task 00000001/1/0 attempt 1 failed on ann: the worker was lost
          notice: task 00000001/1/0 goes to bob, attempt 2
          to session 2: assign 00000001/1/0 as 1.3
          notice: task 00000001/1/1 goes to bob, attempt 1
          to session 2: assign 00000001/1/1 as 1.4
    "#]]);
}

#[test]
fn what_must_not_run_twice_and_takes_too_long_has_failed_once_it_has_ended_for_sure() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    let mut spec = never_twice(divisible(1, None));
    spec.attempts.timeout_ms = Some(2_000);
    trace.submit(1, &spec);
    trace.skip();
    trace.pass(77_000);
    trace.check(expect![[r#"
        77000 > time
          to session 1: revoke 1.1
    "#]]);
    // Too late: it was told to end.
    trace.done_under(1, lease(1, 1), 0);
    trace.pass(7_000);
    trace.check(expect![[r#"
        77000 > session 1: done 1.1: blob 00000000
          to session 1: revoke 1.1
        84000 > time
          + task 00000001/1/0 attempt 1 failed on ann: it ran longer than its time limit of 2 s
          to session 1: revoke 1.1
          notice: task 00000001/1/0 goes to ann, attempt 2
          to session 1: assign 00000001/1/0 as 1.2
    "#]]);
}

#[test]
fn after_a_restart_what_must_not_run_twice_waits_for_its_worker_or_its_end() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &never_twice(divisible(2, None)));
    trace.skip();
    trace.restart();
    trace.join(2, "bob", 2);
    trace.pass(6_999);
    trace.check(expect![[r#"
        0 > restart
          + term 2 opened
        0 > bob in session 2, holding 0
          notice: bob joined with 2 slots
          to session 2: welcome bob to term 2
        2000 > time
          notice: job 00000001 waits: what ran before the restart may still run, on workers that are not back, for some seconds
    "#]]);
    trace.pass(1);
    trace.check(expect![[r#"
        7000 > time
          notice: task 00000001/1/0 goes to bob, attempt 1
          to session 2: assign 00000001/1/0 as 2.1
          notice: task 00000001/1/1 goes to bob, attempt 1
          to session 2: assign 00000001/1/1 as 2.2
    "#]]);
}
