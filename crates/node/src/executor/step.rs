//! Steps: a user's own command that trains the round's parameters on a shard, or measures them.
//!
//! What it trained becomes a delta, as the built-in training's does; what it says of itself is read from its stdout. Which
//! framework it is written for it does not know.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use convoke_core::event::{Failure, Metrics};
use convoke_core::message::REPORT_INLINE_BYTES_MAX;
use convoke_ml::merge::SAMPLES_MAX;
use convoke_wire::program::v1::step::Kind;
use convoke_wire::program::{self, Command, Measured, Number, ProgramError};

use super::command::{self, Call, CommandError, Commands, Sources};
use super::{Computed, Death, ExecuteError, Given, Input, STEP};
use crate::metrics::parse_metrics;
use crate::process::collect;

/// Where a step finds what it is given, in its directory.
const GIVEN: &str = ".convoke";
/// The most bytes of the parameters that it leaves.
const RESULT_BYTES_MAX: u64 = 1 << 30;
/// What a step may say of its error, and how that becomes one.
const ERROR: &str = "error";
const ACCURACY: &str = "accuracy";
const LOSS: &str = "loss";
const SAMPLES: &str = "samples";

/// Trains or measures the base by a command.
pub(super) fn run(
    commands: &Commands,
    command: &Command,
    kind: Kind,
    given: &Given,
    sources: &Sources,
    resources: Vec<(String, String)>,
    stop: &AtomicBool,
) -> Result<Computed, ExecuteError> {
    let Input::Entry { bytes: shard, name, samples, .. } = &given.input else {
        let given = given.input.kind();
        return Err(ExecuteError::WrongInput { ability: STEP, given, expected: "an entry of a manifest" });
    };
    let mut room = commands.room(command, sources)?;
    let folder = room.directory().join(GIVEN);
    let give = |path: &'static str, file: &PathBuf, bytes: &[u8]| {
        fs::write(file, bytes).map_err(|source| CommandError::Give { path, source })
    };
    fs::create_dir(&folder).map_err(|source| CommandError::Give { path: GIVEN, source })?;
    let (base, result) = (folder.join("base.safetensors"), folder.join("result.safetensors"));
    give("$CONVOKE_BASE", &base, &given.base)?;
    let mut convoke =
        vec![("CONVOKE_BASE", base.into_os_string()), ("CONVOKE_ROUND", given.assignment.round.to_string().into())];
    // Whoever measures without data of the job's brings its own.
    if let Some(name) = file_name(name) {
        let file = folder.join(name);
        give("$CONVOKE_SHARD", &file, shard)?;
        convoke.push(("CONVOKE_SHARD", file.into_os_string()));
    }
    if let Kind::Train(_) = kind {
        convoke.push(("CONVOKE_RESULT", result.clone().into_os_string()));
    }
    let (argv, environment) = (command.argv.clone(), &command.environment[..]);
    let call = Call { argv, environment, convoke, resources, stdin: Bytes::new() };
    let ended = room.run(&given.assignment, call, stop)?;
    let mut said: BTreeMap<String, f64> =
        parse_metrics(&ended.stdout).iter().map(|(name, value)| (name.to_owned(), value)).collect();
    // A step that does not count stands for all that its shard has, where that is known.
    let known = (*samples < SAMPLES_MAX).then_some(*samples);
    let samples = said.remove(SAMPLES).filter(|samples| *samples >= 1.0).map(|samples| samples as u64);
    let samples = samples.or(known).unwrap_or(1).max(1);
    let usage = command::usage(&ended);
    let computed = Computed { samples, usage, log: ended.stderr.clone(), ..Computed::default() };
    match kind {
        Kind::Train(_) => {
            let died = |reason: String| {
                let failure = Failure { usage, ..Failure::of(reason) };
                ExecuteError::Died(Box::new(Death { failure, log: ended.stderr.clone() }))
            };
            let trained = collect::open_left(&result, RESULT_BYTES_MAX).map_err(|error| {
                died(format!("the step ended well and left no parameters at $CONVOKE_RESULT: {error}"))
            })?;
            let mut delta = commands.memory().lend();
            convoke_ml::delta_between_into(&&given.base[..], &trained, delta.bytes())
                .map_err(|error| died(format!("what the step left at $CONVOKE_RESULT cannot be used: {error}")))?;
            let metrics = named(&said, "train").collect::<Vec<_>>();
            let metrics = metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            Ok(Computed { result: delta.into(), inline_bytes_max: Some(0), metrics, ..computed })
        }
        Kind::Measure(_) => {
            let numbers: Vec<Number> = named(&said, "validation").map(|(name, value)| Number { name, value }).collect();
            let metrics: Metrics = numbers.iter().map(|number| (number.name.as_str(), number.value)).collect();
            let result = program::encode(&Measured { samples, numbers }).into();
            // Averaging reads it in place.
            Ok(Computed { result, inline_bytes_max: Some(REPORT_INLINE_BYTES_MAX), metrics, ..computed })
        }
    }
}

/// What a step says, under the names by which it is told: an error, an accuracy and a loss are of the training or of the
/// validation data, whichever it was run on.
fn named<'a>(said: &'a BTreeMap<String, f64>, data: &'static str) -> impl Iterator<Item = (String, f64)> + 'a {
    let (error, loss) = (format!("{data}_error"), format!("{data}_loss"));
    // What is said by its full name counts.
    let (has_error, has_loss) = (said.contains_key(&error), said.contains_key(&loss));
    let accuracy_is_all = !has_error && !said.contains_key(ERROR);
    said.iter().map(move |(name, value)| match name.as_str() {
        ERROR if !has_error => (error.clone(), *value),
        ACCURACY if accuracy_is_all => (error.clone(), 1.0 - value),
        LOSS if !has_loss => (loss.clone(), *value),
        name => (name.to_owned(), *value),
    })
}

/// The last part of a name, with its extension: a step may tell its kind by that. None where there is no name.
fn file_name(name: &str) -> Option<&str> {
    let last = name.rsplit(['/', '\\']).next().filter(|last| !last.is_empty())?;
    let is_plain = !matches!(last, "." | ".." | "base.safetensors" | "result.safetensors") && !last.contains('\0');
    Some(if is_plain { last } else { "shard" })
}

/// What a step's program says.
pub(super) fn read(given: &Given) -> Result<(Command, Kind), ExecuteError> {
    let step: program::Step = given.program("step")?;
    let command = step.command.ok_or(ProgramError::Missing { field: "Step.command" })?;
    Ok((command, step.kind.ok_or(ProgramError::Missing { field: "Step.kind" })?))
}
