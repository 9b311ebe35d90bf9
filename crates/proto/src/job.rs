//! Jobs' specs, as messages and back.
//!
//! A spec that decodes has passed `JobSpec::check`; what its payloads mean is for others to check.

use convoke_core::{
    Ability, Attempts, JobSpec, MapReduce, Needs, Plan, Policy, RESOURCES_MAX, Reduce, Resources, Rounds, Split, Work,
};

use crate::check::{at_most, required};
use crate::{DecodeError, v1};

impl From<&JobSpec> for v1::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        Self {
            name: spec.name.clone(),
            plan: Some((&spec.plan).into()),
            policy: spec.policy.map(|policy| v1::Policy::from(policy).into()),
            seed: spec.seed,
            attempt_timeout_ms: None,
            attempts: Some((&spec.attempts).into()),
            priority: spec.priority,
            deadline_ms: spec.deadline_ms,
        }
    }
}

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = DecodeError;

    fn try_from(spec: v1::JobSpec) -> Result<Self, DecodeError> {
        let policy = |value| {
            let known = v1::Policy::try_from(value).ok().and_then(|policy| policy.try_into().ok());
            known.ok_or(DecodeError::Unknown { field: "JobSpec.policy", value })
        };
        let spec = Self {
            name: spec.name,
            plan: required("JobSpec.plan", spec.plan)?,
            policy: spec.policy.map(policy).transpose()?,
            seed: spec.seed,
            attempts: match spec.attempts {
                Some(attempts) => attempts.try_into()?,
                None => Attempts { timeout_ms: spec.attempt_timeout_ms, ..Attempts::default() },
            },
            priority: spec.priority,
            deadline_ms: spec.deadline_ms,
        };
        spec.check()?;
        Ok(spec)
    }
}

impl From<Policy> for v1::Policy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Random => Self::Random,
            Policy::RoundRobin => Self::RoundRobin,
            Policy::LoadBalancing => Self::LoadBalancing,
        }
    }
}

impl TryFrom<v1::Policy> for Policy {
    type Error = DecodeError;

    fn try_from(policy: v1::Policy) -> Result<Self, DecodeError> {
        match policy {
            v1::Policy::Unspecified => Err(DecodeError::Unknown { field: "Policy", value: policy.into() }),
            v1::Policy::Random => Ok(Self::Random),
            v1::Policy::RoundRobin => Ok(Self::RoundRobin),
            v1::Policy::LoadBalancing => Ok(Self::LoadBalancing),
        }
    }
}

impl From<&Plan> for v1::Plan {
    fn from(plan: &Plan) -> Self {
        use v1::plan::Kind;
        let kind = match plan {
            Plan::Rounds(rounds) => Kind::Rounds(rounds.into()),
            Plan::MapReduce(plan) => Kind::MapReduce(plan.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Plan> for Plan {
    type Error = DecodeError;

    fn try_from(plan: v1::Plan) -> Result<Self, DecodeError> {
        match plan.kind.ok_or(DecodeError::Missing { field: "Plan.kind" })? {
            v1::plan::Kind::Rounds(rounds) => Ok(Self::Rounds(rounds.try_into()?)),
            v1::plan::Kind::MapReduce(plan) => Ok(Self::MapReduce(plan.try_into()?)),
        }
    }
}

impl From<&Rounds> for v1::Rounds {
    fn from(plan: &Rounds) -> Self {
        Self {
            rounds: plan.rounds,
            base: Some((&plan.base).into()),
            train: Some((&plan.train).into()),
            evaluate: plan.evaluate.as_ref().map(Into::into),
            prepare: plan.prepare.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Rounds> for Rounds {
    type Error = DecodeError;

    fn try_from(plan: v1::Rounds) -> Result<Self, DecodeError> {
        Ok(Self {
            rounds: plan.rounds,
            base: required("Rounds.base", plan.base)?,
            prepare: plan.prepare.map(TryInto::try_into).transpose()?,
            train: required("Rounds.train", plan.train)?,
            evaluate: plan.evaluate.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&MapReduce> for v1::MapReduce {
    fn from(plan: &MapReduce) -> Self {
        Self {
            base: Some((&plan.base).into()),
            map: Some((&plan.map).into()),
            reduce: plan.reduce.as_ref().map(Into::into),
            keep_going: plan.keep_going,
        }
    }
}

impl TryFrom<v1::MapReduce> for MapReduce {
    type Error = DecodeError;

    fn try_from(plan: v1::MapReduce) -> Result<Self, DecodeError> {
        Ok(Self {
            base: required("MapReduce.base", plan.base)?,
            map: required("MapReduce.map", plan.map)?,
            reduce: plan.reduce.map(TryInto::try_into).transpose()?,
            keep_going: plan.keep_going,
        })
    }
}

impl From<&Reduce> for v1::Reduce {
    fn from(reduce: &Reduce) -> Self {
        Self {
            ability: reduce.ability.as_str().to_owned(),
            program: Some((&reduce.program).into()),
            fan_in: reduce.fan_in,
            needs: Some((&reduce.needs).into()),
        }
    }
}

impl TryFrom<v1::Reduce> for Reduce {
    type Error = DecodeError;

    fn try_from(reduce: v1::Reduce) -> Result<Self, DecodeError> {
        Ok(Self {
            ability: Ability::new(&reduce.ability)?,
            program: required("Reduce.program", reduce.program)?,
            fan_in: reduce.fan_in,
            needs: required("Reduce.needs", reduce.needs)?,
        })
    }
}

impl From<&Attempts> for v1::Attempts {
    fn from(attempts: &Attempts) -> Self {
        let Attempts { timeout_ms, retries, idempotent } = *attempts;
        Self { timeout_ms, retries, idempotent }
    }
}

impl TryFrom<v1::Attempts> for Attempts {
    type Error = DecodeError;

    fn try_from(attempts: v1::Attempts) -> Result<Self, DecodeError> {
        let v1::Attempts { timeout_ms, retries, idempotent } = attempts;
        Ok(Self { timeout_ms, retries, idempotent })
    }
}

impl From<&Needs> for v1::Needs {
    fn from(needs: &Needs) -> Self {
        Self { slots: needs.slots, resources: resources_message(&needs.resources) }
    }
}

impl TryFrom<v1::Needs> for Needs {
    type Error = DecodeError;

    fn try_from(needs: v1::Needs) -> Result<Self, DecodeError> {
        let needs = Self { slots: needs.slots, resources: resources_value(needs.resources)? };
        needs.check()?;
        Ok(needs)
    }
}

/// Resources, in the order of their names.
pub fn resources_message(resources: &Resources) -> Vec<v1::Resource> {
    resources.iter().map(|(name, amount)| v1::Resource { name: name.to_owned(), amount }).collect()
}

/// Resources, checked.
pub fn resources_value(resources: Vec<v1::Resource>) -> Result<Resources, DecodeError> {
    at_most("resources", resources.len(), RESOURCES_MAX)?;
    let resources: Resources = resources.into_iter().map(|resource| (resource.name, resource.amount)).collect();
    resources.check()?;
    Ok(resources)
}

impl From<&Work> for v1::Work {
    fn from(work: &Work) -> Self {
        Self {
            ability: work.ability.as_str().to_owned(),
            program: Some((&work.program).into()),
            input: Some((&work.input).into()),
            split: Some((&work.split).into()),
            count: work.count,
            combine: Some((&work.combine).into()),
            needs: Some((&work.needs).into()),
        }
    }
}

impl TryFrom<v1::Work> for Work {
    type Error = DecodeError;

    fn try_from(work: v1::Work) -> Result<Self, DecodeError> {
        Ok(Self {
            ability: Ability::new(&work.ability)?,
            program: required("Work.program", work.program)?,
            input: required("Work.input", work.input)?,
            split: required("Work.split", work.split)?,
            count: work.count,
            combine: required("Work.combine", work.combine)?,
            // Tasks of older builds took a slot.
            needs: work.needs.map(TryInto::try_into).transpose()?.unwrap_or_default(),
        })
    }
}

impl From<&Split> for v1::Split {
    fn from(split: &Split) -> Self {
        let kind = match split {
            Split::Entries => v1::split::Kind::Entries(v1::Nothing {}),
            Split::Items => v1::split::Kind::Items(v1::Nothing {}),
            Split::Range => v1::split::Kind::Range(v1::Nothing {}),
            Split::Groups { fan_in } => v1::split::Kind::Groups(*fan_in),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Split> for Split {
    type Error = DecodeError;

    fn try_from(split: v1::Split) -> Result<Self, DecodeError> {
        match split.kind.ok_or(DecodeError::Missing { field: "Split.kind" })? {
            v1::split::Kind::Entries(v1::Nothing {}) => Ok(Self::Entries),
            v1::split::Kind::Items(v1::Nothing {}) => Ok(Self::Items),
            v1::split::Kind::Range(v1::Nothing {}) => Ok(Self::Range),
            v1::split::Kind::Groups(fan_in) => Ok(Self::Groups { fan_in }),
        }
    }
}
