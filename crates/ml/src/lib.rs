//! The computing half of Convoke: data rows, models, training, deltas, merge rules and metrics.
//! Everything is a plain function of its arguments: no threads, no clock, no network, and no `unsafe` but in the kernels.
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
pub use dataset::{Dataset, DatasetError, Targets};

mod random;

mod architecture;
pub use architecture::{Activation, Architecture, Head};

mod model;
mod model_file;
mod start;
pub use model::{Layer, Mlp, ModelError, Standardization};
pub use model_file::MODEL_FORMAT;
pub use start::Start;

mod moments;
pub use moments::{MOMENTS_SAMPLES_MAX, Moments, MomentsError};

mod elementary;
mod kernels;
pub use kernels::{NUMERIC_PROFILE, instructions, multiply_and_add};

mod softmax;

mod prediction;
pub use prediction::{predict, predict_values, prediction_lines, probabilities};

mod counts;
mod evaluation;
pub use counts::{CONFUSION_CLASSES_MAX, Counts, Residuals};
pub use evaluation::{ComputeError, evaluate};

mod optimizer;
mod schedule;
pub use optimizer::Optimizer;
pub use schedule::Schedule;

mod descent;
mod training;
pub use descent::Descent;
pub use training::{FullBatch, Place, Trained, Training, train};

pub mod letters;

mod delta;
pub use delta::{DELTA_FORMAT, DeltaError, delta, delta_between, delta_between_into};

pub mod merge;
pub use merge::{Contribution, MergeError, MergeRule, Merged, ReadAt, Version, merge};
