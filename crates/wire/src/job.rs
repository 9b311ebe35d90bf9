//! What a client submits: specs of jobs, with what stands in them unless something else is asked for.
//!
//! What a program does is said in `program`; what is stored and submitted, and when, is the caller's.

use bytes::Bytes;
use convoke_core::{
    Ability, Attempts, Digest, JobSpec, MapReduce, Needs, Payload, Plan, Reduce, Split, TASKS_MAX, Work,
};

use crate::items::{PIECE_BYTES_MAX, PIECE_ITEMS_MAX};
use crate::program::{self, Collect, Combine, Count, Entry, Manifest, Mean, Merge, Piece, Range, Standardize, v1};
use crate::{CallError, Client};

/// Takes the moments of a shard's features, before the first round: [`program::Moments`].
pub const MOMENTS: &str = "moments";
/// Trains the base on a shard: [`program::Train`].
pub const TRAIN: &str = "train";
/// Measures the base on a part of the data: [`program::Count`].
pub const EVALUATE: &str = "evaluate";
/// Runs a command: [`program::Command`].
pub const COMMAND: &str = "command";
/// Trains or measures by a command: [`program::Step`].
pub const STEP: &str = "step";
/// Runs a WebAssembly program: [`program::Wasm`].
pub const WASM: &str = "wasm";
/// Predicts rows by a model: [`program::Predict`].
pub const PREDICT: &str = "predict";

/// What each task runs.
#[derive(Clone, Debug)]
pub struct Program {
    /// What a worker must be able to do, such as [`COMMAND`].
    pub ability: &'static str,
    /// The message that goes with it, as [`Client::payload_of`] has it.
    pub payload: Payload,
}

/// What tasks are cut from.
#[derive(Clone, Debug)]
pub struct Input {
    /// How.
    pub split: Split,
    /// How many tasks there are, at most [`TASKS_MAX`].
    pub count: u32,
    /// A manifest or a range.
    pub payload: Payload,
}

impl Program {
    /// A program that a worker with an ability runs.
    pub fn new(ability: &'static str, payload: Payload) -> Self {
        Self { ability, payload }
    }

    fn ability(&self) -> Ability {
        Ability::new(self.ability).expect("a short name is an ability")
    }
}

impl Input {
    /// Integers: task `i` is given the `i`-th of so many.
    pub fn range(range: &Range, count: u32) -> Self {
        Self { split: Split::Range, count, payload: program::inline(range) }
    }

    /// A manifest whose entries hold so many items.
    pub fn items(manifest: Payload, count: u32) -> Self {
        Self { split: Split::Items, count, payload: manifest }
    }

    /// A manifest whose entries are the tasks', so many: shards.
    pub fn shards(manifest: Payload, count: u32) -> Self {
        Self { split: Split::Entries, count, payload: manifest }
    }
}

/// A job with defaults: seed 0, no priority, no deadline, the coordinator's policy; what fails is not tried again, and runs
/// once at a time.
pub fn spec(name: &str, plan: Plan) -> JobSpec {
    let attempts = Attempts { timeout_ms: None, retries: 0, idempotent: false };
    JobSpec { name: name.to_owned(), plan, policy: None, seed: 0, attempts, deadline_ms: None, priority: 0 }
}

/// A program over each piece of an input; all results are wanted.
pub fn map(program: Program, input: Input) -> MapReduce {
    let map = work(program, input, &collect());
    MapReduce { base: Payload::default(), map, reduce: None, keep_going: false }
}

/// One result of all: each task of the tree reads at most `fan_in` of them.
pub fn reduce(program: Program, fan_in: u32) -> Reduce {
    Reduce { ability: program.ability(), program: program.payload, fan_in, needs: Needs::default() }
}

/// A stage: a program over an input, its results combined. A task takes one slot.
pub fn work(program: Program, input: Input, combine: &Combine) -> Work {
    let Input { split, count, payload: input } = input;
    let (ability, combine) = (program.ability(), program::inline(combine));
    Work { ability, program: program.payload, input, split, count, combine, needs: Needs::default() }
}

/// Lists results.
pub fn collect() -> Combine {
    Combine { kind: Some(v1::combine::Kind::Collect(Collect {})) }
}

/// Merges what training brings into the next version, weighted by samples.
pub fn merge() -> Combine {
    let merge = Merge { rule: Some(v1::merge::Rule::Mean(Mean {})) };
    Combine { kind: Some(v1::combine::Kind::Merge(merge)) }
}

/// Standardises the base's inputs by the moments of all shards.
pub fn standardize() -> Combine {
    Combine { kind: Some(v1::combine::Kind::Standardize(Standardize {})) }
}

/// Adds up what evaluation brings.
pub fn count() -> Combine {
    Combine { kind: Some(v1::combine::Kind::Count(Count::default())) }
}

impl Client {
    /// Stores items as an input, small ones together: task `i` is given the `i`-th. More than [`TASKS_MAX`] are refused.
    pub async fn store_items(&mut self, items: impl IntoIterator<Item = Bytes>) -> Result<Input, CallError> {
        let (mut manifest, mut count, mut piece) = (Manifest::default(), 0, Vec::<Bytes>::new());
        let mut bytes = 0;
        for item in items {
            count += 1;
            if count > TASKS_MAX {
                return Err(CallError::Refused(format!("more than {TASKS_MAX} items")));
            }
            let is_large = item.len() > PIECE_BYTES_MAX;
            if is_large || piece.len() == PIECE_ITEMS_MAX as usize || bytes + item.len() > PIECE_BYTES_MAX {
                manifest.entries.extend(self.store_piece(std::mem::take(&mut piece)).await?);
                bytes = 0;
            }
            if is_large {
                let digest = self.blobs().put(item, true).await?;
                manifest.entries.push(Entry { digest: digest.0.to_vec(), ..Entry::default() });
            } else {
                bytes += item.len();
                piece.push(item);
            }
        }
        manifest.entries.extend(self.store_piece(piece).await?);
        Ok(Input::items(self.payload_of(&manifest).await?, count))
    }

    /// Stores shards as an input: blobs, each with how many samples it has.
    pub async fn store_shards(&mut self, shards: impl IntoIterator<Item = (Bytes, u64)>) -> Result<Input, CallError> {
        let mut manifest = Manifest::default();
        for (shard, samples) in shards {
            let Digest(digest) = self.blobs().put(shard, true).await?;
            manifest.entries.push(Entry { digest: digest.to_vec(), samples, ..Entry::default() });
        }
        let count = manifest.entries.len() as u32;
        Ok(Input::shards(self.payload_of(&manifest).await?, count))
    }

    async fn store_piece(&mut self, items: Vec<Bytes>) -> Result<Option<Entry>, CallError> {
        if items.is_empty() {
            return Ok(None);
        }
        let sizes = items.iter().map(|item| item.len() as u32).collect();
        let piece = Piece { sizes, data: items.concat().into() };
        let digest = self.blobs().put(program::encode(&piece).into(), true).await?;
        let items = items.len() as u32;
        Ok(Some(Entry { digest: digest.0.to_vec(), items, ..Entry::default() }))
    }
}
