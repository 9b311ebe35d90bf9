//! The computing half of Convoke: data rows, models, training, deltas, merge rules and metrics.
//! Everything is a plain function of its arguments: no threads, no clock, no network, no `unsafe`.
//! It does not know that work is distributed; who calls it, where and how often is decided
//! elsewhere.

mod excerpt;

pub mod rows;

pub mod split;

mod labels;
pub use labels::LabelSet;

mod half;
mod elements;

pub mod tensor_file;
pub use tensor_file::TensorFileError;

mod dataset;
pub use dataset::{Dataset, DatasetError};

mod model;
mod model_file;
pub use model::{Layer, Mlp, ModelError};
pub use model_file::MODEL_FORMAT;

mod elementary;
mod kernels;
pub use kernels::NUMERIC_PROFILE;

mod evaluation;
pub use evaluation::{ComputeError, Counts, evaluate, predict, prediction_lines, probabilities};

mod training;
pub use training::{FullBatch, Trained, train};

pub mod letters;

mod delta;
pub use delta::{DELTA_FORMAT, DeltaError, delta, delta_between, delta_between_into};

pub mod merge;
pub use merge::{Contribution, MergeError, MergeRule, Merged, ReadAt, Version, merge};
