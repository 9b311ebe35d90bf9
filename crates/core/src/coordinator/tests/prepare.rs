//! What comes before the first round: it comes alone and once, whoever fails or dies on the way, and the rounds go on
//! from what it makes. It does not know what a preparation computes.

use expect_test::expect;

use super::*;

/// The base of each stage that was opened, by its purpose.
fn bases(trace: &Trace) -> Vec<String> {
    let opened = |event: &Event| match event {
        Event::StageOpened { purpose, base, .. } => Some(format!("{purpose} from {base}")),
        _ => None,
    };
    trace.journal.iter().filter_map(opened).collect()
}

/// The first bytes of the blobs that the job needs, and of its other versions.
fn roots(trace: &Trace) -> (Vec<u8>, Vec<u8>) {
    let job = trace.machine.durable().roots().jobs.remove(0);
    let mut needed: Vec<u8> = job.blobs.iter().map(|digest| digest.0[0]).collect();
    needed.sort_unstable();
    needed.dedup();
    (needed, job.versions.iter().map(|digest| digest.0[0]).collect())
}

#[test]
fn the_first_round_trains_from_what_was_prepared() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &prepared(job(2, 2)));
    trace.done(1, 1, 1);
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0xa5);
    trace.check(expect![[r#"
        0 > ann in session 1, holding 0
          notice: ann joined with 1 slot
          to session 1: welcome ann to term 1
        0 > submit 00000001
          + job 00000001 `letters` submitted by kim
          + stage 00000001/1 opened to prepare: 2 tasks from blob b0b0b0b0
          reply to 1: Submitted
          notice: task 00000001/1/0 goes to ann, attempt 1
          to session 1: assign 00000001/1/0 as 1.1
          notice: task 00000001/1/1 goes to ann, attempt 1
          to session 1: assign 00000001/1/1 as 1.2
        0 > session 1: done 1.2: blob 01010101
          + task 00000001/1/1 done by ann, attempt 1: blob 01010101
          to session 1: accepted 1.2
        0 > session 1: done 1.1: blob 00000000
          + task 00000001/1/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/1 closed
          to session 1: accepted 1.1
          combine 00000001/1: 2 parts
        0 > combine of 00000001/1 made blob a5a5a5a5
          + stage 00000001/1 combined: blob a5a5a5a5
          + stage 00000001/2 opened to train round 1: 2 tasks from blob a5a5a5a5
          notice: task 00000001/2/0 goes to ann, attempt 1
          to session 1: assign 00000001/2/0 as 1.3
          notice: task 00000001/2/1 goes to ann, attempt 1
          to session 1: assign 00000001/2/1 as 1.4
    "#]]);
    for (stage, version) in [(2, 0xb1), (3, 0xb2)] {
        trace.done(1, stage, 0);
        trace.done(1, stage, 1);
        trace.combined(1, stage, version);
    }
    trace.skip();
    assert_eq!(
        bases(&trace),
        ["prepare from blob b0b0b0b0", "train round 1 from blob a5a5a5a5", "train round 2 from blob b1b1b1b1"]
    );
    let job = trace.machine.durable().job(JobId::from_bits(1)).unwrap();
    assert_eq!(job.outcome, Some(crate::event::Outcome::Succeeded));
}

#[test]
fn nothing_is_measured_before_the_first_round() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &evaluated(prepared(job(1, 1))));
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0xa5);
    trace.done(1, 2, 0);
    trace.combined(1, 2, 0xb1);
    trace.skip();
    assert_eq!(
        bases(&trace),
        ["prepare from blob b0b0b0b0", "train round 1 from blob a5a5a5a5", "evaluate version 1 from blob b1b1b1b1"]
    );
}

#[test]
fn lost_results_of_a_preparation_run_again_and_nothing_trains_meanwhile() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &prepared(job(1, 2)));
    trace.done(1, 1, 0);
    trace.done(1, 1, 1);
    trace.skip();
    trace.combine_ends(1, 1, CombineOutcome::ResultsLost(vec![1]));
    trace.done(1, 1, 1);
    trace.check(expect![[r#"
        0 > combine of 00000001/1: ResultsLost([1])
          + stage 00000001/1 lost results [1]
          notice: task 00000001/1/1 goes to ann, attempt 1
          to session 1: assign 00000001/1/1 as 1.3
        0 > session 1: done 1.3: blob 01010101
          + task 00000001/1/1 done by ann, attempt 1: blob 01010101
          + stage 00000001/1 closed
          to session 1: accepted 1.3
          combine 00000001/1: 2 parts
    "#]]);
}

#[test]
fn a_preparation_goes_on_after_a_restart_at_each_point() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &prepared(job(1, 2)));
    trace.done(1, 1, 0);
    trace.skip();
    // While tasks are out, while it is combined, and while the round that follows is under way.
    trace.restart();
    trace.join(2, "ann", 1);
    trace.done(2, 1, 1);
    trace.restart();
    trace.check(expect![[r#"
        0 > restart
          + term 2 opened
        0 > ann in session 2, holding 0
          notice: ann joined with 1 slot
          to session 2: welcome ann to term 2
          notice: task 00000001/1/1 goes to ann, attempt 1
          to session 2: assign 00000001/1/1 as 2.1
        0 > session 2: done 2.1: blob 01010101
          + task 00000001/1/1 done by ann, attempt 1: blob 01010101
          + stage 00000001/1 closed
          to session 2: accepted 2.1
          combine 00000001/1: 2 parts
        0 > restart
          + term 3 opened
          combine 00000001/1: 2 parts
    "#]]);
    trace.combined(1, 1, 0xa5);
    trace.restart();
    trace.join(3, "ann", 1);
    trace.check(expect![[r#"
        0 > combine of 00000001/1 made blob a5a5a5a5
          + stage 00000001/1 combined: blob a5a5a5a5
          + stage 00000001/2 opened to train round 1: 2 tasks from blob a5a5a5a5
        0 > restart
          + term 4 opened
        0 > ann in session 3, holding 0
          notice: ann joined with 1 slot
          to session 3: welcome ann to term 4
    "#]]);
    assert_eq!(bases(&trace), ["prepare from blob b0b0b0b0", "train round 1 from blob a5a5a5a5"]);
}

#[test]
fn a_preparation_that_fails_says_so() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &tried_again(prepared(job(1, 1)), 0));
    trace.skip();
    trace.failed(1, 1, 0);
    trace.submit(2, &prepared(job(1, 1)));
    let lease = trace.lease(1, task(2, 1, 0));
    trace.done_under(1, lease, 0);
    let reason = "stage 1 cannot be combined: every result was refused".to_owned();
    trace.combine_ends(2, 1, CombineOutcome::Failed(reason));
    trace.check(expect![[r#"
        0 > session 1: failed 1.1: no such file
          + task 00000001/1/0 attempt 1 failed on ann: no such file
          + task 00000001/1/0 failed for good
          + job 00000001 failed: task 0 of stage 1 (preparing) failed on ann: no such file
          to session 1: accepted 1.1
        0 > submit 00000002
          + job 00000002 `letters` submitted by kim
          + stage 00000002/1 opened to prepare: 1 task from blob b0b0b0b0
          reply to 2: Submitted
          notice: task 00000002/1/0 goes to ann, attempt 1
          to session 1: assign 00000002/1/0 as 1.2
        0 > session 1: done 1.2: blob 00000000
          + task 00000002/1/0 done by ann, attempt 1: blob 00000000
          + stage 00000002/1 closed
          to session 1: accepted 1.2
          combine 00000002/1: 1 part
        0 > combine of 00000002/1: Failed("stage 1 cannot be combined: every result was refused")
          + job 00000002 failed: preparing: stage 1 cannot be combined: every result was refused
    "#]]);
}

#[test]
fn what_was_prepared_stays_while_a_round_may_need_it() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &prepared(job(2, 1)));
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0xa5);
    assert_eq!(roots(&trace), (vec![0x10, 0xa0, 0xa5, 0xb0, 0xc0], vec![]));
    trace.done(1, 2, 0);
    trace.combined(1, 2, 0xb1);
    // It is no version that anyone asks for.
    assert_eq!(roots(&trace), (vec![0x10, 0xa0, 0xb0, 0xb1, 0xc0], vec![]));
    trace.cancel(1);
    assert_eq!(roots(&trace), (vec![0x10, 0xb1], vec![]));
    trace.skip();
}

#[test]
fn a_second_preparation_does_not_fit() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &prepared(job(1, 1)));
    let first = trace.journal.iter().find(|event| matches!(event, Event::StageOpened { .. })).cloned();
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0xa5);
    let Some(Event::StageOpened { job, purpose, base, work, .. }) = first else { panic!("a stage was opened") };
    let again = Event::StageOpened { job, stage: StageNumber(3), purpose, base, work };
    assert!(trace.refold().apply(&again).is_err());
    trace.skip();
}

#[test]
fn a_preparation_is_checked_like_other_work() {
    let mut spec = prepared(job(1, 1));
    assert_eq!(spec.check(), Ok(()));
    let abilities: Vec<_> = spec.abilities().map(Ability::as_str).collect();
    assert_eq!(abilities, ["moments", "train"]);
    rounds(&mut spec).prepare.as_mut().unwrap().count = 0;
    let error = spec.check().unwrap_err();
    assert_eq!(error.to_string(), "preparation tasks: 0 is not between 1 and 1000000");
    rounds(&mut spec).prepare.as_mut().unwrap().split = Split::Groups { fan_in: 2 };
    assert_eq!(spec.check(), Err(crate::SpecError::Groups));
}
