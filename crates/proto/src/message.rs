//! The parts of a session's messages that hold more than an id, as messages and back.
//!
//! Frames, greetings and what surrounds them are the wire's.

use convoke_core::Ability;
use convoke_core::message::{Assignment, Held};

use crate::check::required;
use crate::{DecodeError, v1};

impl From<&Assignment> for v1::Assignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            lease: Some((&assignment.lease).into()),
            task: Some((&assignment.task).into()),
            ability: assignment.ability.as_str().to_owned(),
            program: Some((&assignment.program).into()),
            base: Some((&assignment.base).into()),
            input: Some((&assignment.input).into()),
            split: Some((&assignment.split).into()),
            seed: assignment.seed,
            may_reject: assignment.may_reject,
            attempt: assignment.attempt,
            round: assignment.round,
            needs: Some((&assignment.needs).into()),
            timeout_ms: assignment.timeout_ms,
            idempotent: assignment.idempotent,
        }
    }
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = DecodeError;

    fn try_from(assignment: v1::Assignment) -> Result<Self, DecodeError> {
        Ok(Self {
            lease: required("Assignment.lease", assignment.lease)?,
            task: required("Assignment.task", assignment.task)?,
            ability: Ability::new(&assignment.ability)?,
            program: required("Assignment.program", assignment.program)?,
            base: required("Assignment.base", assignment.base)?,
            input: required("Assignment.input", assignment.input)?,
            split: required("Assignment.split", assignment.split)?,
            seed: assignment.seed,
            may_reject: assignment.may_reject,
            attempt: assignment.attempt,
            round: assignment.round,
            needs: required("Assignment.needs", assignment.needs)?,
            timeout_ms: assignment.timeout_ms,
            idempotent: assignment.idempotent,
        })
    }
}

impl From<&Held> for v1::Held {
    fn from(held: &Held) -> Self {
        Self {
            task: Some((&held.task).into()),
            ability: held.ability.as_str().to_owned(),
            program: Some((&held.program).into()),
            base: Some((&held.base).into()),
            input: Some((&held.input).into()),
            split: Some((&held.split).into()),
        }
    }
}

impl TryFrom<v1::Held> for Held {
    type Error = DecodeError;

    fn try_from(held: v1::Held) -> Result<Self, DecodeError> {
        Ok(Self {
            task: required("Held.task", held.task)?,
            ability: Ability::new(&held.ability)?,
            program: required("Held.program", held.program)?,
            base: required("Held.base", held.base)?,
            input: required("Held.input", held.input)?,
            split: required("Held.split", held.split)?,
        })
    }
}
