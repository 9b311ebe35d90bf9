//! What stays and what may go, from a job's submission until it is forgotten. It does not know who collects.

use std::collections::BTreeSet;

use super::super::progress::VERSIONS_MAX;
use super::super::roots::JobRoots;
use super::*;

/// The first bytes of the blobs that a job needs, and of its other versions.
fn roots(trace: &Trace) -> Vec<(BTreeSet<u8>, Vec<u8>)> {
    let first = |digest: &Digest| digest.0[0];
    let shown = |roots: JobRoots| {
        assert_eq!(roots.lists.is_empty(), roots.finished);
        assert!(roots.lists.iter().all(|list| [blob(0x10), blob(0xa0)].contains(list.payload())));
        (roots.blobs.iter().map(first).collect(), roots.versions.iter().map(first).collect())
    };
    trace.machine.durable().roots().jobs.into_iter().map(shown).collect()
}

fn set(bytes: &[u8]) -> BTreeSet<u8> {
    bytes.iter().copied().collect()
}

fn measured(trace: &mut Trace, stage: u32, error: f64) {
    let metrics = Metrics::from_iter([("validation_error", error)]);
    let combined = Combined { result: blob(0xe0), metrics, refused: Vec::new() };
    trace.combine_ends(1, stage, CombineOutcome::Combined(combined));
}

/// One round on one shard, and the measuring of its version.
fn round(trace: &mut Trace, train: u32, evaluate: u32, result: u8, error: f64) {
    trace.done(1, train, 0);
    trace.combined(1, train, result);
    trace.done(1, evaluate, 0);
    measured(trace, evaluate, error);
}

const SPEC: [u8; 4] = [0xa0, 0xb0, 0x10, 0xc0];

#[test]
fn a_live_jobs_stages_and_versions_are_roots_and_a_finished_jobs_last_and_best() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    trace.submit(1, &evaluated(job(3, 2)));
    assert_eq!(roots(&trace), [(set(&SPEC), vec![])]);
    trace.done(1, 1, 1);
    assert_eq!(roots(&trace), [(set(&[&SPEC[..], &[0x01]].concat()), vec![])]);
    trace.done(1, 1, 0);
    trace.combined(1, 1, 0xb1);
    assert_eq!(roots(&trace), [(set(&[&SPEC[..], &[0xb1]].concat()), vec![])]);
    // The second round is through before the first version is measured.
    trace.done(1, 3, 0);
    trace.done(1, 3, 1);
    trace.combined(1, 3, 0xb2);
    assert_eq!(roots(&trace), [(set(&[&SPEC[..], &[0xb1, 0xb2]].concat()), vec![0xb1])]);
    trace.done(1, 2, 0);
    measured(&mut trace, 2, 0.1);
    trace.done(1, 4, 0);
    measured(&mut trace, 4, 0.2);
    trace.done(1, 5, 0);
    trace.done(1, 5, 1);
    trace.combined(1, 5, 0xb3);
    trace.done(1, 6, 0);
    measured(&mut trace, 6, 0.1);
    assert_eq!(roots(&trace), [(set(&[0x10, 0xb1, 0xb3]), vec![0xb2, 0xb1])]);
    trace.skip();
    trace.forget_job(1);
    trace.check(expect_test::expect![[r#"
        0 > forget 00000001
          + job 00000001 forgotten
    "#]]);
    assert_eq!(roots(&trace), []);
}

#[test]
fn a_job_that_has_not_ended_is_not_forgotten() {
    let mut trace = Trace::new();
    trace.submit(1, &job(1, 1));
    trace.skip();
    trace.forget_job(1);
    trace.forget_job(2);
    trace.check(expect_test::expect![[r#"
        0 > forget 00000001
        0 > forget 00000002
    "#]]);
    trace.cancel(1);
    assert_eq!(roots(&trace), [(set(&[0x10, 0xb0]), vec![])]);
}

#[test]
fn the_best_of_many_versions_outlives_the_newest() {
    let mut trace = Trace::new();
    trace.join(1, "ann", 1);
    let rounds = VERSIONS_MAX as u32 + 20;
    trace.submit(1, &evaluated(job(rounds, 1)));
    for number in 1..=rounds {
        let train = if number == 1 { 1 } else { 2 * number - 1 };
        round(&mut trace, train, 2 * number, number as u8, if number == 3 { 0.1 } else { 0.5 });
    }
    let newest: Vec<_> = (20..rounds as u8).rev().collect();
    assert_eq!(newest.len(), VERSIONS_MAX);
    assert_eq!(roots(&trace), [(set(&[0x10, 3, rounds as u8]), newest)]);
    trace.skip();
    trace.check(expect_test::expect![""]);
}
