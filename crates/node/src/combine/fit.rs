//! Whether a job's ways to combine can close its stages: what could not is refused when the job is submitted, and not after
//! its first stage was worked on.
//!
//! It looks at plans and abilities alone; whether a base or a result can be merged is for the combine.

use convoke_core::{JobSpec, Plan, Work};
use convoke_wire::program::ProgramError;
use convoke_wire::program::v1::combine::Kind;

use crate::executor::{COMMAND, EVALUATE, MOMENTS, PREDICT, STEP, TRAIN, WASM};

/// A way to combine is none, or is none for its stage.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnfitError {
    #[error("{field}: {source}")]
    Unreadable { field: &'static str, source: ProgramError },
    #[error("{field}: `{given}` cannot close a stage of `{ability}` tasks, which takes {expected}")]
    Unfit { field: &'static str, given: &'static str, ability: String, expected: String },
}

const MERGE: &str = "merge";
const COUNT: &str = "count";
const COLLECT: &str = "collect";
const AVERAGE: &str = "average";
const STANDARDIZE: &str = "standardize";

/// Checks all of a job's ways to combine.
pub(crate) fn check(spec: &JobSpec) -> Result<(), UnfitError> {
    match &spec.plan {
        Plan::Rounds(plan) => {
            plan.prepare.iter().try_for_each(|work| {
                let prepared: &[&str] = match work.ability.as_str() {
                    TRAIN | EVALUATE | PREDICT | COMMAND | STEP | WASM => &[],
                    _ => &[STANDARDIZE],
                };
                check_work("Rounds.prepare.combine", work, prepared)
            })?;
            let trained: &[&str] = match plan.train.ability.as_str() {
                TRAIN | STEP => &[MERGE],
                MOMENTS => &[],
                _ => &[MERGE, COUNT, AVERAGE],
            };
            check_work("Rounds.train.combine", &plan.train, trained)?;
            plan.evaluate.iter().try_for_each(|work| {
                let measured: &[&str] = match work.ability.as_str() {
                    EVALUATE => &[COUNT],
                    STEP => &[AVERAGE],
                    MOMENTS => &[],
                    _ => &[COUNT, AVERAGE],
                };
                check_work("Rounds.evaluate.combine", work, measured)
            })
        }
        // A reduction reads the list, and so does the client.
        Plan::MapReduce(plan) => check_work("MapReduce.map.combine", &plan.map, &[COLLECT]),
    }
}

fn check_work(field: &'static str, work: &Work, expected: &[&str]) -> Result<(), UnfitError> {
    let unreadable = |source| UnfitError::Unreadable { field, source };
    let given = match super::kind(&work.combine).map_err(unreadable)? {
        Kind::Merge(merge) => super::merge_rule(&merge).map(|_| MERGE).map_err(unreadable)?,
        Kind::Count(_) => COUNT,
        Kind::Collect(_) => COLLECT,
        Kind::Average(_) => AVERAGE,
        Kind::Standardize(_) => STANDARDIZE,
    };
    if expected.contains(&given) {
        return Ok(());
    }
    let names: Vec<_> = expected.iter().map(|name| format!("`{name}`")).collect();
    let expected = if names.is_empty() { "nothing here".to_owned() } else { names.join(" or ") };
    Err(UnfitError::Unfit { field, given, ability: work.ability.to_string(), expected })
}

#[cfg(test)]
mod tests {
    use convoke_core::{Ability, Attempts, Digest, MapReduce, Needs, Payload, Rounds, Split};
    use convoke_wire::job::{collect, count, merge, standardize};
    use convoke_wire::program;

    use super::*;

    fn work(ability: &str, combine: Payload) -> Work {
        let nothing = Payload::default;
        Work {
            ability: Ability::new(ability).unwrap(),
            program: nothing(),
            input: nothing(),
            split: Split::Entries,
            count: 1,
            combine,
            needs: Needs::default(),
        }
    }

    fn rounds(train: Work, evaluate: Option<Work>) -> Plan {
        Plan::Rounds(Rounds { rounds: 1, base: Payload::default(), prepare: None, train, evaluate })
    }

    fn prepared(prepare: Work, plan: Plan) -> Plan {
        match plan {
            Plan::Rounds(plan) => Plan::Rounds(Rounds { prepare: Some(prepare), ..plan }),
            plan => plan,
        }
    }

    fn map(map: Work) -> Plan {
        Plan::MapReduce(MapReduce { base: Payload::default(), map, reduce: None, keep_going: false })
    }

    fn checked(plan: Plan) -> String {
        let spec = JobSpec {
            name: "job".to_owned(),
            plan,
            policy: None,
            seed: 1,
            attempts: Attempts::default(),
            deadline_ms: None,
            priority: 0,
        };
        check(&spec).map_or_else(|error| error.to_string(), |()| "fits".to_owned())
    }

    fn average() -> program::Combine {
        program::Combine { kind: Some(Kind::Average(program::Average {})) }
    }

    #[test]
    fn what_clients_submit_fits() {
        let way = |combine: program::Combine| program::inline(&combine);
        let plans = [
            rounds(work(TRAIN, way(merge())), None),
            rounds(work(TRAIN, way(merge())), Some(work(EVALUATE, way(count())))),
            prepared(work(MOMENTS, way(standardize())), rounds(work(TRAIN, way(merge())), None)),
            rounds(work(STEP, way(merge())), Some(work(STEP, way(average())))),
            rounds(work("their-own", way(count())), Some(work("their-own", way(average())))),
            map(work(COMMAND, way(collect()))),
            map(work(WASM, way(collect()))),
        ];
        for plan in plans {
            assert_eq!(checked(plan.clone()), "fits", "{plan:?}");
        }
    }

    #[test]
    fn what_could_not_close_its_stage_is_refused_by_its_field() {
        let way = |combine: program::Combine| program::inline(&combine);
        assert_eq!(
            checked(rounds(work(TRAIN, way(collect())), None)),
            "Rounds.train.combine: `collect` cannot close a stage of `train` tasks, which takes `merge`"
        );
        assert_eq!(
            checked(rounds(work(TRAIN, way(merge())), Some(work("their-own", way(merge()))))),
            "Rounds.evaluate.combine: `merge` cannot close a stage of `their-own` tasks, which takes `count` or `average`"
        );
        assert_eq!(
            checked(prepared(work(MOMENTS, way(merge())), rounds(work(TRAIN, way(merge())), None))),
            "Rounds.prepare.combine: `merge` cannot close a stage of `moments` tasks, which takes `standardize`"
        );
        assert_eq!(
            checked(rounds(work(TRAIN, way(standardize())), None)),
            "Rounds.train.combine: `standardize` cannot close a stage of `train` tasks, which takes `merge`"
        );
        assert_eq!(
            checked(map(work(WASM, way(average())))),
            "MapReduce.map.combine: `average` cannot close a stage of `wasm` tasks, which takes `collect`"
        );
        let no_rule = program::Combine { kind: Some(Kind::Merge(program::Merge { rule: None })) };
        assert_eq!(
            checked(rounds(work(TRAIN, way(no_rule)), None)),
            "Rounds.train.combine: Merge.rule is missing or of an unknown kind"
        );
        assert_eq!(
            checked(map(work(WASM, Payload::default()))),
            "MapReduce.map.combine: Combine.kind is missing or of an unknown kind"
        );
        assert_eq!(
            checked(map(work(WASM, Payload::blob(Digest([7; 32]))))),
            "MapReduce.map.combine: a way to combine has to be in place, not a blob"
        );
        let nonsense = checked(map(work(WASM, Payload::inline(b"\xff\xff").unwrap())));
        assert!(nonsense.starts_with("MapReduce.map.combine: not a way to combine: "), "{nonsense}");
    }
}
