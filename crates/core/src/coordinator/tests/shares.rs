//! Shares: how jobs that are under way together divide the workers, by priority. Which worker gets what it does not know.

use expect_test::expect;

use super::*;

/// How many leases of each job are at workers, and how many of its first stage's tasks are done.
fn shares(trace: &Trace) -> String {
    let mut leases: BTreeMap<JobId, usize> = BTreeMap::new();
    let held = trace.sessions.keys().flat_map(|session| trace.held(session.0));
    held.for_each(|task| *leases.entry(task.job).or_default() += 1);
    let live = trace.machine.durable().live_jobs();
    let line = |(job, state): (JobId, &crate::coordinator::durable::Job)| {
        let done = state.stages.get(&StageNumber(1)).map_or(0, |stage| stage.done.len());
        format!("{job}: {} leases, {done} done\n", leases.get(&job).unwrap_or(&0))
    };
    live.map(line).collect()
}

/// So often each of the workers, of one slot, takes 100 ms for what it runs.
fn all_work(trace: &mut Trace, times: usize) {
    for _ in 0..times {
        trace.pass(100);
        for SessionId(session) in trace.sessions.keys().copied().collect::<Vec<_>>() {
            let oldest = trace.held(session).into_iter().min_by_key(|task| trace.lease(session, *task));
            let lease = trace.lease(session, oldest.expect("it runs a task"));
            trace.done_under(session, lease, 0);
        }
    }
}

#[test]
fn jobs_of_one_priority_share_the_workers_evenly() {
    let mut trace = Trace::new();
    trace.submit(1, &job(1, 100));
    trace.submit(2, &job(1, 100));
    (1..=6).for_each(|session| trace.join(session, "ann", 1));
    all_work(&mut trace, 10);
    expect![[r#"
        00000001: 6 leases, 30 done
        00000002: 6 leases, 30 done
    "#]]
    .assert_eq(&shares(&trace));
}

#[test]
fn a_job_that_nobody_can_do_takes_no_share() {
    let mut trace = Trace::new();
    let mut parked = JobSpec { priority: 10, ..job(1, 1) };
    rounds(&mut parked).train.ability = ability("paint");
    trace.submit(1, &parked);
    trace.submit(2, &JobSpec { priority: 1, ..job(1, 100) });
    trace.submit(3, &job(1, 100));
    trace.join(1, "ann", 1);
    all_work(&mut trace, 30);
    expect![[r#"
        00000001: 0 leases, 0 done
        00000002: 1 leases, 21 done
        00000003: 1 leases, 9 done
    "#]]
    .assert_eq(&shares(&trace));
}

#[test]
fn one_more_priority_doubles_the_share() {
    let mut trace = Trace::new();
    trace.submit(1, &job(1, 100));
    trace.submit(2, &JobSpec { priority: 1, ..job(1, 100) });
    (1..=6).for_each(|session| trace.join(session, "ann", 1));
    all_work(&mut trace, 10);
    expect![[r#"
        00000001: 4 leases, 20 done
        00000002: 8 leases, 40 done
    "#]]
    .assert_eq(&shares(&trace));
}

#[test]
fn a_late_job_gets_its_share_as_slots_free_up() {
    let mut trace = Trace::new();
    (1..=6).for_each(|session| trace.join(session, "ann", 1));
    trace.submit(1, &job(1, 100));
    trace.submit(2, &JobSpec { priority: 1, ..job(1, 100) });
    let mut text = shares(&trace);
    for _ in 0..3 {
        all_work(&mut trace, 1);
        text += &format!("then\n{}", shares(&trace));
    }
    expect![[r#"
        00000001: 12 leases, 0 done
        00000002: 0 leases, 0 done
        then
        00000001: 6 leases, 6 done
        00000002: 6 leases, 0 done
        then
        00000001: 4 leases, 12 done
        00000002: 8 leases, 0 done
        then
        00000001: 4 leases, 12 done
        00000002: 8 leases, 6 done
    "#]]
    .assert_eq(&text);
}

#[test]
fn no_job_starves_where_leases_are_few() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &job(1, 100));
    trace.submit(2, &JobSpec { priority: 1, ..job(1, 100) });
    trace.submit(3, &JobSpec { priority: 4, ..job(1, 100) });
    all_work(&mut trace, 76);
    expect![[r#"
        00000001: 1 leases, 5 done
        00000002: 0 leases, 7 done
        00000003: 1 leases, 64 done
    "#]]
    .assert_eq(&shares(&trace));
}

#[test]
fn a_stage_that_nobody_can_do_holds_no_other_up() {
    let mut trace = Trace::new();
    trace.submit(1, &evaluated(job(3, 1)));
    trace.connect(1, Hello { abilities: vec![ability("train")], ..hello(1, "ann", 1) });
    trace.done(1, 1, 0);
    trace.skip();
    trace.combined(1, 1, 0xb1);
    trace.check(expect![[r#"
        0 > combine of 00000001/1 made blob b1b1b1b1
          + stage 00000001/1 combined: blob b1b1b1b1
          + stage 00000001/2 opened to evaluate version 1: 1 task from blob b1b1b1b1
          + stage 00000001/3 opened to train round 2: 1 task from blob b1b1b1b1
          notice: task 00000001/3/0 goes to ann, attempt 1
          to session 1: assign 00000001/3/0 as 1.2
    "#]]);
    trace.done(1, 3, 0);
    trace.combined(1, 3, 0xb2);
    trace.check(expect![[r#"
        0 > session 1: done 1.2: blob 00000000
          + task 00000001/3/0 done by ann, attempt 1: blob 00000000
          + stage 00000001/3 closed
          to session 1: accepted 1.2
          combine 00000001/3: 1 part
          notice: job 00000001 waits: no connected worker can `evaluate`
        0 > combine of 00000001/3 made blob b2b2b2b2
          + stage 00000001/3 combined: blob b2b2b2b2
          + stage 00000001/4 opened to evaluate version 2: 1 task from blob b2b2b2b2
    "#]]);
}
