//! A job of a user's own training: commands, first parameters and data, checked, become a spec and what it starts from.
//!
//! Nothing is submitted here, and nothing large is held. What a step makes of its shard it does not know.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;
use convoke_ml::merge::{BaseError, SAMPLES_MAX, check_base};
use convoke_node::executor::STEP;
use convoke_wire::core::{Ability, Attempts, Digest, JobSpec, Needs, Payload, Plan, Rounds, Split, Work};
use convoke_wire::program::v1::step::Kind;
use convoke_wire::program::{
    self, Average, Combine, Command, Entry, Feed, MANIFEST_BYTES_MAX, Manifest, Mean, Merge, Step, StepMeasure,
    StepTrain,
};
use convoke_wire::protocol::BLOB_BYTES_MAX;

use crate::args::{Keep, StepArgs, TrainArgs, Validate};
use crate::data::{self, RawReading, RawShard};
use crate::divisible::{command_and_files, payload_or_content, words};
use crate::failure::Failure;
use crate::input::{Content, InputError};
use crate::training_job::{Prepared, job_name};
use crate::upload::digest_of_content;

/// How many rounds there are where nothing is said.
const ROUNDS: u32 = 3;

/// What is stored before the job is submitted.
type Contents = Vec<(Digest, Content)>;

/// Reads what the job starts from and makes the job of it. Everything that can be wrong with the input is found here.
pub fn prepare(args: &TrainArgs, line: &str) -> Result<Prepared, Failure> {
    let step = &args.step;
    let reading = RawReading {
        validate: validation(args)?,
        shards: args.split.shards.map(|shards| shards as usize),
        delimiter: args.layout.delimiter.unwrap_or(b','),
    };
    let mut contents = Contents::new();
    let (command, files) = command_and_files(words(line, step.shell)?, &step.command, Feed::Nothing)?;
    let measure = step.eval.as_deref().map(|line| words(line, step.shell)).transpose()?;
    contents.extend(files);
    let base = base(args.learning.init.as_deref(), &mut contents)?;
    let data = data::read_raw(&args.data, &reading);
    let data = data.map_err(|error| Failure::bad_input(&error).hint(error.hint()))?;
    let shards = data.shards.iter().map(|shard| shard.name.clone()).collect();

    let mean = Merge { rule: Some(program::v1::merge::Rule::Mean(Mean {})) };
    let needs = step.needs.needs(step.slots.unwrap_or(1))?;
    let mut making = Making { needs, contents };
    let merge = program::v1::combine::Kind::Merge(mean);
    let train = making.work(command.clone(), Kind::Train(StepTrain {}), data.shards, merge)?;
    let measure = measure.map(|argv| {
        let average = program::v1::combine::Kind::Average(Average {});
        let pieces = if data.validation.is_empty() { vec![own_data()] } else { data.validation };
        making.work(Command { argv, ..command }, Kind::Measure(StepMeasure {}), pieces, average)
    });
    let (evaluate, contents) = (measure.transpose()?, making.contents);
    let spec = JobSpec {
        name: job_name(&args.data),
        plan: Plan::Rounds(Rounds {
            rounds: args.learning.rounds.unwrap_or(ROUNDS),
            base,
            prepare: None,
            train,
            evaluate,
        }),
        policy: args.run.policy,
        seed: args.learning.seed,
        attempts: attempts(step),
        deadline_ms: None,
        priority: args.run.priority,
    };
    spec.check().map_err(Failure::bad_input)?;
    let (what, keep) = (format!("`{line}`"), args.model.keep.unwrap_or(Keep::Last));
    Ok(Prepared { spec, contents, shards, held_out: None, learning: None, what, keep })
}

/// The file that is validated on, if one was named.
fn validation(args: &TrainArgs) -> Result<Option<&Path>, Failure> {
    match (&args.split.validate, &args.step.eval) {
        (None, _) => Ok(None),
        (Some(Validate::File(file)), Some(_)) => Ok(Some(file)),
        (Some(Validate::File(_)), None) => {
            Err(Failure::bad_input("--validate names data for --eval, and there is none")
                .hint("say how versions are measured with --eval COMMAND, or leave out --validate"))
        }
        (Some(Validate::Share(share)), _) => Err(Failure::bad_input(format!(
            "--validate {share}: nothing can be held out of files that only --step reads"
        ))
        .hint("name a file with --validate FILE, or have files validate_* in DATA")),
    }
}

/// A step may run twice at a time: its result counts once.
fn attempts(step: &StepArgs) -> Attempts {
    let default = Attempts::default();
    Attempts {
        timeout_ms: step.timeout.map(|timeout| timeout.as_millis() as u64),
        retries: step.retries.unwrap_or(default.retries),
        ..default
    }
}

/// What the first round begins with, checked as the first merge would check it.
fn base(init: Option<&Path>, contents: &mut Contents) -> Result<Payload, Failure> {
    let path = init.unwrap_or(Path::new(""));
    // To open a pipe could take for ever, and it cannot be read twice.
    let opened = path.metadata().and_then(|metadata| match metadata.is_file() {
        true => Ok((metadata.len(), File::open(path)?)),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    });
    let (bytes, file) = opened.map_err(|error| {
        Failure::bad_input(format!("cannot read --init {}: {error}", path.display()))
            .hint("check the path and its permissions")
    })?;
    check_base(&file).map_err(|error| {
        let hint = match error {
            BaseError::Read(_) => "check the path and its permissions",
            BaseError::File(_) => {
                "it has to be a safetensors file without NaN, such as `save_file` of Python's safetensors writes"
            }
            BaseError::NoTensors | BaseError::NothingTrained { .. } => {
                "floats and integers of 16 bits and more are trained; all else stays as it is"
            }
        };
        Failure::bad_input(format!("--init {} cannot be trained: {error}", path.display())).hint(hint)
    })?;
    let digest = add(contents, Content::File { path: path.to_owned(), bytes })?;
    Ok(Payload::blob(digest))
}

/// Names a content, which is to be stored.
fn add(contents: &mut Contents, content: Content) -> Result<Digest, InputError> {
    if content.bytes() > BLOB_BYTES_MAX {
        return Err(InputError::FileTooLarge { path: content.path().to_owned(), bytes: content.bytes() });
    }
    let digest = digest_of_content(&content)?;
    contents.push((digest, content));
    Ok(digest)
}

/// Whoever measures without data of the job's brings its own: one task, whose shard has no name and is not there.
fn own_data() -> RawShard {
    RawShard { name: String::new(), samples: SAMPLES_MAX, content: Content::Bytes(Bytes::new()) }
}

/// Makes stages' work, and gathers what it names.
struct Making {
    needs: Needs,
    contents: Contents,
}

impl Making {
    /// A command on each shard, and what becomes of the results.
    fn work(
        &mut self,
        command: Command,
        kind: Kind,
        shards: Vec<RawShard>,
        combine: program::v1::combine::Kind,
    ) -> Result<Work, Failure> {
        let count = u32::try_from(shards.len()).map_err(Failure::bad_input)?;
        let step = Step { command: Some(command), kind: Some(kind) };
        let (program, content) = payload_or_content(&step);
        self.contents.extend(content);
        let mut manifest = Manifest::default();
        for RawShard { name, samples, content } in shards {
            let digest = add(&mut self.contents, content)?.0.to_vec();
            manifest.entries.push(Entry { name, digest, samples, ..Entry::default() });
        }
        let manifest = Bytes::from(program::encode(&manifest));
        if manifest.len() as u64 > MANIFEST_BYTES_MAX {
            let error =
                format!("{count} shards are too many: a list of them would have more than {MANIFEST_BYTES_MAX} bytes");
            return Err(Failure::bad_input(error).hint("put several into each file"));
        }
        let input = Payload::blob(add(&mut self.contents, Content::Bytes(manifest))?);
        Ok(Work {
            ability: Ability::new(STEP).expect("a short name is an ability"),
            program,
            input,
            split: Split::Entries,
            count,
            combine: program::inline(&Combine { kind: Some(combine) }),
            needs: self.needs.clone(),
        })
    }
}
