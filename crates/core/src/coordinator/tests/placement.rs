//! Placement: which worker gets which task, under each policy. It does not know what becomes of the tasks.

use expect_test::expect;

use super::*;

/// How long tasks take on each worker of [`Trace::run`], by session.
type Pace = fn(u64) -> Millis;

impl Trace {
    /// Runs the first stage of job 1 to its close: session `s` takes `pace(s)` for a task, one after the other. Says
    /// who did which.
    fn run(&mut self, sessions: std::ops::RangeInclusive<u64>, pace: Pace) -> BTreeMap<u64, Vec<u32>> {
        let mut done: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut at: BTreeMap<u64, (TaskId, Millis)> = BTreeMap::new();
        while self.machine.durable().stage(JobId::from_bits(1), StageNumber(1)).is_some_and(|stage| !stage.closed) {
            for session in sessions.clone() {
                let held = self.held(session);
                if at.get(&session).is_none_or(|(task, _)| !held.contains(task)) {
                    let oldest = held.iter().min_by_key(|task| self.lease(session, **task));
                    let next = oldest.map(|task| (*task, self.now + pace(session)));
                    at.remove(&session);
                    next.map(|next| at.insert(session, next));
                }
                if let Some((task, _)) = at.get(&session).filter(|(_, through_at)| *through_at <= self.now) {
                    done.entry(session).or_default().push(task.index);
                    self.done(session, 1, task.index);
                }
            }
            assert!(self.now < 60_000, "the stage does not close");
            self.pass(10);
        }
        done
    }
}

fn assignments(trace: &Trace) -> String {
    let lines = trace.text.lines().filter(|line| line.contains("goes to") || line.contains("revoke"));
    lines.map(|line| line.trim_start().to_owned() + "\n").collect()
}

#[test]
fn round_robin_takes_turns() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.join(3, "cat", 1);
    trace.submit(1, &job(1, 5));
    expect![[r#"
          notice: task 00000001/1/0 goes to ann, attempt 1
          notice: task 00000001/1/1 goes to bob, attempt 1
          notice: task 00000001/1/2 goes to cat, attempt 1
          notice: task 00000001/1/3 goes to ann, attempt 1
          notice: task 00000001/1/4 goes to bob, attempt 1
    "#]]
    .assert_eq(&assignments(&trace));
}

#[test]
fn random_is_drawn_from_the_jobs_seed() {
    let placed_with = |seed| {
        let mut trace = Trace::new();
        (1..=4).for_each(|session| trace.join(session, "ann", 2));
        trace.submit(1, &JobSpec { seed, ..placed(Policy::Random, job(1, 8)) });
        assignments(&trace)
    };
    assert_eq!(placed_with(7), placed_with(7));
    assert_ne!(placed_with(7), placed_with(8));
    expect![[r#"
          notice: task 00000001/1/0 goes to ann-2, attempt 1
          notice: task 00000001/1/1 goes to ann-4, attempt 1
          notice: task 00000001/1/2 goes to ann-4, attempt 1
          notice: task 00000001/1/3 goes to ann-3, attempt 1
          notice: task 00000001/1/4 goes to ann, attempt 1
          notice: task 00000001/1/5 goes to ann-4, attempt 1
          notice: task 00000001/1/6 goes to ann, attempt 1
          notice: task 00000001/1/7 goes to ann-3, attempt 1
    "#]]
    .assert_eq(&placed_with(7));
}

#[test]
fn load_balancing_prefers_the_faster() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(1, 30)));
    let done = trace.run(1..=2, |session| if session == 1 { 400 } else { 200 });
    let counts: Vec<_> = done.values().map(Vec::len).collect();
    expect![[r#"
        [
            10,
            20,
        ]
    "#]]
    .assert_debug_eq(&counts);
    expect!["4200 ms"].assert_eq(&format!("{} ms", trace.now));
}

#[test]
fn a_slow_worker_gets_no_task_that_the_others_finish_sooner() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(1, 8)));
    trace.run(1..=2, |session| if session == 1 { 1_000 } else { 200 });
    trace.combined(1, 1, 0xb1);
    // Bob does three in 600 ms; of six, the one that ann does in 1,000 ms is worth it.
    trace.skip();
    trace.submit(2, &placed(Policy::LoadBalancing, job(1, 3)));
    expect![[r#"
          notice: task 00000002/1/0 goes to bob, attempt 1
          notice: task 00000002/1/1 goes to bob, attempt 1
    "#]]
    .assert_eq(&assignments(&trace));
    trace.cancel(2);
    trace.skip();
    trace.submit(3, &placed(Policy::LoadBalancing, job(1, 6)));
    expect![[r#"
          notice: task 00000003/1/0 goes to bob, attempt 1
          notice: task 00000003/1/1 goes to bob, attempt 1
          notice: task 00000003/1/2 goes to ann, attempt 1
    "#]]
    .assert_eq(&assignments(&trace));
}

#[test]
fn who_cannot_run_a_task_makes_no_other_worker_too_slow() {
    let mut trace = Trace::new();
    trace.connect(1, having(hello(1, "ann", 1), &[("gpu", 1)]));
    trace.connect(2, having(hello(2, "bob", 1), &[("gpu", 1)]));
    trace.join(3, "cat", 1);
    trace.join(4, "dan", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(1, 16)));
    trace.run(1..=4, |session| if session == 1 { 1_000 } else { 200 });
    trace.cancel(1);
    trace.skip();
    // Without a GPU, cat and dan are as quick as bob, and no help.
    trace.submit(2, &placed(Policy::LoadBalancing, needing(divisible(6, None), 1, &[("gpu", 1)])));
    expect![[r#"
        notice: task 00000002/1/0 goes to bob, attempt 1
        notice: task 00000002/1/1 goes to ann, attempt 1
    "#]]
    .assert_eq(&assignments(&trace));
}

#[test]
fn a_slow_worker_gets_what_the_others_should_have_been_through_with() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, never_twice(job(1, 8))));
    trace.run(1..=2, |session| if session == 1 { 1_000 } else { 200 });
    trace.cancel(1);
    trace.submit(2, &placed(Policy::LoadBalancing, never_twice(job(1, 3))));
    trace.skip();
    // Bob is expected to be through with all three within a second, and hangs.
    trace.pass(2_000);
    trace.check(expect![[r#"
        2900 > time
          notice: task 00000002/1/2 goes to ann, attempt 1
          to session 1: assign 00000002/1/2 as 1.11
    "#]]);
}

#[test]
fn an_idle_worker_takes_over_what_waits_elsewhere() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(1, 2)));
    trace.skip();
    trace.join(2, "bob", 1);
    trace.check(expect![[r#"
        0 > bob in session 2, holding 0
          notice: bob joined with 1 slot
          to session 2: welcome bob to term 1
          to session 1: revoke 1.2
          notice: task 00000001/1/1 goes to bob, attempt 1
          to session 2: assign 00000001/1/1 as 1.3
    "#]]);
    // It is bob's alone now: when bob is lost, it waits again.
    trace.hang_up(2);
    trace.check(expect![[r#"
        0 > session 2 ends
          notice: bob was lost with 1 task
          notice: task 00000001/1/1 goes to ann, attempt 2
          to session 1: assign 00000001/1/1 as 1.4
    "#]]);
}

#[test]
fn a_straggler_gets_a_second_attempt() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &job(1, 3));
    trace.pass(300);
    trace.done(1, 1, 0);
    trace.done(1, 1, 2);
    trace.skip();
    trace.pass(5_000);
    trace.check(expect![[r#"
        400 > time
          notice: task 00000001/1/1 goes to ann, attempt 2
          to session 1: assign 00000001/1/1 as 1.4
    "#]]);
    trace.done(2, 1, 1);
    trace.check(expect![[r#"
        5300 > session 2: done 1.2: blob 01010101
          + task 00000001/1/1 done by bob, attempt 1: blob 01010101
          + stage 00000001/1 closed
          to session 2: accepted 1.2
          to session 1: revoke 1.4
          combine 00000001/1: 3 parts
    "#]]);
}

#[test]
fn a_straggler_is_told_by_the_quickest_where_some_are_held_up() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.join(2, "bob", 1);
    trace.submit(1, &job(1, 4));
    trace.pass(20);
    trace.done(1, 1, 0);
    trace.pass(2_000);
    trace.done(1, 1, 2);
    trace.done(2, 1, 1);
    trace.skip();
    // The mean is 1,350 ms, and ann has nothing to do.
    trace.pass(300);
    trace.check(expect![[r#"
        2300 > time
          notice: task 00000001/1/3 goes to ann, attempt 2
          to session 1: assign 00000001/1/3 as 1.5
    "#]]);
}

#[test]
fn what_a_worker_rejects_makes_it_slow() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    let job = placed(Policy::LoadBalancing, job(1, 4));
    trace.submit(1, &job);
    trace.pass(100);
    trace.done(1, 1, 0);
    // It holds a task for 3 s before it says that it is busy, twice; what it does then takes as long as before.
    for _ in 0..2 {
        trace.pass(3_000);
        let oldest = *trace.held(1).iter().min_by_key(|task| trace.lease(1, **task)).unwrap();
        let lease = trace.lease(1, oldest);
        trace.hear(1, FromWorker::Rejected { lease });
    }
    assert_eq!(trace.pace_ms("ann"), Some(6_000));
    trace.pass(100);
    let oldest = *trace.held(1).iter().min_by_key(|task| trace.lease(1, **task)).unwrap();
    trace.done(1, 1, oldest.index);
    assert_eq!(trace.pace_ms("ann"), Some(6_025));
}

#[test]
fn the_input_decides_between_equals() {
    let mut trace = Trace::new();
    trace.join(2, "bob", 1);
    trace.submit(1, &placed(Policy::LoadBalancing, job(2, 2)));
    trace.join(1, "ann", 1);
    trace.pass(100);
    trace.done(2, 1, 0);
    trace.done(1, 1, 1);
    trace.skip();
    trace.combined(1, 1, 0xb1);
    expect![[r#"
          notice: task 00000001/2/0 goes to bob, attempt 1
          notice: task 00000001/2/1 goes to ann, attempt 1
    "#]]
    .assert_eq(&assignments(&trace));
}
