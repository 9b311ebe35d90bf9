//! Jobs' specs, as messages and back.
//!
//! A spec that decodes has passed `JobSpec::check`; what its payloads mean is for others to check.

use convoke_core::{Ability, JobSpec, Plan, Policy, Rounds, Split, Work};

use crate::check::required;
use crate::{DecodeError, v1};

impl From<&JobSpec> for v1::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        Self {
            name: spec.name.clone(),
            plan: Some((&spec.plan).into()),
            policy: spec.policy.map(|policy| v1::Policy::from(policy).into()),
            seed: spec.seed,
            attempt_timeout_ms: spec.attempt_timeout_ms,
            priority: spec.priority,
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
            attempt_timeout_ms: spec.attempt_timeout_ms,
            priority: spec.priority,
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
        let Plan::Rounds(rounds) = plan;
        Self { kind: Some(v1::plan::Kind::Rounds(rounds.into())) }
    }
}

impl TryFrom<v1::Plan> for Plan {
    type Error = DecodeError;

    fn try_from(plan: v1::Plan) -> Result<Self, DecodeError> {
        match plan.kind.ok_or(DecodeError::Missing { field: "Plan.kind" })? {
            v1::plan::Kind::Rounds(rounds) => Ok(Self::Rounds(rounds.try_into()?)),
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
        }
    }
}

impl TryFrom<v1::Rounds> for Rounds {
    type Error = DecodeError;

    fn try_from(plan: v1::Rounds) -> Result<Self, DecodeError> {
        Ok(Self {
            rounds: plan.rounds,
            base: required("Rounds.base", plan.base)?,
            train: required("Rounds.train", plan.train)?,
            evaluate: plan.evaluate.map(TryInto::try_into).transpose()?,
        })
    }
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
        })
    }
}

impl From<&Split> for v1::Split {
    fn from(split: &Split) -> Self {
        let kind = match split {
            Split::Entries => v1::split::Kind::Entries(v1::Nothing {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Split> for Split {
    type Error = DecodeError;

    fn try_from(split: v1::Split) -> Result<Self, DecodeError> {
        match split.kind.ok_or(DecodeError::Missing { field: "Split.kind" })? {
            v1::split::Kind::Entries(v1::Nothing {}) => Ok(Self::Entries),
        }
    }
}
